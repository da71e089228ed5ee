"""Lines of totals: added up over tests and worker processes, last before pytest's own, and read back."""

from __future__ import annotations

import pytest

from tests.totals import added, line, read

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from hypothesis import given, strategies

@pytest.mark.parametrize("number", range(4))
def test_some(totals, number):
    totals.add("pure", schedules=10, violations=number // 3)
    totals.add("kills", kills=number, violations=0)
    totals.note(f"{number} was found")

@given(strategies.integers())
def test_property(number): ...

@pytest.mark.parametrize("most", [10, 1_000_000])
@given(number=strategies.integers(0, 1_000))
def test_wrong(most, number):
    assert number < most

def test_red(totals):
    totals.add("pure", schedules=1, violations=1)
    assert False
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest("from tests.conftest import *\nfrom tests.conftest import pytest_configure, totals")
    pytester.makepyfile(SUITE)
    return pytester


@pytest.mark.parametrize("processes", ["0", "2"])
def test_counts_are_added_up_and_printed_right_before_the_last_line(suite: pytest.Pytester, processes: str) -> None:
    result = suite.runpytest_subprocess("-q", "-rf", "-n", processes)
    lines = [one for one in result.outlines if one]
    assert lines[-3:-1] == ["kills: kills=6 violations=0", "pure: schedules=41 violations=2"]
    assert {f"{number} was found" for number in range(4)} <= set(lines)
    counts = read("\n".join(lines))["fuzz"]
    assert counts["properties"] == 3
    assert counts["violations"] == 1
    assert counts["examples"] > 50
    assert " in " in lines[-1]


def test_a_run_without_suites_prints_no_line(suite: pytest.Pytester) -> None:
    assert read(suite.runpytest_subprocess("-q", "-n", "0", "-k", "nothing").stdout.str()) == {}


def test_what_is_written_is_read() -> None:
    counts = {"violations": 2, "schedules": 3, "crashes": 4}
    assert line("whole", counts) == "whole: schedules=3 crashes=4 violations=2"
    assert read(f"..\n{line('whole', counts)}\n1 passed in 2s") == {"whole": counts}


def test_counts_of_one_suite_add_up() -> None:
    totals: dict[str, dict[str, int]] = {}
    for _ in range(2):
        added(totals, "pure", {"schedules": 2, "violations": 0})
    assert totals == {"pure": {"schedules": 4, "violations": 0}}
