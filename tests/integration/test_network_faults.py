"""Two agents with a bad wire between them: whatever it does, the link is replaced and no job is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.integration.fault_proxy import BOTH, DOWN, UP, FaultProxy
from tests.integration.mesh_process import COUNTING, MESH, Mesh, MeshProcess, in_mesh

SHORT: Final = "ping_s = 0.3\ndead_s = 1.0\nredial_s = 0.05\nredial_max_s = 0.1\nhandshakes_burst = 1000"
"""Limits with which a silent link is given up after a second."""
JOBS: Final = 40
GROWTH_MIB: Final = 16.0
IDLE_STEPS: Final = 200
"""Steps of an agent's loop while it waits for a link that does not come: far above what signs of life and dialling
take, far below what an agent does that never rests."""

pytestmark = pytest.mark.slow


class Ends(NamedTuple):
    """Two agents and the wire between them."""

    portal: MeshProcess
    cluster: MeshProcess
    wire: FaultProxy


@asynccontextmanager
async def wired(mesh: Mesh) -> AsyncIterator[Ends]:
    """A cluster that dials a portal through a wire, and the link up."""
    portal = mesh.make("portal", "portal", limits=SHORT)
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=0), limits=SHORT)
    await mesh.invite(portal, "somebody")  # the first invitation makes it choose its port
    await portal.start()
    async with await portal.calls() as calls:
        address = (await calls.request("info"))["address"]
    async with FaultProxy(address) as wire:
        await mesh.join(cluster, await mesh.invite(portal, "cluster", wire.url))
        await cluster.start()
        await asyncio.gather(portal.linked_to("cluster"), cluster.linked_to("portal"))
        yield Ends(portal, cluster, wire)


async def put(portal: MeshProcess, name: str) -> list[str]:
    return await portal.put([f"portal.cluster add_user {name}{n}.proj.org" for n in range(JOBS)])


class Fault(NamedTuple):
    """What the wire does, what an agent logs when it has noticed, and whether a new link must come of it."""

    name: str
    strike: Callable[[FaultProxy], None]
    noticed_by: str = ""
    noticed_as: str = ""
    replaced: bool = True


DEAD: Final = "nothing heard for"
FAULTS: Final = (
    Fault("delay", lambda wire: wire.slow(delay_s=0.05), replaced=False),
    Fault("bandwidth", lambda wire: wire.slow(bytes_per_s=60_000), replaced=False),
    Fault("a byte a second", lambda wire: wire.slow(bytes_per_s=1), "cluster", DEAD),
    Fault("reset", lambda wire: wire.reset(), "cluster", "no link to portal"),
    Fault("cut", lambda wire: wire.cut(), "cluster", "no link to portal"),
    Fault("nothing up", lambda wire: wire.silence(UP), "portal", DEAD),
    Fault("nothing down", lambda wire: wire.silence(DOWN), "cluster", DEAD),
    Fault("nothing at all", lambda wire: wire.silence(*BOTH), "cluster", DEAD),
    Fault("read no more", lambda wire: wire.block(*BOTH), "portal", DEAD),
)


@in_mesh(90)
async def test_no_job_is_lost_or_doubled_whatever_the_wire_does(mesh: Mesh) -> None:
    """Each fault strikes between two heaps of jobs, is noticed, and heals."""
    async with wired(mesh) as (portal, cluster, wire):
        ids = await put(portal, "before")
        await portal.finished(ids)
        memory = portal.memory_mib(), cluster.memory_mib()
        for number, fault in enumerate(FAULTS):
            links = (await portal.metrics())["links_total"]
            seen = {agent.name: len(agent.log.lines) for agent in (portal, cluster)}
            early = await put(portal, f"early{number}x")
            fault.strike(wire)
            late = await put(portal, f"late{number}x")
            if fault.noticed_by:
                log, before = (portal if fault.noticed_by == "portal" else cluster).log, seen[fault.noticed_by]
                expected = fault.noticed_as
                await log.until(lambda lines, b=before, e=expected: any(e in line for line in lines[b:]))
            else:
                await portal.finished([*early, *late])
            wire.heal()
            # Those before may all have come through in what the wire let pass; these need a link that was not given up.
            healed = await put(portal, f"healed{number}x")
            done = await portal.finished([*early, *late, *healed])
            assert Counter(job["state"] for job in done) == {"complete": 3 * JOBS}, fault.name
            more = (await portal.metrics())["links_total"] - links
            # A machine that stands still for a second loses a link by that alone.
            assert more >= (1 if fault.replaced else 0), fault.name
            ids += [*early, *late, *healed]
        for agent, before_mib in zip((portal, cluster), memory, strict=True):
            assert agent.memory_mib() - before_mib < GROWTH_MIB
        assert Counter(job for what, job, _ in cluster.runs if what == "start") == dict.fromkeys(ids, 1)


@in_mesh(40)
async def test_a_host_that_vanished_without_a_word_is_replaced_when_it_dials_again(mesh: Mesh) -> None:
    """Neither FIN nor RST: the portal still holds the old link when the new one comes, and takes that at once."""
    limits = SHORT.replace("dead_s = 1.0", "dead_s = 600").replace("ping_s = 0.3", "ping_s = 300")
    portal = mesh.make("portal", "portal", limits=limits)
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=0), limits=limits)
    await mesh.invite(portal, "somebody")
    await portal.start()
    async with await portal.calls() as calls:
        address = (await calls.request("info"))["address"]
    async with FaultProxy(address) as wire:
        await mesh.join(cluster, await mesh.invite(portal, "cluster", wire.url))
        await cluster.start()
        await portal.linked_to("cluster")
        wire.vanish()
        await cluster.kill()
        ids = await put(portal, "waiting")
        await cluster.start()
        done = await portal.finished(ids)
        assert Counter(job["state"] for job in done) == {"complete": JOBS}
        assert (await portal.metrics())["links_total"] == 2
    assert Counter(job for what, job, _ in cluster.runs if what == "start") == dict.fromkeys(ids, 1)


@in_mesh(40)
async def test_a_peer_that_sends_and_never_hears_is_given_up_by_what_it_hears(mesh: Mesh) -> None:
    """Everything that the cluster sends arrives and is acknowledged by the kernel; it hears nothing back."""
    async with wired(mesh) as (portal, cluster, wire):
        began = len(portal.log.lines)
        wire.silence(DOWN)
        await cluster.log.matching(DEAD)
        assert not any(DEAD in line for line in portal.log.lines[began:]), "the portal heard the cluster all the time"
        wire.heal()
        done = await portal.finished(await put(portal, "after"))
        assert Counter(job["state"] for job in done) == {"complete": JOBS}


@in_mesh(40)
async def test_an_agent_that_is_accepted_and_never_answered_rests(mesh: Mesh) -> None:
    """Counted in steps of the agents' loops and in times that their threads were woken, not in time."""
    async with wired(mesh) as (portal, cluster, wire):
        wire.mute = True
        wire.reset()
        await cluster.log.matching("no link to portal")
        steps, woken = (await portal.metrics())["steps_total"], cluster.times_woken()
        ids = await put(portal, "waiting")
        # Time is what this is about: three times the silence after which a link is given up.
        await asyncio.sleep(3.0)
        assert (await portal.metrics())["steps_total"] - steps < IDLE_STEPS
        assert cluster.times_woken() - woken < IDLE_STEPS
        wire.heal()
        done = await portal.finished(ids)
        assert Counter(job["state"] for job in done) == {"complete": JOBS}


