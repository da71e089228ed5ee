"""The guard under a websocket: what a stranger, and a peer gone bad, can and cannot do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from mesh.transport import connection
from mesh.transport.admission import ListenerLimits
from mesh.transport.connection import FRAGMENTS, WebsocketConnection, _name_of_size_limit, source_of
from mesh.transport.contract import NOT_BINARY, UNPROVEN, VANISHED, Connection
from mesh.transport.errors import ConnectionLost
from mesh.transport.websocket import WebsocketNetwork
from tests.mesh.transport.raw_socket import SUBPROTOCOL, UPGRADE, RawSocket, raw

Test = Callable[[RawSocket, Connection], Awaitable[None]]


@pytest.fixture
def against(run, monkeypatch):
    """Runs `test(attacker, accepted connection)`; `proven` says whether the victim has authenticated it."""
    monkeypatch.setattr(connection, "CLOSE_S", 0.05)  # attackers do not answer close frames

    async def scene(test: Test, proven: bool) -> None:
        accepted: asyncio.Queue[Connection] = asyncio.Queue()
        done = asyncio.Event()

        async def accept(victim: Connection) -> None:
            if proven:
                victim.authenticated()
            accepted.put_nowait(victim)
            await done.wait()

        network = WebsocketNetwork(ListenerLimits())
        listener = await network.listen("127.0.0.1", 0, accept)
        try:
            async with raw(listener) as attacker:
                assert (await attacker.upgrade()).startswith(b"HTTP/1.1 101 ")
                await test(attacker, await accepted.get())
        finally:
            done.set()
            await listener.close()

    def runner(test: Test, *, proven: bool = False) -> None:
        run(scene(test, proven))

    return runner


async def lost(end: Connection) -> ConnectionLost:
    try:
        while True:
            await end.receive()
    except ConnectionLost as error:
        return error


def test_the_librarys_size_limit_is_where_we_look():
    assert _name_of_size_limit(Protocol(Side.SERVER, max_size=2_048)) in ("max_message_size", "max_size")
    with pytest.raises(RuntimeError, match="size limit"):
        _name_of_size_limit(SimpleNamespace(state=0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peername", "source"),
    [
        (("127.0.0.1", 7), "127.0.0.1"),
        (("::1", 7, 0, 0), "::1"),
        (("::ffff:10.1.2.3", 7, 0, 0), "10.1.2.3"),
        (None, "unknown"),
    ],
)
def test_the_source_is_an_ip_address(peername, source):
    assert source_of(peername) == source


@pytest.mark.parametrize(("proven", "end"), [(False, (UNPROVEN, "")), (True, (NOT_BINARY, "binary messages only"))])
def test_text_ends_the_connection(against, proven, end):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        await attacker.frame(Opcode.TEXT, b"hello")
        error = await lost(victim)
        assert error.reason == "the other side sent text"
        assert await attacker.close_frame() == end

    against(test, proven=proven)


@pytest.mark.parametrize("wrong", [b"\x82\x01x", b"\xf2\x80abcd", b"\x8b\x80abcd", b"\x80\x80abcd"])
def test_what_is_no_websocket_looks_like_any_other_refusal(against, wrong):
    """Not masked; reserved bits; an unknown opcode; a continuation of nothing."""

    async def test(attacker: RawSocket, victim: Connection) -> None:
        await attacker.say(wrong)
        assert await attacker.close_frame() == (UNPROVEN, "")
        error = await lost(victim)
        assert error.close_code == UNPROVEN
        assert error.reason, "our own log is specific"

    against(test)


def test_a_peer_is_told_what_was_wrong_with_a_frame(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        await attacker.say(b"\x82\x01x")
        code, reason = await attacker.close_frame() or (0, "")
        assert code == 1002
        assert reason

    against(test, proven=True)


def test_a_flood_of_tiny_frames_is_dropped_unparsed(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        await attacker.say(b"\x82\x80abcd" * 10_000)
        error = await lost(victim)
        assert error.reason == "too much was sent before authentication"
        assert error.close_code == VANISHED

    against(test)


def test_a_few_messages_too_many_end_it(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        for _ in range(9):
            await attacker.frame(Opcode.BINARY)
        assert (await lost(victim)).reason == "too many messages were sent before authentication"

    against(test)


def test_a_message_in_some_fragments_arrives_whole(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        await attacker.frame(Opcode.BINARY, b"a", fin=False)
        for _ in range(FRAGMENTS - 2):
            await attacker.frame(Opcode.CONT, b"b", fin=False)
        await attacker.frame(Opcode.CONT, b"c")
        assert await victim.receive() == b"a" + b"b" * (FRAGMENTS - 2) + b"c"

    against(test, proven=True)


@pytest.mark.parametrize("early", [0, 1, 2, 3])
def test_fragments_are_handed_over_as_one_message(against, early):
    """Whatever of them came before somebody took each message."""

    async def test(attacker: RawSocket, victim: Connection) -> None:
        parts = [(Opcode.BINARY, b"a", False), (Opcode.CONT, b"b", False), (Opcode.CONT, b"c", True)]
        for opcode, part, fin in parts[:early]:
            await attacker.frame(opcode, part, fin=fin)
        heard: list[bytes] = []
        some = asyncio.Event()

        def take(message: bytes) -> None:
            heard.append(message)
            if message == b"last":
                some.set()

        # What was sent is there before anybody receives.
        while early and not victim._websocket._queued:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        running = asyncio.create_task(victim.receive_each(take))
        await asyncio.sleep(0)
        for opcode, part, fin in parts[early:]:
            await attacker.frame(opcode, part, fin=fin)
        await attacker.frame(Opcode.BINARY, b"last")
        await some.wait()
        assert heard == [b"abc", b"last"]
        running.cancel()
        await asyncio.wait([running])

    against(test, proven=True)


@pytest.mark.parametrize("before", [True, False])
def test_text_is_handed_to_nobody(against, before):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        if before:
            await attacker.frame(Opcode.TEXT, b"hello", fin=False)
            await attacker.frame(Opcode.CONT, b"hello")
        heard: list[bytes] = []
        running = asyncio.create_task(victim.receive_each(heard.append))
        await asyncio.sleep(0)
        if not before:
            await attacker.frame(Opcode.TEXT, b"hello", fin=False)
        with pytest.raises(ConnectionLost, match="the other side sent text"):
            await running
        assert heard == []
        assert await attacker.close_frame() == (NOT_BINARY, "binary messages only")

    against(test, proven=True)


def test_whoever_leaves_in_the_midst_of_a_message_ends_the_connection(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        running = asyncio.create_task(victim.receive_each(lambda _: None))
        await asyncio.sleep(0)
        await attacker.frame(Opcode.BINARY, b"a", fin=False)
        while not victim._websocket._parts:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert (await lost(victim)).reason == "a message was left in the midst of it"

    against(test, proven=True)


@pytest.mark.parametrize("each", [True, False])
def test_a_message_in_endless_fragments_ends_the_connection(against, each):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        ending = asyncio.create_task(victim.receive_each(lambda _: None) if each else victim.receive())
        await asyncio.sleep(0)
        await attacker.frame(Opcode.BINARY, fin=False)
        for _ in range(FRAGMENTS):
            await attacker.frame(Opcode.CONT, fin=False)
        with pytest.raises(ConnectionLost, match="a message came in too many fragments"):
            await ending

    against(test, proven=True)


def test_fragments_count_together_against_the_size(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        await attacker.frame(Opcode.BINARY, bytes(2_000), fin=False)
        await attacker.frame(Opcode.CONT, bytes(100))
        assert await attacker.close_frame() == (UNPROVEN, "")
        assert (await lost(victim)).close_code == UNPROVEN

    against(test)


def test_a_ping_is_answered(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        await attacker.frame(Opcode.PING, b"hello")
        assert await attacker.reader.readexactly(7) == b"\x8a\x05hello"

    against(test)


def test_pings_whose_answers_are_not_read_do_not_fill_memory(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        attacker.writer.transport.pause_reading()
        ping = b"\x89\xfdabcd" + bytes(125)
        await attacker.say_without_end(ping * 1_000)
        error = await lost(victim)
        assert error.reason == "the other side sends and does not read"

    against(test, proven=True)


def test_a_closing_that_the_other_side_ignores_comes_to_an_end(against):
    async def test(attacker: RawSocket, victim: Connection) -> None:
        await attacker.frame(Opcode.BINARY, bytes(5_000))  # too big: the library closes, the attacker stays
        assert (await lost(victim)).close_code == UNPROVEN

    against(test)


def test_small_packets_leave_at_once(run):
    nodelay: list[int] = []

    async def accept(end: Connection) -> None:
        note(end)

    def note(end: Connection) -> None:
        sock = end._websocket.transport.get_extra_info("socket")  # type: ignore[attr-defined]
        nodelay.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def test() -> None:
        network = WebsocketNetwork()
        listener = await network.listen("127.0.0.1", 0, accept)
        client = await network.connect(listener.address, 5)
        note(client)
        await lost(client)
        await listener.close()

    run(test())
    assert len(nodelay) == 2
    assert all(nodelay)


def test_compression_is_declined_though_offered(run):
    async def test() -> None:
        network = WebsocketNetwork()
        listener = await network.listen("127.0.0.1", 0, lost)
        async with raw(listener) as client:
            offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            await client.say(UPGRADE + SUBPROTOCOL + offer)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"deflate" not in head
        await listener.close()

    run(test())


def test_a_socket_error_while_sending_is_an_end(run):
    async def broken(data: bytes) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    async def test() -> None:
        end = WebsocketConnection(SimpleNamespace(send_message=broken), "node")  # type: ignore[arg-type]
        with pytest.raises(ConnectionLost) as caught:
            await end.send(b"x")
        assert caught.value.close_code == VANISHED

    run(test())


def test_the_library_is_the_one_we_build_on():
    """Names the guard uses that the library does not document."""
    for name in ("data_received", "process_event", "connection_lost", "send_data", "drain"):
        assert callable(getattr(ServerConnection, name))
    assert callable(Protocol.fail)
