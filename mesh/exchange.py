"""The talk between two peers on one link: greeting, records, acknowledgements, refusals, signs of life.

`Exchange` turns messages into calls of the roles and keeps both halves of a board in step (rules R2-R5, R11, R12).
Messages of one board are taken strictly in order; when the first of them concerns a job that is on disk, it and all
behind it wait until the store has answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mesh.arrival import REASONS, Arrival, Consequence
from mesh.board import Board
from mesh.destination import Destination
from mesh.dispatch import PAGE, resend, withdraw
from mesh.effects import AtNumber, ById, Unfinished
from mesh.errors import FactError
from mesh.facts import ID_BYTES, Kind, decode
from mesh.hop import Hop
from mesh.job import Job, Lane
from mesh.ledger import Ledger
from mesh.messages import (
    END,
    REISSUED,
    Ack,
    Ahead,
    AllSent,
    Bye,
    CardMessage,
    Confirm,
    Credit,
    FactMessage,
    Hello,
    Identify,
    Message,
    Ping,
    Pong,
    Type,
    Want,
    encode,
)
from mesh.positions import Incarnations
from mesh.replication import NO_POSITION

VERSION: Final = 1
MAX_FACTS: Final = 8
"""Facts in one record: one of each kind, and some room for kinds to come."""


class Exchange:
    """The live side of every board."""

    def __init__(self, ledger: Ledger, arrival: Arrival, destination: Destination, hop: Hop) -> None:
        self._ledger = ledger
        self._arrival = arrival
        self._destination = destination
        self._hop = hop
        self._watch_ms: int | None = None

    # -- greeting -----------------------------------------------------------------------------------------------

    def hello(self, board: Board, keywords: Iterable[str] | None, now_ms: int) -> None:
        """Greet on a new link of `board`. It is an effect like any other, sent after all commits before it, so that
        only committed positions are told; nothing is taken from the old link any more."""
        if board.open:
            self.disconnected(board)
        inbox, outbox = board.inbox, board.outbox
        received = None if inbox.received == NO_POSITION else list(inbox.received)
        content = Hello(
            VERSION,
            now_ms,
            self._ledger.incarnations.told(),
            outbox.last,
            received,
            outbox.acked,
            int(board.exchanging),
            None if keywords is None else sorted(keywords),
        )
        self._ledger.effects.send[board.id] = [encode(Type.HELLO, content)]

    def connected(self, board: Board, hello: Hello, now_ms: int) -> None:
        """The peer's HELLO on a link whose other end was admitted: compare positions and go on from them (R4)."""
        ledger = self._ledger
        assert not board.open, "the greeting of a new link closed the old one"
        theirs = Incarnations.heard(hello.incarnations)
        if theirs.current in board.inbox.superseded:
            ledger.alarm(f'"{board.name}" came with a store that a later one of its replaced: a clone')
            ledger.effects.close.append((board.id, "cloned_store"))
            return
        board.close()
        board.heard_ms = board.pinged_ms = now_ms
        board.skew_ms = hello.now_ms - now_ms
        board.keywords = None if hello.keywords is None else frozenset(str(word) for word in hello.keywords)
        board.cards.add(ledger.fingerprint)
        board.theirs = theirs
        # During a full exchange positions mean nothing yet; it is begun again.
        lost = "" if board.exchanging or hello.exchanging else self._lost(board, hello, theirs)
        if lost:
            ledger.alarm(
                f'the store of {lost} lost what the other side had committed: full exchange with "{board.name}"'
            )
        if lost or board.exchanging or hello.exchanging:
            self._exchange_all(board, theirs)
        else:
            self._resume(board, hello, theirs)
        board.open = True
        first_ping = now_ms + int(ledger.limits.ping_s * 1000)
        self._watch_ms = first_ping if self._watch_ms is None else min(self._watch_ms, first_ping)
        self._give_credit(board, now_ms)
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
        if (received is None and outbox.acked) or (received is not None and received[1] < outbox.acked):
            return f'"{board.name}"'
        if received is not None and not mine.holds(received):
            return "this agent"
        if hello.acked > (inbox.number if inbox.received != NO_POSITION else 0):
            return "this agent"
        return ""

    def _resume(self, board: Board, hello: Hello, theirs: Incarnations) -> None:
        board.outbox.resume(0 if hello.received is None else int(hello.received[1]))  # type: ignore[call-overload]
        if board.inbox.received == NO_POSITION:
            board.inbox.start((theirs.current, theirs.first - 1))
        self._prove(board)

    def _exchange_all(self, board: Board, theirs: Incarnations) -> None:
        board.exchanging = True
        board.proved = False
        board.outbox.restart()
        board.inbox.start((theirs.current, theirs.first - 1))
        board.inbox.refused.clear()

    def _prove(self, board: Board) -> None:
        if board.proved:
            return
        board.proved = True
        ledger = self._ledger
        ledger.next_due_ms = 0
        ledger.effects.queries.append(Unfinished(board.id, 0, PAGE))

    def _give_credit(self, board: Board, now_ms: int) -> None:
        ledger, limits = self._ledger, self._ledger.limits
        off_s = abs(board.skew_ms) / 1000
        jobs, reason = limits.credit_jobs, ""
        if off_s > limits.skew_refuse_s:
            jobs, reason = (
                0,
                f'the clocks of "{ledger.name}" and "{board.name}" are {off_s:.0f} s apart: set them right',
            )
        if off_s > limits.skew_alarm_s:
            ledger.alarm(f'the clock of "{board.name}" is {off_s:.0f} s off this one')
        ledger.effects.send.setdefault(board.id, []).append(encode(Type.CREDIT, Credit(jobs, reason)))

    def disconnected(self, board: Board) -> None:
        """The link of `board` is gone; what was in flight is sent again on the next one."""
        board.close()

    # -- messages -----------------------------------------------------------------------------------------------

    def received(self, board: Board, messages: Sequence[Message], now_ms: int) -> None:
        """Messages that the peer sent on the link of `board`, in order."""
        board.heard_ms = now_ms
        board.parked.extend(messages)
        if not board.awaited:
            self.drain(board, now_ms)

    def drain(self, board: Board, now_ms: int) -> None:
        """Take parked messages until one concerns a job that has to be fetched first."""
        parked = board.parked
        while parked and board.open:
            message = parked[0]
            if type(message) is FactMessage:
                if not self._fact(board, message, now_ms):
                    return
            elif type(message) is Want and self._fetch(board, [message.job_id]):
                return
            else:
                self._other(board, message, now_ms)
            # A message may have closed the link, and with it what was parked.
            if parked:
                parked.popleft()

    def _fact(self, board: Board, message: FactMessage, now_ms: int) -> bool:
        number = message.number
        if number <= board.inbox.number:
            # Sent again on a new link, though we have it: acknowledged again, nothing else.
            self._ledger.acks[board.id] = board
            return True
        try:
            fact = decode(message.kind, message.body, message.proof)
        except FactError as error:
            board.facts.append(error)
        else:
            if self._ledger.missing(fact.job_id) and self._fetch(board, self._ahead_ids(board)):
                return False
            board.facts.append(fact)
        if len(board.facts) > MAX_FACTS:
            self._close(board, "too many facts under one number")
            return True
        if message.flags & END:
            facts, board.facts = board.facts, []
            reissued = bool(message.flags & REISSUED)
            refusal = self._arrival.take(board, number, facts, reissued=reissued, now_ms=now_ms)
            board.inbox.take(number, board.theirs.holder(number))
            if refusal is not None:
                board.inbox.refuse(number, *refusal)
            self._ledger.acks[board.id] = board
            self._ledger.touch_board(board)
            self._exchange_done(board)
        return True

    def _ahead_ids(self, board: Board) -> list[bytes]:
        """The jobs that the parked messages concern and that have to be fetched, so that one fetch serves them all."""
        ids: dict[bytes, None] = {}
        for message in board.parked:
            if type(message) is FactMessage and message.number > board.inbox.number:
                try:
                    job_id = decode(message.kind, message.body, message.proof).job_id
                except FactError:
                    continue
                if self._ledger.missing(job_id):
                    ids[job_id] = None
        return list(ids)

    def _fetch(self, board: Board, ids: list[bytes]) -> bool:
        wanted = [job_id for job_id in ids if self._ledger.missing(job_id)]
        if not wanted:
            return False
        board.awaited = set(wanted[:PAGE])
        self._ledger.effects.queries.append(ById(tuple(board.awaited)))
        return True

    def _other(self, board: Board, message: Message, now_ms: int) -> None:
        ledger = self._ledger
        match message:
            case Ack():
                self._acknowledged(board, message, now_ms)
            case Ahead():
                self._arrival.ahead(board, message.body, message.proof)
            case CardMessage():
                self._card(board, message.card)
            case Credit():
                board.credit, board.credit_reason = message.jobs, message.reason
                board.halted.clear()
                ledger.pumped[board.id] = board
            case Confirm():
                if board.inbox.confirmed(message.number):
                    ledger.touch_board(board)
            case Want():
                self._wanted(board, message.job_id)
            case Ping():
                ledger.effects.send.setdefault(board.id, []).append(encode(Type.PONG, Pong(message.token)))
            case Pong():
                pass
            case AllSent():
                board.peer_all_sent = message.number
                self._exchange_done(board)
            case Bye():
                ledger.effects.close.append((board.id, message.reason[:256]))
            case Hello() | Identify():
                self._close(board, "a second greeting")

    def _close(self, board: Board, reason: str) -> None:
        self._ledger.effects.close.append((board.id, reason))
        board.close()

    def _card(self, board: Board, data: bytes) -> None:
        trust = self._ledger.trust
        if len(trust.cards) >= self._ledger.limits.cards_per_peer * max(1, len(self._ledger.boards)):
            return
        card = trust.learn(data)
        if card is not None:
            self._ledger.effects.batch.cards.append((card.fingerprint, card.data))

    def _wanted(self, board: Board, job_id: bytes) -> None:
        job = self._ledger.find(job_id) if len(job_id) == ID_BYTES else None
        lane = None if job is None else job.lane_of(board.id)
        if job is not None and lane is not None and not lane.waiting:
            resend(lane, job)
            self._ledger.touch(job)

    # -- acknowledgements and refusals --------------------------------------------------------------------------

    def _acknowledged(self, board: Board, ack: Ack, now_ms: int) -> None:
        ledger, outbox = self._ledger, board.outbox
        if ack.received > outbox.cursor:
            self._close(board, "an acknowledgement of what was never sent")
            return
        if ack.refused:
            self._refused(board, ack.refused, now_ms)
        outbox.acknowledge(ack.received)
        before = outbox.home
        for board_id, number in outbox.went_home(ack.home):
            downstream = ledger.boards[board_id]
            downstream.inbox.came_home(number)
            ledger.acks[board_id] = downstream
        if outbox.home > before:
            ledger.trim(board)
        ledger.lazy_boards[board.id] = board
        ledger.pumped[board.id] = board
        self._exchange_done(board)

    def _refused(self, board: Board, refused: list[list[object]], now_ms: int) -> None:
        unknown: list[tuple[int, str, str]] = []
        for number, reason, detail in refused:
            assert isinstance(number, int)
            flown = board.outbox.flight.get(number)
            job = None if flown is None else self._ledger.find(flown[0])
            if job is None:
                unknown.append((number, str(reason), str(detail)))
            else:
                self.refused(board, job, number, str(reason), str(detail), now_ms)
        if unknown:
            self._ledger.effects.queries.append(AtNumber(board.id, tuple(unknown)))
        else:
            self.confirm(board, refused)

    def confirm(self, board: Board, refused: Iterable[Sequence[object]]) -> None:
        """Say, after the commit of this step, that refusals are taken note of."""
        highest = max(int(entry[0]) for entry in refused)  # type: ignore[call-overload]
        if board.open:
            self._ledger.effects.send.setdefault(board.id, []).append(encode(Type.CONFIRM, Confirm(highest)))

    def refused(self, board: Board, job: Job, number: int, reason: str, detail: str, now_ms: int) -> None:
        """The peer did not take record `number`; it counts only while the job still has that number (R3)."""
        lane = job.lane_of(board.id)
        if lane is None or lane.number != number:
            return
        ledger = self._ledger
        board.last_refusal = f"{reason}: {detail[:256]}"
        request_was_in_it = lane is job.down and lane.sent[Kind.REQUEST] == number
        consequence = REASONS.get(reason, Consequence.END)
        if consequence is Consequence.SEND_AGAIN:
            self._send_again(board, job, lane, reason)
        elif not request_was_in_it:
            ledger.alarm(f'"{board.name}" did not take {ledger.describe(job.id)}: {board.last_refusal}')
            lane.number = 0
        else:
            withdraw(board, job, lane)
            if consequence is Consequence.WAIT:
                board.halted.add(job.branch)
            elif job.live:
                self._hop.refuse(job, reason, detail[:1024], "", now_ms)
        ledger.touch(job)

    def _send_again(self, board: Board, job: Job, lane: Lane, reason: str) -> None:
        if reason == "unknown_job":
            resend(lane, job)
            return
        # The card was lost with an earlier record, or the peer forgot it.
        for fact in job.facts:
            if fact is not None and lane.sent[fact.kind] == lane.number:
                lane.sent[fact.kind] = 0
        board.cards.clear()
        board.cards.add(self._ledger.fingerprint)

    def _exchange_done(self, board: Board) -> None:
        """Close a full exchange once both sides have everything of the other (R4)."""
        if not board.exchanging or not board.all_sent or board.peer_all_sent is None:
            return
        if board.inbox.number < board.peer_all_sent or board.outbox.acked < board.outbox.cursor or board.outbox.behind:
            return
        board.exchanging = False
        self._ledger.touch_board(board)
        self._prove(board)

    # -- signs of life ------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """When a link may have to be asked for a sign of life, or given up (R11): never too late, maybe too early."""
        return self._watch_ms

    def watch(self, now_ms: int) -> None:
        """Ping quiet links and give up dead ones; only received traffic counts (R11)."""
        if self._watch_ms is None or now_ms < self._watch_ms:
            return
        limits = self._ledger.limits
        ping, dead = int(limits.ping_s * 1000), int(limits.dead_s * 1000)
        times = []
        for board in self._ledger.boards.values():
            if not board.open:
                continue
            if now_ms >= board.heard_ms + dead:
                self._close(board, f"nothing heard for {limits.dead_s:.0f} s")
                continue
            if now_ms >= max(board.heard_ms, board.pinged_ms) + ping:
                board.pinged_ms = now_ms
                packed = encode(Type.PING, Ping(now_ms))
                self._ledger.effects.send.setdefault(board.id, []).append(packed)
            times.append(min(max(board.heard_ms, board.pinged_ms) + ping, board.heard_ms + dead))
        self._watch_ms = min(times, default=None)
