"""Live links: where bytes (`session`) and boards (`engine`) meet.

After the handshake the engine greets, and from then on what arrives is given to it at once, and what waits is packed
into as few frames as it needs. Two tasks of each link wait for its end and for room in its socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

from agents.handshake import REFUSED, Agreed, Handshake, Local, PeerRefused
from agents.metrics import Traffic
from invitations.errors import CardError
from invitations.peers import PeerRow
from invitations.refusal import Refused
from mesh.board import Board
from mesh.codec import FramePacker
from mesh.errors import CodecError, LinkError, MessageError, SessionError
from mesh.messages import Bye, Hello, Type, encode, is_ack, is_hello, messages_of
from mesh.session import Session
from mesh.transport.contract import Connection, Network
from mesh.transport.errors import ConnectionLost

log = logging.getLogger("hopboard.links")

REPLACED: Final = 4409
MALFORMED: Final = 4400
GOODBYE_S: Final = 3.0
"""How long the other side may take to read our last words before its connection is cut."""
ALONE_S: Final = 0.005
"""How long an acknowledgement waits for company at most. Less than a window is sent meanwhile."""
QUEUED: Final = 65_536
"""Messages that may wait for room in a socket. The window bounds the records among them and what is passed ahead does
not wait, so only somebody who asks for answers and does not read them comes near."""


class Link:
    """One authenticated connection of one board.

    Attributes:
        queue: what is yet to be sent, as packed messages.
        slices: those of blobs, which go one at a time behind whatever else waits (R14).
        sealed: frames that were not taken at once; they go before anything else.
        greeted: our HELLO is among what was queued; nothing goes before it.
        flushing: a flush is under way; seen from elsewhere, the socket has no room and TCP waits for the other side.
    """

    __slots__ = ("board", "connection", "flushing", "greeted", "queue", "sealed", "session", "slices", "waiting")

    def __init__(self, board: Board, connection: Connection, session: Session) -> None:
        self.board = board
        self.connection = connection
        self.session = session
        self.queue: list[bytes] = []
        self.greeted = False
        self.flushing = False
        self.slices: deque[bytes] = deque()
        self.sealed: deque[bytes] = deque()
        self.waiting = asyncio.Event()

    def send(self, packed: list[bytes]) -> None:
        """Queue messages; they leave in order, as many to a frame as fit."""
        self.queue += packed
        self.waiting.set()


@dataclass(slots=True)
class LinkEvent:
    """What `peers` shows of a board: its link's state, since when (Unix ms), and the last trouble."""

    state: str = "never connected"
    since_ms: int = 0
    trouble: str = ""
    fix: str = ""


