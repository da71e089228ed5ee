"""What a peer that never reads costs the others: latency beside 10,000 jobs queued for it, and without it.

Run it by `make bench`; it prints a table and asserts nothing, since these machines are shared.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from agents import Agent
from tests.benchmarks.figures import HEAD, median_ms, row
from tests.integration.mesh_process import CHUNK, QUICK, Mesh, in_mesh

QUEUED, SAMPLES, ROUNDS = 10_000, 150, 4
MOST = 1.10


async def latency(origin: Agent, name: str) -> list[float]:
    """Seconds of jobs to the peer that reads, one at a time."""
    times = []
    for n in range(SAMPLES):
        began = time.perf_counter()
        await (await origin.put(f"portal.other add_user {name}{n}.proj.org")).result()
        times.append(time.perf_counter() - began)
    return times


def test_stalled(tmp_path: Path) -> None:
    @in_mesh(300)
    async def scenario(mesh: Mesh) -> None:
        portal = mesh.make("portal", "portal", limits="ping_s = 300\ndead_s = 900")
        stalled, other = (mesh.make(name, "instance", handlers=QUICK) for name in ("stalled", "other"))
        for peer in (stalled, other):
            await mesh.join(peer, await mesh.invite(portal, peer.name))
        await asyncio.gather(stalled.start(), other.start())
        async with Agent.load(portal.home) as origin:
            for peer in (stalled, other):
                await origin.wait_for_peer(peer.name, timeout=30)
                await (await origin.put(f"portal.{peer.name} add_user warm.proj.org")).result(30)
            await latency(origin, "warm")
            alone = [time for n in range(ROUNDS) for time in await latency(origin, f"alone{n}-")]
            stalled.send_signal(signal.SIGSTOP)
            for first in range(0, QUEUED, CHUNK):
                await asyncio.gather(
                    *(origin.put(f"portal.stalled add_user q{n}.proj.org") for n in range(first, first + CHUNK))
                )
            beside = [time for n in range(ROUNDS) for time in await latency(origin, f"beside{n}-")]
            stalled.send_signal(signal.SIGCONT)
        print(HEAD)
        without, with_it = median_ms(alone), median_ms(beside)
        print(row(f"p50 beside {QUEUED:,} jobs for a peer that never reads", with_it, without * MOST, "ms"))
        print(row("the same as a multiple of the p50 without it", with_it / without, MOST, "times"))

    scenario(tmp_path)
