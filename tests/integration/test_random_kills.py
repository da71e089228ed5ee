"""Agents are killed at random moments while jobs arrive, and the history is checked afterwards.

The moments come from a seed, so that a run can be repeated, though not to the microsecond. `MESH_TEST_KILLS=200` makes
it a soak.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Final

import pytest

from tests.integration.mesh_process import COUNTING, Mesh, MeshProcess, in_mesh

PATH: Final = "waldur.brics.notebook.shared"
KILLS: Final = int(os.environ.get("MESH_TEST_KILLS", "5"))
BATCH: Final = 50

pytestmark = pytest.mark.slow


@in_mesh(60 + 10 * KILLS)
async def test_every_job_ends_once_whoever_dies_when(mesh: Mesh) -> None:
    chance = random.Random(20_260_101)
    agents = (
        mesh.make("waldur", "portal"),
        mesh.make("brics", "provider"),
        mesh.make("notebook", "platform"),
        mesh.make("shared", "instance", handlers=COUNTING.format(seconds=0.05)),
    )
    waldur, *_, shared = agents
    await mesh.line(*agents)

    ids: list[str] = []
    deaths = Counter[str]()
    for round_ in range(KILLS):
        ids += await waldur.put([f"{PATH} add_user user{round_}-{n}.proj.org" for n in range(BATCH)])
        await asyncio.sleep(chance.uniform(0.0, 0.1))
        victims: list[MeshProcess] = chance.sample(agents, chance.choice((1, 1, 2, 4)))
        deaths.update(agent.name for agent in victims)
        await asyncio.gather(*(agent.kill() for agent in victims))
        await asyncio.gather(*(agent.start() for agent in victims))
    print("deaths:", dict(deaths))

    jobs = await waldur.finished(ids)
    assert Counter(job["state"] for job in jobs) == {"complete": len(ids)}

    starts = Counter(job for what, job, _ in shared.runs if what == "start")
    ends = Counter(job for what, job, _ in shared.runs if what == "end")
    assert set(starts) == set(ids) == set(ends)
    # A job runs again only where its destination died, at most once for each time it did.
    assert max(starts.values()) <= 1 + deaths["shared"]
    attempts = [(job, attempt) for what, job, attempt in shared.runs if what == "start"]
    assert len(set(attempts)) == len(attempts), "no attempt ever runs twice"

    # Everyone agrees on the end, and nobody has anything left to do.
    ends_at_origin = {job["id"]: (job["state"], job["version"], job["result"]) for job in jobs}
    for agent in agents:
        told = await agent.finished([job["id"] for job in await agent.jobs()])
        assert {job["id"] for job in told} <= set(ids)
        assert [job for job in told if (job["state"], job["version"], job["result"]) != ends_at_origin[job["id"]]] == []
        assert await agent.jobs(live=True) == []
