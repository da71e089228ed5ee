"""Five real agents under load, in a chain and in a tree, killed, paused and restarted: one, some, all.

`MESH_TEST_KILLS` says how many SIGKILLs each of them gets, `MESH_TEST_SEED` repeats a plan; both are printed.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.integration.chaos import SETTLE_S, Chaos
from tests.integration.chaos_history import Answer, violations
from tests.integration.mesh_process import Mesh, in_mesh

KILLS: Final = int(os.environ.get("MESH_TEST_KILLS", "10"))
SEED: Final = int(os.environ.get("MESH_TEST_SEED", "20260101"))

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shape", ["chain", "tree"])
def test_no_promise_is_broken_whoever_is_struck_when(shape: str, tmp_path: Path) -> None:
    @in_mesh(60 + SETTLE_S + 5 * KILLS)
    async def scenario(mesh: Mesh) -> None:
        print(f"shape={shape} seed={SEED}")
        history = await Chaos(mesh, shape, seed=SEED, kills=KILLS).run()
        found = violations(history)
        tally = history.tally()
        print(*found, sep="\n")
        print("states:", dict(Counter(view.state for shown in history.final.values() for view in shown.values())))
        print("answers:", dict(Counter(f"{one.kind} {one.answer}" for one in history.operations)))
        print(*(f"{name}={number}" for name, number in tally.items()), f"violations={len(found)}")
        assert found == []
        assert tally["kills"] >= KILLS
        # The run was worth it: callers were answered, and some were not.
        answers = Counter(one.answer for one in history.operations)
        assert answers[Answer.OK] > 10 * KILLS

    scenario(tmp_path)
