"""Jobs for a peer that is not there yet: they wait on disk, and run when it comes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.mesh_process import COUNTING, Mesh, in_mesh

pytestmark = pytest.mark.slow


@in_mesh(30)
async def test_jobs_wait_for_a_peer_that_has_never_connected(mesh: Mesh) -> None:
    """The origin is even killed and started again in between; what it had acknowledged is still there."""
    portal = mesh.make("portal", "portal")
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=0))
    await mesh.join(cluster, await mesh.invite(portal, "cluster"))

    await portal.start()
    first = await portal.put([f"portal.cluster add_user early{n}.proj.org" for n in range(50)])
    await portal.kill()
    await portal.start()
    second = await portal.put([f"portal.cluster add_user late{n}.proj.org" for n in range(50)])
    assert Counter(job["state"] for job in await portal.jobs(live=True)) == {"pending": 100}

    await cluster.start()
    jobs = await portal.finished([*first, *second])
    assert Counter(job["state"] for job in jobs) == {"complete": 100}
    assert Counter(job for what, job, _ in cluster.runs if what == "start") == dict.fromkeys([*first, *second], 1)


@in_mesh(30)
async def test_jobs_wait_at_a_hop_for_an_agent_that_is_down(mesh: Mesh) -> None:
    portal, provider = mesh.make("portal", "portal"), mesh.make("provider", "provider")
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=0))
    await mesh.line(portal, provider, cluster)
    (known,) = await portal.finished(await portal.put(["portal.provider.cluster add_user first.proj.org"]))
    assert known["state"] == "complete"

    await cluster.stop()
    ids = await portal.put([f"portal.provider.cluster add_user user{n}.proj.org" for n in range(20)])
    await portal.kill()
    await provider.kill()
    await provider.start()
    await cluster.start()
    await portal.start()
    assert Counter(job["state"] for job in await portal.finished(ids)) == {"complete": 20}
    assert Counter(job for what, job, _ in cluster.runs if what == "start") == dict.fromkeys([known["id"], *ids], 1)
