"""How a thread and an event loop wake each other: through pipes.

What Python has for it, a queue and `call_soon_threadsafe`, wakes the other thread and keeps the interpreter's lock:
whoever wakes up has to wait for that at once, and is woken a second time. A write to a pipe gives the lock up before it
wakes anybody, who then goes on. A job is handed over to a disk and back three times or more on its way.
"""

from __future__ import annotations

import os
import select
from collections import deque
from contextlib import suppress
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MANY: Final = 4_096


class Bell:
    """Rung in one thread, heard in another. It is rung until somebody silences it."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        self._rings = False
        self._ears = select.poll()
        self._ears.register(self._out, select.POLLIN)

    def fileno(self) -> int:
        """What is readable while it rings."""
        return self._out

    def ring(self) -> None:
        """Ring it, unless it rings. Whoever waits goes on before the one who rang, if he can."""
        if not self._rings:
            self._rings = True
            os.write(self._in, b"!")

    def wait(self, patience_s: float | None) -> bool:
        """Wait until it rings, for so many seconds at most; says whether it does."""
        return bool(self._ears.poll(None if patience_s is None else patience_s * 1_000))

    def silence(self) -> None:
        """Stop it. What it was rung for has to be looked for after that."""
        # (There may be nothing: two may ring at once, and be heard by two.)
        with suppress(BlockingIOError):
            os.read(self._out, _MANY)
        self._rings = False

    def close(self) -> None:
        """Let go of the pipe; nobody rings or waits any more."""
        os.close(self._out)
        os.close(self._in)


class Inbox(Generic[T]):
    """What other threads hand over to one, in order."""

    def __init__(self) -> None:
        self._entries: deque[T] = deque()
        self._bell = Bell()
        self._asleep = False
        # The receiver's own: it rang, and nobody has silenced it.
        self._heard = False

    def put(self, entry: T) -> None:
        """Hand over one entry."""
        self._entries.append(entry)
        if self._asleep:
            self._asleep = False
            self._bell.ring()

    def take(self, patience_s: float | None = None) -> list[T]:
        """All that was handed over, in order; waits if there is nothing.

        Args:
            patience_s: gives an empty list if nothing came for so long.
        """
        entries, group = self._entries, list[T]()
        while not entries:
            if self._heard:
                # (Not when it was heard: to be silenced it takes a turn of its own at Python's lock.)
                self._heard = False
                self._bell.silence()
            self._asleep = True
            # What was put before it fell asleep did not ring.
            if not entries:
                self._heard = self._bell.wait(patience_s)
                if not self._heard:
                    break
        self._asleep = False
        while entries:
            group.append(entries.popleft())
        return group

    def close(self) -> None:
        """Nothing is put or taken any more."""
        self._bell.close()
