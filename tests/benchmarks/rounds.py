"""Several rounds of everything in turn, and what they come to: medians, ranges, and ratios taken within a round.

A shared machine is slower in one minute than in the next. Contestants that take turns meet the same minutes, and a
ratio of two figures of one round suffers from that least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """The figures of several rounds; at least one."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def text(self, digits: int = 0) -> str:
        """`median (lowest-highest)`; of one round the figure alone."""
        middle, low, high = (f"{value:,.{digits}f}" for value in (self.median, self.low, self.high))
        return middle if len(self.values) == 1 else f"{middle} ({low}-{high})"


def spread_of(values: Sequence[float | None]) -> Spread | None:
    """Of the rounds that gave a figure; None if none did."""
    found = tuple(value for value in values if value is not None)
    return Spread(found) if found else None


def ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Spread | None:
    """Ours by theirs, round by round, where both gave a figure."""
    pairs = zip(ours, theirs, strict=True)
    return spread_of([mine / other for mine, other in pairs if mine is not None and other])


def interleaved(names: Sequence[str], rounds: int, measure: Callable[[str], T]) -> Mapping[str, list[T]]:
    """Measure each of `names` once a round. Who begins changes from round to round.

    Returns:
        For each name its figures, in the order of the rounds.
    """
    found: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(measure(name))
    return found
