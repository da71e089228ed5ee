"""Dates across month ends, leap years and week starts, against a day-by-day oracle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.dates import RANGE_WORDS, DateRange, month, parse_date, week, year
from grammar.errors import GrammarError

DAYS = st.dates(date(2, 1, 1), date(9998, 12, 31))
ONE = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-01-31", date(2026, 1, 31)),
        (" 2026-1-5 ", date(2026, 1, 5)),
        ("2024-02-29", date(2024, 2, 29)),
        ("0024-01-05", date(24, 1, 5)),
        ("24-01-05", date(24, 1, 5)),
        ("+2026-01-05", date(2026, 1, 5)),
        ("2026- 1- 5", date(2026, 1, 5)),
    ],
)
def test_parse_date(text: str, day: date) -> None:
    assert parse_date(text) == day


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-13-01", "2026-02-29", "2026-1-32", "2026/01/01", "12026-01-01", "0000-01-01", "2026-01-01x"],
)
def test_parse_date_refuses(text: str) -> None:
    with pytest.raises(GrammarError):
        parse_date(text)


@given(DAYS)
def test_date_round_trip(day: date) -> None:
    assert parse_date(str(day)) == day


@given(DAYS)
def test_week_is_monday_to_sunday(day: date) -> None:
    first, last = week(day)
    assert first.weekday() == 0
    assert last - first == 6 * ONE
    assert first <= day <= last


@given(DAYS)
def test_month_and_year_are_whole(day: date) -> None:
    first, last = month(day)
    assert first.day == 1
    assert (last + ONE).day == 1
    assert first <= day <= last
    first, last = year(day)
    assert (first.month, first.day, last.month, last.day) == (1, 1, 12, 31)
    assert first <= day <= last


@pytest.mark.parametrize(
    ("today", "word", "expected"),
    [
        ("2024-03-01", "yesterday", "2024-02-29:2024-02-29"),
        ("2023-03-01", "yesterday", "2023-02-28:2023-02-28"),
        ("2023-12-31", "tomorrow", "2024-01-01:2024-01-01"),
        ("2026-11-22", "today", "2026-11-22:2026-11-22"),
        ("2026-11-22", "this_day", "2026-11-22:2026-11-22"),
        ("2026-11-22", "this_week", "2026-11-16:2026-11-22"),
        ("2026-11-23", "this_week", "2026-11-23:2026-11-29"),
        ("2026-11-23", "last_week", "2026-11-16:2026-11-22"),
        ("2024-01-01", "last_week", "2023-12-25:2023-12-31"),
        ("2024-02-10", "this_month", "2024-02-01:2024-02-29"),
        ("2026-12-31", "this_month", "2026-12-01:2026-12-31"),
        ("2024-03-31", "last_month", "2024-02-01:2024-02-29"),
        ("2026-01-31", "last_month", "2025-12-01:2025-12-31"),
        ("2024-02-29", "this_year", "2024-01-01:2024-12-31"),
        ("2024-02-29", "last_year", "2023-01-01:2023-12-31"),
    ],
)
def test_words(today: str, word: str, expected: str) -> None:
    day = parse_date(today)
    assert DateRange.parse(word.upper(), today=day) == expected
    assert DateRange.parse(word).resolved(day) == expected


@given(DAYS, st.sampled_from(RANGE_WORDS))
def test_words_resolve_on_every_day(today: date, word: str) -> None:
    span = DateRange.parse(word, today=today)
    start, end = span.bounds
    assert start <= end
    assert DateRange.parse(str(span)) == span
    around = {"this": today, "last": start, "toda": today, "yest": today - ONE, "tomo": today + ONE}
    assert around[word[:4]] in span


def test_a_word_stays_a_word_until_resolved() -> None:
    span = DateRange.parse(" This_Week ")
    assert str(span) == "this_week"
    assert span.start is None
    with pytest.raises(GrammarError):
        assert span.day_count
    with pytest.raises(GrammarError):
        DateRange.parse("tomorrow", today=date.max)


@given(DAYS, st.integers(-40, 400))
def test_ranges(start: date, length: int) -> None:
    try:
        end = start + length * ONE
    except OverflowError:
        return
    span = DateRange.parse(f" {start} : {end} ")
    assert (span.start, span.end, str(span)) == (start, end, f"{start}:{end}")
    assert DateRange.parse(str(span)) == span
    days = list(span.days())
    assert len(days) == span.day_count == max(0, length + 1)
    assert all(day in span for day in days)
    for periods, whole in ((span.weeks(), week), (span.months(), month), (span.years(), year)):
        found = list(periods)
        assert [(part.start, part.end) for part in found] == sorted({whole(day) for day in days})


def test_one_date_is_a_range_of_one_day() -> None:
    span = DateRange.parse("2026-01-05")
    assert span == "2026-01-05:2026-01-05"
    assert span.resolved(date(2000, 1, 1)) is span


def test_periods_reach_the_last_day_of_time() -> None:
    assert len(list(DateRange.parse("9999-12-01:9999-12-31").months())) == 1


@pytest.mark.parametrize(
    ("text", "column"),
    [("", 1), ("next_week", 1), ("2026-01-01:", 12), ("2026-01-01:x", 12), ("x:2026-01-01", 1), ("a:b:c", 4)],
)
def test_ranges_refused(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        DateRange.parse(text)
    assert caught.value.column == column


def runs(days: list[date], key: Callable[[date], object]) -> dict[date, tuple[str, str]]:
    """For each day, the run of days with one key that it is in, and the run before that, as texts of ranges."""
    found: dict[date, tuple[str, str]] = {}
    before = ""
    for _, group in groupby(days, key):
        run = list(group)
        text = f"{run[0]}:{run[-1]}"
        found |= dict.fromkeys(run, (text, before))
        before = text
    return found


@pytest.mark.parametrize(("first", "last"), [(1896, 1905), (1995, 2010), (2020, 2034), (2096, 2105)])
def test_words_on_every_day_of_these_years(first: int, last: int) -> None:
    """The oracle counts days: it knows neither how long a month is nor which years are leap years."""
    start = date(first, 1, 1)
    days = [start + n * ONE for n in range((date(last, 12, 31) - start).days + 1)]
    weeks = runs(days, lambda day: day.strftime("%G-%V"))
    months = runs(days, lambda day: (day.year, day.month))
    years = runs(days, lambda day: day.year)
    for yesterday, today, tomorrow in zip(days, days[1:], days[2:], strict=False):
        if today.year in {first, last}:
            continue
        expected = {
            "yesterday": f"{yesterday}:{yesterday}",
            "today": f"{today}:{today}",
            "this_day": f"{today}:{today}",
            "tomorrow": f"{tomorrow}:{tomorrow}",
        }
        for name, spans in (("week", weeks), ("month", months), ("year", years)):
            expected[f"this_{name}"], expected[f"last_{name}"] = spans[today]
        assert {word: str(DateRange.parse(word, today=today)) for word in RANGE_WORDS} == expected


@given(DAYS, st.integers(0, 800))
def test_periods_of_a_range_are_those_that_its_days_are_in(start: date, length: int) -> None:
    end = min(start + length * ONE, date(9998, 12, 31))
    span = DateRange(start, end)
    days = list(span.days())
    assert len(days) == span.day_count == (end - start).days + 1
    for periods, key in (
        (span.weeks(), lambda day: day.isocalendar()[:2]),
        (span.months(), lambda day: (day.year, day.month)),
        (span.years(), lambda day: day.year),
    ):
        found = list(periods)
        assert len(found) == len(list(groupby(days, key)))
        assert start in found[0]
        assert end in found[-1]
        assert all(one.bounds[1] + ONE == two.bounds[0] for one, two in pairwise(found))
