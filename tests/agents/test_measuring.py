"""Measuring: how many are under way at once, what is counted, and which samples a percentile is made of."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.measuring import Timing, measure, percentile


@pytest.mark.parametrize(
    ("ordered", "percent", "expected"),
    [
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0], 51, 2.0),
        ([float(n) for n in range(1, 101)], 50, 50.0),
        ([float(n) for n in range(1, 101)], 95, 95.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 102)], 99, 100.0),
        ([1.0, 1.0, 9.0], 100, 9.0),
    ],
)
def test_a_percentile_is_the_sample_of_the_nearest_rank(ordered: list[float], percent: float, expected: float) -> None:
    assert percentile(ordered, percent) == expected


@given(st.lists(st.integers(0, 50), min_size=1, max_size=300), st.integers(1, 100))
def test_a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed(values: list[int], percent: int) -> None:
    ordered = [float(value) for value in sorted(values)]
    found = percentile(ordered, percent)
    enough = ceil(Fraction(percent, 100) * len(ordered))
    assert sum(one <= found for one in ordered) >= enough
    assert sum(one < found for one in ordered) < enough


def test_a_record_of_a_timing() -> None:
    timing = Timing(4, 2.0, [1.0, 2.0, 3.0, 10.5555], 1, "broken")
    assert timing.to_record(hops=3, durable=True) == {
        "hops": 3,
        "outstanding": 4,
        "jobs": 4,
        "seconds": 2.0,
        "per_s": 2.0,
        "p50_ms": 2.0,
        "p95_ms": 10.556,
        "p99_ms": 10.556,
        "durable": True,
        "errors": 1,
    }


def test_a_timing_without_one_job_that_was_done() -> None:
    record = Timing(1, 0.0, [], 3, "broken").to_record(hops=1, durable=False)
    assert (record["jobs"], record["per_s"], record["p50_ms"], record["errors"]) == (0, 0.0, None, 3)


class Busy:
    """Jobs that go on until all that can be under way are, `rounds` times."""

    def __init__(self, outstanding: int) -> None:
        self._together = asyncio.Barrier(outstanding)
        self.most = self.now = 0
        self.numbers: list[int] = []

    async def job(self, number: int) -> None:
        self.numbers.append(number)
        self.now += 1
        self.most = max(self.most, self.now)
        await self._together.wait()
        self.now -= 1


@pytest.mark.parametrize("outstanding", [1, 3, 20])
def test_so_many_are_under_way_at_once_and_each_is_timed(outstanding: int) -> None:
    async def work() -> tuple[Busy, Timing]:
        busy = Busy(outstanding)
        return busy, await measure(busy.job, outstanding=outstanding, jobs=4 * outstanding)

    busy, timing = asyncio.run(work())
    assert busy.most == outstanding
    assert sorted(busy.numbers) == list(range(4 * outstanding))
    assert (timing.outstanding, timing.jobs, timing.errors) == (outstanding, 4 * outstanding, 0)
    assert list(timing.ordered_ms) == sorted(timing.ordered_ms)
    assert all(0 < one <= timing.seconds * 1000 for one in timing.ordered_ms)


def test_fewer_jobs_than_could_be_under_way() -> None:
    timing = asyncio.run(measure(lambda _: asyncio.sleep(0), outstanding=50, jobs=3))
    assert timing.jobs == 3


def test_no_job_is_begun_after_the_time_is_over() -> None:
    begun = []

    async def job(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0.02)

    timing = asyncio.run(measure(job, outstanding=2, seconds=0.01))
    assert begun == [0, 1]
    assert timing.jobs == 2


def test_failures_are_counted_and_are_no_samples() -> None:
    async def job(number: int) -> None:
        await asyncio.sleep(0)
        if number % 4 == 1:
            raise ValueError(f"number {number}")

    timing = asyncio.run(measure(job, outstanding=1, jobs=12, failures=(ValueError,)))
    assert (timing.jobs, timing.errors, timing.first_error) == (9, 3, "number 1")


def test_jobs_that_fail_at_once_leave_the_event_loop_to_others() -> None:
    async def refused(number: int) -> None:
        raise ValueError("no")

    async def work() -> int:
        measuring = asyncio.create_task(measure(refused, outstanding=2, jobs=10_000_000, failures=(ValueError,)))
        turns = 0
        while turns < 10:
            await asyncio.sleep(0)
            turns += 1
        assert not measuring.done()
        measuring.cancel()
        await asyncio.wait([measuring])
        return turns

    assert asyncio.run(work()) == 10


def test_another_error_ends_the_measurement_and_what_is_under_way() -> None:
    ended = []

    async def job(number: int) -> None:
        if number == 1:
            raise KeyError("a bug")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    with pytest.raises(KeyError, match="a bug"):
        asyncio.run(measure(job, outstanding=3, jobs=3, failures=(ValueError,)))
    assert sorted(ended) == [0, 2]


def test_jobs_that_never_end_are_given_up_and_counted() -> None:
    async def job(number: int) -> None:
        if number != 2:
            await asyncio.Event().wait()

    timing = asyncio.run(measure(job, outstanding=3, jobs=3, seconds=0.01, patience_s=0.01))
    assert (timing.jobs, timing.errors) == (1, 2)
    assert timing.first_error is not None
    assert "2 jobs were not over" in timing.first_error
