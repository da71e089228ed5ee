"""A link that was cut for a moment: only what changed meanwhile is sent again, however much is on the board."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from agents.calls import Calls
from tests.integration.fault_proxy import FaultProxy
from tests.integration.mesh_process import COUNTING, Mesh, MeshProcess, Record, in_mesh

JOBS, MORE = 10_000, 10
GREETING: Final = 30
"""Messages that a new link may cost beside its records: who, hello, credit, acknowledgements."""
IN: Final = 'messages_total{direction="in"}'
OUT: Final = 'messages_total{direction="out"}'

pytestmark = pytest.mark.slow


async def claimed(portal: MeshProcess, job_id: str) -> None:
    """Wait until the portal knows that the job is at its destination."""
    async with await portal.calls() as calls:
        await until_claimed(calls, job_id)


async def until_claimed(calls: Calls, job_id: str) -> Record:
    answer = await calls.request("watch", id=job_id)
    job: Record = answer["job"]
    news = calls.subscription(answer["subscription"])
    while job["state"] not in ("claimed", "running"):
        job = await news.get()
    return job


@in_mesh(120)
async def test_a_short_cut_of_a_board_with_ten_thousand_jobs_costs_only_what_changed(mesh: Mesh) -> None:
    portal = mesh.make("portal", "portal")
    cluster = mesh.make(
        "cluster",
        "instance",
        handlers=COUNTING.format(seconds=3_600),
        limits="handlers = 1\nredial_s = 0.05\nredial_max_s = 0.1",
    )
    await mesh.invite(portal, "somebody")
    await portal.start()
    async with await portal.calls() as calls:
        address = (await calls.request("info"))["address"]
    async with FaultProxy(address) as wire:
        await mesh.join(cluster, await mesh.invite(portal, "cluster", wire.url))
        await cluster.start()
        await portal.linked_to("cluster")
        ids = await portal.put([f"portal.cluster add_user user{n}.proj.org" for n in range(JOBS)])
        # The cluster reports them in the order in which it claimed them, each once.
        await claimed(portal, ids[-1])
        assert (await portal.metrics())['jobs{state="offered"}'] == JOBS
        await cluster.stop()  # so that everything is acknowledged, both ways
        await cluster.start()
        await portal.linked_to("cluster")
        ids = await portal.put(["portal.cluster add_user one.proj.org"])
        await claimed(portal, ids[-1])

        before = await portal.metrics()
        assert before[OUT] > JOBS
        assert before[IN] > JOBS
        wire.reset()
        await cluster.log.matching("no link to portal")
        more = await portal.put([f"portal.cluster add_user late{n}.proj.org" for n in range(MORE)])
        await asyncio.gather(*(claimed(portal, job_id) for job_id in more))
        after = await portal.metrics()
        assert after["links_total"] == before["links_total"] + 1
        came, went = after[IN] - before[IN], after[OUT] - before[OUT]
        print(f"{JOBS} jobs on the board, {MORE} new ones: {came:.0f} messages came and {went:.0f} went")
        assert went <= MORE + GREETING
        assert came <= MORE + GREETING
        assert after['jobs{state="offered"}'] == JOBS + 1 + MORE
