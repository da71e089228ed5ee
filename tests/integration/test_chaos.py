"""Five real agents under load, in a chain and in a tree, killed, paused and restarted: one, some, all.

`MESH_TEST_KILLS` says how many SIGKILLs each of the two gets, `MESH_TEST_SEED` which plan is the first; a round that
fails names the seed of its own.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.integration.chaos import SETTLE_S, Chaos
from tests.integration.chaos_history import Answer, History, violations
from tests.integration.mesh_process import Mesh, in_mesh

KILLS: Final = int(os.environ.get("MESH_TEST_KILLS", "10"))
ROUND: Final = 25
"""Kills of one mesh; after that a new one is made, with the next seed."""
SEED: Final = int(os.environ.get("MESH_TEST_SEED", "20260101"))

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shape", ["chain", "tree"])
def test_no_promise_is_broken_whoever_is_struck_when(shape: str, tmp_path: Path) -> None:
    total: Counter[str] = Counter()
    answers: Counter[Answer] = Counter()
    while total["kills"] < KILLS:
        seed = SEED + total["rounds"]
        history = one_round(shape, seed, min(ROUND, KILLS - total["kills"]), tmp_path / str(seed))
        found = violations(history)
        answers.update(one.answer for one in history.operations)
        total.update({**history.tally(), "rounds": 1, "violations": len(found)})
        print(f"shape={shape} seed={seed}", line_of(total), flush=True)
        assert found == [], f"MESH_TEST_SEED={seed} repeats the plan"
        shutil.rmtree(tmp_path / str(seed))
    print(line_of(total))
    # The run was worth it: callers were answered, many times between two kills.
    assert answers[Answer.OK] > 5 * KILLS


def one_round(shape: str, seed: int, kills: int, folder: Path) -> History:
    """A mesh of its own, struck so many times."""
    made: list[History] = []

    @in_mesh(60 + SETTLE_S + 10 * kills)
    async def scenario(mesh: Mesh) -> None:
        made.append(await Chaos(mesh, shape, seed=seed, kills=kills).run())

    folder.mkdir()
    scenario(folder)
    return made[0]


def line_of(total: Counter[str]) -> str:
    """The closing line."""
    names = ("kills", "stops", "restarts", "jobs", "violations")
    return " ".join(f"{name}={total[name]}" for name in names)
