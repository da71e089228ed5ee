"""Peers of a running agent: the port that a first invitation opens, who dials, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.errors import NotKnownYet
from agents.pairing import Wish
from agents.settings import load_settings
from grammar.errors import MeshError
from invitations.errors import InvitationError, PeerError
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialler tries again after 0.05 s."""
    monkeypatch.setattr("agents.peering.random.random", lambda: 0.1)


async def give(mesh: Mesh, inviter: Agent, name: str, url: str = "ws://portal", again: str = "") -> Path:
    path = mesh.folder / f"{name}{again}.invite.toml"
    (await inviter.invite(name, urls=(url,))).save(path)
    return path


@in_loop
async def test_the_first_invitation_opens_a_port_and_keeps_it(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal", listen=None)
        await portal.start()
        home = tmp_path / "portal"
        peering = portal.running.peering
        assert peering.address is None
        first = await portal.invite("cluster")
        assert portal.running.peering.address == "memory://portal"
        listen = load_settings(home).config.agent.listen
        assert listen is not None
        assert listen.startswith("127.0.0.1:")
        assert first.urls == (f"ws://{listen}",)
        second = await portal.invite("bridge")
        assert second.urls == first.urls
        assert load_settings(home).config.agent.listen == listen, "it is picked once"


@in_loop
async def test_two_first_invitations_at_once_open_one_port(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal", listen=None)
        host = mesh.hosts["portal"]
        listen = host.listen
        opened = 0

        async def slowly(*args: object, **named: object) -> object:
            nonlocal opened
            opened += 1
            await asyncio.sleep(0)  # as a real network gives way while it binds
            return await listen(*args, **named)  # type: ignore[arg-type]

        host.listen = slowly  # type: ignore[assignment, method-assign]
        await portal.start()
        one, two = await asyncio.gather(portal.invite("cluster"), portal.invite("bridge"))
        assert opened == 1
        assert one.urls == two.urls


@in_loop
async def test_an_agent_that_only_joins_opens_no_port(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster", listen=None)
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        assert cluster.running.peering.address is None
        assert load_settings(tmp_path / "cluster").config.agent.listen is None
        (there,) = portal.running.peering.listed()
        (here,) = cluster.running.peering.listed()
        assert (there["name"], there["state"], there["dials"]) == ("cluster", "up", "us")
        assert (here["name"], here["state"], here["dials"], here["urls"]) == ("portal", "up", "them", ["ws://portal"])
        assert here["trouble"] is None


@in_loop
async def test_an_invited_agent_is_shown_before_it_came(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        await portal.invite("cluster", urls=("ws://portal",))
        (shown,) = portal.running.peering.listed()
        assert (shown["name"], shown["state"], shown["fingerprint"], shown["words"]) == (
            "cluster",
            "invited",
            None,
            None,
        )


@in_loop
async def test_a_peer_is_not_invited_twice(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        await cluster.stop()
        await cluster.start()
        await portal.wait_for_peer("cluster")
        with pytest.raises(MeshError, match='"cluster" is a peer'):
            await portal.invite("cluster")


@in_loop
async def test_joining_an_invitation_for_another_changes_nothing(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        path = await give(mesh, portal, "bridge")
        for agent in (cluster, portal):
            with pytest.raises(InvitationError):
                await agent.join(path)
        with pytest.raises(MeshError):
            await cluster.join(tmp_path / "nothing.toml")
        assert cluster.running.book.peers == ()
        assert cluster.running.peering.listed() == []


@in_loop
async def test_joining_twice_is_joining_once(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        path = await give(mesh, portal, "cluster")
        first = await cluster.join(path)
        second = await cluster.join(path)
        assert first.key == second.key
        await portal.wait_for_peer("cluster", timeout=5)
        assert len(mesh.hosts["cluster"].dialled) == 1


@in_loop
async def test_a_later_invitation_brings_a_new_address(tmp_path: Path) -> None:
    """The first one named a host that is not there; joining the second has to be enough."""
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        await cluster.join(await give(mesh, portal, "cluster", "ws://nowhere"))
        peering = cluster.running.peering
        async with asyncio.timeout(5):
            await peering.until(lambda: peering.trouble("portal", "default") is not None)
        (shown,) = peering.listed()
        assert "nothing listens there" in shown["trouble"]
        await cluster.join(await give(mesh, portal, "cluster", "ws://portal", again="2"))
        await cluster.wait_for_peer("portal", timeout=0.5)


@in_loop
async def test_peers_find_each_other_again_after_a_restart_of_either(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        for agent, other in ((portal, cluster), (cluster, portal)):
            await agent.stop()
            assert other.name is not None
            await agent.start()
            await agent.wait_for_peer(other.name, timeout=5)


@in_loop
async def test_a_revoked_peer_is_a_stranger_from_then_on(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        (row,) = await portal.running.peering.revoke("cluster")
        assert row.state == "revoked"
        assert not portal.running.peering.is_up("cluster", "default")
        peering = cluster.running.peering
        async with asyncio.timeout(5):
            await peering.until(lambda: "without a word" in (peering.listed()[0]["trouble"] or ""))
        await portal.stop()
        await portal.start()
        assert not portal.running.peering.is_up("cluster", "default")
        with pytest.raises(PeerError):
            await portal.running.peering.revoke("nobody")


@in_loop
async def test_a_revoked_peer_is_shown_as_such(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        await portal.running.peering.revoke("cluster")
        (shown,) = portal.running.peering.listed()
        assert shown["state"] == "revoked"


@in_loop
async def test_who_is_revoked_is_not_dialled_any_more(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        await cluster.running.peering.revoke("portal")
        assert not cluster.running.peering.is_up("portal", "default")
        assert cluster.running.peering._dialers == {}
        async with asyncio.timeout(5):
            await portal.running.peering.until(lambda: not portal.running.peering.is_up("cluster", "default"))
        with pytest.raises(PeerError):
            await cluster.join(mesh.file("cluster"))


@in_loop
async def test_waiting_for_a_peer_has_its_patience(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        with pytest.raises(NotKnownYet, match=r"no link to cluster after 0\.01 s"):
            await portal.wait_for_peer("cluster", timeout=0.01)
        with pytest.raises(NotKnownYet, match="no link to any instance after"):
            await portal.wait_for_peer(kind="instance", timeout=0.01)
        with pytest.raises(NotKnownYet, match="no link to any peer after"):
            await portal.wait_for_peer(timeout=0)


@in_loop
async def test_a_wish_that_is_not_legal_changes_nothing(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        for wish in (Wish("No Name"), Wish("cluster", kind="?"), Wish("cluster", urls=("http://x",))):
            with pytest.raises(MeshError):
                await portal.running.peering.invite(wish)
        assert portal.running.peering.listed() == []
        assert portal.running.book.invitations == ()


@in_loop
async def test_how_soon_a_lost_link_is_dialled_again_can_be_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "hopboard.peers")
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        cluster = mesh.agent("cluster", more="[limits]\nredial_s = 0.03\nredial_max_s = 0.04\n")
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        mesh.network.cut("portal", "cluster")
        async with asyncio.timeout(5):
            await cluster.running.peering.until(lambda: len(pauses(caplog)) >= 4)
    # A tenth of the longest pause each time, as the fixture says.
    assert pauses(caplog)[:4] == pytest.approx([0.003, 0.004, 0.004, 0.004])


def pauses(caplog: pytest.LogCaptureFixture) -> list[float]:
    """The pauses of diallers, in seconds, in their order."""
    return [record.args[1] for record in caplog.records if "again in" in record.msg]  # type: ignore[index, misc]
