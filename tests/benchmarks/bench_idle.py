"""What waiting costs: processor time and wake-ups of an agent with jobs behind a slow handler, and of a linked one with
nothing to do; and how soon a job put through the local door is back, since nothing on its way waits for a timer.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median

from tests.benchmarks.report import Report, markdown_table
from tests.integration.mesh_process import COUNTING, QUICK, Mesh, MeshProcess, in_mesh

JOBS, HANDLER_S, SETTLE_S = 1_000, 0.1, 1.0
WATCHED_S, QUICKLY_WATCHED_S = 20.0, 1.0


async def watched(agent: MeshProcess, seconds: float) -> tuple[float, float]:
    """Percent of one processor, and wake-ups a second, over the next seconds."""
    cpu_s, woken, began = agent.cpu_s(), agent.times_woken(), time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    return 100 * (agent.cpu_s() - cpu_s) / took, (agent.times_woken() - woken) / took


def test_idle(report: Report, tmp_path: Path) -> None:
    seconds = QUICKLY_WATCHED_S if report.sizes.quick else WATCHED_S
    rows: list[list[str]] = []

    @in_mesh(180)
    async def waiting(mesh: Mesh) -> None:
        portal = mesh.make("portal", "portal")
        slow = COUNTING.format(seconds=HANDLER_S)
        cluster = mesh.make("cluster", "instance", handlers=slow, limits="handlers = 1")
        await mesh.line(portal, cluster)
        await asyncio.sleep(SETTLE_S)
        percent, woken = await watched(cluster, seconds)
        rows.append(["linked, nothing to do", f"{percent:.1f}", f"{woken:.2f}", ""])
        report.target("idle-wakes", woken)
        await portal.put([f"portal.cluster add_user u{n}.proj.org" for n in range(JOBS)])
        await cluster.out.matching("^end", 5)
        done = len(cluster.runs)
        percent, woken = await watched(cluster, seconds)
        rate = (len(cluster.runs) - done) / 2 / seconds
        behind = f"{JOBS:,} jobs behind a handler of {HANDLER_S * 1000:g} ms"
        rows.append([behind, f"{percent:.1f}", f"{woken:.0f}", f"{rate:.1f}"])
        report.target("idle-processor", percent)

    @in_mesh(120)
    async def through_the_door(mesh: Mesh) -> None:
        portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance", handlers=QUICK)
        await mesh.line(portal, cluster)
        times = []
        async with await portal.calls() as calls:
            for n in range(report.sizes.singles):
                began = time.perf_counter()
                put = await calls.request("put", command=f"portal.cluster add_user u{n}.proj.org", follow="end")
                await calls.subscription(put["subscription"]).get()
                times.append((time.perf_counter() - began) * 1000)
        report.target("door", median(times))

    for folder, scenario in (("waiting", waiting), ("door", through_the_door)):
        (tmp_path / folder).mkdir()
        scenario(tmp_path / folder)
    heads = ("an agent that waits", "% of a processor", "wake-ups a second", "jobs a second")
    report.section("idle", "Waiting", markdown_table(heads, rows))
