"""How fast something is: so many jobs under way at once, each timed from its start to its end, none left out.

The load is a closed loop: a new job is begun the moment one ends, so that the number under way stays the same. That
is kind to a system that slows down (it is then asked less), which is why throughput stands beside the latencies.
Knows nothing of agents; what a job is, is the caller's.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil
from time import perf_counter
from typing import Any, Final

Job = Callable[[int], Awaitable[object]]
"""Does the job of that number and returns when it is done; raises when it failed."""

PATIENCE_S: Final = 30.0
"""How long what is under way is waited for when no more is begun."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one measurement gave.

    Attributes:
        outstanding: jobs that were under way at once.
        seconds: from the first start to the last end.
        ordered_ms: how long each job took that was done, shortest first, in milliseconds.
        errors: jobs that failed, or were given up.
        first_error: the first of them, if any.
    """

    outstanding: int
    seconds: float
    ordered_ms: Sequence[float]
    errors: int
    first_error: str | None = None

    @property
    def jobs(self) -> int:
        """Jobs that were done."""
        return len(self.ordered_ms)

    @property
    def per_s(self) -> float:
        """Jobs done in a second."""
        return self.jobs / self.seconds if self.seconds > 0 else 0.0

    def within_ms(self, percent: float) -> float | None:
        """The shortest time within which `percent` of the jobs were done; None if none was."""
        return percentile(self.ordered_ms, percent) if self.ordered_ms else None

    def to_record(self, *, hops: int, durable: bool) -> dict[str, Any]:
        """As a JSON object; over how many links, and whether onto disks, is the caller's to know."""
        p50, p95, p99 = (self.within_ms(percent) for percent in (50, 95, 99))
        return {
            "hops": hops,
            "outstanding": self.outstanding,
            "jobs": self.jobs,
            "seconds": round(self.seconds, 3),
            "per_s": round(self.per_s, 1),
            "p50_ms": None if p50 is None else round(p50, 3),
            "p95_ms": None if p95 is None else round(p95, 3),
            "p99_ms": None if p99 is None else round(p99, 3),
            "durable": durable,
            "errors": self.errors,
        }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of `ordered` that is not exceeded by `percent` of them (nearest rank: always one of the samples).

    Args:
        ordered: at least one value, the smallest first.
        percent: above 0, at most 100.
    """
    return ordered[max(1, ceil(percent / 100 * len(ordered))) - 1]


async def measure(
    job: Job,
    *,
    outstanding: int,
    jobs: int | None = None,
    seconds: float | None = None,
    failures: tuple[type[Exception], ...] = (),
    patience_s: float = PATIENCE_S,
) -> Timing:
    """Do `job` again and again and time each.

    Args:
        job: does one; given 0, 1, 2 and so on.
        outstanding: how many are under way at once.
        jobs: how many to do in all; None for as many as there is time for.
        seconds: no job is begun after them; None for no such end. One of the two ends must be given.
        failures: what `job` raises when it fails: counted, and the measurement goes on. Anything else ends it.
        patience_s: how long the jobs under way may take once no more is begun; what is not over then is an error.
    """
    assert jobs is not None or seconds is not None, "it has to end"
    numbers = count() if jobs is None else iter(range(jobs))
    load = _Load(job, numbers, seconds, failures)
    lanes = [asyncio.create_task(load.lane()) for _ in range(outstanding if jobs is None else min(outstanding, jobs))]
    load.began = perf_counter()
    try:
        waited_s = None if seconds is None else seconds + patience_s
        done, late = await asyncio.wait(lanes, timeout=waited_s, return_when=asyncio.FIRST_EXCEPTION)
        spent = perf_counter() - load.began
    finally:
        for lane in lanes:
            lane.cancel()
        await asyncio.wait(lanes)
    for lane in done:
        lane.result()
    first = load.first_error
    if late and first is None:
        first = f"{len(late)} jobs were not over {patience_s:g} s after the last one was begun"
    return Timing(outstanding, spent, array("d", sorted(load.times_ms)), load.errors + len(late), first)


class _Load:
    """What the lanes of one measurement share."""

    def __init__(
        self, job: Job, numbers: Iterator[int], seconds: float | None, failures: tuple[type[Exception], ...]
    ) -> None:
        self._job = job
        self._numbers = numbers
        self._seconds = seconds
        self._failures = failures
        self.began = 0.0
        self.times_ms = array("d")
        self.errors = 0
        self.first_error: str | None = None

    async def lane(self) -> None:
        """One job after the other."""
        until = float("inf") if self._seconds is None else self.began + self._seconds
        while (start := perf_counter()) < until:
            number = next(self._numbers, None)
            if number is None:
                return
            try:
                await self._job(number)
            except self._failures as error:
                self.errors += 1
                self.first_error = self.first_error or f"{error}"
                # A job that is refused at once must not keep the event loop from everything else.
                await asyncio.sleep(0)
            else:
                self.times_ms.append((perf_counter() - start) * 1000)
