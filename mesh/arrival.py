"""A record arrives: is it true, what does it change, whose is it (rules R3, R5).

Every fact of a record is checked before any is merged: shape, place on the path, zone, signer, proof. What cannot be
taken is refused by number with a reason; the table in `refusals` says what the sender does then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mesh.ahead import told_ahead
from mesh.board import Board, count
from mesh.destination import Destination
from mesh.dispatch import count_as_offered, did_not_go_on, resend
from mesh.errors import FactError
from mesh.facts import (
    CANCEL,
    DELETE,
    OUTCOME,
    PROGRESS,
    REJECT,
    REQUEST,
    Fact,
    Outcome,
    Progress,
    Reject,
    Request,
    decode,
)
from mesh.homeward import ENDS, goes_again, goes_up_all_the_same, is_home, still_away, was_told
from mesh.hop import Hop
from mesh.job import Job, Merge
from mesh.lane import HAS, NEVER, Lane
from mesh.ledger import Ledger
from mesh.lifecycle import Role, State
from mesh.newcomer import misplaced
from mesh.receiving import Receiving
from mesh.refusals import Refusal
from mesh.room import why_none
from mesh.routing import Place

ROOM: Final = 8_192
"""Bytes an Outcome may have beside its result: an error message, mostly."""
_ENDINGS: Final = frozenset({OUTCOME, DELETE, REJECT})
SLACK: Final = 1.25
"""A peer may exceed its credit by a quarter before it is refused as busy: both sides count at different moments."""


class Arrival:
    """Takes records in."""

    def __init__(self, ledger: Ledger, destination: Destination, hop: Hop, receiving: Receiving) -> None:
        self._ledger = ledger
        self._destination = destination
        self._hop = hop
        self._most = max(ledger.limits.request_bytes, ledger.limits.result_bytes + ROOM)
        self._receiving = receiving

    def take(
        self,
        board: Board,
        number: int,
        facts: Sequence[Fact | FactError],
        *,
        reissued: bool,
        without: int = 0,
        now_ms: int,
    ) -> Refusal | None:
        """Take one whole record. `without`: bits 2^kind of what is to be taken without the bytes it names.

        Returns:
            None when everything in it is merged (or was known), else why nothing of it was.
        """
        good: list[Fact] = []
        job_id = b""
        for fact in facts:
            if isinstance(fact, FactError):
                return Refusal("malformed", fact.message)
            if len(fact.body) > self._most:
                return Refusal("malformed", f"a fact has at most {self._most} bytes")
            if fact.job_id != job_id and good:
                return Refusal("malformed", "a record is about one job")
            job_id = fact.job_id
            good.append(fact)
        if len(good) > 1:
            good.sort(key=_by_kind)
        job = self._ledger.find(job_id)
        first = good[0]
        if board.wanted and first.kind is REQUEST:
            # The other neighbour is asked all the same: it may have to be told what this one knows.
            board.wanted.discard(job_id)
            board.asked.discard(job_id)
        if job is None:
            if first.kind is not REQUEST:
                return Refusal("unknown_job", f'agent "{self._ledger.name}" does not hold this job')
            return self._new(board, number, good, reissued, without, now_ms)
        if job.facts[REQUEST] is None:
            # Finished, home and trimmed: there is nothing left to learn (R7), nor to tell one that lost its store.
            above = job.up is not None and job.up.board == board.id
            if (reissued or above) and first.kind is REQUEST:
                return Refusal("forgotten", f'agent "{self._ledger.name}" finished this job: effect unknown')
            return None
        known: list[Fact] = []
        fresh: list[Fact] = []
        for fact in good:
            held = job.facts[fact.kind]
            (known if held is not None and held.body == fact.body else fresh).append(fact)
        for fact in fresh:
            refusal = self._doubt(board, job.request, job.place, fact)
            if refusal is not None:
                return refusal
        refusal = self._receiving.refusal_of_more(board, job, known, fresh, without)
        if refusal is not None:
            return refusal
        lane = job.lane_of(board.id) or self._attach(job, board)
        if lane is None:
            return Refusal("bad_path", f'the job does not pass between "{self._ledger.name}" and "{board.name}"')
        if first.kind is REQUEST and lane is job.down and (not lane.offered or lane.waiting):
            count_as_offered(self._ledger, board, job, lane)
        for fact in known:
            if not goes_up_all_the_same(job, lane, fact.kind):
                lane.sent[fact.kind] = HAS
            if fact.kind in ENDS and lane is job.down:
                still_away(self._ledger, job, fact.kind, board, number)
        if first.kind is REQUEST and (reissued or was_told(self._ledger, job, lane)):
            # The peer lost what we had told it. Some of that may go up in this step, and an end behind its bytes only.
            if lane is job.up:
                goes_again(self._ledger, job, lane)
            resend(lane, job)
            for fact in good:
                if not goes_up_all_the_same(job, lane, fact.kind):
                    lane.sent[fact.kind] = HAS
            self._ledger.touch(job)
        self._merge(job, lane, fresh, number, now_ms)
        if job.state is State.DELETED and first.kind is REQUEST:
            lane.sent[DELETE] = NEVER
            self._ledger.touch(job)
        return None

    def _attach(self, job: Job, board: Board) -> Lane | None:
        """A hop that lost its store learns from one neighbour after the other that they share the job. One that it has
        rejected itself was never shared further down."""
        place = job.place
        reject = job.reject
        if job.request.zone != board.zone or (reject is not None and reject.agent == self._ledger.name):
            return None
        lane = Lane(board.id)
        if board.name == place.before and job.up is None:
            job.up = lane
        elif board.name == place.after and job.down is None:
            job.down = lane
            lane.offered = True
        else:
            return None
        # All that is known of it, as in a full exchange: the peer may have lost its store as well.
        for fact in job.facts:
            if fact is not None:
                lane.sent[fact.kind] = NEVER
        self._ledger.touch(job)
        return lane

    # -- a job seen for the first time --------------------------------------------------------------------------

    def _new(
        self, board: Board, number: int, facts: list[Fact], reissued: bool, without: int, now_ms: int
    ) -> Refusal | None:
        ledger = self._ledger
        fact = facts[0]
        request = fact.content
        assert isinstance(request, Request)
        place = ledger.place(request.path)
        refusal = misplaced(ledger, board, request, place, len(fact.body), now_ms)
        if refusal is None and place is not None and _ENDINGS.isdisjoint(one.kind for one in facts):
            refusal = self._crowded(board, request, place)
        if refusal is not None:
            return refusal
        assert place is not None
        for one in facts:
            refusal = self._doubt(board, request, place, one)
            if refusal is not None:
                return refusal
        refusal = self._receiving.refusal(board, place, facts, without, None)
        if refusal is not None:
            return refusal
        # A row of it that was damaged says that it was here: it may have run, or gone on.
        damaged = fact.job_id in ledger.quarantined
        # So does a report of our own.
        known = place.role is Role.DESTINATION and any(one.kind is PROGRESS for one in facts)
        reissued = reissued or damaged or known
        job = ledger.create(fact.job_id, place.role, place, now_ms)
        lane = Lane(board.id)
        depth = len(request.lineage) if request.lineage else 0
        if board.name == place.before:
            job.up = lane
            lane.counted = True
            count(board.accepted, place.branch_above(depth), 1)
        else:
            # Our own copy is lost and the peer gives it back: it counts as offered (R4).
            job.down = lane
            lane.offered = lane.counted = True
            count(board.offered, place.branch(depth), 1)
            self._restore_up(job, place, request.zone)
        # The store that knew it is lost: whatever ends it here, a Cancel in this record too, cannot say more than that.
        job.doubtful = reissued and place.role is Role.DESTINATION
        job.merge(fact, lane, now_ms)
        self._receiving.named(board, job, fact)
        ledger.changed(job)
        self._merge(job, lane, facts[1:], number, now_ms)
        if not job.live:
            return None
        if job.down is lane:
            return None
        if place.role is Role.DESTINATION:
            if job.facts[CANCEL] is not None:
                self._destination.cancel(job, now_ms, known_lost=reissued)
            else:
                self._destination.claim(job, now_ms, known_lost=reissued, damaged=damaged)
        else:
            self._hop.forward(job, now_ms, reissued=reissued)
            if job.facts[CANCEL] is not None:
                self._hop.cancel(job, now_ms)
        return None

    def _restore_up(self, job: Job, place: Place, zone: str) -> None:
        """A hop gets its copy back from further down: what the other facts say has to go on up."""
        board = None if place.before is None else self._ledger.by_name.get((zone, place.before))
        if board is not None:
            job.up = Lane(board.id)

    def _crowded(self, board: Board, request: Request, place: Place) -> Refusal | None:
        """A job that is over takes no room; any other one only while there is some (R13, R10)."""
        limits = self._ledger.limits
        if board.name != place.before:
            return None
        if reason := why_none(self._ledger.room, self._ledger.name):
            return Refusal("busy", reason)
        depth = len(request.lineage) if request.lineage else 0
        if board.accepted.get(place.branch_above(depth), 0) < limits.credit_jobs * SLACK:
            return None
        return Refusal(
            "busy", f'agent "{self._ledger.name}" has {limits.credit_jobs} unfinished jobs from "{board.name}"'
        )

    # -- who signed ---------------------------------------------------------------------------------------------

    def _doubt(self, board: Board, request: Request, place: Place, fact: Fact) -> Refusal | None:
        ledger = self._ledger
        content = fact.content
        names, index = place.names, place.index
        if isinstance(content, Request):
            signer, target = content.origin, 0
        elif isinstance(content, Outcome | Progress):
            signer, target = content.signer, len(names) - 1
            if request.destination is not None and signer != request.destination:
                return Refusal("bad_proof", "only the destination that the request names reports on it")
        elif isinstance(content, Reject):
            if content.agent not in names[index:-1]:
                return Refusal("bad_proof", "a job is rejected by a hop, here or further down")
            signer, target = content.signer, names.index(content.agent)
        else:
            signer, target = content.signer, 0
            if signer != request.origin:
                return Refusal("bad_proof", "only the origin of a job cancels or deletes it")
        if target == index:
            # A fact of our own that comes back: it has to be under our key.
            reason = None if self._is_ours(fact, signer) else "bad_proof"
            return None if reason is None else Refusal(reason, "the fact names this agent and is not its own")
        route = place.routes[target]
        near = ledger.by_name.get((request.zone, route.partition(".")[0]))
        reason = ledger.trust.doubt(fact, signer, request.zone, route, None if near is None else near.fingerprint)
        if reason is None:
            if ledger.trust.pin(request.zone, route, signer):
                ledger.effects.batch.pins.append((request.zone, route, signer))
            return None
        if reason == "identity_changed":
            ledger.alarm(f'"{board.name}" brought a fact of "{names[target]}" under another key than the one pinned')
        return Refusal(
            reason,
            f'agent "{ledger.name}" does not believe the {fact.kind.name.lower()} of "{names[target]}"',
        )

    def _is_ours(self, fact: Fact, signer: bytes) -> bool:
        ledger = self._ledger
        card = ledger.trust.cards.get(ledger.fingerprint)
        return (
            signer == ledger.fingerprint
            and card is not None
            and ledger.trust.verifier.holds(fact.digest(), fact.proof, card.public_key)
        )

    # -- merging ------------------------------------------------------------------------------------------------

    def _merge(self, job: Job, lane: Lane, facts: Sequence[Fact], number: int, now_ms: int) -> None:
        ledger = self._ledger
        cancelled = False
        for fact in facts:
            sent = lane.sent[fact.kind]
            merged = job.merge(fact, lane, now_ms)
            if merged is Merge.CONFLICT:
                ledger.alarm(f"{ledger.describe(job.id)} has two outcomes: the first one committed here is kept")
                if goes_up_all_the_same(job, lane, fact.kind):
                    lane.sent[fact.kind] = sent
            if merged is not Merge.CHANGED:
                if merged is not Merge.SAME:
                    ledger.touch(job)
                if lane is job.down and fact.kind in ENDS and job.facts[fact.kind] is not None:
                    # The end that is kept is the one that has to be home first.
                    still_away(ledger, job, fact.kind, ledger.boards[lane.board], number)
                continue
            ledger.changed(job)
            self._receiving.named(ledger.boards[lane.board], job, fact)
            kind = fact.kind
            if kind is CANCEL:
                cancelled = True
            elif kind is DELETE:
                self._deleted(job)
            elif kind is PROGRESS and job.role is Role.DESTINATION:
                # Our own report, which this store does not know: it is an old copy, and the job may have run since.
                job.doubtful = True
            elif kind in (OUTCOME, REJECT):
                self._ended(job, lane, fact, number)
                if lane is job.up and job.down is not None and not job.down.offered:
                    # A restored store is told how the job ended: its Request does not go on any more.
                    job.down.sent = [HAS] * len(job.down.sent)
        # After all else that the record says: it may bring the end of the job too.
        if cancelled and job.live:
            self._cancelled(job, now_ms)

    def _cancelled(self, job: Job, now_ms: int) -> None:
        if job.role is Role.DESTINATION:
            if job.attempt or job.state is State.CLAIMED:
                self._destination.cancel(job, now_ms)
        elif job.role is Role.HOP:
            self._hop.cancel(job, now_ms)

    def _deleted(self, job: Job) -> None:
        if job.role is Role.DESTINATION:
            self._destination.deleted(job)
        if job.arrived and job.down is not None:
            # An Outcome that will not travel on is as good as home.
            is_home(self._ledger, job.down.board, job.arrived)
            job.arrived = 0
        self._never_offered(job)

    def _never_offered(self, job: Job) -> None:
        if job.down is not None and not job.down.offered:
            job.down.sent = [HAS] * len(job.down.sent)

    def _ended(self, job: Job, lane: Lane, fact: Fact, number: int) -> None:
        if lane is not job.down:
            if isinstance(fact.content, Reject) and fact.content.agent == self._ledger.name:
                # Our own word, of a time that this store lost: the next agent never hears of the job.
                did_not_go_on(job, fact.content)
                self._never_offered(job)
            return
        if job.role is Role.HOP and job.up is not None:
            inbox = self._ledger.boards[lane.board].inbox
            if job.arrived:
                # A Reject and the Outcome that overrides it in one step: the later one stands for both.
                inbox.came_home(job.arrived)
            job.arrived = number
            inbox.away[number] = None
        if fact.kind is OUTCOME:
            told_ahead(self._ledger, job, fact)

    def ahead(self, board: Board, body: bytes, proof: bytes) -> None:
        """An Outcome came ahead of its record: believe it as one, keep nothing; the record follows."""
        try:
            fact = decode(OUTCOME, body, proof)
        except FactError:
            return
        job = self._ledger.find(fact.job_id)
        if job is None or not job.live or job.down is None or job.down.board != board.id:
            return
        if self._doubt(board, job.request, job.place, fact) is None:
            told_ahead(self._ledger, job, fact)


def _by_kind(fact: Fact) -> int:
    return fact.kind
