"""The load on peers whose clients block: how many are under way, and that wrong answers are not counted as done."""

from __future__ import annotations

import pytest

from agents.cli.bench import TEXT
from tests.benchmarks.peers.load import WrongAnswer, in_turn


@pytest.mark.parametrize(("outstanding", "jobs"), [(1, 5), (3, 10), (10, 3)])
def test_so_many_are_under_way_and_the_oldest_is_collected_first(outstanding: int, jobs: int) -> None:
    sent: list[int] = []
    collected: list[int] = []
    most = 0

    def send() -> int:
        nonlocal most
        sent.append(len(sent))
        most = max(most, len(sent) - len(collected))
        return sent[-1]

    def collect(number: int) -> str:
        collected.append(number)
        return TEXT

    timing = in_turn(send, collect, outstanding=outstanding, jobs=jobs, seconds=None)
    assert most == min(outstanding, jobs)
    assert sent == collected == list(range(jobs))
    assert timing.jobs == jobs
    assert list(timing.ordered_ms) == sorted(timing.ordered_ms)


def test_a_wrong_answer_is_an_error() -> None:
    with pytest.raises(WrongAnswer, match="nothing like it"):
        in_turn(lambda: 1, lambda _: "nothing like it", outstanding=1, jobs=1, seconds=None)


def test_it_ends_with_its_time() -> None:
    timing = in_turn(lambda: 1, lambda _: TEXT.encode(), outstanding=2, jobs=None, seconds=0.001)
    assert timing.jobs > 0
