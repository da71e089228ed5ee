"""Throughput and latency over one and three hops: real processes, durable, signed, encrypted.

The origin runs in this process, so that what is timed is put to result and nothing of the local door. Run it by
`make bench`; it prints a table and asserts nothing, since these machines are shared.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import pytest

from agents import Agent
from tests.integration.mesh_process import QUICK, Mesh, in_mesh

NAMES = ("waldur", "brics", "notebook", "shared")
SINGLE, MANY, OUTSTANDING = 300, 6_000, 1_000


async def measure(origin: Agent, path: str) -> str:
    """One row of the table for `path`."""
    times = []
    for n in range(SINGLE):
        began = time.perf_counter()
        await (await origin.put(f"{path} add_user one{n}.proj.org")).result()
        times.append((time.perf_counter() - began) * 1000)

    async def lane(first: int) -> None:
        for n in range(first, MANY, OUTSTANDING):
            await (await origin.put(f"{path} add_user many{n}.proj.org")).result()

    began = time.perf_counter()
    await asyncio.gather(*(lane(first) for first in range(OUTSTANDING)))
    rate = MANY / (time.perf_counter() - began)
    times.sort()
    hops = path.count(".")
    return (
        f"| {hops} | {statistics.median(times):.2f} | {times[int(len(times) * 0.95)]:.2f} "
        f"| {times[int(len(times) * 0.99)]:.2f} | {rate:,.0f} |"
    )


@pytest.mark.parametrize("hops", [1, 3])
def test_hops(hops: int, tmp_path: Path) -> None:
    names = (NAMES[0], *NAMES[-hops:])

    @in_mesh(120)
    async def scenario(mesh: Mesh) -> None:
        agents = [mesh.make(name, "custom", handlers=QUICK if name == names[-1] else None) for name in names]
        await mesh.line(*agents)
        await agents[0].stop()
        async with Agent.load(agents[0].home) as origin:
            await origin.wait_for_peer(names[1], timeout=30)
            await (await origin.put(f"{'.'.join(names)} add_user first.proj.org")).result(30)
            row = await measure(origin, ".".join(names))
        print("\n| hops | p50 ms | p95 ms | p99 ms | jobs/s, 1,000 outstanding |\n|---|---|---|---|---|\n" + row)

    scenario(tmp_path)
