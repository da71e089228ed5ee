"""The suites that play chance, a hundred times over: `make soak`, or `make soak SUITES="pure kills"`.

Each suite plays in turns, as long as its part of `make test`, always with new seeds. What was played is kept in
`.soak/` after each turn: Ctrl-C ends it, and the next `make soak` goes on where it stopped, until every suite has done
a hundred turns. A turn that fails is counted, its output is kept beside, and the others go on. `rm -r .soak` begins
anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.totals import added, line, read

TURNS: Final = 100
ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / ".soak"


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite, and how it is told what to play.

    Attributes:
        tests: what pytest is given.
        first: the environment variable with the first seed of a turn; "" if the suite has none.
        seeds: by how much that grows from turn to turn.
        settings: other environment variables of every turn.
        begin: the first seed of the first turn.
    """

    tests: tuple[str, ...]
    first: str = ""
    seeds: int = 1
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    begin: int = 0


# A new suite: a line here, and a test that says what it did by the fixture `totals` (tests/totals.py). The first seeds
# lie behind those of `make test`.
SUITES: Final[Mapping[str, Suite]] = MappingProxyType(
    {
        "pure": Suite(
            ("tests/simulation/test_schedules.py",),
            "SIMULATION_FIRST",
            3_000,
            MappingProxyType({"SIMULATION_SCHEDULES": "3000"}),
            10_000_000,
        ),
        "whole": Suite(
            ("tests/simulation/test_whole_agent.py",),
            "WHOLE_AGENT_FIRST",
            120,
            MappingProxyType({"WHOLE_AGENT_SCHEDULES": "120"}),
            10_000,
        ),
        "mutants": Suite(("tests/simulation/test_mutants.py",), "SIMULATION_MUTANT_FIRST", 2_000, begin=2_000_000),
        "kills": Suite(
            ("tests/integration/test_chaos.py", "tests/integration/test_random_kills.py"),
            "CHAOS_FIRST",
            10,
            MappingProxyType({"CHAOS_KILLS": "20", "MESH_TEST_KILLS": "20"}),
            1_000,
        ),
        "images": Suite(
            ("tests/disks/test_crash_images.py",),
            "CRASH_FIRST",
            10,
            MappingProxyType({"CRASH_IMAGES": "1000"}),
            1_000,
        ),
        "corruptions": Suite(
            ("tests/disks/test_corruptions.py",),
            "CORRUPTIONS_FIRST",
            500,
            MappingProxyType({"CORRUPTIONS": "500"}),
            1_000_000,
        ),
        "fuzz": Suite(
            ("tests/grammar", "tests/invitations", "tests/mesh", "tests/agents"),
            "HOPBOARD_FUZZ_SEED",
            1,
            MappingProxyType({"HYPOTHESIS_PROFILE": "long"}),
            1_000,
        ),
    }
)


@dataclass(slots=True)
class Played:
    """What a suite has done so far.

    Attributes:
        turns: how many are done.
        totals: the counts of its turns, by the first word of their line.
        failed: the first seeds of turns that went wrong.
    """

    turns: int = 0
    totals: dict[str, dict[str, int]] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)

    def took(self, first: int, status: int, said: str) -> None:
        """A turn is done: pytest ended with `status` after it said so."""
        self.turns += 1
        for name, counts in read(said).items():
            added(self.totals, name, counts)
        if status:
            self.failed.append(first)


Play = Callable[[str, Suite, int], tuple[int, str]]
"""Plays one turn of a suite from a first seed; gives pytest's status and what it said."""


def play(name: str, suite: Suite, first: int) -> tuple[int, str]:
    """One turn, as a process of its own; what it says is kept if it fails."""
    settings = {**os.environ, **suite.settings}
    if suite.first:
        settings[suite.first] = str(first)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suite.tests]
    done = subprocess.run(
        command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        (FOLDER / f"{name}-{first}.log").write_text(done.stdout, encoding="utf-8")
    return done.returncode, done.stdout


def soak(names: Sequence[str], turns: int, state: Path, turn: Play = play) -> dict[str, Played]:
    """Let suites play in turn until each has done `turns`; `state` is the file that remembers what was done."""
    known = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
    played = {name: Played(**one) for name, one in known.items()}
    while wanting := [name for name in names if played.setdefault(name, Played()).turns < turns]:
        for name in wanting:
            suite, mine = SUITES[name], played[name]
            first = suite.begin + mine.turns * suite.seeds
            mine.took(first, *turn(name, suite, first))
            keep(state, played)
            print(f"{name}: turn {mine.turns} of {turns}", "FAILED" if first in mine.failed else "", flush=True)
    return played


def keep(state: Path, played: Mapping[str, Played]) -> None:
    """Write down what was done, whole or not at all."""
    beside = state.with_suffix(".new")
    beside.write_text(json.dumps({name: asdict(one) for name, one in played.items()}, indent=1), encoding="utf-8")
    beside.replace(state)


def report(state: Path) -> int:
    """Print the totals of all turns so far; says whether all went well, as a status."""
    played = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
    status = 0
    for name, one in played.items():
        for suite, counts in sorted(one["totals"].items()):
            print(line(suite if suite == name else f"{name} {suite}", counts))
        for first in one["failed"]:
            status = 1
            print(f"{name}: the turn with {SUITES[name].first}={first} failed: .soak/{name}-{first}.log")
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all by default")
    parser.add_argument("--turns", type=int, default=TURNS)
    given = parser.parse_args()
    if unknown := [name for name in given.suites if name not in SUITES]:
        parser.error(f"there is no suite {unknown[0]}")
    FOLDER.mkdir(exist_ok=True)
    state = FOLDER / "state.json"
    try:
        soak(given.suites or list(SUITES), given.turns, state)
    except KeyboardInterrupt:
        print("\nstopped; `make soak` goes on from here")
        report(state)
        return 130
    return report(state)


if __name__ == "__main__":
    sys.exit(main())
