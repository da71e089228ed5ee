"""Four agents in a line: one record on six boards, and what is left of it when agents are killed."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from typing import Final

import pytest

from tests.integration.mesh_process import COUNTING, Mesh, MeshProcess, in_mesh, run_mesh

PATH: Final = "waldur.brics.notebook.shared"
JOBS: Final = 200
JOB_S: Final = float(os.environ.get("MESH_TEST_JOB_S", "1"))
"""How long each job takes. Three times as much shows the same, three times as slowly."""

pytestmark = pytest.mark.slow


def four(mesh: Mesh, *, slots: int = 256) -> tuple[MeshProcess, MeshProcess, MeshProcess, MeshProcess]:
    """The four agents of the path; `slots` handlers may run at once at the last."""
    return (
        mesh.make("waldur", "portal"),
        mesh.make("brics", "provider"),
        mesh.make("notebook", "platform"),
        mesh.make("shared", "instance", handlers=COUNTING.format(seconds=JOB_S), limits=f"handlers = {slots}"),
    )


@in_mesh(30)
async def test_a_running_job_is_on_six_boards_under_one_id(mesh: Mesh) -> None:
    agents = four(mesh)
    waldur, _, _, shared = agents
    await mesh.line(*agents)
    (job_id,) = await waldur.put([f"{PATH} add_user fred.proj.org"])
    await shared.out.matching(f"^start {job_id} 1")

    boards = []
    for agent in agents:
        code, answer, _ = await run_mesh("-C", agent.home, "jobs", "--json", cwd=mesh.root)
        assert code == 0
        (job,) = map(json.loads, answer.splitlines())
        assert job["id"] == job_id
        assert job["path"] == PATH.split(".")
        boards += [(agent.name, peer) for peer in job["boards"]]
    assert sorted(boards) == sorted(
        [
            ("waldur", "brics"),
            ("brics", "waldur"),
            ("brics", "notebook"),
            ("notebook", "brics"),
            ("notebook", "shared"),
            ("shared", "notebook"),
        ]
    )

    (done,) = await waldur.finished([job_id])
    assert (done["state"], done["result"]) == ("complete", "shared added fred.proj.org")
    assert [what for what, _, _ in shared.runs] == ["start", "end"]


@in_mesh(120)
async def test_jobs_in_flight_survive_sigkill_of_a_hop_then_the_destination_then_everyone(mesh: Mesh) -> None:
    """Half of the jobs run at a time, so that each kill finds some that ended, some that run and some that wait."""
    agents = four(mesh, slots=JOBS // 2)
    waldur, _, notebook, shared = agents
    await mesh.line(*agents)
    ids = await waldur.put([f"{PATH} add_user user{n}.proj.org" for n in range(JOBS)])

    # A hop dies: nobody notices but its neighbours.
    await shared.out.matching("^start", JOBS // 2)
    await notebook.kill()
    await notebook.start()
    await shared.out.matching("^start", JOBS)
    assert Counter(job for what, job, _ in shared.runs if what == "start") == dict.fromkeys(ids, 1)

    # The destination dies with half of its jobs done and half of them running.
    await shared.kill()
    ended = {job for what, job, _ in shared.runs if what == "end"}
    interrupted = {job for what, job, _ in shared.runs if what == "start"} - ended
    assert len(interrupted) == JOBS // 2
    lines = len(shared.out.lines)
    await shared.start()
    await shared.out.until(lambda said: any(line.startswith("start") for line in said[lines:]))

    # Everyone dies at once, while the destination runs a first few of those again.
    await asyncio.gather(*(agent.kill() for agent in agents))
    ended |= {job for what, job, _ in shared.runs if what == "end"}
    twice = Counter(job for what, job, _ in shared.runs if what == "start")
    assert {job for job, count in twice.items() if count > 1} <= interrupted
    again = {job for job, count in twice.items() if count > 1} - ended
    assert again
    await asyncio.gather(*(agent.start() for agent in agents))

    jobs = await waldur.finished(ids)
    assert Counter(job["state"] for job in jobs) == {"complete": JOBS}
    assert [job["result"] for job in jobs] == [f"shared added user{n}.proj.org" for n in range(JOBS)]

    starts = Counter(job for what, job, _ in shared.runs if what == "start")
    assert set(starts) == set(ids)
    expected = {job: 1 + (job in interrupted) + (job in again) for job in ids}
    assert starts == expected, "only what ran at the destination when it died ran again"
    assert await waldur.jobs(live=True) == []


@in_mesh(60)
async def test_killing_every_agent_but_the_destination_runs_no_job_twice(mesh: Mesh) -> None:
    agents = four(mesh)
    waldur, brics, notebook, shared = agents
    await mesh.line(*agents)
    ids = await waldur.put([f"{PATH} add_user user{n}.proj.org" for n in range(JOBS)])
    await shared.out.matching("^start", JOBS)
    hops = (waldur, brics, notebook)
    await asyncio.gather(*(agent.kill() for agent in hops))
    await asyncio.gather(*(agent.start() for agent in hops))
    jobs = await waldur.finished(ids)
    assert Counter(job["state"] for job in jobs) == {"complete": JOBS}
    assert Counter(job for what, job, _ in shared.runs if what == "start") == dict.fromkeys(ids, 1)