class Links:
    """All links of one agent.

    Args:
        local: the agent.
        network: makes connections.
        changed: called with a board whose link came up or went down.
    """

    def __init__(self, local: Local, network: Network, changed: Callable[[Board], None]) -> None:
        self._local = local
        self._handshake = Handshake(local)
        self._network = network
        self._changed = changed
        self._live: dict[int, Link] = {}
        # Links for which nothing but an acknowledgement waits, and those for which something else does.
        self._quiet: list[Link] = []
        self._ready: list[Link] = []
        self._timer: asyncio.TimerHandle | None = None
        self.traffic = Traffic()
        self.events: dict[tuple[str, str], LinkEvent] = {}

    # -- what the engine wants sent -----------------------------------------------------------------------------

    def send(self, messages: Mapping[int, list[bytes]]) -> None:
        """Queue on the present links of boards what one step has for each, for the next `flush`; where there is no link
        there is nothing to do, the store remembers.

        A mere acknowledgement makes nobody go on. It waits a moment for something else to go with, mostly an Outcome or
        the next Request: a frame less here, and a step and a commit less on the other side, for which jobs would wait.
        """
        for board_id, packed in messages.items():
            link = self._live.get(board_id)
            if link is None or not (link.greeted or is_hello(packed[0])):
                # What was meant for the link before this one is sent again once they have greeted.
                continue
            link.greeted = True
            link.queue += packed
            (self._quiet if len(packed) == 1 and is_ack(packed[0]) else self._ready).append(link)
            if len(link.queue) > QUEUED:
                self.close(board_id, "it asks for answers and does not read them")
        if self._quiet and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(ALONE_S, self._send_quiet)

    def _send_quiet(self) -> None:
        self._timer = None
        self._ready += self._quiet
        self._quiet.clear()
        self.flush()

    def flush(self) -> None:
        """Write what was queued, as far as sockets take it at once; the task of a link does the rest. (To wake that for
        everything would have each frame wait for a turn of the loop, in which a thousand callers may go on.)"""
        ready, self._ready = self._ready, []
        for link in ready:
            if link.flushing or not link.queue or self._live.get(link.board.id) is not link:
                continue
            self._seal(link, with_slice=False)
            while link.sealed and link.connection.offer(link.sealed[0]):
                link.sealed.popleft()
            if link.sealed:
                link.waiting.set()

    def pass_ahead(self, board_id: int, packed: Sequence[bytes]) -> None:
        """Queue Outcomes ahead of their records, if that makes them early: on a link without room they would only wait
        in memory, beside the window, for records that wait as well (R12)."""
        link = self._live.get(board_id)
        if link is not None and link.greeted and not link.flushing and not link.sealed:
            link.queue += packed
            self._ready.append(link)
        elif link is not None:
            self.traffic.passed_over += len(packed)

    @property
    def queued(self) -> int:
        """Messages that wait behind those that are being written, over all links."""
        return sum(len(link.queue) for link in self._live.values())

    @property
    def blocked(self) -> int:
        """Links whose socket takes no more at the moment: the other side does not read, or not as fast."""
        return sum(link.flushing for link in self._live.values())

    def send_slices(self, board_id: int, packed: list[bytes]) -> None:
        """Send slices of blobs on the present link of a board, behind whatever else waits for it."""
        link = self._live.get(board_id)
        if link is not None and link.greeted:
            link.slices += packed
            link.waiting.set()

    def close(self, board_id: int, reason: str) -> None:
        """Close the present link of a board, saying why."""
        link = self._live.get(board_id)
        if link is not None:
            log.warning("link to %s closed: %s", link.board.name, reason)
            link.send([encode(Type.BYE, Bye(reason[:200]))])
            self._drop(link)
            link.waiting.set()
            # Whoever does not read does not take the goodbye either, and would hold this end open for as long as its
            # kernel answers: nobody could dial again meanwhile.
            asyncio.get_running_loop().call_later(GOODBYE_S, link.connection.abort)

    def is_up(self, board_id: int) -> bool:
        """Whether a link stands."""
        return board_id in self._live

    def event(self, name: str, zone: str) -> LinkEvent:
        """What is known of the link to a peer."""
        return self.events.setdefault((name, zone), LinkEvent())

    # -- dialling -----------------------------------------------------------------------------------------------

    async def dial(self, peer: PeerRow, url: str, up: Callable[[], None]) -> None:
        """Make a link to `url` and serve it until it ends; `up` is called once it stands.

        Raises:
            LinkError: it could not be made, or it ended; `PeerRefused` with the other side's own words.
        """
        connection = await self._network.connect(url, 10.0)
        try:
            link = await self._begin(await self._handshake.dial(peer, connection), connection)
            up()
            await self._serve(link)
        finally:
            connection.abort()

    # -- answering ----------------------------------------------------------------------------------------------

    async def accept(self, connection: Connection) -> None:
        """Own a connection that somebody opened to us, from its first byte to its end."""
        try:
            async with asyncio.timeout(self._local.engine.limits.handshake_s):
                link = await self._begin(await self._handshake.answer(connection), connection)
        except TimeoutError:
            log.warning("link from %s was not finished in time", connection.source)
            connection.abort()
            return
        except (Refused, LinkError, CardError) as error:
            self.traffic.refused += 1
            log.warning("%s from %s", error.message, connection.source, extra={"fix": error.fix})
            with suppress(LinkError):
                await connection.close(REFUSED, "refused")
            return
        try:
            await self._serve(link)
        except LinkError as error:
            log.info("link to %s ended: %s", link.board.name, error.message)

    # -- a link that stands -------------------------------------------------------------------------------------

    async def _begin(self, agreed: Agreed, connection: Connection) -> Link:
        """Greet, and wait for the other side's HELLO; an older link of the board is replaced (R11)."""
        local = self._local
        board, session, messages = agreed.board, agreed.session, agreed.messages
        older = self._live.get(board.id)
        if older is not None:
            self._drop(older)
            older.connection.abort()
        link = Link(board, connection, session)
        self._live[board.id] = link
        local.engine.greet(board, local.stepping.now_ms())
        local.stepping.poke()
        try:
            await local.stepping.settled()
            await self._flush(link)
            while not messages:
                messages = messages_of(session.open(await connection.receive()))
            hello, rest = messages[0], messages[1:]
            if isinstance(hello, Bye):
                raise self._refused_by(board, hello)
            if not isinstance(hello, Hello):
                raise MessageError("the other side did not greet")
            local.stepping.feed(partial(self._connected, link, hello))
            if self._live.get(board.id) is not link:
                raise ConnectionLost("replaced by a newer link, or closed", REPLACED)
            if rest:
                local.stepping.feed(partial(local.engine.received, board, rest))
        except BaseException:
            self._drop(link)
            raise
        event = self.event(board.name, board.zone)
        event.state, event.since_ms, event.trouble, event.fix = "up", local.stepping.now_ms(), "", ""
        self.traffic.links += 1
        log.info("link to %s is up", board.name)
        self._changed(board)
        return link

    def _connected(self, link: Link, hello: Hello, now_ms: int) -> None:
        # What became durable in this moment may have closed it.
        if self._live.get(link.board.id) is link:
            self._local.engine.connected(link.board, hello, now_ms)

    def _refused_by(self, board: Board, bye: Bye) -> PeerRefused:
        """The side that dialled does not want the link after all: people find the reason here, too."""
        cause, _, fix = bye.reason.partition(" | ")
        event = self.event(board.name, board.zone)
        event.trouble, event.fix = f'"{board.name}" refused the link: {cause}', fix
        return PeerRefused(event.trouble, fix=fix)

    async def _serve(self, link: Link) -> None:
        writing = asyncio.get_running_loop().create_task(self._write(link))
        try:
            await self._read(link)
        finally:
            self._drop(link)
            link.waiting.set()
            # It may wait for room in a socket that the other side does not read.
            _, stuck = await asyncio.wait([writing], timeout=GOODBYE_S)
            if stuck:
                link.connection.abort()
                await asyncio.wait(stuck)
            link.session.close()

    async def _read(self, link: Link) -> NoReturn:
        try:
            await link.connection.receive_each(partial(self._received, link))
        except (CodecError, MessageError) as error:
            await link.connection.close(MALFORMED, error.message[:100])
            raise

    def _received(self, link: Link, frame: bytes) -> None:
        board = link.board
        if self._live.get(board.id) is not link:
            return
        try:
            messages = messages_of(link.session.open(frame))
        except SessionError:
            # At once: a session that met what it cannot open seals nothing more, either.
            self._drop(link)
            raise
        traffic, local = self.traffic, self._local
        traffic.frames_in += 1
        traffic.bytes_in += len(frame)
        traffic.messages_in += len(messages)
        local.stepping.feed(partial(local.engine.received, board, messages), len(messages))

    async def _write(self, link: Link) -> None:
        try:
            while self._live.get(link.board.id) is link or link.queue or link.sealed:
                if not link.queue and not link.slices and not link.sealed:
                    link.waiting.clear()
                    await link.waiting.wait()
                await self._flush(link)
            await link.connection.close()
        except LinkError:
            link.connection.abort()

    async def _flush(self, link: Link) -> None:
        link.flushing = True
        self._seal(link, with_slice=True)
        while link.sealed:
            await link.connection.send(link.sealed.popleft())
        link.flushing = False

    def _seal(self, link: Link, *, with_slice: bool) -> None:
        """Make frames of what is queued, with a slice behind it if one waits."""
        packed, link.queue = link.queue, []
        if with_slice and link.slices:
            packed.append(link.slices.popleft())
        traffic, packer = self.traffic, FramePacker()
        packer.extend(packed)
        traffic.messages_out += len(packed)
        for frame in packer.take():
            sealed = link.session.seal(frame)
            traffic.frames_out += 1
            traffic.bytes_out += len(sealed)
            link.sealed.append(sealed)

    def _drop(self, link: Link) -> None:
        board = link.board
        if self._live.get(board.id) is not link:
            return
        del self._live[board.id]
        self._local.engine.disconnected(board)
        self._local.stepping.poke()
        event = self.event(board.name, board.zone)
        event.state, event.since_ms = "down", self._local.stepping.now_ms()
        self._changed(board)

    async def close_all(self) -> None:
        """Say goodbye on every link, to all at once: who does not read makes nobody else wait."""
        async with asyncio.TaskGroup() as leaving:
            for link in list(self._live.values()):
                leaving.create_task(self._leave(link))

    async def _leave(self, link: Link) -> None:
        link.send([encode(Type.BYE, Bye("the agent stops"))])
        with suppress(LinkError):
            if not link.flushing:
                async with asyncio.timeout(GOODBYE_S):
                    await self._flush(link)
        self._drop(link)
        link.waiting.set()
        with suppress(LinkError):
            await link.connection.close()
