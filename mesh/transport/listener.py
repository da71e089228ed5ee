"""The listening side of the websocket network: admission, the upgrade, plain pages, the handshake's deadline.

A connection passes, in this order: `Admission` when TCP accepts it (a refused one is reset before anything is
read), the checks of its HTTP request (no `Origin`, our subprotocol), and `accept`, which has until the
deadline to call `authenticated()`. Every open socket of a listener is in its `_inbound` until it is closed.
"""

from __future__ import annotations

import asyncio
import functools
import http
from collections.abc import Mapping
from typing import Any, Self, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from mesh.transport.accepting import Accepting
from mesh.transport.admission import Admission, ListenerLimits, Refusal
from mesh.transport.connection import (
    CLOSE_S,
    QUEUE_FRAMES,
    SUBPROTOCOL,
    WRITE_BYTES,
    Guarded,
    WebsocketConnection,
    source_of,
)
from mesh.transport.contract import GOING_AWAY, PREAUTH_BYTES, Accept, Page
from mesh.transport.errors import ListenFailed


class Inbound(Guarded, ServerConnection):
    """The library's server connection, admitted by `listener` and under its deadline."""

    def __init__(self, listener: WebsocketListener, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listener = listener
        self._deadline: asyncio.TimerHandle | None = None
        self.source = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP accepted it: go on, or reset it with the library none the wiser."""
        self.source = source_of(transport.get_extra_info("peername"))
        if self._listener.admit(self):
            limit_s = self._listener.limits.handshake_s
            self._deadline = self.loop.call_later(limit_s, self.drop, f"not authenticated in {limit_s:g} s")
            super().connection_made(transport)
        else:
            cast(asyncio.Transport, transport).abort()

    def authenticated(self) -> None:
        """Leave the half-open ones and their deadline behind."""
        super().authenticated()
        self._end_half_open()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place of an admitted connection."""
        if hasattr(self, "transport"):
            super().connection_lost(exc)
            self._end_half_open()
            self._listener.discard(self)

    def _end_half_open(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._listener.admission.leave(self.source)


class WebsocketListener:
    """The contract's `Listener` on a TCP port. Made by `open`."""

    def __init__(self, accept: Accept, pages: Mapping[str, Page], limits: ListenerLimits) -> None:
        self.address = ""
        self.limits = limits
        self.admission = Admission(limits)
        self._accepting = Accepting(accept)
        self._pages = pages
        self._inbound: set[Inbound] = set()
        self._server: Server | None = None
        self._is_closing = False

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        accept: Accept,
        *,
        pages: Mapping[str, Page],
        limits: ListenerLimits,
        preauth_bytes: int = PREAUTH_BYTES,
    ) -> Self:
        """Bind and start; see `contract.Network.listen`."""
        if not 0 <= port <= 65_535:  # uvloop would take it modulo 65,536
            raise ListenFailed(f"{host}:{port} is no address", fix="a port is a number up to 65535; 0 picks one")
        listener = cls(accept, pages, limits)
        try:
            server = await serve(
                listener._serve,
                host,
                port,
                subprotocols=[SUBPROTOCOL],
                compression=None,  # one compressed message could grow a thousandfold
                process_request=listener._answer,
                server_header=None,
                open_timeout=None,  # the listener's own deadline covers TCP to authentication
                ping_interval=None,  # liveness is the engine's business
                close_timeout=CLOSE_S,
                max_size=preauth_bytes,
                max_queue=QUEUE_FRAMES,
                write_limit=WRITE_BYTES,
                create_connection=functools.partial(Inbound, listener),  # type: ignore[arg-type]
            )
        except OSError as error:
            raise ListenFailed(
                f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}",
                fix="choose another port, or stop what uses this one",
            ) from error
        listener._server = server
        bound = next(iter(server.sockets)).getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        listener.address = f"ws://{shown}:{bound[1]}"
        return listener

    @property
    def refused(self) -> Mapping[Refusal, int]:
        """Connections refused before they said anything, by reason."""
        return self.admission.refused

    def admit(self, inbound: Inbound) -> bool:
        """Whether a connection that TCP accepted may go on; if so its caller is to `discard` it at its end."""
        if self._is_closing or self.admission.admit(inbound.source, inbound.loop.time()) is not None:
            return False
        self._inbound.add(inbound)
        return True

    def discard(self, inbound: Inbound) -> None:
        """The connection is over."""
        self._inbound.discard(inbound)

    async def close(self) -> None:
        """See `contract.Listener.close`."""
        assert self._server is not None
        self._is_closing = True
        # Only stops listening: the library would leave half-open connections to end by themselves, and wait
        # for them on 3.12 and later, where asyncio's Server.wait_closed waits for all (on 3.11 for none).
        self._server.close(close_connections=False)
        async with asyncio.TaskGroup() as closing:
            for inbound in tuple(self._inbound):
                if inbound.is_authenticated:
                    connection = WebsocketConnection(inbound, inbound.source)
                    closing.create_task(connection.close(GOING_AWAY, "the agent stops"))
                else:
                    inbound.drop("the agent stops")  # no stranger makes a stop wait
        await self._accepting.finish()
        await self._server.wait_closed()

    def _answer(self, websocket: ServerConnection, request: Request) -> Response | None:
        """Answer a plain request, refuse a browser's, or return None to let the library upgrade it."""
        if request.headers.get_all("Origin"):
            # Browsers cannot leave it out: a page on the web must not talk to an agent on loopback.
            return websocket.respond(http.HTTPStatus.FORBIDDEN, "not for browsers\n")
        if request.headers.get_all("Upgrade"):
            return None
        if getattr(request, "method", "GET") != "GET":  # websockets 15 takes nothing else
            response = websocket.respond(http.HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n")
            response.headers["Allow"] = "GET"
            return response
        page = self._pages.get(request.path.partition("?")[0])
        if page is None:
            return websocket.respond(http.HTTPStatus.NOT_FOUND, "no such page\n")
        status, content_type, body = page()
        response = websocket.respond(status, body)
        del response.headers["Content-Type"]  # headers are a multi-value mapping: setting adds
        response.headers["Content-Type"] = content_type
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _serve(self, websocket: ServerConnection) -> None:
        inbound = cast(Inbound, websocket)
        await self._accepting.serve(WebsocketConnection(inbound, inbound.source))
