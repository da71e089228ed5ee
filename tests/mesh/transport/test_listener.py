"""The listener: what is answered to whom before anybody is authenticated."""

from __future__ import annotations

import asyncio
import socket

import pytest

from mesh.transport.admission import ListenerLimits, Refusal
from mesh.transport.contract import UNPROVEN, Connection
from mesh.transport.errors import ConnectionLost, DialFailed, ListenFailed
from mesh.transport.listener import WebsocketListener
from mesh.transport.websocket import WebsocketNetwork
from tests.mesh.transport.raw_socket import SUBPROTOCOL, UPGRADE, get, raw


async def idle(end: Connection) -> None:
    while True:
        await end.receive()


async def open_listener(accept=idle, pages=None, **limits) -> WebsocketListener:
    return await WebsocketNetwork(ListenerLimits(**limits)).listen("127.0.0.1", 0, accept, pages=pages)


def broken() -> tuple[int, str, str]:
    raise RuntimeError("a bug in a page")


PAGES = {
    "/healthz": lambda: (200, "application/json", '{"status": "ok"}'),
    "/readyz": lambda: (503, "text/plain; charset=utf-8", "draining: é\n"),
    "/broken": broken,
}


@pytest.mark.parametrize(
    ("request_line", "status", "content_type", "body"),
    [
        (b"GET /healthz HTTP/1.1", 200, b"application/json", b'{"status": "ok"}'),
        (b"GET /healthz?verbose=1 HTTP/1.1", 200, b"application/json", b'{"status": "ok"}'),
        (b"GET /readyz HTTP/1.1", 503, b"text/plain; charset=utf-8", "draining: é\n".encode()),
        (b"GET / HTTP/1.1", 404, b"text/plain; charset=utf-8", b"no such page\n"),
        (b"GET /healthz/ HTTP/1.1", 404, b"text/plain; charset=utf-8", b"no such page\n"),
    ],
)
def test_plain_pages(run, request_line, status, content_type, body):
    async def test() -> None:
        listener = await open_listener(pages=PAGES)
        got, head, text = await get(listener, request_line + b"\r\nHost: node\r\n\r\n")
        await listener.close()
        assert (got, text) == (status, body)
        headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        assert headers[b"Content-Type"] == content_type
        assert int(headers[b"Content-Length"]) == len(body)
        assert b"Server" not in headers

    run(test())


def test_other_methods_are_not_answered_with_a_page(run):
    async def test() -> None:
        listener = await open_listener(pages=PAGES)
        async with raw(listener) as client:
            await client.say(b"DELETE /healthz HTTP/1.1\r\nHost: node\r\n\r\n")
            answer = await client.rest()
        await listener.close()
        assert b" 200 " not in answer
        assert answer == b"" or answer.startswith(b"HTTP/1.1 405 ")  # websockets 15 hangs up on it

    run(test())


def test_a_page_that_fails_is_an_internal_error(run, caplog):
    async def test() -> None:
        listener = await open_listener(pages=PAGES)
        status, _, body = await get(listener, b"GET /broken HTTP/1.1\r\nHost: node\r\n\r\n")
        await listener.close()
        assert status == 500
        assert b"a bug" not in body

    run(test())
    assert "a bug in a page" in caplog.text


@pytest.mark.parametrize("request_", [UPGRADE + SUBPROTOCOL, b"GET /healthz HTTP/1.1\r\nHost: node\r\n"])
@pytest.mark.parametrize("origin", [b"http://evil.example", b"null", b"http://127.0.0.1"])
def test_browsers_are_refused(run, request_, origin):
    async def test() -> None:
        listener = await open_listener(pages=PAGES)
        status, head, _ = await get(listener, request_ + b"Origin: " + origin + b"\r\n\r\n")
        await listener.close()
        assert status == 403
        assert b"Upgrade" not in head

    run(test())


@pytest.mark.parametrize("subprotocol", [b"", b"Sec-WebSocket-Protocol: chat\r\n"])
def test_other_websockets_are_refused(run, subprotocol):
    async def test() -> None:
        listener = await open_listener()
        status, _, _ = await get(listener, UPGRADE + subprotocol + b"\r\n")
        await listener.close()
        assert status == 400

    run(test())


