"""Dates and ranges of dates.

A range is absolute (`2026-01-05:2026-01-11`) or a word (`this_week`). There is no clock on this floor, so a
word stays a word, and travels as one, until whoever runs the instruction resolves it with the date where it
runs.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import ClassVar, Final, Self

from grammar.errors import GrammarError
from grammar.values import Value, check_size

_DATE = re.compile(r"\s*([0-9]{1,4}|\+[0-9]+)-\s*([0-9]{1,2})-\s*([0-9]{1,2})")
_DAY: Final = timedelta(days=1)
_EXPECTED: Final = "a date such as 2026-01-31"


def parse_date(text: str) -> date:
    """Reads `2026-01-31`, years 1 to 9999, with or without leading zeros; raises GrammarError."""
    check_size(text, "date")
    stripped = text.strip()
    match = _DATE.fullmatch(stripped)
    if match is None:
        raise GrammarError("this is not a date", text=text, expected=_EXPECTED)
    year, month, day = match.groups()
    if len(year) > 5:
        raise GrammarError("the year is out of range", text=text, expected="a year from 1 to 9999")
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        raise GrammarError("there is no such day in the calendar", text=text, expected=_EXPECTED) from None


def week(day: date) -> tuple[date, date]:
    """Monday to Sunday around `day`."""
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=6)


def month(day: date) -> tuple[date, date]:
    """First to last day of the month of `day`."""
    return day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1])


def year(day: date) -> tuple[date, date]:
    """1 January to 31 December of the year of `day`."""
    return date(day.year, 1, 1), date(day.year, 12, 31)


def _single(day: date) -> tuple[date, date]:
    return day, day


_WORDS: Final[Mapping[str, Callable[[date], tuple[date, date]]]] = MappingProxyType(
    {
        "yesterday": lambda today: _single(today - _DAY),
        "today": _single,
        "this_day": _single,
        "tomorrow": lambda today: _single(today + _DAY),
        "this_week": week,
        "last_week": lambda today: week(today - timedelta(days=7)),
        "this_month": month,
        "last_month": lambda today: month(today.replace(day=1) - _DAY),
        "this_year": year,
        "last_year": lambda today: year(today.replace(month=1, day=1) - _DAY),
    }
)

RANGE_WORDS: Final = tuple(_WORDS)
"""The words that stand for a range of dates."""


@dataclass(frozen=True, slots=True, eq=False)
class DateRange(Value):
    """Days from `start` to `end`, both included: `2026-01-05:2026-01-11`, or a word such as `this_week`.

    A word has neither `start` nor `end` until it is resolved. A reversed range (`end` before `start`) is
    taken as it is written and has no days in it.
    """

    EXAMPLE: ClassVar[str] = "2026-01-05:2026-01-11"

    start: date | None
    end: date | None
    word: str = ""

    @classmethod
    def parse(cls, text: str, *, today: date | None = None) -> Self:
        """Reads a word, one date, or `start:end`; with `today`, a word is resolved at once.

        Raises GrammarError.
        """
        check_size(text, "date range")
        lowered = text.strip().lower()
        if lowered in _WORDS:
            named = cls(None, None, lowered)
            return named if today is None else named.resolved(today)
        first, colon, second = text.partition(":")
        if ":" in second:
            column = len(first) + second.index(":") + 2
            raise GrammarError("a range has two dates", text=text, column=column, expected=cls.EXAMPLE)
        try:
            start = parse_date(first)
        except GrammarError as error:
            expected = f"a date, start:end, or one of {', '.join(RANGE_WORDS)}"
            raise GrammarError(error.message, text=text, column=error.column, expected=expected) from None
        try:
            end = parse_date(second) if colon else start
        except GrammarError as error:
            raise error.within(text, len(first) + 1) from None
        return cls(start, end)

    def resolved(self, today: date) -> Self:
        """The absolute range that this one means on the day `today`.

        Raises GrammarError at the ends of time.
        """
        if not self.word:
            return self
        try:
            start, end = _WORDS[self.word](today)
        except (OverflowError, ValueError):
            message = f"{self.word} of {today} leaves the years 1 to 9999"
            raise GrammarError(message, text=self.word, expected=_EXPECTED) from None
        return type(self)(start, end)

    @property
    def bounds(self) -> tuple[date, date]:
        """`start` and `end`; raises GrammarError for a word that is not resolved."""
        if self.start is None or self.end is None:
            message = f"{self.word} is no range of dates before it is resolved"
            raise GrammarError(message, text=self.word, fix="resolve the range with today's date first")
        return self.start, self.end

    @property
    def day_count(self) -> int:
        """Days in the range, 0 when it is reversed."""
        start, end = self.bounds
        return max(0, (end - start).days + 1)

    def days(self) -> Iterator[date]:
        """Each day of the range, in order."""
        start, _ = self.bounds
        return (start + timedelta(days=offset) for offset in range(self.day_count))

    def weeks(self) -> Iterator[DateRange]:
        """The whole weeks, Monday to Sunday, that the range touches."""
        return self._periods(week)

    def months(self) -> Iterator[DateRange]:
        """The whole months that the range touches."""
        return self._periods(month)

    def years(self) -> Iterator[DateRange]:
        """The whole years that the range touches."""
        return self._periods(year)

    def _periods(self, period: Callable[[date], tuple[date, date]]) -> Iterator[DateRange]:
        current, last = self.bounds
        while current <= last:
            first, end = period(current)
            yield DateRange(first, end)
            if end == date.max:
                return
            current = end + _DAY

    def __contains__(self, day: date) -> bool:
        start, end = self.bounds
        return start <= day <= end

    def __str__(self) -> str:
        return self.word or f"{self.start}:{self.end}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (DateRange, str)):
            return str(self) == str(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))
