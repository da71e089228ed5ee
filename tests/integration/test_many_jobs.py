"""One link under load: ten thousand jobs at once, jobs both ways, many putters, and repeated puts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

import pytest

from tests.integration.mesh_process import COUNTING, QUICK, Mesh, MeshProcess, in_mesh

JOBS: Final = 10_000
GROWTH_MIB: Final = 24.0
"""What a round may add to the memory of an agent, once its caches are full, which the first round sees to. Keeping the
finished jobs would take more than this."""

pytestmark = pytest.mark.slow


async def pair(mesh: Mesh, *, both: bool = False, handlers: str = QUICK) -> tuple[MeshProcess, MeshProcess]:
    """A portal and a cluster that are linked; `both` have the handler."""
    portal = mesh.make("portal", "portal", handlers=handlers if both else None)
    cluster = mesh.make("cluster", "instance", handlers=handlers)
    await mesh.line(portal, cluster)
    return portal, cluster


@in_mesh(180)
async def test_ten_thousand_jobs_at_once_complete_and_leave_nothing_in_memory(mesh: Mesh) -> None:
    portal, cluster = await pair(mesh)
    memory = []
    for _ in range(3):
        began = time.monotonic()
        jobs, put = await portal.put_and_wait([f"portal.cluster add_user user{n}.proj.org" for n in range(JOBS)])
        took = time.monotonic() - began
        memory.append((portal.memory_mib(), cluster.memory_mib()))
        print(
            f"{JOBS} jobs durable after {put:.1f} s, complete after {took:.1f} s ({JOBS / took:.0f}/s); "
            f"memory {memory[-1][0]:.0f} and {memory[-1][1]:.0f} MiB"
        )
        assert Counter(job["state"] for job in jobs) == {"complete": JOBS}
        assert len({job["id"] for job in jobs}) == JOBS
    for before, after in zip(*memory[1:], strict=True):
        assert after - before < GROWTH_MIB


@in_mesh(60)
async def test_jobs_travel_both_ways_on_one_link_put_by_many_tasks_at_once(mesh: Mesh) -> None:
    portal, cluster = await pair(mesh, both=True, handlers=COUNTING.format(seconds=0))

    async def put_and_wait(origin: MeshProcess, path: str, n: int) -> list[str]:
        ids = await origin.put([f"{path} add_user task{n}-{i}.proj.{origin.name}" for i in range(10)])
        jobs = await origin.finished(ids)
        assert Counter(job["state"] for job in jobs) == {"complete": 10}, jobs[0]
        return ids

    there, back = await asyncio.gather(
        asyncio.gather(*(put_and_wait(portal, "portal.cluster", n) for n in range(20))),
        asyncio.gather(*(put_and_wait(cluster, "cluster.portal", n) for n in range(20))),
    )
    # Only the destination runs a job, and runs it once.
    for agent, ids in ((cluster, there), (portal, back)):
        ran = Counter(job for what, job, _ in agent.runs if what == "start")
        assert ran == dict.fromkeys([job for some in ids for job in some], 1)


@in_mesh(30)
async def test_a_put_repeated_with_its_key_is_one_job(mesh: Mesh) -> None:
    """Before it ran, while others put the same, after it ended, and after both agents were killed."""
    portal, cluster = await pair(mesh, handlers=COUNTING.format(seconds=0))
    command, key = ["portal.cluster add_user fred.proj.org"], {"keys": ["the-one"]}
    ids = await asyncio.gather(*(portal.put(command, **key) for _ in range(20)))
    (done,) = await portal.finished(ids[0])
    assert done["state"] == "complete"
    ids.append(await portal.put(command, **key))
    await asyncio.gather(portal.kill(), cluster.kill())
    await asyncio.gather(portal.start(), cluster.start())
    await portal.linked_to("cluster")
    ids.append(await portal.put(command, **key))
    (again,) = await portal.finished(ids[-1])

    assert {job for some in ids for job in some} == {done["id"]}
    assert (again["state"], again["version"], again["result"]) == (done["state"], done["version"], done["result"])
    assert cluster.runs == [("start", done["id"], 1), ("end", done["id"], 1)]
    # Without the key the same command is another job.
    (other,) = await portal.put(command)
    assert other != done["id"]
