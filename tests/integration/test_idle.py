"""An agent with nothing to do sleeps: nothing wakes it but news. Counted in wake-ups, not in time."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from tests.integration.mesh_process import COUNTING, Mesh, in_mesh

WINDOW_S: Final = 2.0
"""How long it is watched. What wakes up every tenth of a second, or second, does so in it."""
WAKE_UPS: Final = 1
"""A timer that was set for later may end in the window, once."""
JOBS: Final = 1_000
QUIET: Final = "ping_s = 300\ndead_s = 600"

pytestmark = pytest.mark.slow


@in_mesh(60)
async def test_linked_agents_with_a_thousand_jobs_behind_a_slow_handler_do_not_wake_up(mesh: Mesh) -> None:
    """One handler runs, for longer than anybody watches; the others wait on its slot, and nobody asks for news."""
    portal = mesh.make("portal", "portal", limits=QUIET)
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=3_600), limits=f"{QUIET}\nhandlers = 1")
    await mesh.line(portal, cluster)
    ids = await portal.put([f"portal.cluster add_user user{n}.proj.org" for n in range(JOBS)])
    async with await portal.calls() as calls:
        answer = await calls.request("watch", id=ids[-1])
        job, news = answer["job"], calls.subscription(answer["subscription"])
        while job["state"] not in ("claimed", "running"):
            job = await news.get()
    # What was on its way when the last report came is there after this.
    await asyncio.gather(portal.metrics(), cluster.jobs(live=False))
    await asyncio.sleep(0.5)
    before = portal.times_woken(), cluster.times_woken()
    await asyncio.sleep(WINDOW_S)
    woken = portal.times_woken() - before[0], cluster.times_woken() - before[1]
    print(f"in {WINDOW_S} s the portal was woken {woken[0]} times, the cluster {woken[1]} times")
    assert max(woken) <= WAKE_UPS
