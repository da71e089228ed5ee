"""Damaged stores: noticed before anything of them is used, never served, fetched again or refused (R10).

`CORRUPTIONS` says how many, `CORRUPTIONS_FIRST` with which seed to start.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.disks.corruptions import Tally, damage_much
from tests.disks.planted import BELIEVED
from tests.simulation.parallel import spread
from tests.totals import Totals, number

CORRUPTIONS = number("CORRUPTIONS", 500)
FIRST = number("CORRUPTIONS_FIRST", 0)
EACH = 25
"""Damages of one seed."""
BUDGET = 40
"""Seeds in which a planted bug has to show itself."""


def _damaged(seed: int) -> Tally:
    return damage_much(seed, EACH)


def _hunted(name: str) -> tuple[str, int, str]:
    plant, damage, part = BELIEVED[name]
    for seed in range(BUDGET):
        found = damage_much(seed, EACH, plant, only=damage, where=part).violations
        if found:
            return name, seed + 1, found[0]
    return name, BUDGET, ""


def test_damage_is_noticed_and_never_used(totals: Totals) -> None:
    counts: Counter[str] = Counter()
    violations: list[str] = []
    for tally in spread(_damaged, range(FIRST, FIRST + -(-CORRUPTIONS // EACH))):
        counts += tally.counts
        violations += tally.violations
    fates = {fate: counts[fate] for fate in sorted(counts)}
    totals.add("corruptions", corruptions=counts.total(), **fates, violations=len(violations))
    assert violations[:10] == []
    assert counts.total() >= CORRUPTIONS
    # Silence counts only if most of the damage hits something, and rows do come back.
    assert counts["refused"] > counts.total() // 10
    assert counts["refetched"] + counts["told"] > 0


def test_every_planted_bug_is_found(capsys: pytest.CaptureFixture[str], totals: Totals) -> None:
    verdicts = list(spread(_hunted, list(BELIEVED)))
    with capsys.disabled():
        print()
        for name, seeds, shown in verdicts:
            print(f"{name:32} {seeds:3}  {shown or 'ALIVE'}"[:140])
    alive = [name for name, _, shown in verdicts if not shown]
    totals.add("disk mutants", mutants=len(verdicts), killed=len(verdicts) - len(alive), violations=len(alive))
    assert alive == []
