"""What is printed, and kept in RESULTS.md: a section for each part, with the machine, the versions and the command.

A part that is measured again replaces its own section and no other, so each section says when and where it was made.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from tests.benchmarks.sizes import Sizes
from tests.benchmarks.targets import TARGETS, Verdict

RESULTS: Final = Path(__file__).with_name("RESULTS.md")
ORDER: Final = ("hops", "peers", "flat", "memory", "links", "resume", "stalled", "idle", "bulk")
"""The parts in the order in which they are shown; others come after them."""

_HEAD: Final = """\
# Results

Made by `make bench`, which measures everything on the machine it runs on; how is told in the
[README](../../README.md#how-fast) and at the head of each file in this folder. Figures are `median (lowest-highest)`
over the rounds. Figures of different machines, or of different minutes of a busy one, say nothing about each other.
"""
_SECTION: Final = re.compile(r"<!-- part: (\w+) -->\n(.*?)<!-- end of \1 -->\n", re.DOTALL)


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; numbers are not aligned, since a reader of Markdown does that."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


class Report:
    """All that one run has found.

    Args:
        sizes: of this run.
        command: what was typed.
    """

    def __init__(self, sizes: Sizes, command: str) -> None:
        self.sizes = sizes
        self._command = command
        self._sections: dict[str, str] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._conditions = conditions()

    def target(self, key: str, figure: float | None, how: str = "") -> None:
        """Say what came out for one of TARGETS; without a figure, `how` says why."""
        self._verdicts[key] = Verdict(TARGETS[key], figure, how)

    def section(self, part: str, title: str, text: str, versions: Iterable[str] = ()) -> None:
        """The section of a part: Markdown. Its targets are added to it when the report is written."""
        said = "; ".join([*self._conditions, *versions])
        self._sections[part] = f"## {title}\n\n{text.strip()}\n\n{said}. Command: `{self._command}`.\n"

    @property
    def verdicts(self) -> list[Verdict]:
        """On every one of TARGETS, in their order; of what was not measured there is no figure."""
        return [self._verdicts.get(key) or Verdict(target, None, "not measured") for key, target in TARGETS.items()]

    def written(self, part: str) -> str:
        """One section, whole."""
        cells = [verdict.cells() for verdict in self.verdicts if verdict.target.part == part]
        judged = f"\n{markdown_table(('target', 'wanted', 'measured', ''), cells)}" if cells else ""
        return f"{self._sections[part]}{judged}"

    @property
    def parts(self) -> list[str]:
        """What was measured, in the order in which it is shown."""
        return in_order(self._sections)

    def merge_into(self, earlier: str) -> str:
        """The text of RESULTS.md: `earlier` with the sections of this run in place of its own."""
        sections = {found[1]: found[2] for found in _SECTION.finditer(earlier)}
        sections |= {part: f"\n{self.written(part)}\n" for part in self._sections}
        marked = (f"<!-- part: {part} -->\n{sections[part]}<!-- end of {part} -->\n" for part in in_order(sections))
        return f"{_HEAD}\n{''.join(marked)}"

    def save(self) -> None:
        """Write RESULTS.md. A quick run has nothing to keep."""
        if self._sections and not self.sizes.quick:
            RESULTS.write_text(self.merge_into(RESULTS.read_text() if RESULTS.exists() else ""))


def in_order(parts: Iterable[str]) -> list[str]:
    """Parts as they are shown."""
    found = list(parts)
    return [part for part in ORDER if part in found] + sorted(part for part in found if part not in ORDER)


def conditions() -> list[str]:
    """Of the machine and of what runs on it: enough to tell whether two results can be compared."""
    load = os.getloadavg()[0]
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"{_processor()}, {os.cpu_count()} cores, load {load:.1f} before the start",
        f"{platform.system()} {platform.release()}",
        # How an interpreter was built makes a sixth of the rate: the day and the compiler tell builds apart.
        f"Python {platform.python_version()} ({platform.python_build()[1]}, {platform.python_compiler()})",
        f"hopboard {_version('hopboard')}{_commit()}",
        f"websockets {_version('websockets')}, uvloop {_version('uvloop')}, SQLite {sqlite3.sqlite_version}",
    ]


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _commit() -> str:
    asked = subprocess.run(
        ("git", "describe", "--always", "--dirty"), cwd=RESULTS.parent, capture_output=True, text=True, check=False
    )
    return f" ({asked.stdout.strip()})" if asked.returncode == 0 else ""


def program_version(program: str) -> str:
    """The first line in which a server says what it is."""
    said = subprocess.run((program, "--version"), capture_output=True, text=True, check=False).stdout
    return said.strip().partition("\n")[0]
