"""The beginning of a connection: a Noise handshake, then each side says who it is.

Until the other end was admitted nothing durable changes but counters. What admission pins is committed before it is
answered, so an invitation pins one key whatever happens in between. Whoever is refused before it has proved itself is
told nothing; afterwards it is told why, by name.
"""

from __future__ import annotations

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
from invitations.peers import InvitationRow, PeerBook, PeerRow
from invitations.recognition import recognise
from invitations.refusal import Refused, unexplained
from mesh.board import Board
from mesh.codec import FramePacker
from mesh.engine import Engine
from mesh.errors import LinkError, MessageError, SessionError
from mesh.messages import Bye, Identify, Message, Type, encode, messages_of
from mesh.session import Answering, Dialing, Session
from mesh.transport.contract import UNPROVEN, Connection
from mesh.transport.errors import ConnectionLost

REFUSED: Final = 4403
KEY_BYTES: Final = 32


class PeerRefused(LinkError):
    """The other side refused the link after we had proved ourselves; the message is its own."""

    code = "MESH-E510"
    exit_code = 4


class Local(Protocol):
    """What a link needs to know of the agent it belongs to."""

    identity: Identity
    engine: Engine
    book: PeerBook
    stepping: Stepping

    def random(self, size: int) -> bytes:
        """Unpredictable bytes."""

    def card(self) -> Card:
        """The agent's card as of now."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """Both ends know each other: the board they share, the session, and messages that came on its heels."""

    board: Board
    session: Session
    messages: list[Message]


class Handshake:
    """How one agent begins connections."""

    def __init__(self, local: Local) -> None:
        self._local = local

    async def dial(self, peer: PeerRow, connection: Connection) -> Agreed:
        """The side that dials.

        Raises:
            LinkError: it did not come about; `PeerRefused` with the other side's own words.
        """
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
            first = messages_of(session.open(await connection.receive()))
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
        return Agreed(board, session, rest)

    def _keep(self, row: PeerRow, before: PeerRow | None) -> Board:
        local = self._local
        board = local.engine.board(row.zone, row.name)
        if row is not before or board is None or board.fingerprint != row.fingerprint:
            local.book.keep(row)
            board = local.engine.pair(row)
            local.stepping.poke()
        return board

    async def answer(self, connection: Connection) -> Agreed:
        """The side that is dialled.

        Raises:
            Refused, LinkError, CardError: it is not admitted; the other side was told what it may know.
        """
        local = self._local
        answering = Answering(local.identity.link_key, local.random(KEY_BYTES), link_public=local.identity.link_public)
        greeting = answering.read(await connection.receive())
        now = local.stepping.now_ms() / 1000
        try:
            greeted = greet(local.book, greeting.link_public, greeting.invitation_id, connection.source, now)
        except Refused as refused:
            self._count_failure(refused.invitation)
            raise
        message, session = answering.answer(greeted.psk)
        await connection.send(message)
        try:
            first = messages_of(session.open(await connection.receive()))
        except SessionError:
            self._count_failure(unproved(local.book, greeted))
            raise
        return await self._admit(connection, session, greeted, greeting.link_public, first)

    async def _admit(
        self, connection: Connection, session: Session, greeted: Greeted, link_public: bytes, first: list[Message]
    ) -> Agreed:
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
            if isinstance(error, Refused):
                self._count_failure(error.invitation)
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
        return Agreed(board, session, rest)

    def _count_failure(self, invitation: InvitationRow | None) -> None:
        if invitation is not None:
            self._local.book.keep_invitation(invitation)
            self._local.engine.expect(invitation)
            self._local.stepping.poke()

    async def _refuse(self, connection: Connection, session: Session, error: MeshError) -> None:
        with suppress(LinkError):
            await connection.send(session.seal(_one(Type.BYE, Bye(f"{error.message} | {error.fix}"))))
            await connection.close(REFUSED, "refused")


def _one(code: Type, content: Message) -> bytes:
    packer = FramePacker()
    packer.add(encode(code, content))
    return packer.take()[0]
