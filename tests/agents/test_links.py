"""Links that stand: greeting, replacing, closing, and frames that no honest peer sends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.links import MALFORMED, Link
from agents.running import Running
from grammar.identifiers import UserIdentifier
from invitations.joining import psk_for
from mesh.board import Board
from mesh.codec import FramePacker, pack
from mesh.errors import LinkError, SessionError
from mesh.messages import Ack, Bye, CardMessage, Hello, Identify, Message, Ping, Pong, Type, encode, messages_of
from mesh.session import Dialing, Session
from mesh.transport.contract import UNPROVEN, VANISHED, Connection
from mesh.transport.errors import ConnectionLost
from mesh.transport.memory import MemoryConnection
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh

ADD = "portal.cluster add_user fred.proj.org"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialler tries again after 0.1 s: not at once, which would get in the way, and not after half a second."""
    monkeypatch.setattr("agents.peering.random.random", lambda: 0.2)


@dataclass
class Two:
    mesh: Mesh
    portal: Agent
    cluster: Agent
    free: asyncio.Event
    """Set while jobs may end."""

    @property
    def board(self) -> Board:
        """The portal's board of the cluster."""
        return board_of(self.portal.running, "cluster")

    async def works(self) -> None:
        """A job goes through."""
        assert await (await self.portal.put(ADD)).result(10) == "account created"


def board_of(running: Running, name: str) -> Board:
    board = running.engine.board("default", name)
    assert board is not None
    return board


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[Two]:
    async with memory_mesh(folder) as mesh:
        portal, cluster = mesh.agent("portal", kind="portal"), mesh.agent("cluster")

        free = asyncio.Event()
        free.set()

        @cluster.handler
        async def add_user(user: UserIdentifier) -> str:
            await free.wait()
            return "account created"

        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        yield Two(mesh, portal, cluster, free)


async def by_hand(at: Two) -> tuple[Connection, Session]:
    """A second link of the cluster to the portal, made by hand up to the portal's greeting."""
    await at.cluster.running.stepping.settled()
    settings = at.cluster.settings()
    (row,) = at.cluster.running.book.peers
    psk, named = psk_for(row)
    dialing = Dialing(settings.identity.link_key, row.link_public, psk, invitation_id=named, ephemeral=bytes(range(32)))
    connection = await at.mesh.network.host("elsewhere").connect("memory://portal", 1.0)
    await connection.send(dialing.first())
    session = dialing.finish(await connection.receive())
    connection.authenticated()
    card = settings.card(("default",), time.time())
    await connection.send(session.seal(one(Type.IDENTIFY, Identify(card.data, "default"))))
    return connection, session


def one(code: Type, content: Message) -> bytes:
    packer = FramePacker()
    packer.add(encode(code, content))
    (found,) = packer.take()
    return found


async def said(connection: Connection, session: Session, wanted: type[Message]) -> list[Message]:
    """What the other side says up to a message of a type."""
    found: list[Message] = []
    while not any(isinstance(message, wanted) for message in found):
        found += messages_of(session.open(await connection.receive()))
    return found


async def end_of(connection: Connection) -> ConnectionLost:
    try:
        while True:
            await connection.receive()
    except ConnectionLost as lost:
        return lost


@asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[tuple[Two, Connection, Session]]:
    """The portal, and a hand-made link in the name of the cluster, greeted from the portal's side."""
    async with two(folder) as at:
        # The real cluster cannot dial in between.
        at.mesh.network.cut("portal", "cluster")
        connection, session = await by_hand(at)
        await said(connection, session, Identify)
        yield at, connection, session
        connection.abort()


