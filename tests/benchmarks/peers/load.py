"""The load that every peer is given, and the two ways of making it: by an event loop, or one call after the other.

The job is the same for all: sixty bytes go to a worker in another process, which gives them back.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from agents.cli.bench import TEXT
from agents.measuring import Job, Timing, measure

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Load:
    """How much: jobs one after the other, then seconds with so many outstanding."""

    singles: int
    seconds: float
    outstanding: int = 1_000
    warm_up_s: float = 0.3


@dataclass(frozen=True, slots=True)
class Measured:
    """One contestant in one round."""

    single: Timing
    many: Timing

    def to_record(self) -> dict[str, Any]:
        """As a JSON object; times in milliseconds."""
        return {
            "p50_ms": self.single.within_ms(50),
            "p99_ms": self.single.within_ms(99),
            "per_s": self.many.per_s,
            "errors": self.single.errors + self.many.errors,
        }


class WrongAnswer(Exception):
    """A worker gave back something else than what it was given."""


def check(answer: object) -> None:
    """Raises WrongAnswer unless the answer is the text that was sent."""
    if answer not in (TEXT, TEXT.encode()):
        raise WrongAnswer(repr(answer))


async def measure_both(job: Job, load: Load, many: Callable[[int, float], Awaitable[Timing]] | None = None) -> Measured:
    """Measure a peer whose client is asynchronous; `many` measures jobs outstanding and seconds, if not as usual."""

    async def as_usual(outstanding: int, seconds: float) -> Timing:
        return await measure(job, outstanding=outstanding, seconds=seconds)

    throughput = many or as_usual
    await measure(job, outstanding=1, jobs=max(1, load.singles // 5))
    single = await measure(job, outstanding=1, jobs=load.singles)
    await throughput(load.outstanding, load.warm_up_s)
    return Measured(single, await throughput(load.outstanding, load.seconds))


def in_turn(
    send: Callable[[], T], collect: Callable[[T], object], *, outstanding: int, jobs: int | None, seconds: float | None
) -> Timing:
    """Measure a client that blocks: send until so many are under way, then collect the oldest for each that is sent."""
    under_way: deque[tuple[float, T]] = deque()
    times_ms = array("d")
    sent = 0
    began = perf_counter()

    def collect_one() -> None:
        start, handle = under_way.popleft()
        check(collect(handle))
        times_ms.append((perf_counter() - start) * 1000)

    while (jobs is None or sent < jobs) and (seconds is None or perf_counter() - began < seconds):
        if len(under_way) == outstanding:
            collect_one()
        under_way.append((perf_counter(), send()))
        sent += 1
    while under_way:
        collect_one()
    return Timing(outstanding, perf_counter() - began, array("d", sorted(times_ms)), 0)


def measure_both_in_turn(send: Callable[[], T], collect: Callable[[T], object], load: Load) -> Measured:
    """Measure a peer whose client blocks."""
    in_turn(send, collect, outstanding=1, jobs=max(1, load.singles // 5), seconds=None)
    single = in_turn(send, collect, outstanding=1, jobs=load.singles, seconds=None)
    in_turn(send, collect, outstanding=load.outstanding, jobs=None, seconds=load.warm_up_s)
    many = in_turn(send, collect, outstanding=load.outstanding, jobs=None, seconds=load.seconds)
    return Measured(single, many)
