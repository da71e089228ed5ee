"""A peer that stands still with its socket open, and thousands of jobs for it: it costs disk, and nobody else."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Final

import pytest

from tests.integration.fault_proxy import FaultProxy
from tests.integration.mesh_process import CHUNK, COUNTING, QUICK, Mesh, MeshProcess, in_mesh

FIRST, JOBS, OTHERS, STUCK = 4_000, 10_000, 200, 4_000
GROWTH_MIB: Final = 16.0
"""What ten thousand queued jobs may add to memory: room between objects. Keeping the jobs would take twice that."""
WINDOW_RECORDS: Final = 256
WINDOW_BYTES: Final = 131_072
BESIDE: Final = 16_384
"""Bytes that may be written to a link beside its window: seals, signs of life, one record more."""
PATIENT: Final = "ping_s = 300\ndead_s = 600\nresident_jobs = 512\n"

pytestmark = pytest.mark.slow


async def queue(portal: MeshProcess, name: str, many: int) -> list[str]:
    """Put so many jobs for the peer that stands still, some hundreds at a time: they are not to be in memory at once
    while they are put, either."""
    ids: list[str] = []
    for first in range(0, many, CHUNK):
        ids += await portal.put([f"portal.stalled add_user {name}{n}.proj.org" for n in range(first, first + CHUNK)])
    return ids


@in_mesh(120)
async def test_ten_thousand_jobs_for_a_peer_that_never_reads_cost_disk_and_not_memory(mesh: Mesh) -> None:
    """The bounds of memory are set low, so that they are reached at once; then memory has to stay where it is."""
    limits = PATIENT + f"window_records = {WINDOW_RECORDS}\nwindow_bytes = {WINDOW_BYTES}\n"
    portal = mesh.make("portal", "portal", limits=limits)
    stalled = mesh.make("stalled", "instance", handlers=QUICK)
    other = mesh.make("other", "instance", handlers=COUNTING.format(seconds=0))
    await mesh.join(other, await mesh.invite(portal, "other"))
    await mesh.line(portal, stalled)
    await other.start()
    await portal.linked_to("other")
    # Both ways of a job are known once one has gone them.
    warm = await portal.put(["portal.stalled add_user warm.proj.org", "portal.other add_user warm.proj.org"])
    await portal.finished(warm)

    stalled.send_signal(signal.SIGSTOP)
    sent = (await portal.metrics())['frame_bytes_total{direction="out"}']
    ids = await queue(portal, "first", FIRST)
    memory = portal.memory_mib()
    ids += await queue(portal, "user", JOBS)
    grown = portal.memory_mib() - memory
    found = await portal.metrics()
    written = found['frame_bytes_total{direction="out"}'] - sent
    print(f"memory grew by {grown:.1f} MiB, {written:.0f} bytes were written to the peer that does not read")
    assert grown < GROWTH_MIB
    assert written <= WINDOW_BYTES + BESIDE
    assert 0 < found["window_records"] <= WINDOW_RECORDS
    assert found["window_bytes"] <= WINDOW_BYTES + BESIDE
    assert found["queued_messages"] <= WINDOW_RECORDS

    # Nobody else is held up.
    jobs, _ = await portal.put_and_wait([f"portal.other add_user user{n}.proj.org" for n in range(OTHERS)])
    assert Counter(job["state"] for job in jobs) == {"complete": OTHERS}
    still = await portal.metrics()
    assert still["window_records"] == found["window_records"], "the other peer has read and acknowledged everything"

    # Nor does a stop wait for it: the agent says goodbye to who reads, and ends by itself.
    await portal.stop()
    stalled.send_signal(signal.SIGCONT)
    await portal.start()
    done = await portal.finished(ids)
    assert Counter(job["state"] for job in done) == {"complete": FIRST + JOBS}


@in_mesh(60)
async def test_an_agent_dials_again_though_what_it_wrote_is_stuck_in_a_dead_link(mesh: Mesh) -> None:
    """The host of its peer has vanished, and its socket is full: it gives the link up by what it hears, and does not
    wait for what it wrote."""
    limits = "ping_s = 1.0\ndead_s = 5.0\nredial_s = 0.05\nredial_max_s = 0.1\nwindow_bytes = 16777216\n"
    portal = mesh.make("portal", "portal", limits=limits)
    store = mesh.make("store", "instance", handlers=COUNTING.format(seconds=0), limits=limits)
    await mesh.invite(store, "somebody")
    await store.start()
    async with await store.calls() as calls:
        address = (await calls.request("info"))["address"]
    async with FaultProxy(address) as wire:
        await mesh.join(portal, await mesh.invite(store, "portal", wire.url))
        await mesh.invite(portal, "nobody")  # which gives it a port, and so its numbers
        await portal.start()
        await portal.linked_to("store")
        warm = await portal.put(["portal.store add_user warm.proj.org"])
        await portal.finished(warm)
        wire.vanish()
        # More than kernels take between two sockets on one machine.
        filler = "x" * 1_500
        ids = await portal.put([f"portal.store add_user {filler}{n}.proj.org" for n in range(STUCK)])
        assert (await portal.metrics())["links_blocked"] == 1, "its socket is full"
        await portal.log.matching("nothing heard for")
        done = await portal.finished(ids)
    assert Counter(job["state"] for job in done) == {"complete": STUCK}
    assert Counter(job for what, job, _ in store.runs if what == "start") == dict.fromkeys([*warm, *ids], 1)
