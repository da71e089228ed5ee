"""One websocket: the contract's `Connection` over `websockets.asyncio`, and the guard below it at both ends.

`Guarded` is mixed into the library's connection classes. The library bounds the size of one message; what it
leaves open is what a stranger could use: how many messages, how many tiny fragments, pings to somebody who
does not read the answers, a closing that never closes. Two things are not in the library's documentation, so
`Guarded` checks them when a connection is made and the tests pin them: the name of the size limit, which is
raised after authentication, and `Protocol.fail`, which is where the library chooses a close code. Works with
websockets 15 to 17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NoReturn

from websockets.asyncio.connection import Connection as LibraryConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Event, Protocol
from websockets.typing import Subprotocol

from mesh.transport.contract import (
    MESSAGE_BYTES,
    NORMAL,
    NOT_BINARY,
    PREAUTH_MESSAGES,
    UNPROVEN,
    VANISHED,
)
from mesh.transport.errors import ConnectionLost

SUBPROTOCOL: Final = Subprotocol("hopboard.v1")
QUEUE_FRAMES: Final = 4
"""Messages read ahead of `receive`; above it the socket is left unread and TCP slows the sender down."""
WRITE_BYTES: Final = 0
"""Bytes that wait for room in the socket before a sender does. With none, what it takes it is given at once: some event
loops (uvloop) would otherwise collect what is written until the end of their turn, and the other side waits for it."""
CLOSE_S: Final = 3.0
"""How long the other side may take over the closing handshake before the socket is dropped."""
FRAGMENTS: Final = 64
"""Frames of one message. We never fragment; a proxy may, and hardly below a kilobyte."""
BACKLOG_BYTES: Final = 262_144
"""Unsent bytes at which a side that goes on sending is not reading: pongs do not wait, as `send` does."""


class Guarded(LibraryConnection):
    """Limits on what the other side may make this process do or keep. The library's class is listed after it.

    `end_reason` is the specific cause if the connection was ended from here; before authentication the other
    side is not told.
    """

    def __init__(self, protocol: Protocol, *args: Any, **kwargs: Any) -> None:
        super().__init__(protocol, *args, **kwargs)
        self.is_authenticated = False
        self.end_reason = ""
        self._size_limit = _name_of_size_limit(protocol)
        self._preauth_budget = PREAUTH_MESSAGES * int(getattr(protocol, self._size_limit))
        self._library_fail = protocol.fail
        protocol.fail = self._fail  # type: ignore[method-assign]
        self._is_discarding = False
        # Messages of which something is in the library's queue.
        self._queued = 0
        # Where messages go that do not go there, their frames so far, and who waits for the end of that.
        self._take: Callable[[bytes], None] | None = None
        self._parts: list[bytes] = []
        self._taking: asyncio.Future[None] | None = None
        self._is_lost = False
        self._messages = 0
        self._fragments = 0
        self._closing: asyncio.TimerHandle | None = None

    def authenticated(self) -> None:
        """Take messages of full size from now on. Idempotent."""
        self.is_authenticated = True
        setattr(self.protocol, self._size_limit, MESSAGE_BYTES)

    def offer_message(self, data: bytes) -> bool:
        """Send one binary message if the connection is open and its write buffer is not full; says whether it did."""
        if self.protocol.state is not OPEN or self.transport.is_closing() or self.paused:
            return False
        self.protocol.send_binary(data)
        self.send_data()
        return True

    async def send_message(self, data: bytes) -> None:
        """Send one binary message and wait while the write buffer is full.

        The library's `send` by its own parts (those of its `broadcast`), without the context manager around
        them: half as many messages again per second. What is not open goes the library's way, which raises.

        Raises:
            ConnectionClosed, OSError: it is over, or ended while waiting.
        """
        if self.protocol.state is not OPEN or self.transport.is_closing():
            await self.send(data)
            return
        self.protocol.send_binary(data)
        self.send_data()
        if self.paused:
            await self.drain()

    async def receive_message(self) -> str | bytes:
        """Wait for the next message.

        Raises:
            ConnectionClosed: it is over.
        """
        message = await self.recv()
        self._queued -= 1
        return message

    async def receive_each(self, take: Callable[[bytes], None]) -> NoReturn:
        """Call `take` with each message, those that wait and then each as it arrives: the library would queue it and
        wake a task, which takes as long as all else that is done to a small one. What `take` raises is raised here, and
        the rest is dropped.

        Raises:
            TextReceived: a message was text.
            ConnectionClosed: it is over.
        """
        while self._queued:
            message = await self.receive_message()
            if isinstance(message, str):
                raise TextReceived
            take(message)
        if not self._is_lost:
            self._take, self._taking = take, self.loop.create_future()
            try:
                await self._taking
            finally:
                self._take = self._taking = None
                if self._parts and not self._is_lost:
                    self._abort("a message was left in the midst of it")
        # There is nothing left but how it ended.
        while True:
            await self.recv()

    def data_received(self, data: bytes) -> None:
        """Feed what arrived to the library, within the budget of an unproven side."""
        if not self.is_authenticated:
            # A single read can hold thousands of frames, so the budget is checked before they are parsed.
            self._preauth_budget -= len(data)
            if self._preauth_budget < 0:
                self._abort("too much was sent before authentication")
                return
        super().data_received(data)
        if self.transport.get_write_buffer_size() > BACKLOG_BYTES:
            self._abort("the other side sends and does not read")
        elif self._closing is None and self.protocol.close_expected():
            # The library only notes a deadline here and leaves it to the next call of `send` or `close`.
            self._closing = self.loop.call_later(CLOSE_S, self.transport.abort)

    def process_event(self, event: Event) -> None:
        """Count frames of data, then hand the event on."""
        if not isinstance(event, Frame) or event.opcode >= Opcode.CLOSE:
            super().process_event(event)
            return
        if self._is_discarding:
            return
        if self._take is not None:
            self._hand(event, self._take)
        else:
            self._queued += event.opcode is not Opcode.CONT
            super().process_event(event)
        self._fragments = self._fragments + 1 if event.opcode is Opcode.CONT else 0
        self._messages += 1
        if self._fragments >= FRAGMENTS:
            self._abort("a message came in too many fragments")
        elif self._messages > PREAUTH_MESSAGES and not self.is_authenticated:
            self._abort("too many messages were sent before authentication")

    def _hand(self, frame: Frame, take: Callable[[bytes], None]) -> None:
        assert self._taking is not None, "somebody waits for the end"
        if self._taking.done():
            return
        try:
            if frame.opcode is Opcode.TEXT:
                raise TextReceived
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message = b"".join(self._parts)
                self._parts.clear()
                take(message)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever gave `take`
            self._taking.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of timers and of the reference cycle made in the constructor."""
        if self._closing is not None:
            self._closing.cancel()
        super().connection_lost(exc)
        self._is_lost = True
        if self._taking is not None and not self._taking.done():
            self._taking.set_result(None)
        self.protocol.fail = self._library_fail  # type: ignore[method-assign]

    def discard_input(self) -> None:
        """Read on and drop what comes: the answer to our close frame may stand behind a full queue."""
        self._is_discarding = True
        self.transport.resume_reading()

    def drop(self, reason: str) -> None:
        """End an unproven connection without waiting; `UNPROVEN` is said if the socket takes it at once."""
        self.end_reason = reason
        if self.protocol.state is OPEN:
            self.protocol.fail(UNPROVEN)
            self.send_data()
            self.transport.close()
        if self.transport.get_write_buffer_size() or not self.transport.is_closing():
            self.transport.abort()

    def _abort(self, reason: str) -> None:
        self.end_reason = reason
        self.transport.abort()

    def _fail(self, code: int, reason: str = "") -> None:
        self.end_reason = self.end_reason or reason
        if self.is_authenticated or code == VANISHED:
            self._library_fail(code, reason)
        else:
            self._library_fail(UNPROVEN)


