"""One report for all that is measured in a run; its targets are printed at the end, and RESULTS.md is written.

A benchmark is a test in a file `bench_PART.py`: it takes `report`, says what it found with `report.section` and
`report.target`, and asserts nothing about speed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.benchmarks.report import Report
from tests.benchmarks.sizes import sizes_of

REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Iterator[Report]:
    """The report of this run."""
    made = Report(sizes_of(), os.environ.get("BENCH_COMMAND", "make bench"))
    pytestconfig.stash[REPORT] = made
    yield made
    made.save()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was found."""
    made = terminalreporter.config.stash.get(REPORT, None)
    if made is None:
        return
    for part in made.parts:
        terminalreporter.write(f"\n{made.written(part)}")
    terminalreporter.section("targets")
    for words, wanted, figure, verdict in (one.cells() for one in made.verdicts):
        terminalreporter.write_line(f"{verdict:<8}{words}: {figure}; {wanted}")
    if made.sizes.quick:
        terminalreporter.write_line("BENCH_QUICK: these figures mean nothing, and none is kept")
