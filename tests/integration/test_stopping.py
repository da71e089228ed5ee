"""SIGTERM: an agent stops within 5 s, whatever its handlers do, and their jobs run again without blame."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.mesh_process import COUNTING, Mesh, in_mesh

STUBBORN = """
from __future__ import annotations

import asyncio

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent()


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    print("start", context.id, context.attempt, flush=True)
    while context.attempt == 1:
        try:
            await asyncio.sleep(60)
        except BaseException:
            print("I will not stop", flush=True)
    return "done"
"""

pytestmark = pytest.mark.slow


@in_mesh(40)
async def test_sigterm_stops_an_agent_at_work_and_its_jobs_run_again(mesh: Mesh) -> None:
    """Stopped often enough that a crash of each would have made the jobs dead letters."""
    portal = mesh.make("portal", "portal")
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=1.5))
    await mesh.line(portal, cluster)
    ids = await portal.put([f"portal.cluster add_user user{n}.proj.org" for n in range(20)])
    stops = 3
    for stop in range(1, stops + 1):
        await cluster.out.matching("^start", 20 * stop)
        assert await cluster.stop() < 5.0
        await cluster.start()
    jobs = await portal.finished(ids)
    assert Counter(job["state"] for job in jobs) == {"complete": 20}
    assert Counter(job for what, job, _ in cluster.runs if what == "start") == dict.fromkeys(ids, stops + 1)
    # All twenty ran side by side after each stop: nothing was held back as it is after a crash.
    last = cluster.runs[-40:]
    assert [what for what, _, _ in last] == ["start"] * 20 + ["end"] * 20


@in_mesh(40)
async def test_a_handler_that_does_not_let_go_does_not_hold_the_agent(mesh: Mesh) -> None:
    portal = mesh.make("portal", "portal")
    cluster = mesh.make("cluster", "instance", handlers=STUBBORN)
    await mesh.line(portal, cluster)
    ids = await portal.put(["portal.cluster add_user fred.proj.org"])
    await cluster.out.matching(f"^start {ids[0]} 1")
    assert await cluster.stop() < 5.0
    await cluster.start()
    (job,) = await portal.finished(ids)
    assert (job["state"], job["attempt"]) == ("complete", 2)
