"""The transport's contract, run on every implementation of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest

from mesh.limits import FRAME_BYTES, Limits
from mesh.transport import accepting, connection
from mesh.transport.contract import (
    GOING_AWAY,
    INTERNAL,
    MESSAGE_BYTES,
    NORMAL,
    PREAUTH_BYTES,
    PREAUTH_MESSAGES,
    UNPROVEN,
    VANISHED,
    Connection,
)
from mesh.transport.errors import ConnectionLost, DialFailed, ListenFailed

Pair = tuple[Connection, Connection]


def test_sizes_are_those_of_the_limits():
    assert Limits().preauth_bytes == PREAUTH_BYTES
    assert MESSAGE_BYTES == FRAME_BYTES + 16


async def connected(site, test: Callable[[Connection, Connection], Awaitable[None]], *, proven: bool = True):
    """Runs `test(client, server)` on the two ends of one connection."""
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    done = asyncio.Event()

    async def accept(server: Connection) -> None:
        accepted.put_nowait(server)
        await done.wait()

    listener, dial = await site.listen(accept)
    client = await dial()
    server = await accepted.get()
    if proven:
        client.authenticated()
        server.authenticated()
    try:
        await test(client, server)
    finally:
        done.set()
        await client.close()
        await listener.close()


def on_pair(*, proven: bool = True):
    """Makes a test of a coroutine that takes the two ends of a connection."""

    def decorate(test):
        def wrapper(site):
            site.run(connected(site, test, proven=proven))

        wrapper.__name__ = test.__name__
        wrapper.__doc__ = test.__doc__
        return wrapper

    return decorate


async def lost(end: Connection) -> ConnectionLost:
    try:
        while True:
            await end.receive()
    except ConnectionLost as error:
        return error


@on_pair()
async def test_messages_arrive_whole_and_in_order(client, server):
    messages = [b"", b"a", bytes(200), b"x" * MESSAGE_BYTES, b"last"]
    for one, other in ((client, server), (server, client)):
        for message in messages:
            await one.send(message)
        assert [await other.receive() for _ in messages] == messages


@on_pair()
async def test_what_is_too_long_to_send_is_a_bug(client, server):
    with pytest.raises(AssertionError):
        await client.send(bytes(MESSAGE_BYTES + 1))


@on_pair()
async def test_overlapping_sends_leave_in_the_order_of_their_calls(client, server):
    messages = [bytes([n]) * 50_000 for n in range(60)]

    async def send_all() -> None:
        async with asyncio.TaskGroup() as group:
            for message in messages:
                group.create_task(client.send(message))

    async with asyncio.TaskGroup() as group:
        group.create_task(send_all())
        assert [await server.receive() for _ in messages] == messages


@on_pair()
async def test_a_cancelled_receive_loses_nothing(client, server):
    for n in range(50):
        waiting = asyncio.ensure_future(server.receive())
        await asyncio.sleep(0)
        await client.send(bytes([n]))
        if n % 2:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        got = await server.receive() if waiting.cancelled() else waiting.result()
        assert got == bytes([n])


def receiving(end: Connection, take: Callable[[bytes], None]) -> asyncio.Task[NoReturn]:
    return asyncio.create_task(end.receive_each(take))


@on_pair()
async def test_each_message_is_handed_over_once_and_in_order_from_those_that_wait_to_the_last(client, server):
    messages = [b"%d" % n + bytes(n * 1_000) for n in range(60)]
    for message in messages[:3]:
        await client.send(message)
    assert await server.receive() == messages[0]
    heard: list[bytes] = []
    running = receiving(server, heard.append)
    for message in messages[3:]:
        await client.send(message)
        if len(message) % 7 == 0:
            await asyncio.sleep(0)
    await client.close(4_000, "that was all")
    with pytest.raises(ConnectionLost, match="that was all"):
        await running
    assert heard == messages[1:]


@on_pair()
async def test_what_was_there_before_the_end_is_handed_over_after_it(client, server):
    await client.send(b"last words")
    await client.close(4_000, "gone")
    heard: list[bytes] = []
    with pytest.raises(ConnectionLost, match="gone"):
        await server.receive_each(heard.append)
    assert heard == [b"last words"]
    with pytest.raises(ConnectionLost, match="gone"):
        await server.receive_each(heard.append)


@on_pair()
async def test_what_the_receiver_raises_ends_its_call_and_hands_over_nothing_more(client, server):
    heard: list[bytes] = []

    def take(message: bytes) -> None:
        heard.append(message)
        if message == b"bad":
            raise ValueError("what is this?")

    running = receiving(server, take)
    for message in (b"good", b"bad", b"more", b"and more"):
        await client.send(message)
    with pytest.raises(ValueError, match="what is this"):
        await running
    assert heard == [b"good", b"bad"]
    await server.close(4_400, "malformed")
    assert (await lost(client)).close_code == 4_400


@on_pair()
async def test_a_receiver_may_answer_and_end_the_connection_from_within(client, server):
    def take(message: bytes) -> None:
        assert server.offer(b"so " + message)
        if message == b"stop":
            server.abort()

    running = receiving(server, take)
    await client.send(b"go")
    assert await client.receive() == b"so go"
    await client.send(b"stop")
    with pytest.raises(ConnectionLost):
        await running
    await lost(client)


@on_pair()
async def test_after_a_cancelled_call_messages_wait_again(client, server):
    heard: list[bytes] = []
    running = receiving(server, heard.append)
    await client.send(b"one")
    while not heard:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    await client.send(b"two")
    assert await server.receive() == b"two"
    assert heard == [b"one"]


@on_pair()
async def test_a_receiver_that_takes_each_message_slows_nobody_down(client, server):
    size = 0

    def take(message: bytes) -> None:
        nonlocal size
        size += len(message)

    running = receiving(server, take)
    for _ in range(600):
        await client.send(bytes(60_000))
    await client.close()
    with pytest.raises(ConnectionLost):
        await running
    assert size == 36_000_000


@on_pair()
async def test_a_sender_waits_for_a_slow_receiver_and_loses_nothing(client, server):
    count = 600  # 36 MB: more than any socket holds

    async def send_all() -> None:
        for n in range(count):
            await client.send(n.to_bytes(2, "big") * 30_000)

    sending = asyncio.ensure_future(send_all())
    done, _ = await asyncio.wait([sending], timeout=0.3)
    assert not done
    for n in range(count):
        assert await server.receive() == n.to_bytes(2, "big") * 30_000
    await sending


@on_pair()
async def test_what_is_offered_is_taken_while_there_is_room_and_keeps_its_place(client, server):
    await client.send(b"first")
    count = 0
    while client.offer(count.to_bytes(2, "big") * 30_000):
        count += 1
        assert count < 2_000, "it is always taken"
    sending = asyncio.ensure_future(client.send(b"last"))
    assert await server.receive() == b"first"
    for n in range(count):
        assert await server.receive() == n.to_bytes(2, "big") * 30_000
    assert await server.receive() == b"last"
    await sending
    client.abort()
    assert not client.offer(b"too late")


@on_pair()
async def test_what_is_too_long_to_offer_is_a_bug(client, server):
    with pytest.raises(AssertionError):
        client.offer(bytes(MESSAGE_BYTES + 1))


async def fill(end: Connection) -> None:
    while True:
        await end.send(bytes(60_000))


@on_pair()
async def test_abort_wakes_a_sender_that_waits(client, server):
    sending = asyncio.ensure_future(fill(client))
    await asyncio.wait([sending], timeout=0.2)
    client.abort()
    with pytest.raises(ConnectionLost) as caught:
        await sending
    assert caught.value.close_code == VANISHED


def test_close_ends_a_stalled_connection_within_its_time(site, monkeypatch):
    monkeypatch.setattr(connection, "CLOSE_S", 0.1)

    async def test(client: Connection, server: Connection) -> None:
        sending = asyncio.ensure_future(fill(client))
        await asyncio.wait([sending], timeout=0.2)
        async with asyncio.timeout(1):
            await client.close()
        with pytest.raises(ConnectionLost):
            await sending

    site.run(connected(site, test))


@on_pair()
async def test_close_does_not_wait_for_what_nobody_will_read(client, server):
    for _ in range(50):
        await client.send(bytes(1_000))
        await server.send(bytes(1_000))
    async with asyncio.timeout(1):
        await client.close(4409, "replaced")
    assert (await lost(server)).close_code == 4409


@on_pair()
async def test_both_ends_learn_the_code_and_reason_of_a_close(client, server):
    await client.send(b"before")
    await client.close(4409, "replaced")
    assert await server.receive() == b"before"
    for end in (server, client):
        error = await lost(end)
        assert (error.close_code, error.reason) == (4409, "replaced")
        assert error.code == "MESH-E310"
        with pytest.raises(ConnectionLost):
            await end.send(b"after")
        with pytest.raises(ConnectionLost):
            await end.receive()


@on_pair()
async def test_close_and_abort_are_idempotent(client, server):
    await client.close(4409, "replaced")
    await client.close(4410, "again")
    client.abort()
    client.abort()
    assert (await lost(server)).close_code == 4409


@on_pair()
async def test_a_receiver_that_waits_is_told_of_the_end(client, server):
    waiting = asyncio.ensure_future(lost(client))
    await asyncio.sleep(0)
    await server.close(GOING_AWAY, "stopping")
    assert (await waiting).close_code == GOING_AWAY


@on_pair()
async def test_after_an_abort_the_other_end_has_vanished(client, server):
    client.abort()
    for end in (server, client):
        assert (await lost(end)).close_code == VANISHED


@on_pair()
async def test_nothing_is_sent_after_an_abort(client, server):
    client.abort()
    with pytest.raises(ConnectionLost):
        await client.send(b"x")


@on_pair(proven=False)
async def test_small_messages_pass_before_authentication(client, server):
    await client.send(bytes(PREAUTH_BYTES))
    await server.send(bytes(PREAUTH_BYTES))
    assert len(await server.receive()) == len(await client.receive()) == PREAUTH_BYTES


@on_pair(proven=False)
async def test_a_large_message_before_authentication_ends_it_and_says_nothing(client, server):
    client.authenticated()  # what the sender thinks does not count
    await client.send(bytes(PREAUTH_BYTES + 1))
    error = await lost(client)
    assert error.close_code == UNPROVEN
    assert (await lost(server)).close_code == UNPROVEN


@on_pair(proven=False)
async def test_the_dialler_is_as_careful(client, server):
    await server.send(bytes(PREAUTH_BYTES + 1))
    assert (await lost(client)).close_code == UNPROVEN


@on_pair(proven=False)
async def test_large_messages_pass_after_authentication(client, server):
    await client.send(b"proof")
    assert await server.receive() == b"proof"
    server.authenticated()
    await server.send(b"welcome")
    assert await client.receive() == b"welcome"
    await client.send(bytes(MESSAGE_BYTES))
    assert len(await server.receive()) == MESSAGE_BYTES


@on_pair(proven=False)
async def test_only_so_many_messages_are_taken_before_authentication(client, server):
    for _ in range(PREAUTH_MESSAGES + 1):
        await client.send(b"m")
    assert (await lost(client)).close_code in (UNPROVEN, VANISHED)
    assert (await lost(server)).close_code in (UNPROVEN, VANISHED)


@on_pair(proven=False)
async def test_a_close_before_authentication_tells_no_reason(client, server):
    await server.close(4403, "wrong zone")
    error = await lost(client)
    assert (error.close_code, error.reason) == (UNPROVEN, "")


async def idle(end: Connection) -> None:
    await lost(end)
    raise ConnectionLost("as receive said", VANISHED)


def test_an_unproven_connection_is_closed_when_its_time_is_up(site):
    seen: list[ConnectionLost] = []

    async def accept(server: Connection) -> None:
        seen.append(await lost(server))

    async def test() -> None:
        listener, dial = await site.listen(accept, handshake_s=0.1)
        client = await dial()
        error = await lost(client)
        await client.close()
        await listener.close()
        assert (error.close_code, error.reason) == (UNPROVEN, "")
        assert seen[0].close_code == UNPROVEN
        assert seen[0].reason == "not authenticated in 0.1 s"

    site.run(test())


def test_a_proven_connection_outlives_the_time_for_handshakes(site):
    async def accept(server: Connection) -> None:
        server.authenticated()
        await server.send(await server.receive())

    async def test() -> None:
        listener, dial = await site.listen(accept, handshake_s=0.05)
        client = await dial()
        client.authenticated()
        loop = asyncio.get_running_loop()
        later = loop.create_future()
        loop.call_later(0.15, later.set_result, None)
        await later
        await client.send(b"still there")
        assert await client.receive() == b"still there"
        await client.close()
        await listener.close()

    site.run(test())


def test_a_connection_is_closed_when_accept_returns(site):
    async def accept(server: Connection) -> None:
        server.authenticated()
        await server.receive()

    async def test() -> None:
        listener, dial = await site.listen(accept)
        client = await dial()
        await client.send(b"go")
        assert (await lost(client)).close_code == NORMAL
        await listener.close()

    site.run(test())


def test_a_failing_accept_ends_its_connection_and_no_other(site):
    complaints: list[BaseException] = []

    async def accept(server: Connection) -> None:
        server.authenticated()
        if await server.receive() == b"fail":
            raise RuntimeError("a bug in the owner")
        await idle(server)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))
        listener, dial = await site.listen(accept)
        good, bad = await dial(), await dial()
        await good.send(b"stay")
        await bad.send(b"fail")
        assert (await lost(bad)).close_code == INTERNAL
        await good.send(b"still there")
        await listener.close()
        assert (await lost(good)).close_code in (GOING_AWAY, UNPROVEN)
        for end in (good, bad):
            await end.close()

    site.run(test())
    assert [str(error) for error in complaints] == ["a bug in the owner"]


def test_closing_a_listener_ends_its_connections_and_waits_for_their_owners(site):
    ended: list[int] = []

    async def accept(server: Connection) -> None:
        server.authenticated()
        await server.send(b"welcome")
        ended.append((await lost(server)).close_code)

    async def test() -> None:
        listener, dial = await site.listen(accept)
        ends = [await dial() for _ in range(3)]
        for end in ends:
            assert await end.receive() == b"welcome"
        await listener.close()
        await listener.close()
        assert ended == [GOING_AWAY] * 3
        for end in ends:
            assert (await lost(end)).close_code == GOING_AWAY
        with pytest.raises(DialFailed):
            await dial()

    site.run(test())


def test_closing_a_listener_cancels_an_owner_that_goes_on(site, monkeypatch):
    monkeypatch.setattr(accepting, "GRACE_S", 0.05)
    ended: list[str] = []

    async def accept(server: Connection) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def test() -> None:
        listener, dial = await site.listen(accept)
        client = await dial()
        await listener.close()
        assert ended == ["cancelled"]
        assert (await lost(client)).close_code in (UNPROVEN, VANISHED)

    site.run(test())


def test_dialling_where_nothing_listens_fails(site):
    async def test() -> None:
        listener, dial = await site.listen(idle)
        address = listener.address
        await listener.close()
        with pytest.raises(DialFailed) as caught:
            await dial()
        assert caught.value.code == "MESH-E311"
        assert caught.value.url == address
        assert caught.value.cause == "nothing listens there"
        assert caught.value.fix
        assert caught.value.exit_code == 3

    site.run(test())


def test_dialling_nonsense_fails(site):
    async def test() -> None:
        _, client = site.networks()
        for url in ("", "http://127.0.0.1:1", "//127.0.0.1:1", "portal"):
            with pytest.raises(DialFailed):
                await client.connect(url, 1.0)

    site.run(test())


def test_an_address_is_taken_once(site):
    async def test() -> None:
        server, _ = site.networks()
        listener = await server.listen("127.0.0.1", 0, idle)
        port = int(listener.address.rpartition(":")[2]) if site.kind != "memory" else 0
        with pytest.raises(ListenFailed) as caught:
            await server.listen("127.0.0.1", port, idle)
        assert caught.value.fix
        await listener.close()
        again = await server.listen("127.0.0.1", port, idle)
        await again.close()

    site.run(test())


def test_the_source_is_the_other_side(site):
    sources: list[str] = []

    async def accept(server: Connection) -> None:
        sources.append(server.source)

    async def test() -> None:
        listener, dial = await site.listen(accept)
        client = await dial()
        await lost(client)
        await listener.close()
        assert (client.source, sources) == (
            ("server", ["client"]) if site.kind == "memory" else ("127.0.0.1", ["127.0.0.1"])
        )

    site.run(test())


def test_many_connections_at_once(site):
    async def accept(server: Connection) -> None:
        server.authenticated()
        while True:
            await server.send(await server.receive())

    async def talk(dial, n: int) -> None:
        client = await dial()
        client.authenticated()
        for k in range(20):
            await client.send(b"%d %d" % (n, k))
            assert await client.receive() == b"%d %d" % (n, k)
        await client.close()

    async def test() -> None:
        listener, dial = await site.listen(accept)
        async with asyncio.TaskGroup() as group:
            for n in range(30):
                group.create_task(talk(dial, n))
        await listener.close()

    site.run(test())