def test_any_path_is_upgraded(run):
    """A proxy in front of several agents tells them apart by path, and may pass it on."""

    async def test() -> None:
        network = WebsocketNetwork()
        listener = await network.listen("127.0.0.1", 0, idle)
        client = await network.connect(listener.address + "/mesh/portal?x=1", 5)
        await client.close()
        await listener.close()

    run(test())


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\n", UPGRADE])
def test_a_request_that_does_not_come_is_given_up(run, start):
    async def test() -> None:
        listener = await open_listener(handshake_s=0.1)
        async with raw(listener) as client:
            await client.say(start)
            assert await client.rest() == b""
        assert listener.admission.half_open == 0
        await listener.close()

    run(test())


def test_a_request_that_does_not_end_is_given_up(run):
    async def test() -> None:
        listener = await open_listener()
        async with raw(listener) as client:
            await client.say(b"GET / HTTP/1.1\r\n")
            await client.say_without_end(b"X: " + b"x" * 500 + b"\r\n")
        await listener.close()

    run(test())


def test_half_open_connections_of_one_source_are_capped(run):
    async def test() -> None:
        proven = asyncio.Event()

        async def accept(end: Connection) -> None:
            await end.receive()
            end.authenticated()
            proven.set()
            await idle(end)

        listener = await open_listener(accept)
        network = WebsocketNetwork()
        clients = [await network.connect(listener.address, 5) for _ in range(4)]
        with pytest.raises(DialFailed) as caught:
            await network.connect(listener.address, 5)
        assert caught.value.cause == "it closed the connection before the upgrade"
        assert "refuses more handshakes" in caught.value.fix
        assert listener.refused == {
            Refusal.HALF_OPEN: 0,
            Refusal.HALF_OPEN_PER_SOURCE: 1,
            Refusal.RATE: 0,
        }
        await clients[0].send(b"proof")  # an authenticated one is not half-open any more
        await proven.wait()
        clients.append(await network.connect(listener.address, 5))
        await clients[1].close()  # nor is one that is gone
        clients.append(await network.connect(listener.address, 5))
        for client in clients:
            await client.close()
        await listener.close()
        assert listener.admission.half_open == 0

    run(test())


def test_half_open_connections_are_capped_in_all(run):
    async def test() -> None:
        listener = await open_listener(half_open=2)
        async with raw(listener) as one, raw(listener) as two, raw(listener) as three:
            assert await three.rest() == b""
            for admitted in (one, two):
                assert (await admitted.upgrade()).startswith(b"HTTP/1.1 101 ")
        await listener.close()
        assert listener.refused[Refusal.HALF_OPEN] == 1
        assert listener.admission.half_open == 0

    run(test())


def test_the_rate_of_one_source_is_capped(run):
    async def test() -> None:
        listener = await open_listener(pages=PAGES, handshakes_burst=3, handshakes_per_s=0.01)
        for _ in range(3):
            assert (await get(listener, b"GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n"))[0] == 200
        async with raw(listener) as client:
            assert await client.rest() == b""
        await listener.close()
        assert listener.refused[Refusal.RATE] == 1

    run(test())


def test_closing_does_not_wait_for_half_open_connections(run):
    async def test() -> None:
        listener = await open_listener()
        async with raw(listener) as silent, raw(listener) as upgraded:
            await upgraded.upgrade()
            async with asyncio.timeout(1):
                await listener.close()
                assert await silent.rest() == b""
                assert await upgraded.close_frame() == (UNPROVEN, "")

    run(test())


def test_the_listeners_address_can_be_dialled_on_ipv6(run):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")

    async def test() -> None:
        network = WebsocketNetwork()
        try:
            listener = await network.listen("::1", 0, idle)
        except ListenFailed:
            pytest.skip("no IPv6 loopback here")
        assert listener.address.startswith("ws://[::1]:")
        client = await network.connect(listener.address, 5)
        assert client.source == "::1"
        await client.close()
        await listener.close()

    run(test())


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("127.0.0.1", -1), ("203.0.113.7", 0)])
def test_an_address_that_is_not_ours_is_refused(run, host, port):
    async def test() -> None:
        with pytest.raises(ListenFailed) as caught:
            await WebsocketNetwork().listen(host, port, idle)
        assert f"{host}:{port}" in str(caught.value)
        assert caught.value.fix

    run(test())


def test_an_owner_sees_the_end_of_its_connection(run):
    seen: list[ConnectionLost] = []

    async def accept(end: Connection) -> None:
        try:
            await end.receive()
        except ConnectionLost as error:
            seen.append(error)

    async def test() -> None:
        listener = await open_listener(accept)
        async with raw(listener) as client:
            await client.upgrade()
            client.writer.transport.abort()
        await listener.close()

    run(test())
    assert seen[0].reason
