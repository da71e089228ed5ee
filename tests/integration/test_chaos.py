"""Five real agents under load, in a chain and in a tree, killed, paused and restarted: one, some, all.

`CHAOS_KILLS` says how many SIGKILLs there are over both, `CHAOS_FIRST` which seed is the first; a round that fails
names its own.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.integration.chaos import LINKS, SETTLE_S, Chaos
from tests.integration.chaos_history import Answer, History, story, violations
from tests.integration.mesh_process import Mesh, in_mesh
from tests.totals import Totals, number

KILLS: Final = number("CHAOS_KILLS", 20)
FIRST: Final = number("CHAOS_FIRST", 1)
JOB: Final = re.compile("[0-9a-f]{52}")
ROUND: Final = 25
"""Kills of one mesh; after that a new one is made, with the next seed."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shape", LINKS)
def test_no_promise_is_broken_whoever_is_struck_when(shape: str, tmp_path: Path, totals: Totals) -> None:
    wanted = KILLS // len(LINKS)
    total: Counter[str] = Counter()
    answers: Counter[Answer] = Counter()
    seed = FIRST
    while total["kills"] < wanted:
        print(f"{shape}: CHAOS_FIRST={seed}", dict(total), flush=True)
        history = one_round(shape, seed, min(ROUND, wanted - total["kills"]), tmp_path / str(seed))
        found = violations(history)
        answers.update(one.answer for one in history.operations)
        total.update(history.tally())
        totals.add("chaos", **history.tally(), violations=len(found))
        for sentence in found:
            print(sentence, *(line for job in JOB.findall(sentence) for line in story(history, job)), sep="\n")
        assert found == [], f"CHAOS_FIRST={seed} repeats the plan"
        shutil.rmtree(tmp_path / str(seed))
        seed += 1
    # The run was worth it: callers were answered, many times between two kills.
    assert answers[Answer.OK] > 5 * wanted


def one_round(shape: str, seed: int, kills: int, folder: Path) -> History:
    """What happened to a mesh of its own that was struck so many times."""
    made: list[History] = []

    @in_mesh(60 + SETTLE_S + 10 * kills)
    async def scenario(mesh: Mesh) -> None:
        made.append(await Chaos(mesh, shape, seed=seed, kills=kills).run())

    folder.mkdir()
    scenario(folder)
    return made[0]
