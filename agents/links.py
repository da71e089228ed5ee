"""Live links: where bytes (`session`) and boards (`engine`) meet.

A link begins with a Noise handshake, then each side says who it is (IDENTIFY), then the engine greets. Until the other
end was admitted nothing durable changes but counters; what admission pins is committed before it is answered. After
that a link is two tasks: one reads frames, one packs whatever waits into as few frames as it needs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from agents.stepping import Stepping
from grammar.errors import MeshError
from invitations.admission import Greeted, admit, greet, unproved
from invitations.card import Card
from invitations.errors import CardError
from invitations.identity import Identity
from invitations.joining import paired, psk_for
from invitations.peers import PeerBook, PeerRow
from invitations.recognition import recognise
from invitations.refusal import Refused, unexplained
from mesh.board import Board
from mesh.codec import FramePacker, unpack_frame
from mesh.engine import Engine
from mesh.errors import CodecError, LinkError, MessageError, SessionError
from mesh.messages import Bye, Hello, Identify, Message, Type, encode, read
from mesh.session import Answering, Dialing, Session
from mesh.transport.contract import UNPROVEN, Connection, Network
from mesh.transport.errors import ConnectionLost

log = logging.getLogger("hopboard.links")

REFUSED: Final = 4403
REPLACED: Final = 4409
MALFORMED: Final = 4400
KEY_BYTES: Final = 32


class PeerRefused(LinkError):
    """The other side refused the link after we had proved ourselves; the message is its own."""

    code = "MESH-E510"
    exit_code = 4


class Link:
    """One authenticated connection of one board. `queue` is what is yet to be sent, as packed messages."""

    __slots__ = ("board", "connection", "queue", "session", "waiting")

    def __init__(self, board: Board, connection: Connection, session: Session) -> None:
        self.board = board
        self.connection = connection
        self.session = session
        self.queue: list[bytes] = []
        self.waiting = asyncio.Event()

    def send(self, packed: list[bytes]) -> None:
        """Queue messages; they leave in order, as many to a frame as fit."""
        self.queue += packed
        self.waiting.set()


class Local(Protocol):
    """What links need to know of the agent they belong to."""

    identity: Identity
    engine: Engine
    book: PeerBook
    stepping: Stepping

    def random(self, size: int) -> bytes: ...

    def card(self) -> Card: ...


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
        self._network = network
        self._changed = changed
        self._live: dict[int, Link] = {}
        self.events: dict[tuple[str, str], LinkEvent] = {}

    # -- what the engine wants sent -----------------------------------------------------------------------------

    def send(self, board_id: int, packed: list[bytes]) -> None:
        """Send on the present link of a board; without one there is nothing to do, the store remembers."""
        link = self._live.get(board_id)
        if link is not None:
            link.send(packed)

    def close(self, board_id: int, reason: str) -> None:
        """Close the present link of a board, saying why."""
        link = self._live.get(board_id)
        if link is not None:
            log.warning("link to %s closed: %s", link.board.name, reason)
            link.send([encode(Type.BYE, Bye(reason[:200]))])
            self._drop(link)
            link.waiting.set()

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
            link = await self._dial(peer, connection)
            up()
            await self._serve(link)
        finally:
            connection.abort()

    async def _dial(self, peer: PeerRow, connection: Connection) -> Link:
        local = self._local
        row = local.book.peer(*peer.key) or peer
        psk, named = psk_for(row)
        dialing = Dialing(
            local.identity.link_key,
            row.link_public,
            psk,
            invitation_id=named,
            ephemeral=local.random(KEY_BYTES),
        )
        try:
            await connection.send(dialing.first())
            session = dialing.finish(await connection.receive())
            connection.authenticated()
            await connection.send(session.seal(_one(Type.IDENTIFY, Identify(local.card().data, row.zone))))
            first = _messages(session.open(await connection.receive()))
        except ConnectionLost as lost:
            if lost.close_code == UNPROVEN:
                refused = unexplained(row)
                raise PeerRefused(refused.message, fix=refused.fix) from None
            raise
        match first:
            case [Identify(card=data, zone=zone), *rest]:
                pass
            case [Bye(reason=reason)]:
                cause, _, fix = reason.partition(" | ")
                raise PeerRefused(f'"{row.name}" refused the link: {cause}', fix=fix)
            case _:
                raise MessageError("the other side did not say who it is")
        now = local.stepping.now_ms() / 1000
        try:
            known = recognise(row, Card.parse(data), zone, link_public=row.link_public, now=now)
        except (Refused, CardError) as error:
            await self._refuse(connection, session, error)
            raise PeerRefused(error.message, fix=error.fix) from None
        settled = paired(known, bytes(session.pair_key)) if row.pair_key is None else known
        board = self._keep(settled, row)
        return await self._begin(board, connection, session, rest)

    def _keep(self, row: PeerRow, before: PeerRow | None) -> Board:
        local = self._local
        board = local.engine.board(row.zone, row.name)
        if row is not before or board is None or board.fingerprint != row.fingerprint:
            local.book.keep(row)
            board = local.engine.pair(row)
            local.stepping.poke()
        return board

    # -- answering ----------------------------------------------------------------------------------------------

    async def accept(self, connection: Connection) -> None:
        """Own a connection that somebody opened to us, from its first byte to its end."""
        try:
            link = await self._answer(connection)
        except (Refused, LinkError, CardError) as error:
            log.warning("%s from %s", error.message, connection.source, extra={"fix": error.fix})
            with suppress(LinkError):
                await connection.close(REFUSED, "refused")
            return
        try:
            await self._serve(link)
        except LinkError as error:
            log.info("link to %s ended: %s", link.board.name, error.message)

    async def _answer(self, connection: Connection) -> Link:
        local = self._local
        answering = Answering(local.identity.link_key, local.random(KEY_BYTES), link_public=local.identity.link_public)
        greeting = answering.read(await connection.receive())
        now = local.stepping.now_ms() / 1000
        try:
            greeted = greet(local.book, greeting.link_public, greeting.invitation_id, connection.source, now)
        except Refused as refused:
            self._note_refused(refused)
            raise
        message, session = answering.answer(greeted.psk)
        await connection.send(message)
        try:
            first = _messages(session.open(await connection.receive()))
        except SessionError:
            failed = unproved(local.book, greeted)
            if failed is not None:
                local.book.keep_invitation(failed)
            raise
        return await self._admit(connection, session, greeted, greeting.link_public, first)

    async def _admit(
        self, connection: Connection, session: Session, greeted: Greeted, link_public: bytes, first: list[Message]
    ) -> Link:
        local = self._local
        match first:
            case [Identify(card=data, zone=zone), *rest]:
                pass
            case _:
                raise MessageError("the other side did not say who it is")
        now = local.stepping.now_ms() / 1000
        connection.authenticated()
        try:
            admitted = admit(
                local.book,
                greeted,
                Card.parse(data),
                zone,
                link_public=link_public,
                pair_key=bytes(session.pair_key),
                now=now,
            )
        except (Refused, CardError) as error:
            await self._refuse(connection, session, error)
            self._note_refused(error)
            raise
        if admitted.invitation is not None:
            local.book.keep_invitation(admitted.invitation)
        before = local.book.peer(*admitted.peer.key)
        if admitted.peer is not before:
            local.book.keep(admitted.peer)
            local.engine.pair(admitted.peer, admitted.invitation)
            # What was pinned is durable before it is answered: an invitation pins one key, whatever happens now.
            await local.stepping.settled()
        await connection.send(session.seal(_one(Type.IDENTIFY, Identify(local.card().data, zone))))
        board = local.engine.board(admitted.peer.zone, admitted.peer.name)
        assert board is not None, "an admitted peer has its board"
        return await self._begin(board, connection, session, rest)

    def _note_refused(self, refused: MeshError) -> None:
        invitation = refused.invitation if isinstance(refused, Refused) else None
        if invitation is not None:
            self._local.book.keep_invitation(invitation)
            self._local.engine.expect(invitation)
            self._local.stepping.poke()

    async def _refuse(self, connection: Connection, session: Session, error: MeshError) -> None:
        with suppress(LinkError):
            await connection.send(session.seal(_one(Type.BYE, Bye(f"{error.message} | {error.fix}"))))
            await connection.close(REFUSED, "refused")

    # -- a link that stands -------------------------------------------------------------------------------------

    async def _begin(self, board: Board, connection: Connection, session: Session, messages: list[Message]) -> Link:
        """Greet, and wait for the other side's HELLO; an older link of the board is replaced (R11)."""
        local = self._local
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
                messages = _messages(session.open(await connection.receive()))
            hello, rest = messages[0], messages[1:]
            if not isinstance(hello, Hello):
                raise MessageError("the other side did not greet")
            if self._live.get(board.id) is not link:
                raise ConnectionLost("replaced by a newer link", REPLACED)
            now_ms = local.stepping.now_ms()
            local.engine.connected(board, hello, now_ms)
            if rest:
                local.engine.received(board, rest, now_ms)
            local.stepping.poke()
        except BaseException:
            self._drop(link)
            raise
        event = self.event(board.name, board.zone)
        event.state, event.since_ms, event.trouble, event.fix = "up", local.stepping.now_ms(), "", ""
        log.info("link to %s is up", board.name)
        self._changed(board)
        return link

    async def _serve(self, link: Link) -> None:
        writing = asyncio.get_running_loop().create_task(self._write(link))
        try:
            await self._read(link)
        finally:
            self._drop(link)
            link.waiting.set()
            with suppress(LinkError, asyncio.CancelledError):
                await writing
            link.session.close()

    async def _read(self, link: Link) -> None:
        local, board = self._local, link.board
        engine, stepping = local.engine, local.stepping
        receive, opened = link.connection.receive, link.session.open
        while True:
            frame = await receive()
            if self._live.get(board.id) is not link:
                return
            try:
                messages = _messages(opened(frame))
            except (CodecError, MessageError) as error:
                await link.connection.close(MALFORMED, error.message[:100])
                raise
            engine.received(board, messages, stepping.now_ms())
            stepping.poke()

    async def _write(self, link: Link) -> None:
        try:
            while self._live.get(link.board.id) is link or link.queue:
                if not link.queue:
                    link.waiting.clear()
                    await link.waiting.wait()
                await self._flush(link)
            await link.connection.close()
        except LinkError:
            link.connection.abort()

    async def _flush(self, link: Link) -> None:
        packer = FramePacker()
        packed, link.queue = link.queue, []
        packer.extend(packed)
        for frame in packer.take():
            await link.connection.send(link.session.seal(frame))

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
        """Say goodbye on every link."""
        links = list(self._live.values())
        for link in links:
            link.send([encode(Type.BYE, Bye("the agent stops"))])
            with suppress(LinkError):
                await self._flush(link)
            self._drop(link)
            link.waiting.set()
            with suppress(LinkError):
                await link.connection.close()


def _messages(plaintext: bytes) -> list[Message]:
    found = map(read, unpack_frame(plaintext))
    return [message for message in found if message is not None]


def _one(code: Type, content: Message) -> bytes:
    packer = FramePacker()
    packer.add(encode(code, content))
    return packer.take()[0]
