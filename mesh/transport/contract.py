"""What the mesh needs of a network: connections that carry whole byte messages, in order, until they end.

Two implementations keep this contract, `websocket` (real sockets) and `memory` (one process, virtual time);
one test suite runs on both. Nothing here knows what the bytes mean: keys, frames and boards are the business
of others.

Two phases. A fresh connection is *unproven*: a message may hold `PREAUTH_BYTES`, a connection may bring
`PREAUTH_MESSAGES` of them, and whatever ends it looks the same from outside, code `UNPROVEN` and no reason
(PROTOCOL.md 4). When the owner has convinced itself of who is there it calls `authenticated()`, and messages up
to `MESSAGE_BYTES` are taken. The receiver's limit holds for the message that is arriving, so the two sides
must agree on the moment: **call `authenticated()` before sending the message that proves it, and send nothing
above `PREAUTH_BYTES` before having received such a message.** In the mesh that message is each side's first
one under the session keys.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn, Protocol

PREAUTH_BYTES: Final = 2_048
PREAUTH_MESSAGES: Final = 8
"""Messages taken before `authenticated()`; a handshake needs two, the rest is room for what follows on its
heels.
"""
MESSAGE_BYTES: Final = 65_535

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
NOT_BINARY: Final = 1003
VANISHED: Final = 1006
"""Never on the wire: the connection ended without a word (RFC 6455, 7.1.5)."""
TOO_BIG: Final = 1009
INTERNAL: Final = 1011
UNPROVEN: Final = 4401
"""Ends everything that was not authenticated, whatever the cause was."""


class Connection(Protocol):
    """One connection between two agents. One owner; both sides have the same verbs.

    Messages arrive whole, once, in the order in which `send` was called. Whoever stops using a connection
    calls `close` or `abort`.
    """

    @property
    def source(self) -> str:
        """The other side's address: an IP without a port, or a host's name in the memory network."""

    async def send(self, data: bytes) -> None:
        """Hand over one message of at most `MESSAGE_BYTES` and wait while the other side is too slow to take
        it.

        Returning says that the message is on its way, not that it arrived. Calls may overlap: messages leave
        in the order of the calls. A cancelled call may or may not have sent its message.

        Raises:
            ConnectionLost: the connection is over, or ended while waiting.
        """

    def offer(self, data: bytes) -> bool:
        """Hand over one message as `send` does, if that needs no waiting.

        Returns:
            Whether it was taken. If not, the other side is too slow to take it now, or the connection is over.
        """

    async def receive(self) -> bytes:
        """Wait for the next message. Cancelling loses none. One call at a time.

        Raises:
            ConnectionLost: the connection is over and what had arrived before was handed out.
        """

    async def receive_each(self, take: Callable[[bytes], None]) -> NoReturn:
        """Call `take` with each message from now on, in the moment in which it arrives: nobody has to be woken for it.
        Nothing else receives meanwhile.

        Args:
            take: called within the event loop's own work on the connection. What it raises ends this call, and what
                arrives after that is lost.

        Raises:
            ConnectionLost: the connection is over.
        """

    def authenticated(self) -> None:
        """Take messages up to `MESSAGE_BYTES` from now on, and stop counting this connection as half-open."""

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """End the connection after what was sent before, and tell the other side why.

        Returns when it is over, within seconds even if the other side is stalled. Idempotent. Before
        `authenticated()` the other side is told `UNPROVEN` and nothing else.

        Args:
            code: 1000, 1001 or 4000-4999 (RFC 6455, 7.4.2).
            reason: at most 123 bytes of UTF-8.
        """

    def abort(self) -> None:
        """End the connection at once; what is still on its way is lost. Idempotent."""


Accept = Callable[[Connection], Awaitable[None]]
"""Owns an accepted connection; it is closed when this returns, and `ConnectionLost` out of it is a normal
end.
"""

Page = Callable[[], tuple[int, str, str]]
"""Answers one plain GET: status, content type, body."""


class Listener(Protocol):
    """An address that takes connections."""

    @property
    def address(self) -> str:
        """A URL that `connect` takes on this machine, with the real port where 0 was asked for."""

    async def close(self) -> None:
        """Take no more connections and end those that were accepted (`GOING_AWAY`).

        Returns when every `accept` has returned; those that do not within seconds of their connection's end
        are cancelled. Idempotent. Not to be called from within an `accept`.
        """


class Network(Protocol):
    """Makes connections to addresses and from them."""

    async def connect(self, url: str, timeout_s: float) -> Connection:
        """Dial one URL.

        Raises:
            DialFailed: nothing was there, it did not answer in `timeout_s` seconds, or it speaks something
            else.
                Nothing is left open.
        """

    async def listen(
        self, host: str, port: int, accept: Accept, *, pages: Mapping[str, Page] | None = None
    ) -> Listener:
        """Take connections at an address; `accept` runs once for each.

        Args:
            host: an IP address or name of this machine.
            port: 0 for any free one.
            accept: see `Accept`; any other error out of it goes to the event loop's exception handler.
            pages: path -> what to answer to a plain GET of it, where the network has such a thing.

        Raises:
            ListenFailed: the address is taken or not ours.
        """
