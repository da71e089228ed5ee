"""The talk between two peers on one link: greeting, records, acknowledgements, refusals.

`Exchange` turns messages into calls of the roles and keeps both halves of a board in step (rules R2-R5, R11, R12).
Messages of one board are taken strictly in order; when the first of them concerns a job that is on disk, it and all
behind it wait until the store has answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mesh.arrival import Arrival
from mesh.board import Board
from mesh.clocks import Clocks
from mesh.dispatch import PAGE, may_have_gone_on, resend, tell_again, withdraw
from mesh.effects import AtNumber, ById
from mesh.errors import FactError
from mesh.facts import ID_BYTES, OUTCOME, REQUEST, Kind, decode
from mesh.greeting import Greeting
from mesh.homeward import goes_again, went_home
from mesh.hop import Hop
from mesh.job import Job
from mesh.lane import HAS, NEVER, Lane
from mesh.ledger import Ledger
from mesh.messages import (
    END,
    REISSUED,
    WITHOUT,
    Ack,
    Ahead,
    AllSent,
    BlobMessage,
    Bye,
    CardMessage,
    Clock,
    Confirm,
    Credit,
    FactMessage,
    Held,
    Hello,
    Identify,
    Message,
    Ping,
    Pong,
    SliceMessage,
    Type,
    Unknown,
    Want,
    encode,
)
from mesh.receiving import Receiving
from mesh.refetching import asked_elsewhere, forget_bytes, not_known
from mesh.refusals import CLOCK, REASONS, Consequence
from mesh.sending import never_comes_back, peer_holds
from mesh.trust import NO_CARD

MAX_REFUSED: Final = 512
"""Refusals that may wait for their confirmation."""
_OF_JOBS: Final = frozenset({Want, Unknown, BlobMessage, Held})
"""Messages for which the job they name has to be in memory, if this agent has it."""
MAX_FACTS: Final = 8
"""Facts in one record: one of each kind, and some room for kinds to come."""


class Exchange:
    """The live side of every board."""

    def __init__(
        self,
        ledger: Ledger,
        greeting: Greeting,
        clocks: Clocks,
        arrival: Arrival,
        hop: Hop,
        receiving: Receiving,
    ) -> None:
        self._ledger = ledger
        self._greeting = greeting
        self._clocks = clocks
        self._arrival = arrival
        self._hop = hop
        self._receiving = receiving

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
            elif type(message) in _OF_JOBS and self._fetch(board, [message.job_id]):  # type: ignore[union-attr]
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
        if board.facts and number != board.facts_number:
            self._greeting.refuse(board, "a record that was not ended before the next one began")
            return True
        board.facts_number = number
        try:
            fact = decode(message.kind, message.body, message.proof)
        except FactError as error:
            board.facts.append(error)
        else:
            if self._ledger.missing(fact.job_id) and self._fetch(board, self._ahead_ids(board)):
                return False
            board.facts.append(fact)
            if message.flags & WITHOUT:
                board.without |= 1 << fact.kind
        if len(board.facts) > MAX_FACTS:
            self._greeting.refuse(board, "too many facts under one number")
            return True
        if message.flags & END:
            facts, board.facts = board.facts, []
            without, board.without = board.without, 0
            reissued = bool(message.flags & REISSUED)
            refusal = self._arrival.take(board, number, facts, reissued=reissued, without=without, now_ms=now_ms)
            if refusal is not None and len(board.inbox.refused) >= MAX_REFUSED:
                self._greeting.refuse(board, f"{MAX_REFUSED} records were refused and no refusal was confirmed")
                return True
            board.inbox.take(number)
            if self._ledger.blobs.arriving:
                self._receiving.judged(board, facts, taken=refusal is None)
            if refusal is not None:
                board.inbox.refuse(number, *refusal)
                board.owes_credit |= refusal.reason == "busy"
            self._ledger.acks[board.id] = board
            self._ledger.touch_board(board)
            self._greeting.exchanged(board)
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
        wanted = [job_id for job_id in ids if self._ledger.missing(job_id)][:PAGE]
        if not wanted:
            return False
        board.awaited = set(wanted)
        self._ledger.effects.queries.append(ById(tuple(wanted)))
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
                board.credits += 1
                board.halted.clear()
                ledger.pumped[board.id] = board
            case Confirm():
                if board.inbox.confirmed(message.number):
                    ledger.touch_board(board)
                    # A refusal held `home` back; without this it would be told with the next record only.
                    ledger.acks[board.id] = board
            case Want():
                self._wanted(board, message.job_id)
            case Unknown():
                if not_known(ledger, board, message.job_id):
                    never_comes_back(ledger, message.job_id)
            case BlobMessage():
                self._close_for(board, self._receiving.offered(board, message, now_ms))
            case SliceMessage():
                self._close_for(board, self._receiving.sliced(board, message, now_ms))
            case Held():
                self._held(board, message, now_ms)
            case Ping():
                ledger.effects.send.setdefault(board.id, []).extend(
                    (encode(Type.PONG, Pong(message.token)), encode(Type.CLOCK, Clock(message.token, now_ms)))
                )
            case Pong():
                pass
            case Clock():
                if self._clocks.measured(board, message, now_ms):
                    self._greeting.give_credit(board)
            case AllSent():
                board.peer_all_sent = message.number
                self._greeting.exchanged(board)
            case Bye():
                ledger.effects.close.append((board.id, message.reason[:256]))
            case Hello() | Identify():
                self._greeting.refuse(board, "a second greeting")

    def _close_for(self, board: Board, reason: str) -> None:
        if reason:
            self._greeting.refuse(board, reason)

    def _held(self, board: Board, message: Held, now_ms: int) -> None:
        """The peer says what it has of a blob, or that it never takes it: the job ends, or goes on without it (R14)."""
        if not message.reason:
            self._close_for(board, "" if peer_holds(self._ledger, board, message) else "a blob that was not sent")
            return
        job = self._ledger.find(message.job_id)
        lane = None if job is None else job.lane_of(board.id)
        if job is None or lane is None or message.kind not in (REQUEST, OUTCOME):
            return
        if lane is job.down and job.live and not lane.offered and message.kind == REQUEST:
            withdraw(board, job, lane)
            self._hop.refuse(job, "too_large", message.reason, "", now_ms)
        else:
            forget_bytes(self._ledger, job, Kind(message.kind))
        self._ledger.touch(job)

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
        if job is None or lane is None or job.facts[REQUEST] is None:
            if len(job_id) == ID_BYTES and not asked_elsewhere(self._ledger, board, job_id):
                packed = encode(Type.UNKNOWN, Unknown(job_id))
                self._ledger.effects.send.setdefault(board.id, []).append(packed)
            return
        if lane is job.down:
            # It had the job, of which nothing but this is left there.
            may_have_gone_on(self._ledger, job)
        if not lane.waiting:
            tell_again(self._ledger, board, job, lane)

    # -- acknowledgements and refusals --------------------------------------------------------------------------

    def _acknowledged(self, board: Board, ack: Ack, now_ms: int) -> None:
        ledger, outbox = self._ledger, board.outbox
        if ack.received > outbox.cursor:
            self._greeting.refuse(board, "an acknowledgement of what was never sent")
            return
        if not ack.refused or self._refused(board, ack, now_ms):
            outbox.acknowledge(ack.received)
        went_home(ledger, board, ack.home)
        ledger.lazy_boards[board.id] = board
        ledger.pumped[board.id] = board
        self._greeting.exchanged(board)

    def _refused(self, board: Board, ack: Ack, now_ms: int) -> bool:
        """Act on refusals; says whether all are dealt with."""
        told = [(int(number), str(reason), str(detail)) for number, reason, detail in ack.refused]  # type: ignore[call-overload]
        # A refusal is repeated until it is confirmed; a CREDIT that came after it was first said is the later word.
        board.refusals = said = {number: board.refusals.get(number, board.credits) for number, _, _ in told}
        fetch = False
        for number, reason, detail in told:
            flown = board.outbox.flight.get(number)
            job = None if flown is None else self._ledger.find(flown[0])
            if job is None:
                fetch = True
            else:
                self.refused(board, job, (number, reason, detail), said[number], now_ms)
        if fetch:
            # With those that are dealt with already: one CONFIRM is for all, and comes when all are.
            query = AtNumber(board.id, min(said.values()), tuple(told), board.link, ack.received)
            self._ledger.effects.queries.append(query)
        else:
            self.confirm(board, told)
        return not fetch

    def confirm(self, board: Board, refused: Iterable[Sequence[object]]) -> None:
        """Have it said, after the commit of this step, that refusals are taken note of."""
        board.confirms = max(board.confirms, *(int(entry[0]) for entry in refused))  # type: ignore[call-overload]
        self._ledger.pumped[board.id] = board

    def refused(self, board: Board, job: Job, refusal: tuple[int, str, str], credits: int, now_ms: int) -> None:
        """The peer did not take a record; that counts only while the job still has its number (R3).

        Args:
            refusal: number, reason and detail.
            credits: how many CREDITs had come when the refusal came.
        """
        number, reason, detail = refusal
        lane = job.lane_of(board.id)
        if lane is None or lane.number != number:
            return
        ledger = self._ledger
        board.last_refusal = f"{reason}: {detail[:256]}"
        request_was_in_it = lane is job.down and lane.sent[REQUEST] == number
        consequence = REASONS.get(reason, Consequence.END)
        passes = consequence is not Consequence.END or reason == CLOCK
        if request_was_in_it and passes and board.outbox.sent_again(number):
            # For want of a card, bytes, room or the right time, which it may have had when the Request was sent first.
            # (What else ends a job would have ended it then.)
            lane.unsettled = True
        if consequence is Consequence.SEND_AGAIN and lane is job.up:
            goes_again(ledger, job, lane)
        if consequence is Consequence.SEND_AGAIN:
            twice = (job.id, reason) in board.tried
            board.tried.add((job.id, reason))
            self._send_again(board, job, lane, reason)
            if twice:
                # Sending again did not help on this link; the next one, after a pause, may do better.
                self._greeting.refuse(board, f'"{board.name}" refused {ledger.describe(job.id)} twice: {reason}')
        elif not request_was_in_it:
            ledger.alarm(f'"{board.name}" did not take {ledger.describe(job.id)}: {board.last_refusal}')
            # An end that went up before stays away under its own.
            lane.number = max(0, *(sent for sent in lane.sent if sent != number)) if lane is job.up else 0
        else:
            withdraw(board, job, lane)
            if not job.live:
                # It ended here meanwhile; there is nobody to tell about it on this board.
                lane.sent = [HAS] * len(lane.sent)
            elif consequence is Consequence.WAIT:
                if credits == board.credits:
                    board.halted.add(job.branch)
            elif lane.offered:
                # An earlier life of the peer's store was offered it, and nobody can ask that any more.
                self._hop.lose(job, detail[:1024], now_ms)
            else:
                self._hop.refuse(job, reason, detail[:1024], "", now_ms)
        ledger.touch(job)

    def _send_again(self, board: Board, job: Job, lane: Lane, reason: str) -> None:
        if reason == "unknown_job":
            resend(lane, job)
            return
        if lane is job.down and lane.sent[REQUEST] == lane.number:
            # The peer did not take it, so it is not offered before its Request goes out once more (R6).
            lane.refused()
        # The peer dropped the bytes before their fact came: with the fact unsent, they are owed once more. Or the card
        # was lost with an earlier record, or the peer forgot it.
        for kind, number in enumerate(lane.sent):
            if number == lane.number:
                lane.sent[kind] = NEVER
        if reason == NO_CARD:
            board.cards.clear()
            board.cards.add(self._ledger.fingerprint)
