"""The beginning of a connection: whom it lets in, what it pins, and what it tells whom it does not let in."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.handshake import REFUSED, Handshake, PeerRefused
from agents.pairing import accept
from invitations.card import Card, make_card
from invitations.identity import Identity
from invitations.joining import psk_for
from invitations.peers import InvitationRow, PeerBook, PeerRow
from mesh.codec import FramePacker, pack
from mesh.errors import CodecError, LinkError, MessageError
from mesh.messages import Bye, Identify, Message, Ping, Type, encode, messages_of
from mesh.session import Answering, Dialing, Session
from mesh.transport.contract import UNPROVEN, Connection
from mesh.transport.errors import ConnectionLost
from mesh.transport.memory import MemoryConnection
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh


def frame(*messages: tuple[Type, Message]) -> bytes:
    packer = FramePacker()
    packer.extend([encode(code, content) for code, content in messages])
    (found,) = packer.take()
    return found


def identify(identity: Identity, name: str = "cluster", kind: str = "custom", zone: str = "default") -> bytes:
    card = make_card(identity, name=name, kind=kind, zones=(zone,), serial=1, now=time.time() - 1)
    return frame((Type.IDENTIFY, Identify(card.data, zone)))


async def invited(mesh: Mesh, portal: Agent, *, kind: str | None = None) -> tuple[Agent, PeerRow]:
    """An agent `cluster` that does not run, and the row it would dial with."""
    cluster = mesh.agent("cluster")
    (await portal.invite("cluster", kind=kind, urls=("ws://portal",))).save(mesh.file("cluster"))
    return cluster, accept(cluster.settings(), PeerBook(), mesh.file("cluster"), time.time())


def invitation_of(portal: Agent) -> InvitationRow:
    (row,) = portal.running.book.invitations
    return row


async def begin(
    mesh: Mesh, row: PeerRow, identity: Identity, *, psk: bytes | None = None
) -> tuple[MemoryConnection, Session]:
    """Dial the portal and go through the Noise handshake by hand."""
    key, named = psk_for(row)
    dialing = Dialing(identity.link_key, row.link_public, psk or key, invitation_id=named, ephemeral=bytes(range(32)))
    connection = await mesh.network.host("elsewhere").connect("memory://portal", 1.0)
    await connection.send(dialing.first())
    session = dialing.finish(await connection.receive())
    connection.authenticated()
    return connection, session


async def answer_of(connection: Connection, session: Session) -> tuple[list[Message], int]:
    """What the other side says until it closes, and the code it closes with."""
    found: list[Message] = []
    try:
        while True:
            found += messages_of(session.open(await connection.receive()))
    except ConnectionLost as lost:
        return found, lost.close_code


@in_loop
async def test_pairing_burns_the_secret_and_pins_one_key(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        cluster, row = await invited(mesh, portal)
        mine = cluster.settings().identity
        connection, session = await begin(mesh, row, mine)
        await connection.send(session.seal(identify(mine)))
        (answer, *_) = messages_of(session.open(await connection.receive()))
        assert isinstance(answer, Identify)
        assert Card.parse(answer.card).name == "portal"
        # It is answered after the commit: what the store holds now is what is pinned.
        assert portal._store is not None
        (pinned,) = portal._store.peers()
        assert (pinned.fingerprint, pinned.name, pinned.pair_key) == (mine.fingerprint, "cluster", session.pair_key)
        assert (invitation_of(portal).state, invitation_of(portal).secret) == ("used", None)
        connection.abort()


@in_loop
async def test_a_used_invitation_is_worthless_to_another_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        before = portal.running.book.peers
        row = accept(cluster.settings(), PeerBook(), mesh.file("cluster"), time.time())
        thief = Identity.generate(lambda size: bytes(range(size)))
        with pytest.raises(ConnectionLost) as lost:
            await begin(mesh, row, thief)
        assert (lost.value.close_code, lost.value.reason) == (UNPROVEN, ""), "a thief is told nothing"
        assert "somebody has a copy of the file" in caplog.text
        assert portal.running.book.peers == before
        assert invitation_of(portal).failures == 1
        assert cluster.running.peering.is_up("portal", "default")


@in_loop
async def test_an_unknown_key_is_told_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, other = mesh.agent("portal"), mesh.agent("other")
        await portal.start()
        await other.start()
        _cluster, row = await invited(mesh, portal)
        await other.invite("cluster")
        connection = await mesh.network.host("elsewhere").connect("memory://portal", 1.0)
        stranger = Identity.generate(lambda size: bytes(range(size)))
        dialing = Dialing(
            stranger.link_key, row.link_public, bytes(32), invitation_id=bytes(16), ephemeral=bytes(range(32))
        )
        await connection.send(dialing.first())
        with pytest.raises(ConnectionLost) as lost:
            await connection.receive()
        assert (lost.value.close_code, lost.value.reason) == (UNPROVEN, "")
        assert "unknown key" in caplog.text
        assert invitation_of(portal).failures == 0


@in_loop
async def test_bytes_that_are_no_handshake_are_told_nothing(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        for message in (b"", b"GET / HTTP/1.1", bytes(200), pack([1])):
            connection = await mesh.network.host("elsewhere").connect("memory://portal", 1.0)
            await connection.send(message)
            with pytest.raises(ConnectionLost) as lost:
                await connection.receive()
            assert (lost.value.close_code, lost.value.reason) == (UNPROVEN, "")


@in_loop
async def test_naming_an_invitation_without_its_secret_is_counted(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        cluster, row = await invited(mesh, portal)
        mine = cluster.settings().identity
        with pytest.raises(LinkError):
            await begin(mesh, row, mine, psk=bytes(32))
        # The answer did not open; a dialler that goes on regardless sends what does not open there.
        _key, named = psk_for(row)
        dialing = Dialing(mine.link_key, row.link_public, bytes(32), invitation_id=named, ephemeral=bytes(range(32)))
        connection = await mesh.network.host("elsewhere").connect("memory://portal", 1.0)
        await connection.send(dialing.first())
        await connection.receive()
        await connection.send(bytes(64))
        with pytest.raises(ConnectionLost) as lost:
            await connection.receive()
        assert (lost.value.close_code, lost.value.reason) == (UNPROVEN, "")
        assert (invitation_of(portal).failures, invitation_of(portal).state) == (1, "open")


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ({"name": "fred"}, '"fred"'),
        ({"zone": "other"}, '"other"'),
        ({"kind": "bridge"}, '"bridge"'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@in_loop
async def test_who_proved_the_secret_is_told_by_name_what_is_wrong(
    tmp_path: Path, claim: dict[str, str], told: str
) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        cluster, row = await invited(mesh, portal, kind="custom")
        mine = cluster.settings().identity
        connection, session = await begin(mesh, row, mine)
        await connection.send(session.seal(identify(mine, **claim)))
        said, code = await answer_of(connection, session)
        (bye,) = said
        assert isinstance(bye, Bye)
        assert told in bye.reason
        assert " | " in bye.reason, "cause and fix"
        assert code == REFUSED
        assert portal.running.book.peers == ()
        assert invitation_of(portal).state == "open"
        # The right agent still gets in.
        await cluster.start()
        await cluster.join(mesh.file("cluster"))
        await cluster.wait_for_peer("portal")


@in_loop
async def test_who_does_not_say_who_it_is_is_not_admitted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        cluster, row = await invited(mesh, portal)
        mine = cluster.settings().identity
        for first in (frame((Type.PING, Ping(1))), frame((Type.BYE, Bye("no")))):
            connection, session = await begin(mesh, row, mine)
            await connection.send(session.seal(first))
            said, code = await answer_of(connection, session)
            assert (said, code) == ([], UNPROVEN)
        assert "did not say who it is" in caplog.text
        assert portal.running.book.peers == ()


@in_loop
async def test_a_card_of_another_key_is_refused(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        cluster, row = await invited(mesh, portal)
        connection, session = await begin(mesh, row, cluster.settings().identity)
        other = Identity.generate(lambda size: bytes(range(size)))
        await connection.send(session.seal(identify(other)))
        said, code = await answer_of(connection, session)
        assert [type(message) for message in said] == [Bye]
        assert code == REFUSED
        assert portal.running.book.peers == ()


async def answered_by(mesh: Mesh, portal: Agent, cluster: Agent, row: PeerRow, first: bytes) -> LinkError:
    """Dial, as `cluster`, somebody who holds the portal's key and says `first`; how the dial ends."""
    identity = portal.settings().identity
    said: list[Message] = []

    async def impostor(connection: Connection) -> None:
        answering = Answering(identity.link_key, bytes(range(32)))
        answering.read(await connection.receive())
        psk, _ = psk_for(row)
        message, session = answering.answer(psk)
        await connection.send(message)
        session.open(await connection.receive())
        connection.authenticated()
        await connection.send(session.seal(first))
        said.extend((await answer_of(connection, session))[0])

    listener = await mesh.network.host("impostor").listen("", 0, impostor)
    connection = await mesh.network.host("cluster").connect("memory://impostor", 1.0)
    with pytest.raises(LinkError) as failed:
        await Handshake(cluster.running).dial(row, connection)
    connection.abort()
    await listener.close()
    return failed.value


