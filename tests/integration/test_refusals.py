"""Who must not be let in is refused: one clear line in the refusing side's log, an error with a fix on the other."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.pairing import accept, keep_address
from agents.settings import load_settings, make_home
from invitations.files import write_private
from invitations.identity import Identity, save_identity
from invitations.invitation import make_invitation
from invitations.peers import InvitationRow, PeerBook, PeerRow
from mesh.storage.reader import SqliteReader
from tests.integration.mesh_process import Mesh, MeshProcess, Record, in_mesh, run_mesh

pytestmark = pytest.mark.slow


async def refused(portal: MeshProcess, cluster: MeshProcess, line: str) -> Record:
    """Wait until `portal` has logged `line` of a refusal, and `cluster` the end of its attempt; what it shows then."""
    (logged,) = {text.partition(" ")[2] for text in await portal.log.matching("link refused")}
    assert line in logged
    assert "fix=" in logged
    said = await cluster.log.matching("no link to portal: .*(refused|no answer).*fix=")
    assert said
    code, answer, remarks = await run_mesh("-C", cluster.home, "peers", cwd=cluster.home)
    assert (code, "portal" in answer) == (0, True)
    assert "fix: " in remarks
    async with await cluster.calls() as calls:
        (peer,) = await calls.request("peers")
    assert peer["state"] != "up"
    return dict(peer)


async def change(home: Path, act: Callable[[Agent], object]) -> None:
    """Open an agent's folder for a moment, while no process runs it."""
    async with Agent.load(home) as agent:
        act(agent)
        await agent.running.stepping.settled()


@in_mesh(30)
async def test_a_key_that_is_not_the_one_that_was_pinned(mesh: Mesh) -> None:
    portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance")
    await mesh.line(portal, cluster)
    await cluster.stop()
    # A store belongs to one key: a thief of the peer book has to make one of his own.
    with SqliteReader(cluster.home / "store.sqlite") as store:
        (row,) = store.peers()
    for file in (*cluster.home.glob("store.sqlite*"), cluster.home / "identity.toml"):
        file.unlink()
    save_identity(cluster.home / "identity.toml", Identity.generate(os.urandom))
    await change(cluster.home, lambda agent: pair(agent, row))
    await cluster.start()
    peer = await refused(portal, cluster, "an unknown key")
    assert "this agent's key is unknown there or revoked" in peer["trouble"]


@in_mesh(30)
async def test_another_zone_than_the_one_it_was_invited_to(mesh: Mesh) -> None:
    """An agent that has read its invitation as one for another zone."""
    portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance")
    invitation = await mesh.invite(portal, "cluster")
    row = replace(accepted(cluster.home, invitation), zone="other")
    await change(cluster.home, lambda agent: pair(agent, row))
    await asyncio.gather(portal.start(), cluster.start())
    peer = await refused(portal, cluster, 'is invited as zone "default" says it has zone "other"')
    assert 'zone "default"' in peer["trouble"]


@in_mesh(30)
async def test_an_invitation_for_another_zone_is_not_accepted(mesh: Mesh) -> None:
    make_home(mesh.root / "elsewhere", "cluster", kind="instance", zone="other")
    portal = mesh.make("portal", "portal")
    invitation = await mesh.invite(portal, "cluster")
    code, answer, remarks = await run_mesh("-C", mesh.root / "elsewhere", "join", invitation, cwd=mesh.root)
    assert (code, answer) == (2, "")
    assert 'the invitation is for zone "default", and this agent has zone "other"' in remarks
    assert "fix: " in remarks


@in_mesh(30)
async def test_an_invitation_that_was_used(mesh: Mesh) -> None:
    """Somebody has a copy of the file: it is worth nothing, and the theft is seen."""
    portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance")
    thief = mesh.make("cluster", "instance", folder="thief")
    invitation = await mesh.invite(portal, "cluster")
    copy = mesh.root / "copy.toml"
    write_private(copy, invitation.read_text())
    await mesh.join(cluster, invitation)
    await asyncio.gather(portal.start(), cluster.start())
    await portal.linked_to("cluster")

    await thief.start()
    code, answer, remarks = await run_mesh("-C", thief.home, "join", copy, cwd=mesh.root)
    assert (code, answer) == (4, "")
    assert "used by another agent" in remarks
    assert "fix: " in remarks
    await refused(portal, thief, 'the invitation for "cluster" was used, and now another key brings it')
    # Nothing changed for the one that used it first.
    await cluster.linked_to("portal")


@in_mesh(30)
async def test_an_invitation_that_has_expired(mesh: Mesh) -> None:
    """Accepted in time, and brought too late; and one that is too old when it is read."""
    portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance")
    now, life = time.time(), 2
    settings = load_settings(portal.home)
    invitation = make_invitation(
        settings.identity,
        settings.card(("default",), now - 10),
        urls=(f"ws://{keep_address(settings)}",),
        name="cluster",
        zone="default",
        now=now,
        random=os.urandom,
        life_s=life,
    )
    path = mesh.root / "short.invite.toml"
    write_private(path, invitation.to_toml())
    await change(portal.home, lambda agent: expect(agent, InvitationRow.opened(invitation)))
    await mesh.join(cluster, path)
    await asyncio.sleep(max(0.0, now + life + 1 - time.time()))
    await asyncio.gather(portal.start(), cluster.start())
    peer = await refused(portal, cluster, 'the invitation for "cluster" has expired')
    assert "the invitation is expired, revoked or used by another agent" in peer["trouble"]

    make_home(mesh.root / "late", "cluster", kind="instance")
    code, _, remarks = await run_mesh("-C", mesh.root / "late", "join", path, cwd=mesh.root)
    assert code == 2
    assert "expired at" in remarks
    assert "fix: " in remarks


@in_mesh(30)
async def test_a_peer_that_was_revoked(mesh: Mesh) -> None:
    portal, cluster = mesh.make("portal", "portal"), mesh.make("cluster", "instance")
    await mesh.line(portal, cluster)
    await portal.stop()
    async with Agent.load(portal.home) as agent:
        await agent.running.peering.revoke("cluster")
    await portal.start()
    peer = await refused(portal, cluster, 'the key of "cluster"')
    assert "revoked" in peer["trouble"]


def accepted(home: Path, invitation: Path) -> PeerRow:
    """The row that an agent without peers makes of an invitation."""
    return accept(load_settings(home), PeerBook(), invitation, time.time())


def pair(agent: Agent, row: PeerRow) -> None:
    agent.running.book.keep(row)
    agent.running.engine.pair(row)


def expect(agent: Agent, row: InvitationRow) -> None:
    agent.running.book.keep_invitation(row)
    agent.running.engine.expect(row)