@in_loop
async def test_a_newer_link_replaces_the_older_one_at_once(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        (first,) = at.mesh.hosts["cluster"].dialled
        older = at.portal.running.peering.links._live[at.board.id]
        connection, session = await by_hand(at)
        assert any(isinstance(message, Hello) for message in await said(connection, session, Hello))
        newer = at.portal.running.peering.links._live[at.board.id]
        assert newer is not older
        with pytest.raises(ConnectionLost):
            await older.connection.receive()
        assert not at.board.open, "it is open once the newer one has greeted"
        # The real one comes back, replaces the newer one in its turn, and goes on as before.
        connection.abort()
        await at.works()
        assert first is not at.mesh.hosts["cluster"].dialled[-1]


@in_loop
async def test_a_link_whose_first_message_is_no_greeting_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with alone(tmp_path) as (at, connection, session):
        await connection.send(session.seal(one(Type.PING, Ping(1))))
        await end_of(connection)
        assert "did not greet" in caplog.text
        at.mesh.network.mend("portal", "cluster")
        await at.works()


@pytest.mark.parametrize("frame", [b"\xc1", pack([[99]]), pack([[int(Type.PING)]]), b""], ids=repr)
@in_loop
async def test_a_malformed_frame_closes_the_link(tmp_path: Path, frame: bytes) -> None:
    async with two(tmp_path) as at:
        links = at.cluster.running.peering.links
        link = links._live[board_of(at.cluster.running, "portal").id]
        (connection,) = at.mesh.hosts["cluster"].dialled
        await link.connection.send(link.session.seal(frame))
        async with asyncio.timeout(5):
            await at.cluster.running.peering.until(lambda: not board_of(at.cluster.running, "portal").open)
        assert connection._end is not None
        assert connection._end.code == MALFORMED
        await at.works()


@in_loop
async def test_a_frame_that_does_not_open_closes_the_link(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        link = at.cluster.running.peering.links._live[board_of(at.cluster.running, "portal").id]
        await link.connection.send(bytes(100))
        async with asyncio.timeout(5):
            await at.cluster.running.peering.until(lambda: not board_of(at.cluster.running, "portal").open)
        await at.works()


@in_loop
async def test_what_waits_for_a_link_that_met_a_broken_frame_stops_nobody(tmp_path: Path) -> None:
    """Its session seals nothing more, and an acknowledgement may still wait for the next step."""
    async with two(tmp_path) as at:
        links, board = at.cluster.running.peering.links, board_of(at.cluster.running, "portal")
        link = links._live[board.id]
        links.send({board.id: [encode(Type.ACK, Ack(1, 1, []))]})
        with pytest.raises(SessionError):
            links._received(link, bytes(100))
        assert not board.open
        links.send({})
        links.flush()
        link.connection.abort()
        await at.works()


@in_loop
async def test_a_peer_that_reads_no_more_and_breaks_a_frame_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for room in its socket would wait as long as its kernel answers."""
    monkeypatch.setattr("agents.links.GOODBYE_S", 0.01)
    async with two(tmp_path) as at:
        links, board = at.cluster.running.peering.links, board_of(at.cluster.running, "portal")
        link = links._live[board.id]
        at.mesh.network.stall("cluster", "portal")
        while not links.blocked:
            links.send({board.id: [encode(Type.PING, Ping(1))] * 1_000})
            links.flush()
            await asyncio.sleep(0)
        other = at.portal.running.peering.links._live[at.board.id]
        await other.connection.send(bytes(100))
        async with asyncio.timeout(5):
            await at.cluster.running.peering.until(lambda: not board.open)
            with pytest.raises(ConnectionLost):
                await link.connection.send(b"")
        at.mesh.network.resume("cluster", "portal")
        await at.works()


@in_loop
async def test_nothing_goes_on_a_link_before_its_greeting(tmp_path: Path) -> None:
    """A step that was made for the link before it may be committed when this one has begun."""
    async with two(tmp_path) as at:
        links, board = at.cluster.running.peering.links, board_of(at.cluster.running, "portal")
        link = links._live[board.id]
        assert link.greeted
        link.greeted = False
        links.send({board.id: [encode(Type.PING, Ping(1))]})
        links.pass_ahead(board.id, [encode(Type.PING, Ping(2))])
        links.send_slices(board.id, [encode(Type.PING, Ping(3))])
        assert (link.queue, list(link.slices)) == ([], [])
        link.connection.abort()
        await at.works()


@in_loop
async def test_an_old_frame_said_again_closes_the_link(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        link = at.cluster.running.peering.links._live[board_of(at.cluster.running, "portal").id]
        frame = link.session.seal(one(Type.PING, Ping(1)))
        await link.connection.send(frame)
        await link.connection.send(frame)
        async with asyncio.timeout(5):
            await at.cluster.running.peering.until(lambda: not board_of(at.cluster.running, "portal").open)
        await at.works()


@in_loop
async def test_a_cut_link_comes_back_and_nothing_is_lost(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        at.mesh.network.cut("portal", "cluster")
        jobs = [await at.portal.put(ADD) for _ in range(20)]
        assert not at.board.open
        assert at.portal.running.peering.links.event("cluster", "default").state == "down"
        at.mesh.network.mend("portal", "cluster")
        assert [await job.result(10) for job in jobs] == ["account created"] * 20
        assert at.portal.running.peering.links.event("cluster", "default").state == "up"


@in_loop
async def test_what_is_sent_without_a_link_is_dropped(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        await at.cluster.stop()
        links, board = at.portal.running.peering.links, at.board
        await at.portal.running.peering.until(lambda: not links.is_up(board.id))
        links.send({board.id: [encode(Type.PING, Ping(1))]})
        links.close(board.id, "no link, no word")
        assert not links.is_up(board.id)


def heard_by(running: Running) -> asyncio.Queue[list[str]]:
    """What comes to an agent from now on: the kinds of messages in each frame."""
    frames: asyncio.Queue[list[str]] = asyncio.Queue()
    received = running.engine.received

    def hear(board: Board, messages: list[Message], now_ms: int) -> None:
        frames.put_nowait([type(message).__name__ for message in messages])
        received(board, messages, now_ms)

    running.engine.received = hear  # type: ignore[method-assign]
    return frames


@in_loop
async def test_an_acknowledgement_goes_with_the_end_of_a_quick_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.links.ALONE_S", 60.0)
    async with two(tmp_path) as at:
        await at.works()
        frames = heard_by(at.portal.running)
        for _ in range(3):
            await at.works()
            frame = frames.get_nowait()
            assert (set(frame), frame[-1]) == ({"Ack", "FactMessage"}, "FactMessage")


@in_loop
async def test_an_acknowledgement_does_not_wait_for_the_end_of_a_slow_job(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        at.free.clear()
        frames = heard_by(at.portal.running)
        job = await at.portal.put(ADD)
        async with asyncio.timeout(5):
            while await frames.get() != ["Ack"]:
                continue
        at.free.set()
        assert await job.result(5) == "account created"


@in_loop
async def test_a_closed_link_says_why(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        heard: list[Message] = []
        running = at.cluster.running
        received = running.engine.received

        def hear(board: Board, messages: list[Message], now_ms: int) -> None:
            heard.extend(messages)
            received(board, messages, now_ms)

        running.engine.received = hear  # type: ignore[method-assign]
        at.portal.running.peering.links.close(at.board.id, "too much said" + "!" * 300)
        async with asyncio.timeout(5):
            await running.peering.until(lambda: not board_of(running, "portal").open)
        (bye,) = [message for message in heard if isinstance(message, Bye)]
        assert bye.reason.startswith("too much said")
        assert len(bye.reason) == 200
        assert not at.board.open


@in_loop
async def test_a_clean_stop_says_goodbye(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        link = at.cluster.running.peering.links._live[board_of(at.cluster.running, "portal").id]
        await at.portal.stop()
        with pytest.raises(LinkError) as lost:
            await link.connection.send(b"x")
        assert isinstance(lost.value, ConnectionLost)
        assert lost.value.close_code != VANISHED


@in_loop
async def test_who_never_finishes_the_handshake_is_let_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal", more="[limits]\nhandshake_s = 0.02\n")
        await portal.start()
        connection = await mesh.network.host("elsewhere").connect("memory://portal", 1.0)
        lost = await end_of(connection)
        assert lost.close_code in (UNPROVEN, VANISHED)
        assert "was not finished in time" in caplog.text


@in_loop
async def test_what_comes_on_the_heels_of_the_greeting_is_taken(tmp_path: Path) -> None:
    async with alone(tmp_path) as (_at, connection, session):
        hello = Hello(1, int(time.time() * 1000), [[bytes(8), 1]], 0, None, 0, 0, None)
        packer = FramePacker()
        packer.extend([encode(Type.HELLO, hello), encode(Type.PING, Ping(41))])
        (frame,) = packer.take()
        await connection.send(session.seal(frame))
        found = await said(connection, session, Pong)
        assert Pong(41) in found


@in_loop
async def test_what_a_step_sends_is_written_without_a_turn_of_the_loop(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        links = at.portal.running.peering.links
        link, before = links._live[at.board.id], links.traffic.frames_out
        links.send({at.board.id: [encode(Type.PING, Ping(1)), encode(Type.PING, Ping(2))]})
        assert len(link.queue) == 2, "all that there is goes into one frame"
        links.flush()
        assert links.traffic.frames_out == before + 1
        assert not link.queue
        assert not link.sealed
        await at.works()


@in_loop
async def test_a_link_that_had_no_room_goes_on_where_it_stood(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        links = at.portal.running.peering.links
        async with jammed(at) as link:
            links.send({at.board.id: [encode(Type.PING, Ping(1))]})
            links.flush()
            assert link.queue
        await at.works()
        assert not link.queue
        assert links.is_up(at.board.id)


@in_loop
async def test_a_link_that_is_closed_while_its_greeting_is_taken_opens_no_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became durable meanwhile is carried out before an input, and may close the very link that brought it."""
    async with alone(tmp_path) as (at, connection, session):
        links, stepping = at.portal.running.peering.links, at.portal.running.stepping
        make_room = stepping.make_room

        def close() -> None:
            make_room()
            if links.is_up(at.board.id):
                links.close(at.board.id, "it is revoked, say")

        monkeypatch.setattr(stepping, "make_room", close)
        hello = Hello(1, int(time.time() * 1000), [[bytes(8), 1]], 0, None, 0, 0, None)
        await connection.send(session.seal(one(Type.HELLO, hello)))
        await end_of(connection)
        assert not at.board.open
        monkeypatch.undo()
        at.mesh.network.mend("portal", "cluster")
        await at.works()


@asynccontextmanager
async def jammed(at: Two) -> AsyncIterator[Link]:
    """The portal's link to the cluster, with more in it than the network takes from a side that nobody reads."""
    links = at.portal.running.peering.links
    link = links._live[at.board.id]
    at.mesh.network.stall("portal", "cluster")
    while not link.flushing:
        link.send([encode(Type.CARD, CardMessage(bytes(1_000)))] * 300)
        await at.portal.running.stepping.settled()
    yield link
    at.mesh.network.resume("portal", "cluster")


@in_loop
async def test_a_link_that_nobody_reads_is_cut_after_its_goodbye(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer waits for room for ever; a peer that dials would otherwise never dial again."""
    monkeypatch.setattr("agents.links.GOODBYE_S", 0.02)
    async with two(tmp_path) as at, jammed(at) as link:
        connection = link.connection
        assert isinstance(connection, MemoryConnection)
        over = asyncio.Event()
        connection.on_end = over.set
        at.portal.running.peering.links.close(at.board.id, "nothing heard")
        assert not at.board.open
        await over.wait()
        assert connection._end is not None


@in_loop
async def test_what_is_passed_ahead_does_not_pile_up_on_a_link_without_room(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        links = at.portal.running.peering.links
        async with jammed(at) as link:
            before = len(link.queue)
            assert links.blocked == 1
            links.pass_ahead(at.board.id, [bytes(40_000)] * 1_000)
            assert len(link.queue) == before
            assert links.traffic.passed_over == 1_000
        links.pass_ahead(99, [b"no such link"])
        assert links.traffic.passed_over == 1_000


@in_loop
async def test_who_asks_for_answers_and_does_not_read_them_is_let_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.links.QUEUED", 100)
    async with two(tmp_path) as at, jammed(at) as link:
        links = at.portal.running.peering.links
        while links.is_up(at.board.id):
            at.portal.running.engine.received(at.board, [Ping(1)], int(time.time() * 1000))
            at.portal.running.stepping.poke()
            await at.portal.running.stepping.settled()
        assert len(link.queue) <= 102
        assert "does not read them" in caplog.text


@in_loop
async def test_a_stop_waits_for_nobody_who_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.links.GOODBYE_S", 0.02)
    async with two(tmp_path) as at, jammed(at):
        await at.portal.running.peering.links.close_all()
        assert not at.board.open


@in_loop
async def test_a_dialler_that_does_not_want_the_link_is_heard_and_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with alone(tmp_path) as (at, connection, session):
        await connection.send(session.seal(one(Type.BYE, Bye("your clock is wrong | set it"))))
        await end_of(connection)
        event = at.portal.running.peering.links.event("cluster", "default")
        assert (event.trouble, event.fix) == ('"cluster" refused the link: your clock is wrong', "set it")
        assert event.trouble in caplog.text