@in_mesh(40)
async def test_a_connection_made_twice_with_the_same_bytes_is_one_link(mesh: Mesh) -> None:
    """Whoever repeats what the dialler says, from its first byte on, gets no link, and disturbs none."""
    async with wired(mesh) as (portal, cluster, wire):
        wire.doubled = True
        wire.reset()
        await portal.linked_to("cluster")
        ids = await put(portal, "twice")
        done = await portal.finished(ids)
        assert Counter(job["state"] for job in done) == {"complete": JOBS}
        await portal.log.matching("a frame does not open")
        found = await portal.metrics()
        assert (found["links_total"], found["links"], found["links_refused_total"]) == (2, 1, 1)
        assert wire.shadows_ended == 1
    assert Counter(job for what, job, _ in cluster.runs if what == "start") == dict.fromkeys(ids, 1)


# -- a cable of the kernel's own ------------------------------------------------------------------------------------


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them: `NAME-a` has 10.213.7.1, `NAME-b` has 10.213.7.2."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the command ip")
    name = f"hop{os.getpid()}"
    one, other = f"{name}a", f"{name}b"
    try:
        ip("netns", "add", one)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel or container gives no network namespaces: {error.stderr.decode().strip()}")
    try:
        ip("netns", "add", other)
        ip("-n", one, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", other)
        for namespace, address in ((one, "10.213.7.1/24"), (other, "10.213.7.2/24")):
            ip("-n", namespace, "address", "add", address, "dev", "cable")
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", "cable", "up")
        yield one, other
    finally:
        for namespace in (one, other):
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)


def test_a_cable_that_is_pulled_and_put_back(two_hosts: tuple[str, str], tmp_path: Path) -> None:
    """On a link of the kernel's: what is sent meanwhile is lost, and no end is told."""
    one, other = two_hosts

    @in_mesh(60)
    async def scenario(mesh: Mesh) -> None:
        portal = mesh.make(
            "portal", "portal", limits=SHORT, listen="10.213.7.1:7000", program=("ip", "netns", "exec", one, *MESH)
        )
        cluster = mesh.make(
            "cluster",
            "instance",
            handlers=COUNTING.format(seconds=0),
            limits=SHORT,
            program=("ip", "netns", "exec", other, *MESH),
        )
        await mesh.line(portal, cluster)
        ids = await portal.finished(await put(portal, "before"))
        for pull in range(2):
            early = await put(portal, f"early{pull}x")
            ip("-n", one, "link", "set", "cable", "down")
            late = await put(portal, f"late{pull}x")
            await portal.log.matching(DEAD, pull + 1)
            ip("-n", one, "link", "set", "cable", "up")
            ids += await portal.finished([*early, *late])
        assert Counter(job["state"] for job in ids) == {"complete": 5 * JOBS}
        runs = Counter(job for what, job, _ in cluster.runs if what == "start")
        assert runs == dict.fromkeys([job["id"] for job in ids], 1)

    scenario(tmp_path)
