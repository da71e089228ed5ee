"""How soon things go on: a link that was cut, with many jobs on its board; an agent started on many more.

The pause before a lost link is dialled again is drawn by lot in real life, and set to almost nothing here.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks.report import Report, markdown_table
from tests.benchmarks.rounds import Spread
from tests.integration.fault_proxy import FaultProxy
from tests.integration.mesh_process import CHUNK, COUNTING, Mesh, MeshProcess, in_mesh
from tests.integration.test_resume import claimed

BOARD, STORED = 10_000, 100_000
QUICK_BOARD, QUICKLY_STORED = 500, 2_000
REPORTED_S = 0.1
"""A job is reported upstream when it has been at its destination for so long (`report_after_s`)."""
HASTY = "handlers = 1\nredial_s = 0.01\nredial_max_s = 0.01\nhandshakes_burst = 1000"


async def fill(agent: MeshProcess, command: str, many: int) -> list[str]:
    """Put so many jobs, and return the ids of the last ones."""
    ids: list[str] = []
    for first in range(0, many, CHUNK * 4):
        ids = await agent.put([f"{command}{n}.proj.org" for n in range(first, min(first + CHUNK * 4, many))])
    return ids


def test_resume(report: Report, tmp_path: Path) -> None:
    board, stored = (QUICK_BOARD, QUICKLY_STORED) if report.sizes.quick else (BOARD, STORED)
    resumes: list[float] = []
    starts: dict[str, list[float]] = {"stop": [], "SIGKILL": []}

    @in_mesh(300)
    async def cut_links(mesh: Mesh) -> None:
        portal = mesh.make("portal", "portal")
        cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=3_600), limits=HASTY)
        await mesh.invite(portal, "somebody")
        await portal.start()
        async with await portal.calls() as calls:
            address = (await calls.request("info"))["address"]
        async with FaultProxy(address) as wire:
            await mesh.join(cluster, await mesh.invite(portal, "cluster", wire.url))
            await cluster.start()
            await portal.linked_to("cluster")
            ids = await fill(portal, "portal.cluster add_user u", board)
            await claimed(portal, ids[-1])
            for number in range(report.sizes.rounds):
                began = time.perf_counter()
                wire.reset()
                (late,) = await portal.put([f"portal.cluster add_user late{number}.proj.org"])
                await claimed(portal, late)
                resumes.append(time.perf_counter() - began - REPORTED_S)

    @in_mesh(600)
    async def start_again(mesh: Mesh) -> None:
        portal = mesh.make("portal", "portal", limits=f"waiting_jobs = {stored + 1}")
        await mesh.invite(portal, "cluster")
        await portal.start()
        await fill(portal, "portal.cluster add_user u", stored)
        for _ in range(report.sizes.rounds):
            for name, end in (("stop", portal.stop), ("SIGKILL", portal.kill)):
                await end()
                began = time.perf_counter()
                await portal.start()
                starts[name].append(time.perf_counter() - began)

    for folder, scenario in (("cut", cut_links), ("start", start_again)):
        (tmp_path / folder).mkdir()
        scenario(tmp_path / folder)
    resume = Spread(tuple(resumes))
    rows = [[f"from a cut to a new job at the other end, {board:,} unfinished on the board", resume.text(3)]]
    rows += [
        [f"start of the process with {stored:,} jobs in its store, after {name}", Spread(tuple(times)).text(2)]
        for name, times in starts.items()
    ]
    report.section("resume", "Going on", markdown_table(("what", "seconds"), rows))
    report.target("resume", resume.median)
    report.target("start", Spread(tuple(starts["stop"] + starts["SIGKILL"])).median, "process, interpreter included")
