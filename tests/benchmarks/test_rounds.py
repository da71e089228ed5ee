"""Rounds: who is measured when, and what several figures come to."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.benchmarks.rounds import Spread, interleaved, ratios, spread_of


def test_everyone_is_measured_once_a_round_and_begins_in_turn() -> None:
    order: list[str] = []

    def measure(name: str) -> int:
        order.append(name)
        return len(order)

    found = interleaved(["a", "b", "c"], 4, measure)
    assert order == [*"abc", *"bca", *"cab", *"abc"]
    assert found == {"a": [1, 6, 8, 10], "b": [2, 4, 9, 11], "c": [3, 5, 7, 12]}
    assert Counter(order) == {"a": 4, "b": 4, "c": 4}


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        ((3.0, 1.0, 2.0), 0, "2 (1-3)"),
        ((1.0, 2.0), 1, "1.5 (1.0-2.0)"),
        ((12_345.6,), 0, "12,346"),
        ((0.125, 0.25, 1_000.0), 2, "0.25 (0.12-1,000.00)"),
    ],
)
def test_a_spread_in_words(values: tuple[float, ...], digits: int, text: str) -> None:
    assert Spread(values).text(digits) == text


def test_rounds_without_a_figure_are_left_out() -> None:
    assert spread_of([None, 4.0, None, 2.0]) == Spread((4.0, 2.0))
    assert spread_of([None, None]) is None


def test_a_ratio_is_taken_within_a_round() -> None:
    # The machine was ten times slower in the second round: the ratio does not see it, that of the medians would.
    assert ratios([100.0, 10.0, 90.0], [50.0, 5.0, 30.0]) == Spread((2.0, 2.0, 3.0))
    assert ratios([1.0, None, 3.0], [2.0, 2.0, None]) == Spread((0.5,))
    assert ratios([1.0], [None]) is None
    assert ratios([1.0], [0.0]) is None
