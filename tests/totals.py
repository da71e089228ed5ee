"""What the suites that play chance did, in one line each, at the end of a run.

A test takes the fixture `totals` and says what it did:

    totals.add("kills", kills=20, violations=0)

Counts of one suite are added up, whichever tests and worker processes they come from, and are printed right before
pytest's last line as `kills: kills=20 violations=0`. Every line ends in the number of what went wrong. Property tests
are counted without being asked, as `fuzz: properties=... examples=... violations=...`.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import pytest

PROPERTY: Final = "totals"
NOTE: Final = "note of totals"
LINE: Final = re.compile(r"^([a-z][a-z -]*): ((?:[a-z_]+=[0-9]+ )*violations=[0-9]+)$")


class Totals:
    """What one test did, by suite. It travels in the test's report, so it also comes home from a worker process."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def add(self, suite: str, *, violations: int, **counts: int) -> None:
        """Say what this test did for a suite; to be called before it fails, too.

        Args:
            suite: the first word of the line.
            violations: how much went wrong; the line ends in it.
            counts: what else is worth a number, in the order in which it is to be read.
        """
        self._item.user_properties.append((PROPERTY, (suite, {**counts, "violations": violations})))

    def note(self, sentence: str) -> None:
        """Say something that is worth a line of its own, above the totals: which check found which planted bug."""
        self._item.user_properties.append((NOTE, sentence))


def line(suite: str, counts: Mapping[str, int]) -> str:
    """The line of a suite; what went wrong stands at its end."""
    ordered = [*((name, count) for name, count in counts.items() if name != "violations")]
    ordered.append(("violations", counts.get("violations", 0)))
    return f"{suite}: " + " ".join(f"{name}={count}" for name, count in ordered)


def read(text: str) -> dict[str, dict[str, int]]:
    """The counts of every suite whose line stands in a text, such as what pytest printed."""
    found: dict[str, dict[str, int]] = {}
    for one in text.splitlines():
        if match := LINE.match(one):
            found[match[1]] = {
                name: int(count) for name, _, count in (word.partition("=") for word in match[2].split())
            }
    return found


def added(totals: dict[str, dict[str, int]], suite: str, counts: Mapping[str, int]) -> None:
    """Add counts to those of their suite."""
    mine = totals.setdefault(suite, {})
    for name, count in counts.items():
        mine[name] = mine.get(name, 0) + count


class Collector:
    """The plugin that gathers what tests said, and prints it."""

    def __init__(self) -> None:
        self.totals: dict[str, dict[str, int]] = {}
        self.notes: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
        handle = getattr(pyfuncitem.obj, "hypothesis", None)
        if handle is None:
            return (yield)
        counts = {"properties": 1, "examples": 0, "violations": 0}
        pyfuncitem.user_properties.append((PROPERTY, ("fuzz", counts)))
        good = handle.inner_test
        handle.inner_test = _counting(good, counts)
        try:
            return (yield)
        except Exception:
            counts["violations"] = 1
            raise
        finally:
            handle.inner_test = good

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # The last report of a test holds all that it said.
        if report.when == "teardown":
            for name, said in report.user_properties:
                if name == PROPERTY:
                    added(self.totals, *said)  # type: ignore[misc]
                elif name == NOTE:
                    self.notes.append(said)  # type: ignore[arg-type]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Generator[None, Any, Any]:
        # Around what every other plugin says, so that nothing but pytest's last line comes after it.
        result = yield
        if self.totals:
            terminalreporter.ensure_newline()
            for sentence in self.notes:
                terminalreporter.write_line(sentence)
            for suite in sorted(self.totals):
                terminalreporter.write_line(line(suite, self.totals[suite]))
        return result


def _counting(example: Callable[..., Any], counts: dict[str, int]) -> Callable[..., Any]:
    """What hypothesis calls once for each example of a property, counted."""

    @functools.wraps(example)
    def counted(*args: Any, **kwargs: Any) -> Any:
        counts["examples"] += 1
        return example(*args, **kwargs)

    return counted


def number(name: str, otherwise: int) -> int:
    """How much of something a suite plays, or with which it begins: an environment variable, for `make soak`."""
    return int(os.environ.get(name, str(otherwise)))
