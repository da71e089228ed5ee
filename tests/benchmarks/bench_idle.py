"""What waiting costs: processor time and wake-ups of an agent with 1,000 jobs behind a slow handler, and of one with
nothing to do; and how soon a job put through the local door is back, since nothing on its way waits for a timer.

Run it by `make bench`; it prints a table and asserts nothing, since these machines are shared.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.benchmarks.figures import HEAD, median_ms, row
from tests.integration.mesh_process import COUNTING, QUICK, Mesh, MeshProcess, in_mesh

JOBS, HANDLER_S, WATCHED_S = 1_000, 0.1, 10.0
CPU_PERCENT, IDLE_WAKES = 5.0, 1.0
ROUND_TRIPS, ROUND_TRIP_MS = 300, 50.0


async def watched(agent: MeshProcess) -> tuple[float, float]:
    """Percent of one processor, and wake-ups a second, over the next seconds."""
    cpu_s, woken, began = agent.cpu_s(), agent.times_woken(), time.perf_counter()
    await asyncio.sleep(WATCHED_S)
    took = time.perf_counter() - began
    return 100 * (agent.cpu_s() - cpu_s) / took, (agent.times_woken() - woken) / took


def test_idle(tmp_path: Path) -> None:
    @in_mesh(180)
    async def scenario(mesh: Mesh) -> None:
        portal = mesh.make("portal", "portal")
        slow = COUNTING.format(seconds=HANDLER_S)
        cluster = mesh.make("cluster", "instance", handlers=slow, limits="handlers = 1")
        await mesh.line(portal, cluster)
        percent, woken = await watched(cluster)
        print(HEAD)
        print(row("processor of an agent with nothing to do", percent, CPU_PERCENT, "%"))
        print(row("its wake-ups", woken, IDLE_WAKES, "/s"))
        await portal.put([f"portal.cluster add_user u{n}.proj.org" for n in range(JOBS)])
        await cluster.out.matching("^end", 5)
        ended = len(cluster.runs)
        percent, woken = await watched(cluster)
        done = (len(cluster.runs) - ended) / 2
        print(
            row(f"processor with {JOBS:,} jobs behind a handler of {HANDLER_S * 1000:g} ms", percent, CPU_PERCENT, "%")
        )
        print(f"\nIt did {done / WATCHED_S:.1f} jobs and was woken {woken:.0f} times a second meanwhile.")

    scenario(tmp_path)


def test_door(tmp_path: Path) -> None:
    @in_mesh(120)
    async def scenario(mesh: Mesh) -> None:
        portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance", handlers=QUICK)
        await mesh.line(portal, cluster)
        times = []
        async with await portal.calls() as calls:
            for n in range(ROUND_TRIPS):
                began = time.perf_counter()
                put = await calls.request("put", command=f"portal.cluster add_user u{n}.proj.org", follow="end")
                await calls.subscription(put["subscription"]).get()
                times.append(time.perf_counter() - began)
        print(HEAD)
        print(row("p50 of a job through the local door", median_ms(times), ROUND_TRIP_MS, "ms"))

    scenario(tmp_path)
