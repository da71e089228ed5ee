"""Keeps one outgoing link alive: dials, waits longer after each failure, says what it is doing.

Knows no sockets. What an attempt is comes from outside; time is the event loop's, chance a function. The
invited side dials, always (rule R11), so a pair never dials both ways.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from mesh.errors import LinkError
from mesh.transport.errors import DialFailed


@dataclass(frozen=True, slots=True)
class DialerLimits:
    """How long the dialer waits for what."""

    base_s: float = 0.5
    cap_s: float = 60.0
    stable_s: float = 60.0
    """A link that was up for so long starts the waiting times over."""
    attempt_s: float = 10.0
    """From dialling one URL to the link being up."""


@dataclass(frozen=True, slots=True)
class Dialing:
    """Connecting and shaking hands."""

    url: str


@dataclass(frozen=True, slots=True)
class Up:
    """The link is authenticated."""

    url: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is open; the next attempt comes in `seconds`, or at `Dialer.wake`.

    `error` is what ended the last attempt or link, None if it was ended without one.
    """

    seconds: float
    error: LinkError | None


DialerState = Dialing | Up | Waiting

Attempt = Callable[[str, Callable[[], None]], Awaitable[None]]
"""`attempt(url, up)` makes a link to `url`, calls `up()` once it is authenticated, and returns or raises a
`LinkError` when that link is over. When cancelled it leaves nothing open."""


def backoff(attempt: int, random: Callable[[], float], limits: DialerLimits) -> float:
    """Seconds to wait after failure number `attempt` (from 0): full jitter.

    Evenly spread between nothing and a ceiling that doubles with each failure, so that peers which lost their
    links together do not come back together.

    Args:
        attempt: failures in a row before this one.
        random: returns a number in [0, 1).
        limits: `base_s` is the first ceiling, `cap_s` the last.
    """
    # 2 ** 30 times any sensible base is above any sensible cap, and a peer may be away for years.
    ceiling = min(limits.cap_s, limits.base_s * 2.0 ** min(attempt, 30))
    return ceiling * random()


class Dialer:
    """One peer's outgoing link.

    Args:
        urls: where the peer may be found, most wanted first; tried in turn without waiting in between.
        attempt: see `Attempt`.
        report: called with each new state, in order.
        random: returns a number in [0, 1).
    """

    def __init__(
        self,
        urls: Sequence[str],
        attempt: Attempt,
        report: Callable[[DialerState], None],
        *,
        random: Callable[[], float],
        limits: DialerLimits | None = None,
    ) -> None:
        assert urls, "a peer that is dialled has a URL"
        self._urls = tuple(urls)
        self._attempt = attempt
        self._report = report
        self._random = random
        self._limits = limits if limits is not None else DialerLimits()
        self._woken = asyncio.Event()
        self._is_up = False

    def wake(self) -> None:
        """Dial now if waiting; if dialling, do so once more right after a failure; else nothing."""
        if not self._is_up:
            self._woken.set()

    async def run(self) -> NoReturn:
        """Dial for ever; cancel to stop. What is no `LinkError` is a bug and passes."""
        failures = 0
        while True:
            held_s, error = await self._round()
            if held_s >= self._limits.stable_s:
                failures = 0
            seconds = backoff(failures, self._random, self._limits)
            failures += 1
            self._report(Waiting(seconds, error))
            await self._wait(seconds)

    async def _round(self) -> tuple[float, LinkError | None]:
        """Try each URL until one held a link; return for how long, 0 if none did, and the last error."""
        error = None
        for url in self._urls:
            held_s, error = await self._try(url)
            if held_s is not None:
                return held_s, error
        return 0.0, error

    async def _try(self, url: str) -> tuple[float | None, LinkError | None]:
        loop = asyncio.get_running_loop()
        error: LinkError | None = None
        up_at: float | None = None
        self._report(Dialing(url))
        try:
            async with asyncio.timeout(self._limits.attempt_s) as deadline:

                def up() -> None:
                    nonlocal up_at
                    assert up_at is None, "a link comes up once"
                    if deadline.expired():
                        return  # too late by less than one step of the loop: the attempt is being cancelled
                    deadline.reschedule(None)
                    up_at = loop.time()
                    self._is_up = True
                    self._woken.clear()
                    self._report(Up(url))

                await self._attempt(url, up)
        except TimeoutError:
            if not deadline.expired():
                raise
            error = DialFailed(
                url,
                f"no link within {self._limits.attempt_s:g} s",
                fix="check the address, and the other agent's log for a refusal",
            )
        except LinkError as failure:
            # Kept until the next attempt ends: without the frames, which hold the dead connection.
            error = failure.with_traceback(None)
        finally:
            self._is_up = False
        return (None if up_at is None else loop.time() - up_at), error

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        finally:
            self._woken.clear()
