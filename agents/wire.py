"""A connection to an agent's door that outlives the agent: made again when the agent was started again.

What is asked through it must be safe to repeat, because an agent that goes away may have done it already: our own
clients give every put a key of its own. Standard library only.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from agents.calls import CallLost, Calls, NotRunning, open_calls

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


class Wire:
    """The way to the agent of one folder.

    Args:
        home: the folder.
        lost: called when the agent went away and is waited for.
    """

    def __init__(self, home: Path, lost: Callable[[], None] | None = None) -> None:
        self.home = home
        self._lost = lost
        self._calls: Calls | None = None
        self._opening = asyncio.Lock()

    async def calls(self) -> Calls:
        """A connection that stands. Waits for an agent that was there before; cancel it to give up.

        Raises:
            NotRunning: the agent did not run at the first attempt.
        """
        async with self._opening:
            if self._calls is None:
                self._calls = await open_calls(self.home)
            elif self._calls.lost:
                await self._calls.close()
                self._calls = await self._again()
            return self._calls

    async def repeat(self, act: Callable[[Calls], Awaitable[T]]) -> T:
        """Do `act` on the connection, from its start again each time the connection breaks.

        Raises:
            NotRunning: as `calls`.
            CallFailed: the agent refused.
        """
        while True:
            try:
                return await act(await self.calls())
            except CallLost:
                continue

    async def close(self) -> None:
        """Hang up."""
        if self._calls is not None:
            await self._calls.close()

    async def _again(self) -> Calls:
        if self._lost is not None:
            self._lost()
        pause_s = _FIRST_PAUSE_S
        while True:
            # Nothing tells when another process opens its socket: knock, less and less often.
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
            try:
                return await open_calls(self.home)
            except NotRunning:
                continue


def fresh_key() -> str:
    """A new idempotency key, 28 characters; later ones sort after it."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
