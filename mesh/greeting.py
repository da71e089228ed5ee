"""A link begins: both sides compare what they committed, and go on from there or exchange everything (rules R3-R5).

`Greeting` says HELLO, reads the other side's, finds out whether either store lost something, and gives credit. Until
the positions were compared in this opening of the store, what was found in it proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.board import Board
from mesh.clocks import Clocks
from mesh.dispatch import PAGE
from mesh.effects import Unfinished
from mesh.homeward import begins_anew, rest
from mesh.ledger import Ledger
from mesh.messages import AllSent, Credit, Hello, Type, encode
from mesh.positions import Incarnations
from mesh.replication import NO_POSITION
from mesh.room import why_none

VERSION: Final = 1
OURS: Final = "this agent"
ANEW: Final = "a store lost what the other side had committed: the next link begins with a full exchange"


class Greeting:
    """The beginning of every link of one agent.

    Attributes:
        watch_ms: when a link may have to be asked for a sign of life; `Liveness` looks after it.
    """

    def __init__(self, ledger: Ledger, clocks: Clocks) -> None:
        self._ledger = ledger
        self._clocks = clocks
        self.watch_ms: int | None = None

    def hello(self, board: Board, keywords: Iterable[str] | None, now_ms: int) -> None:
        """Greet on a new link of `board`. It is an effect like any other, sent after all commits before it, so that
        only committed positions are told; nothing is taken from the old link any more."""
        if board.open:
            self.disconnected(board)
        inbox, outbox = board.inbox, board.outbox
        received = None if inbox.received == NO_POSITION else list(inbox.received)
        board.said_exchanging = board.exchanging
        content = Hello(
            VERSION,
            now_ms,
            self._ledger.incarnations.told(),
            outbox.last,
            received,
            outbox.noted,
            int(board.exchanging),
            None if keywords is None else sorted(keywords),
        )
        self._ledger.effects.send[board.id] = [encode(Type.HELLO, content)]

    def connected(self, board: Board, hello: Hello, now_ms: int) -> None:
        """The peer's HELLO on a link whose other end was admitted: compare positions and go on from them (R4)."""
        ledger = self._ledger
        assert not board.open, "the greeting of a new link closed the old one"
        if hello.version != VERSION:
            self.refuse(
                board, f"the other side speaks version {hello.version} of the board protocol, this one {VERSION}"
            )
            return
        theirs = Incarnations.heard(hello.incarnations)
        if theirs.current in board.inbox.superseded:
            ledger.alarm(f'"{board.name}" came with a store that a later one of its replaced: a clone')
            ledger.effects.close.append((board.id, "cloned_store"))
            return
        board.close()
        board.heard_ms = now_ms
        board.keywords = None if hello.keywords is None else frozenset(str(word) for word in hello.keywords)
        board.cards.add(ledger.fingerprint)
        board.theirs = theirs
        # During a full exchange positions mean nothing yet; it is begun again.
        lost = "" if board.exchanging or hello.exchanging else self._lost(board, hello, theirs)
        if not lost and not hello.exchanging and self._lost_elsewhere(board, theirs):
            # The peer cannot tell, for our HELLO here says nothing of the other zone; the next one does.
            lost = f'"{board.name}"'
            self._exchange_at_next_link(board)
        if lost:
            if lost == OURS:
                ledger.lost(board)
            ledger.alarm(
                f'the store of {lost} lost what the other side had committed: full exchange with "{board.name}"'
            )
            self._in_every_zone(board, theirs, own_loss=lost == OURS)
        if board.exchanging and not board.said_exchanging and not hello.exchanging:
            # Another zone showed the loss after our HELLO went out: the peer just goes on.
            self.refuse(board, ANEW)
            return
        if hello.exchanging and not board.exchanging and not board.recovered:
            # The peer began an exchange of which this store knows nothing: it may be the one that lost something.
            ledger.lost(board)
        if lost or board.exchanging or hello.exchanging:
            self._exchange_all(board, theirs)
        else:
            self._resume(board, hello, theirs)
        board.open = True
        first_ping = now_ms + int(ledger.limits.ping_s * 1000)
        self.watch_ms = first_ping if self.watch_ms is None else min(self.watch_ms, first_ping)
        self._clocks.greeted(board, hello.now_ms, now_ms)
        self.give_credit(board)
        board.want_no_more(now_ms - int((ledger.limits.life_max_s + ledger.limits.horizon_s) * 1000))
        for job_id in sorted(board.wanted):
            ledger.want(board, job_id)
        ledger.acks[board.id] = board
        ledger.pumped[board.id] = board
        ledger.touch_board(board)

    def _lost(self, board: Board, hello: Hello, theirs: Incarnations) -> str:
        """Whose store lost committed positions: a name for the alarm, "" for nobody's."""
        mine = self._ledger.incarnations
        inbox, outbox = board.inbox, board.outbox
        received = None if hello.received is None else (bytes(hello.received[0]), int(hello.received[1]))  # type: ignore[call-overload]
        if inbox.received != NO_POSITION and not theirs.holds(inbox.received):
            gone = board.inbox.incarnation
            if gone not in theirs.names():
                board.inbox.superseded |= {gone}
            return f'"{board.name}"'
        if (received is None and outbox.noted) or (received is not None and received[1] < outbox.noted):
            return f'"{board.name}"'
        if hello.sent < inbox.number:
            return f'"{board.name}"'
        if received is not None and (not mine.holds(received) or received[1] > outbox.last):
            return OURS
        if hello.acked > (inbox.number if inbox.received != NO_POSITION else 0):
            return OURS
        return ""

    def _lost_elsewhere(self, board: Board, theirs: Incarnations) -> bool:
        """Whether the openings that the peer of `board` tells do not hold a position that it gave out in another zone.
        (During a full exchange positions mean nothing, and it begins anew by itself.)"""
        return not board.exchanging and any(
            not other.exchanging and other.inbox.received != NO_POSITION and not theirs.holds(other.inbox.received)
            for other in self._elsewhere(board)
        )

    def _elsewhere(self, board: Board) -> list[Board]:
        """The boards that are shared with the same agent in other zones: it has one store for all of them."""
        boards = self._ledger.by_name.values()
        return [other for other in boards if other is not board and other.fingerprint == board.fingerprint]

    def _in_every_zone(self, board: Board, theirs: Incarnations, *, own_loss: bool) -> None:
        """A store lost something, as `board` showed: so it did on the boards that are shared with the same agent in
        other zones, whatever their positions say. Who took a Request there may not know it any more, and has not
        acknowledged it.

        Args:
            board: on which a HELLO came.
            theirs: the openings that it told.
            own_loss: the store is this agent's.
        """
        for other in self._elsewhere(board):
            # One that went on in this opening has had its jobs taken up, and the Requests of its peer.
            gone_on = other.recovered if own_loss else other.open and other.theirs.current == theirs.current
            if other.exchanging or gone_on:
                continue
            inbox = other.inbox
            if own_loss:
                self._ledger.lost(other)
            elif inbox.received != NO_POSITION and inbox.incarnation not in theirs.names():
                inbox.superseded |= {inbox.incarnation}
            self._exchange_at_next_link(other)

    def _exchange_at_next_link(self, board: Board) -> None:
        board.exchanging = True
        self._ledger.touch_board(board)
        if board.open:
            self.refuse(board, ANEW)

    def _resume(self, board: Board, hello: Hello, theirs: Incarnations) -> None:
        board.inbox.resume(theirs.current)
        received = 0 if hello.received is None else int(hello.received[1])  # type: ignore[call-overload]
        board.outbox.resume(received, self._ledger.incarnations.first)
        self._prove(board)

    def _exchange_all(self, board: Board, theirs: Incarnations) -> None:
        board.exchanging = True
        board.proved = False
        board.outbox.restart(self._ledger.incarnations.first)
        board.inbox.start((theirs.current, theirs.first - 1))
        begins_anew(self._ledger, board)
        # Earlier numbers say nothing any more, nor that what went under them is home.
        self._ledger.blobs.results.pop(board.id, None)

    def _prove(self, board: Board) -> None:
        if board.proved:
            return
        board.proved = True
        ledger = self._ledger
        ledger.next_due_ms = 0
        for other in ledger.by_name.values():
            # What waits there may have waited for this.
            other.held.clear()
            ledger.pumped[other.id] = other
        if not board.recovered:
            board.recovered = True
            ledger.effects.queries.append(Unfinished(board.id, 0, PAGE))

    def credit_again(self) -> None:
        """Tell peers that were refused for lack of room that there is some again (R13)."""
        ledger = self._ledger
        for board in ledger.roomier.values():
            if board.open and board.owes_credit:
                self.give_credit(board)

    def give_credit(self, board: Board) -> None:
        """Tell the peer of `board` what it may offer, as it is now. Of what was refused before, some may be told only
        later; then this is said again behind it (`dispatch.acknowledge`), or it would look older than that."""
        board.owes_credit = False
        board.credited = max(board.inbox.refused, default=0)
        ledger = self._ledger
        board.refusing = why_none(ledger.room, ledger.name) or self._clocks.why_refused(board)
        credit = Credit(0 if board.refusing else ledger.limits.credit_jobs, board.refusing)
        ledger.effects.send.setdefault(board.id, []).append(encode(Type.CREDIT, credit))

    def disconnected(self, board: Board) -> None:
        """The link of `board` is gone; what was in flight is sent again on the next one."""
        board.close()

    def exchanged(self, board: Board) -> None:
        """Go on with a full exchange: say ALL_SENT once the peer acknowledged all of it, and close it once both sides
        have everything of the other (R4)."""
        outbox = board.outbox
        if not board.exchanging or not board.all_sent or outbox.flight or outbox.behind:
            return
        if not board.told_all:
            board.told_all = True
            packed = encode(Type.ALL_SENT, AllSent(outbox.acked))
            self._ledger.effects.send.setdefault(board.id, []).append(packed)
        # It is told after everything before it was acknowledged, under whatever number that was.
        if board.peer_all_sent is not None:
            # Of what the peer counts as told, the last numbers may have no record any more (R7).
            board.inbox.told(board.peer_all_sent)
            board.exchanging = False
            self._ledger.touch_board(board)
            self._prove(board)

    def stepped(self, board: Board) -> None:
        """At the end of a step, once its jobs have their numbers: go on with a full exchange, and see what is home."""
        self.exchanged(board)
        rest(self._ledger, board)

    def refuse(self, board: Board, reason: str) -> None:
        """Close the link of `board`."""
        self._ledger.effects.close.append((board.id, reason))
        board.close()
