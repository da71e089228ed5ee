"""Damaged stores: noticed before anything of them is used, never served, fetched again or refused (R10).

`CORRUPTIONS` says how many, `CORRUPTIONS_FIRST` with which seed to start.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from tests.disks.corruptions import Tally, damage_much
from tests.disks.planted import BELIEVED
from tests.simulation.parallel import spread

CORRUPTIONS = int(os.environ.get("CORRUPTIONS", "500"))
FIRST = int(os.environ.get("CORRUPTIONS_FIRST", "0"))
EACH = 25
"""Damages of one seed."""
BUDGET = 40
"""Seeds in which a planted bug has to show itself."""


def _damaged(seed: int) -> Tally:
    return damage_much(seed, EACH)


def _hunted(name: str) -> tuple[str, int, str]:
    plant, damage = BELIEVED[name]
    for seed in range(BUDGET):
        found = damage_much(seed, EACH, plant, only=damage).violations
        if found:
            return name, seed + 1, found[0]
    return name, BUDGET, ""


def test_damage_is_noticed_and_never_used(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    violations: list[str] = []
    for tally in spread(_damaged, range(FIRST, FIRST + -(-CORRUPTIONS // EACH))):
        counts += tally.counts
        violations += tally.violations
    told = " ".join(f"{fate}={number}" for fate, number in sorted(counts.items()))
    with capsys.disabled():
        rate = counts.total() / (time.monotonic() - began)
        print(f"\ncorruptions={counts.total()} {told} violations={len(violations)} ({rate:.0f}/s)")
    assert violations[:10] == []
    assert counts.total() >= CORRUPTIONS
    # Silence counts only if most of the damage hits something, and rows do come back.
    assert counts["refused"] > counts.total() // 10
    assert counts["refetched"] + counts["told"] > 0


def test_every_planted_bug_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = list(spread(_hunted, list(BELIEVED)))
    with capsys.disabled():
        print()
        for name, seeds, shown in verdicts:
            print(f"{name:32} {seeds:3}  {shown or 'ALIVE'}"[:140])
    assert [name for name, _, shown in verdicts if not shown] == []
