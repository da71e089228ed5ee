"""How messages travel in the memory network: routes between hosts, wires of connections along them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WINDOW_BYTES: Final = 262_144
"""Bytes on their way or not yet received above which `send` waits; about what a socket's buffers hold."""


@dataclass(frozen=True, slots=True)
class End:
    """The last thing on a wire: a close code and a reason."""

    code: int
    reason: str


class Route:
    """The way from one host to another.

    Args:
        delay: seconds that the next message takes.
    """

    def __init__(self, delay: Callable[[], float]) -> None:
        self.delay = delay
        self.is_stalled = False
        # What waits for the stall to end, in the order in which it came; a set would not keep that.
        self._held: dict[Wire, None] = {}

    def stall(self) -> None:
        """Hold everything from now on; what has arrived is not taken back."""
        self.is_stalled = True

    def resume(self) -> None:
        """Let go of what was held."""
        self.is_stalled = False
        held, self._held = self._held, {}
        for wire in held:
            wire.move()

    def hold(self, wire: Wire) -> None:
        """Have `wire` moved when the stall ends."""
        self._held[wire] = None


class Wire:
    """One direction of one connection: keeps order, takes its time, can be held.

    `arrive` is called with each item at its time; the receiving end sets it. `bytes` counts what was put and
    not yet taken by the receiver, which is the sender's back-pressure.
    """

    def __init__(self, route: Route) -> None:
        self.bytes = 0
        self.arrive: Callable[[bytes | End], None]
        self._route = route
        self._loop = asyncio.get_running_loop()
        self._transit: deque[tuple[float, bytes | End]] = deque()
        self._timer: asyncio.Handle | None = None
        self._room: deque[asyncio.Future[None]] = deque()

    def put(self, item: bytes | End) -> None:
        """Send one item on its way. Even if nothing takes time it arrives in a later step of the loop, never
        within this call: a network answers nobody in the middle of a sentence.
        """
        due = self._loop.time() + self._route.delay()
        if self._transit:
            due = max(due, self._transit[-1][0])
        self._transit.append((due, item))
        if isinstance(item, bytes):
            self.bytes += len(item)
        if self._timer is None:
            self._timer = self._loop.call_soon(self.move)

    def take(self, size: int) -> None:
        """The receiver has taken a message of `size` bytes."""
        self.bytes -= size
        if self.bytes <= WINDOW_BYTES:
            self.wake()

    @property
    def has_room(self) -> bool:
        """Whether `room` would return at once."""
        return self.bytes <= WINDOW_BYTES

    async def room(self) -> None:
        """Wait until the receiver has caught up, or `wake` is called."""
        if not self.has_room:
            waiter = self._loop.create_future()
            self._room.append(waiter)
            await waiter

    def wake(self) -> None:
        """Let every waiting sender look again."""
        while self._room:
            waiter = self._room.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def lose(self) -> None:
        """Forget what is on its way."""
        self._transit.clear()
        self._stop_timer()

    def move(self) -> None:
        """Deliver what is due, and come back for the rest."""
        self._stop_timer()
        while self._transit:
            due, item = self._transit[0]
            if self._route.is_stalled:
                self._route.hold(self)
                return
            if due > self._loop.time():
                self._timer = self._loop.call_at(due, self.move)
                return
            self._transit.popleft()
            self.arrive(item)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
