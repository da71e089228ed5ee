"""The simulation finds every planted bug; until it does, its silence means nothing.

A mutant is killed by a schedule in which it breaks an invariant and the true rules do not. Prints, for each, the
check that killed it and after how many schedules.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.simulation.mutants import BACKGROUNDS, MUTANTS, Mutant
from tests.simulation.parallel import spread
from tests.simulation.schedules import play
from tests.totals import Totals, number

BUDGET = number("SIMULATION_MUTANT_BUDGET", 1_200)
FIRST = number("SIMULATION_MUTANT_FIRST", 1_000_000)


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
    for tried in range(BUDGET):
        seed = FIRST + tried
        with mutant.background(), mutant.plant():
            found = play(seed, losses=mutant.losses, slant=mutant.slant).violations
        if found and not innocent(mutant, seed):
            return Verdict(name, tried + 1, found[0])
    return Verdict(name, BUDGET, "")


def test_every_planted_bug_is_found(totals: Totals) -> None:
    verdicts = list(spread(hunt, list(MUTANTS)))
    for verdict in verdicts:
        totals.note(f"{verdict.name:40} {verdict.schedules:5}  {verdict.killed_by or 'ALIVE'}"[:140])
    alive = [verdict.name for verdict in verdicts if not verdict.killed_by]
    totals.add(
        "mutants",
        mutants=len(verdicts),
        killed=len(verdicts) - len(alive),
        schedules=sum(verdict.schedules for verdict in verdicts),
        violations=len(alive),
    )
    assert alive == []


@pytest.mark.parametrize("name", sorted(BACKGROUNDS))
def test_the_background_of_a_mutant_breaks_nothing_by_itself(name: str) -> None:
    for seed in range(FIRST, FIRST + 40):
        found = innocent(MUTANTS[name], seed)
        # A Delete that follows a Request which is refused meanwhile names a job that is not known; both come again.
        assert [one for one in found if not one.startswith("R7") and "unknown_job" not in one] == []
