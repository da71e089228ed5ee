"""What a peer that never reads costs the others: the latency of an agent that has thousands of jobs queued for one, by
that of an agent that has none, jobs of both in turn.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from statistics import median

from agents import Agent
from tests.benchmarks.report import Report, markdown_table
from tests.benchmarks.rounds import Spread, ratios, spread_of
from tests.integration.mesh_process import CHUNK, QUICK, Mesh, in_mesh

QUEUED, QUICKLY_QUEUED = 10_000, 500
PATIENT = "ping_s = 300\ndead_s = 900"


async def in_turn(origins: dict[str, Agent], samples: int, name: str) -> dict[str, float]:
    """The median latency, in ms, of jobs of each origin to its own reader, one after the other."""
    times: dict[str, list[float]] = {path: [] for path in origins}
    for n in range(samples):
        for path, origin in origins.items():
            began = time.perf_counter()
            await (await origin.put(f"{path} add_user {name}{n}.proj.{path.partition('.')[0]}")).result()
            times[path].append((time.perf_counter() - began) * 1000)
    return {path: median(one) for path, one in times.items()}


def test_stalled(report: Report, tmp_path: Path) -> None:
    queued = QUICKLY_QUEUED if report.sizes.quick else QUEUED
    found: dict[str, list[float]] = {"free.reader": [], "laden.friend": []}

    @in_mesh(600)
    async def scenario(mesh: Mesh) -> None:
        free, laden = (mesh.make(name, "portal", limits=PATIENT) for name in ("free", "laden"))
        reader, friend, stalled = (
            mesh.make(name, "instance", handlers=QUICK) for name in ("reader", "friend", "stalled")
        )
        for upper, lower in ((free, reader), (laden, friend), (laden, stalled)):
            await mesh.join(lower, await mesh.invite(upper, lower.name))
        await asyncio.gather(*(agent.start() for agent in (reader, friend, stalled)))
        async with Agent.load(free.home) as one, Agent.load(laden.home) as other:
            origins = {"free.reader": one, "laden.friend": other}
            await one.wait_for_peer("reader", timeout=60)
            for name in ("friend", "stalled"):
                await other.wait_for_peer(name, timeout=60)
            await (await other.put("laden.stalled add_user warm.proj.laden")).result(60)
            await in_turn(origins, report.sizes.singles, "warm")
            stalled.send_signal(signal.SIGSTOP)
            for first in range(0, queued, CHUNK):
                await asyncio.gather(
                    *(other.put(f"laden.stalled add_user q{n}.proj.laden") for n in range(first, first + CHUNK))
                )
            for number in range(report.sizes.rounds):
                for path, figure in (await in_turn(origins, report.sizes.singles, f"r{number}x")).items():
                    found[path].append(figure)
            stalled.send_signal(signal.SIGCONT)

    scenario(tmp_path)
    without, beside = (spread_of(found[path]) for path in ("free.reader", "laden.friend"))
    times = ratios(found["laden.friend"], found["free.reader"])
    assert isinstance(without, Spread)
    assert isinstance(beside, Spread)
    assert isinstance(times, Spread)
    rows = [["no such peer", without.text(2)], [f"{queued:,} jobs queued for one", beside.text(2)]]
    report.section("stalled", "Beside a peer that never reads", markdown_table(("agent", "p50, ms"), rows))
    report.target("stalled", times.median, f"rounds from {times.low:.2f} to {times.high:.2f}")
