"""The network of real sockets: dials `ws://` and `wss://`, listens on a TCP port.

A `wss://` URL is checked with an ordinary certificate, for agents behind a proxy; safety never rests on it,
the link brings its own keys. No proxy is taken from the environment, no redirect is followed, nothing is
compressed.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from mesh.transport.admission import ListenerLimits
from mesh.transport.connection import (
    CLOSE_S,
    QUEUE_FRAMES,
    SUBPROTOCOL,
    WRITE_BYTES,
    Guarded,
    WebsocketConnection,
    source_of,
)
from mesh.transport.contract import PREAUTH_BYTES, Accept, Connection, Page
from mesh.transport.errors import DialFailed
from mesh.transport.listener import WebsocketListener


class Outbound(Guarded, ClientConnection):
    """The library's client connection with our guard."""


class _Connect(connect):
    """The library's dialling without redirects: they would let a stranger choose whom we talk to next."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebsocketNetwork:
    """The contract's `Network` over websockets.

    Args:
        limits: what listeners of this network take from strangers.
        preauth_bytes: size of a message before authentication; both sides of a link should agree.
        tls: how to check `wss://` certificates; by default as the system does.
    """

    def __init__(
        self,
        limits: ListenerLimits | None = None,
        *,
        preauth_bytes: int = PREAUTH_BYTES,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits if limits is not None else ListenerLimits()
        self._preauth_bytes = preauth_bytes
        self._tls = tls

    async def listen(
        self, host: str, port: int, accept: Accept, *, pages: Mapping[str, Page] | None = None
    ) -> WebsocketListener:
        """See `contract.Network.listen`."""
        return await WebsocketListener.open(
            host, port, accept, pages=pages or {}, limits=self._limits, preauth_bytes=self._preauth_bytes
        )

    async def connect(self, url: str, timeout_s: float) -> Connection:
        """See `contract.Network.connect`."""
        options: dict[str, Any] = {}
        if _checked_scheme(url) == "wss":
            if self._tls is None:
                self._tls = ssl.create_default_context()  # reads the system's certificates: once is enough
            options["ssl"] = self._tls
        try:
            websocket = await _Connect(
                url,
                subprotocols=[SUBPROTOCOL],
                compression=None,
                user_agent_header=None,
                proxy=None,
                open_timeout=timeout_s,
                ping_interval=None,
                close_timeout=CLOSE_S,
                max_size=self._preauth_bytes,
                max_queue=QUEUE_FRAMES,
                write_limit=WRITE_BYTES,
                create_connection=Outbound,
                **options,
            )
        except (OSError, InvalidHandshake, InvalidURI, ValueError) as error:
            cause, fix = _explain(error, timeout_s)
            raise DialFailed(url, cause, fix=fix) from error
        assert isinstance(websocket, Outbound)
        connection = WebsocketConnection(websocket, source_of(websocket.remote_address))
        if websocket.subprotocol != SUBPROTOCOL:
            connection.abort()
            await websocket.wait_closed()
            raise DialFailed(url, "a websocket answers there, but no Hopboard agent", fix="check host and port")
        return connection


def _checked_scheme(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not match
        good = False
    if not good:
        raise DialFailed(url, "this is no websocket URL", fix="write ws://HOST:PORT or wss://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        # It would be sent as HTTP credentials, and shown wherever the URL is shown.
        shown = url.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)
        raise DialFailed(shown, "a URL must not hold a user or password", fix="take the part before the @ out")
    return parts.scheme


def _explain(error: Exception, timeout_s: float) -> tuple[str, str]:
    """Cause and fix, in a person's words. The order matters: the special OSErrors come first."""
    match error:
        case TimeoutError():
            return (
                f"no answer within {timeout_s:g} s",
                "check the address, and that no firewall is in between",
            )
        case ConnectionRefusedError():
            return "nothing listens there", "start the agent there, or check host and port"
        case socket.gaierror():
            return "the host name has no address", "check the spelling, or use an IP address"
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted: {error.verify_message}",
                "install the issuer's certificate on this node, or dial the agent itself with ws://",
            )
        case ssl.SSLError():
            return (
                f"no TLS there: {getattr(error, 'reason', None) or error}",
                "use ws:// if no proxy with TLS is in front of it",
            )
        case InvalidStatus() if 300 <= error.response.status_code < 400:
            return "it redirects, and redirects are not followed", "use the URL it redirects to"
        case InvalidStatus():
            return (
                f"it answered HTTP {error.response.status_code}",
                "check host, port and path, and what the proxy in front of it allows",
            )
        case InvalidHandshake() | EOFError() | ConnectionResetError() | BrokenPipeError():
            return (
                "it closed the connection before the upgrade",
                "no agent is on that port, or it refuses more handshakes from this address for now",
            )
        case OSError():
            return error.strerror or str(error), "check the address and this node's network"
        case _:
            return str(error), "write ws://HOST:PORT or wss://HOST/PATH"
