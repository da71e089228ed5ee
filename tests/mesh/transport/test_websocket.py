"""Dialling real sockets: what goes wrong, what is never done, and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import serve

from mesh.transport.contract import MESSAGE_BYTES, Connection
from mesh.transport.errors import DialFailed
from mesh.transport.websocket import WebsocketNetwork, _explain

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def dial_failure(url: str, timeout_s: float = 5, network: WebsocketNetwork | None = None) -> DialFailed:
    with pytest.raises(DialFailed) as caught:
        await (network or WebsocketNetwork()).connect(url, timeout_s)
    assert caught.value.fix
    return caught.value


async def failure_at(answer: Answer, timeout_s: float = 5) -> DialFailed:
    """What dialling says of a TCP server that behaves like `answer`."""
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        return await dial_failure(f"ws://{host}:{port}", timeout_s)
    finally:
        await ended.wait()
        server.close()
        await server.wait_closed()


def saying(data: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)

    return answer


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (saying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), "it answered HTTP 403"),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), "it closed the connection before the upgrade"),
        (saying(b""), "it closed the connection before the upgrade"),
        (hang_up, "it closed the connection before the upgrade"),
        (silence, "no answer within 0.2 s"),
    ],
)
def test_what_is_there_is_no_agent(run, answer, cause):
    async def test() -> None:
        assert (await failure_at(answer, 0.2)).cause == cause

    run(test())


def test_redirects_are_not_followed(run):
    dialled: list[object] = []

    async def trap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.append(writer)
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(trap, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        answer = f"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
        error = await failure_at(saying(answer.encode()))
        assert error.cause == "it redirects, and redirects are not followed"
        server.close()
        await server.wait_closed()

    run(test())
    assert dialled == []


def test_no_proxy_is_taken_from_the_environment(run, monkeypatch):
    for name in ("http_proxy", "https_proxy", "ws_proxy", "all_proxy", "ALL_PROXY", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def accept(end: Connection) -> None:
        await end.send(b"hello")

    async def test() -> None:
        network = WebsocketNetwork()
        listener = await network.listen("127.0.0.1", 0, accept)
        client = await network.connect(listener.address, 5)
        assert await client.receive() == b"hello"
        await client.close()
        await listener.close()

    run(test())


def test_the_request_tells_no_more_than_it_must(run):
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))

    async def test() -> None:
        await failure_at(answer)

    run(test())
    names = {line.split(b":")[0].lower() for line in requests[0].split(b"\r\n")[1:-2]}
    assert names == {
        *(b"host", b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version"),
        b"sec-websocket-protocol",
    }


def test_another_websocket_server_is_no_agent(run):
    async def test() -> None:
        async def idle(websocket) -> None:
            await websocket.wait_closed()

        async with serve(idle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            error = await dial_failure(f"ws://127.0.0.1:{port}")
            assert error.cause == "a websocket answers there, but no Hopboard agent"

    run(test())


@pytest.mark.parametrize(
    "url", ["ws://", "ws:///x", "ws://node:port", "ws://node:0", "ws://[::1", "wss:node", "ws://node/#part"]
)
def test_what_is_no_websocket_url(run, url):
    async def test() -> None:
        error = await dial_failure(url)
        assert "ws://HOST:PORT" in error.fix

    run(test())


@pytest.mark.parametrize("userinfo", ["user:hunter2", "hunter2", "a:hunter2@b"])
def test_a_password_in_a_url_is_refused_and_not_repeated(run, userinfo):
    async def test() -> None:
        error = await dial_failure(f"ws://{userinfo}@node:1/path")
        assert error.url == "ws://node:1/path"
        assert "hunter2" not in str(error) + repr(error)

    run(test())


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the host name has no address"),
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens there"),
        (ssl.SSLError(1, "wrong version number"), "no TLS there: wrong version number"),
        (OSError(113, "No route to host"), "No route to host"),
        (OSError("Multiple exceptions: refused, unreachable"), "Multiple exceptions: refused, unreachable"),
        (ValueError("odd"), "odd"),
    ],
)
def test_every_failure_has_words(error, cause):
    said, fix = _explain(error, 1.0)
    assert said == cause
    assert fix


def test_cancelling_a_dial_leaves_nothing_open(run):
    async def test() -> None:
        server = await asyncio.start_server(silence_and_close, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        dialling = asyncio.ensure_future(WebsocketNetwork().connect(f"ws://{host}:{port}", 30))
        await arrived.wait()
        dialling.cancel()
        await asyncio.wait([dialling])
        assert dialling.cancelled()
        await gone.wait()
        server.close()
        await server.wait_closed()

    arrived, gone = asyncio.Event(), asyncio.Event()

    async def silence_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone.set()

    run(test())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1: a file with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a proxy")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "proxy.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def tls_proxy(certificate, address: str) -> asyncio.Server:
    """A TLS port that passes everything on to a listener, as a proxy would."""
    _, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", int(port))
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, inner_writer))
            group.create_task(pump(inner_reader, writer))

    return await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)


def test_a_link_through_a_tls_proxy(run, certificate):
    async def accept(end: Connection) -> None:
        end.authenticated()
        while True:
            await end.send(await end.receive())

    async def test() -> None:
        network = WebsocketNetwork(tls=ssl.create_default_context(cafile=certificate))
        listener = await network.listen("127.0.0.1", 0, accept)
        proxy = await tls_proxy(certificate, listener.address)
        port = proxy.sockets[0].getsockname()[1]
        client = await network.connect(f"wss://127.0.0.1:{port}/portal", 5)
        client.authenticated()
        for message in (b"small", bytes(MESSAGE_BYTES)):
            await client.send(message)
            assert await client.receive() == message
        await client.close()

        error = await dial_failure(f"wss://127.0.0.1:{port}/portal")
        assert "its certificate is not trusted: self" in error.cause
        proxy.close()
        await proxy.wait_closed()
        await listener.close()
        await asyncio.sleep(0.01)  # the proxy's own tasks see the end

    run(test())


def test_tls_to_a_port_without_it(run):
    async def test() -> None:
        network = WebsocketNetwork()

        async def accept(end: Connection) -> None:
            raise AssertionError("nothing was accepted")

        listener = await network.listen("127.0.0.1", 0, accept)
        error = await dial_failure(listener.address.replace("ws:", "wss:"))
        await listener.close()
        assert error.cause.startswith(("no TLS there", "it closed the connection"))

    run(test())
