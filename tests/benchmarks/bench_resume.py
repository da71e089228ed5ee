"""How soon things go on: a link that was cut, with 10,000 jobs on its board; an agent started on 100,000 jobs.

Run it by `make bench`; it prints a table and asserts nothing, since these machines are shared. The pause before a lost
link is dialled again is drawn by lot in real life, and set to almost nothing here.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks.figures import HEAD, row
from tests.integration.fault_proxy import FaultProxy
from tests.integration.mesh_process import CHUNK, COUNTING, Mesh, MeshProcess, in_mesh
from tests.integration.test_resume import claimed

BOARD, CUTS, STORED = 10_000, 5, 100_000
RESUME_S, START_S = 1.0, 2.0


async def fill(agent: MeshProcess, command: str, many: int) -> list[str]:
    """Put so many jobs, and return the ids of the last ones."""
    ids: list[str] = []
    for first in range(0, many, CHUNK * 4):
        ids = await agent.put([f"{command}{n}.proj.org" for n in range(first, min(first + CHUNK * 4, many))])
    return ids


def test_resume(tmp_path: Path) -> None:
    @in_mesh(300)
    async def scenario(mesh: Mesh) -> None:
        portal = mesh.make("portal", "portal")
        limits = "handlers = 1\nredial_s = 0.01\nredial_max_s = 0.01\nhandshakes_burst = 1000"
        cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=3_600), limits=limits)
        await mesh.invite(portal, "somebody")
        await portal.start()
        async with await portal.calls() as calls:
            address = (await calls.request("info"))["address"]
        async with FaultProxy(address) as wire:
            await mesh.join(cluster, await mesh.invite(portal, "cluster", wire.url))
            await cluster.start()
            await portal.linked_to("cluster")
            ids = await fill(portal, "portal.cluster add_user u", BOARD)
            await claimed(portal, ids[-1])
            times = []
            for cut in range(CUTS):
                began = time.perf_counter()
                wire.reset()
                (late,) = await portal.put([f"portal.cluster add_user late{cut}.proj.org"])
                await claimed(portal, late)
                # It is reported when it has been there for so long.
                times.append(time.perf_counter() - began - 0.1)
        print(HEAD)
        times.sort()
        print(row(f"from a cut to a new job at the other end, {BOARD:,} on the board", times[CUTS // 2], RESUME_S, "s"))

    scenario(tmp_path)


def test_start(tmp_path: Path) -> None:
    @in_mesh(600)
    async def scenario(mesh: Mesh) -> None:
        portal = mesh.make("portal", "portal", limits=f"waiting_jobs = {STORED + 1}")
        await mesh.invite(portal, "cluster")
        await portal.start()
        await fill(portal, "portal.cluster add_user u", STORED)
        times = []
        for way in (portal.stop, portal.kill, portal.stop):
            await way()
            began = time.perf_counter()
            await portal.start()
            times.append(time.perf_counter() - began)
        print(HEAD)
        print(row(f"start of the process on {STORED:,} unfinished jobs", min(times), START_S, "s"))
        print(row("the same after SIGKILL", times[1], START_S, "s"))

    scenario(tmp_path)