class TextReceived(Exception):
    """The other side sent text, of which there is none between agents."""


def _name_of_size_limit(protocol: Protocol) -> str:
    for name in ("max_message_size", "max_size"):  # websockets 16 and later; 15
        if isinstance(getattr(protocol, name, None), int):
            return name
    raise RuntimeError("this version of websockets keeps its size limit under a name we do not know")


class WebsocketConnection:
    """The contract's `Connection` on an open websocket.

    Args:
        websocket: open, and guarded; this object owns it from now on.
        source: the other side's IP address.
    """

    __slots__ = ("_websocket", "source")

    def __init__(self, websocket: Guarded, source: str) -> None:
        self._websocket = websocket
        self.source = source

    async def send(self, data: bytes) -> None:
        """See `contract.Connection.send`."""
        assert len(data) <= MESSAGE_BYTES, "a message is cut to size by whoever makes it"
        try:
            await self._websocket.send_message(data)
        except ConnectionClosed as closed:
            raise self._lost(closed) from None
        except OSError as error:
            raise ConnectionLost(str(error), VANISHED) from None
        if self._websocket.state is not OPEN:
            # The library wakes a sender without an error when the connection it waits for is aborted.
            raise ConnectionLost("it ended while a message was being sent", VANISHED)

    def offer(self, data: bytes) -> bool:
        """See `contract.Connection.offer`."""
        assert len(data) <= MESSAGE_BYTES, "a message is cut to size by whoever makes it"
        return self._websocket.offer_message(data)

    async def receive(self) -> bytes:
        """See `contract.Connection.receive`. A text message is a protocol error and closes the connection."""
        try:
            message = await self._websocket.receive_message()
        except ConnectionClosed as closed:
            raise self._lost(closed) from None
        return message if isinstance(message, bytes) else await self._refuse_text()

    async def receive_each(self, take: Callable[[bytes], None]) -> NoReturn:
        """See `contract.Connection.receive_each`. A text message is a protocol error and closes the connection."""
        try:
            await self._websocket.receive_each(take)
        except ConnectionClosed as closed:
            raise self._lost(closed) from None
        except TextReceived:
            await self._refuse_text()

    async def _refuse_text(self) -> NoReturn:
        await self.close(NOT_BINARY, "binary messages only")
        raise ConnectionLost("the other side sent text", NOT_BINARY)

    def authenticated(self) -> None:
        """See `contract.Connection.authenticated`."""
        self._websocket.authenticated()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """See `contract.Connection.close`."""
        if not self._websocket.is_authenticated:
            code, reason = UNPROVEN, ""
        self._websocket.discard_input()
        try:
            # The library's own timeout begins once its write buffer is empty, which a stalled side prevents.
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.close(code, reason)
        except TimeoutError:
            pass
        finally:
            self.abort()
        await self._websocket.wait_closed()

    def abort(self) -> None:
        """See `contract.Connection.abort`."""
        self._websocket.transport.abort()

    def _lost(self, closed: ConnectionClosed) -> ConnectionLost:
        """What the library says about an end, in the words of the contract: those of whoever closed first."""
        seen = self._websocket.end_reason or str(closed.__cause__ or "")
        ends = (closed.rcvd, closed.sent) if closed.rcvd_then_sent else (closed.sent, closed.rcvd)
        for end in ends:
            if end is not None:
                return ConnectionLost(end.reason or seen, end.code)
        return ConnectionLost(seen or "the other side vanished", VANISHED)


def source_of(peername: object) -> str:
    """The IP address in a socket's peer name; an IPv4 client of a dual-stack socket is an IPv4 address."""
    host = str(peername[0]) if isinstance(peername, tuple) and peername else "unknown"
    return host.removeprefix("::ffff:") if "." in host else host