@in_loop
async def test_the_dialler_looks_at_who_answers(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        cluster, row = await invited(mesh, portal)
        await cluster.start()
        key = portal.settings().identity
        for first, expected, words in (
            (identify(key, "fred"), PeerRefused, "fred"),
            (identify(key, "portal", zone="other"), PeerRefused, "other"),
            (identify(Identity.generate(lambda size: bytes(range(size))), "portal"), PeerRefused, "portal"),
            (frame((Type.IDENTIFY, Identify(b"no card", "default"))), PeerRefused, "card"),
            (frame((Type.BYE, Bye("no room | come later"))), PeerRefused, '"portal" refused the link: no room'),
            (frame((Type.PING, Ping(1))), MessageError, "did not say who it is"),
            (b"\xc1", CodecError, ""),
        ):
            error = await answered_by(mesh, portal, cluster, row, first)
            assert type(error) is expected, error
            assert words in error.message
            assert cluster.running.book.peers == (), "nothing is pinned"


@in_loop
async def test_a_refusal_without_a_word_is_explained_as_well_as_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()
        cluster, row = await invited(mesh, portal)
        invitation = portal.running.book.revoked_invitation(row.invitation_id or b"")
        portal.running.book.keep_invitation(invitation)
        await cluster.start()
        await cluster.join(mesh.file("cluster"))
        peering = cluster.running.peering
        async with asyncio.timeout(5):
            await peering.until(lambda: peering.trouble("portal", "default") is not None)
        trouble = peering.trouble("portal", "default")
        assert isinstance(trouble, PeerRefused)
        assert "the invitation is expired, revoked or used" in trouble.message
        assert 'read the log of "portal"' in trouble.fix
