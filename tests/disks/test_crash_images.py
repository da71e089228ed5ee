"""A power cut at any moment: what was acknowledged is there, and what was not is there whole or not at all (R1, R3).

Engines live on real stores while every write is recorded; each prefix of the recording becomes a disk on which some
of the unsynced sectors are lost, torn or nonsense, and the store on it is opened as an agent opens it.

`CRASH_IMAGES` says how many, `CRASH_FIRST` with which seed to start.
"""

from __future__ import annotations

import pytest

from tests.disks.crash_images import Result, cut_everywhere
from tests.disks.planted import LOSING
from tests.simulation.parallel import spread
from tests.totals import Totals, number

IMAGES = number("CRASH_IMAGES", 1_000)
FIRST = number("CRASH_FIRST", 0)
FEWEST = 400
"""Images that every seed gives at least."""
BUDGET = 20
"""Seeds in which a planted bug has to show itself."""


def _played(seed: int) -> Result:
    return cut_everywhere(seed)


def _hunted(name: str) -> tuple[str, int, str]:
    """The name of a planted bug, the seeds it took to be seen, and the sentence that showed it."""
    for seed in range(BUDGET):
        found = cut_everywhere(seed, LOSING[name], first=True).violations
        if found:
            return name, seed + 1, found[0]
    return name, BUDGET, ""


def test_a_power_cut_loses_nothing_that_was_acknowledged(totals: Totals) -> None:
    images = commits = short = 0
    violations: list[str] = []
    for result in spread(_played, range(FIRST, FIRST + -(-IMAGES // FEWEST))):
        images, commits, short = images + result.images, commits + result.commits, short + result.short
        violations += result.violations
    totals.add("images", crash_images=images, commits=commits, felt=short, violations=len(violations))
    assert violations[:10] == []
    assert images >= IMAGES
    # Silence counts only if the cuts are felt.
    assert short > images // 10


def test_every_planted_bug_is_found(capsys: pytest.CaptureFixture[str], totals: Totals) -> None:
    verdicts = list(spread(_hunted, list(LOSING)))
    with capsys.disabled():
        print()
        for name, seeds, shown in verdicts:
            print(f"{name:32} {seeds:3}  {shown or 'ALIVE'}"[:140])
    alive = [name for name, _, shown in verdicts if not shown]
    totals.add("disk mutants", mutants=len(verdicts), killed=len(verdicts) - len(alive), violations=len(alive))
    assert alive == []
