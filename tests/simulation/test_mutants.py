"""The simulation finds every planted bug; until it does, its silence means nothing.

A mutant is killed by a schedule in which it breaks an invariant and the true rules do not. Prints, for each, the
check that killed it and after how many schedules.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest

from tests.simulation.mutants import BACKGROUNDS, MUTANTS, Mutant
from tests.simulation.parallel import spread
from tests.simulation.schedules import play

BUDGET = int(os.environ.get("SIMULATION_MUTANT_BUDGET", "1200"))
FIRST = 1_000_000


class Verdict(NamedTuple):
    """What became of one mutant: the schedules it took, and the sentence that killed it, "" when it lives."""

    name: str
    schedules: int
    killed_by: str


def innocent(mutant: Mutant, seed: int) -> tuple[str, ...]:
    """What is wrong in a schedule without the planted bug."""
    with mutant.background():
        return play(seed, losses=mutant.losses, slant=mutant.slant).violations


def hunt(name: str) -> Verdict:
    """Play schedules with a planted bug until one shows it."""
    mutant = MUTANTS[name]
    for number in range(BUDGET):
        seed = FIRST + number
        with mutant.background(), mutant.plant():
            found = play(seed, losses=mutant.losses, slant=mutant.slant).violations
        if found and not innocent(mutant, seed):
            return Verdict(name, number + 1, found[0])
    return Verdict(name, BUDGET, "")


def test_every_planted_bug_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = list(spread(hunt, list(MUTANTS)))
    with capsys.disabled():
        print()
        for verdict in verdicts:
            print(f"{verdict.name:40} {verdict.schedules:5}  {verdict.killed_by or 'ALIVE'}"[:140])
        print(f"mutants={len(verdicts)} killed={sum(1 for verdict in verdicts if verdict.killed_by)}")
    assert len(verdicts) >= 20
    assert [verdict.name for verdict in verdicts if not verdict.killed_by] == []


@pytest.mark.parametrize("name", sorted(BACKGROUNDS))
def test_the_background_of_a_mutant_breaks_nothing_by_itself(name: str) -> None:
    for number in range(40):
        assert [one for one in innocent(MUTANTS[name], FIRST + number) if not one.startswith("R7")] == []
