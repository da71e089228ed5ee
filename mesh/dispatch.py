"""Giving numbers and sending records: the outgoing half of every board (rules R1, R2, R6, R12, R13).

At the end of a step every touched job whose lane holds something unsent gets a new number, or goes on waiting on disk:
a Request needs a link, credit of its branch and room in the window before it is *offered*; everything else gets its
number at once and is sent when the window allows. A record on disk is fetched by number when its turn has come. All
sending happens after the commit of the step that gave the number.
"""

from __future__ import annotations

from typing import Final

from mesh.board import Board, count
from mesh.effects import Numbered, Query, Shared, Waiting
from mesh.facts import CANCEL, DELETE, OUTCOME, REJECT, REQUEST, Reject
from mesh.homeward import goes_again, goes_on, is_home
from mesh.job import Job
from mesh.lane import HAS, NEVER, Lane
from mesh.ledger import Ledger
from mesh.messages import END, REISSUED, WITHOUT, Ack, CardMessage, Confirm, Type, encode, encode_fact
from mesh.row import Row
from mesh.sending import goes_without, held_back, numbered, reconsider

PAGE: Final = 256
"""Rows that are fetched at a time."""
TOLD_REFUSALS: Final = 128
"""Refusals repeated in one acknowledgement."""
_TOLD_DOWN: Final = (CANCEL, DELETE, OUTCOME)
"""What is told down also beside a Reject."""


def number_all(ledger: Ledger) -> None:
    """Number and send what this step changed."""
    for job in ledger.dirty.values():
        if job.up is not None and ledger.boards[job.up.board].retired:
            # Whoever would hear of it was revoked, which counts as its acknowledgement (R6).
            job.up.sent = [HAS] * len(job.up.sent)
        for lane in job.lanes:
            if NEVER in lane.sent:
                _number(ledger, job, lane)
        if job.arrived and job.down is not None:
            # The origin brought the same end itself: there is nothing left to carry there.
            is_home(ledger, job.down.board, job.arrived)
            job.arrived = 0
    if ledger.blobs.owing:
        reconsider(ledger)


def _number(ledger: Ledger, job: Job, lane: Lane) -> None:
    board = ledger.boards[lane.board]
    outbox = board.outbox
    if lane is job.down and job.reject is not None and any(job.facts[kind] is not None for kind in _TOLD_DOWN):
        place = job.place
        if job.reject.agent not in place.names[place.index + 1 :]:
            # The next agent would refuse it, and with it what it has to hear.
            lane.sent[REJECT] = HAS
    # The Request of a job that is over takes no credit: it goes along so that its Delete, or end, is understood.
    if lane.sent[REQUEST] == NEVER and lane is job.down and job.live:
        if not lane.counted:
            if not _may_go(ledger, board, job, lane):
                return
            lane.counted = True
            count(board.offered, job.branch, 1)
        elif not (_is_told_above(ledger, job) if lane.offered else ledger.proved(job)):
            # It waited for its payload to be there when this store was opened.
            _hold(ledger, board, job, lane)
            return
    waiting = held_back(ledger, job, lane)
    if waiting is None:
        return
    if lane is job.down and lane.counted and lane.sent[REQUEST] == NEVER:
        lane.offered = True
    if lane is job.down and outbox.sent_again(lane.sent[REQUEST]):
        # Its record moves on before the peer has said what became of it.
        lane.unsettled = True
    sendable = board.open and not outbox.behind and outbox.room
    number = ledger.next_number
    ledger.next_number += 1
    before = lane.number
    lane.carry(number, outbox.acked, waiting)
    outbox.last = number
    ledger.touch_board(board)
    if lane is job.up and (job.arrived or outbox.relayed):
        goes_on(ledger, job, lane, before)
    if ledger.blobs.owing:
        numbered(ledger, job, lane, number)
    if sendable:
        board.outbox.sent(number, job.id, 0)
        ledger.sending.append((board, job, lane, lane.number))


def _may_go(ledger: Ledger, board: Board, job: Job, lane: Lane) -> bool:
    """Whether a Request may be offered now; otherwise it waits."""
    branch = job.branch
    if not lane.waiting:
        # First come, first served: nobody overtakes those that wait already.
        if board.waiting.get(branch) or not board.may_offer(branch) or not ledger.proved(job):
            _queue(board, job, lane)
            if branch in board.held:
                board.held.discard(branch)
                ledger.pumped[board.id] = board
            return False
    elif not board.may_offer(branch) or not ledger.proved(job):
        return False
    else:
        lane.waiting = False
        count(board.waiting, branch, -1)
    return True


def build_records(ledger: Ledger) -> None:
    """Pack the records of this step; every fact has its proof by now."""
    for board, job, lane, number in ledger.sending:
        if lane.number == number:
            _build(ledger, board, job, lane)
        else:
            # Fetched to be sent, and changed in the same step: it goes out under its later number only.
            _leave_out(ledger, board, number)


def _build(ledger: Ledger, board: Board, job: Job, lane: Lane) -> None:
    number = lane.number
    facts = [fact for fact in job.facts if fact is not None and lane.sent[fact.kind] == number]
    if not facts:
        # Everything it had to say was said by the peer itself, or dropped, meanwhile: it is as good as home.
        _leave_out(ledger, board, number)
        arrived = board.outbox.relayed.pop(number, None)
        if arrived is not None:
            is_home(ledger, *arrived)
        return
    out = ledger.effects.send.setdefault(board.id, [])
    size = 0
    flags = REISSUED if lane.reissued else 0
    last = len(facts) - 1
    cards = board.cards
    for index, fact in enumerate(facts):
        content = fact.content
        mark = flags | WITHOUT if goes_without(job, lane, fact) else flags
        signer = content.origin if fact.kind is REQUEST else content.signer  # type: ignore[union-attr]
        if signer not in cards:
            cards.add(signer)
            card = ledger.trust.cards.get(signer)
            if card is not None and signer != board.fingerprint:
                out.append(encode(Type.CARD, CardMessage(card.data)))
        packed = encode_fact(
            number, mark | END if index == last else mark, fact.kind, fact.body, fact.proof, ledger.pack
        )
        size += len(packed)
        out.append(packed)
    board.outbox.resize(number, size)


def _leave_out(ledger: Ledger, board: Board, number: int) -> None:
    # The record leaves the window again; what waits behind it may go.
    board.outbox.unsend(number)
    ledger.pumped[board.id] = board


def acknowledge(ledger: Ledger) -> None:
    """Tell every board that received something in this step what is durable after its commit."""
    for board in ledger.acks.values():
        if board.open:
            inbox = board.inbox
            refused = inbox.refusals(TOLD_REFUSALS)
            if refused and board.tell_refusals(int(refused[-1][0])):  # type: ignore[call-overload]
                # CREDIT went out before them, in this step or while others were told: it is said again behind them.
                board.owes_credit = True
                ledger.roomier[board.id] = board
            ack = Ack(inbox.number, inbox.home, refused)
            ledger.effects.send.setdefault(board.id, []).append(encode(Type.ACK, ack))


def pump(ledger: Ledger, board: Board) -> None:
    """Fetch the next rows to send, if the link can take any; one fetch at a time per board.

    Called at the end of a step, when its numbers are given: the fetch comes after the step's commit, so it meets
    every number up to the present `last`.
    """
    if board.confirms and board.open and not board.outbox.behind:
        # Once nothing is left to send that was numbered before: so the peer can tell by the next record that a store
        # which lost this confirmation would be found out (R3, R4).
        ledger.effects.send.setdefault(board.id, []).append(encode(Type.CONFIRM, Confirm(board.confirms)))
        board.confirms = 0
    if not board.open or board.paging or not board.outbox.room:
        return
    query = _next_page(ledger, board)
    if query is not None:
        board.paging = True
        ledger.effects.queries.append(query)


def _next_page(ledger: Ledger, board: Board) -> Query | None:
    if board.exchanging and not board.all_sent:
        return Shared(board.id, board.link, board.exchange_after, PAGE)
    if board.outbox.in_doubt:
        return Numbered(board.id, board.link, board.outbox.sure, board.outbox.doubt, PAGE)
    if board.outbox.behind:
        return Numbered(board.id, board.link, board.outbox.cursor, board.outbox.last, PAGE)
    for branch in board.waiting:
        if branch not in board.held and board.may_offer(branch):
            free = (board.credit or 0) - board.offered.get(branch, 0)
            most = min(PAGE, free)
            return Waiting(board.id, board.link, branch, most, ledger.first_seq, ledger.unproved(), board.queued)
    return None


def page(ledger: Ledger, query: Numbered | Waiting | Shared, rows: list[Row]) -> None:
    """Rows that were fetched for a board."""
    board = ledger.boards[query.board]
    if not board.open or query.link != board.link:
        # Asked for on a link that is gone: the present one pages for itself, from where it stands.
        return
    board.paging = False
    match query:
        case Numbered() if query.after < board.outbox.doubt:
            _tell_again(ledger, board, query, rows)
        case Numbered():
            _send_numbered(ledger, board, query, rows)
        case Waiting():
            _offer_waiting(ledger, board, query, rows)
        case Shared():
            _exchange(ledger, board, query, rows)
    ledger.pumped[board.id] = board


def _send_numbered(ledger: Ledger, board: Board, query: Numbered, rows: list[Row]) -> None:
    outbox = board.outbox
    for row in rows:
        found = row.up_number if row.up_board == board.id else row.down_number
        job = ledger.adopt(row)
        lane = None if job is None else job.lane_of(board.id)
        # A row fetched under an old number: the job has moved on and will be met there.
        if job is None or lane is None or lane.number != found:
            continue
        if lane is job.down and job.live and lane.sent[REQUEST] == lane.number and not ledger.proved(job):
            _hold(ledger, board, job, lane)
            continue
        if not outbox.room:
            return
        outbox.sent(lane.number, job.id, 0)
        ledger.sending.append((board, job, lane, lane.number))
    if len(rows) < query.limit:
        outbox.cursor = max(outbox.cursor, query.upto)


def _tell_again(ledger: Ledger, board: Board, query: Numbered, rows: list[Row]) -> None:
    """Jobs found in the store whose records the peer seems to have taken, though the store has not kept that it did. If
    that is an old copy, a job may have moved on in the lost future before its turn came: the peer took what was behind
    it, and no position shows that any is missing (R4). So it goes again, marked; who has it says what came of it."""
    outbox = board.outbox
    for row in rows:
        outbox.sure = row.up_number if row.up_board == board.id else row.down_number
        job = ledger.adopt(row)
        lane = None if job is None else job.down
        if job is None or lane is None or lane.board != board.id or lane.number != outbox.sure or not job.live:
            continue
        if lane.sent[REQUEST] == lane.number and not ledger.proved(job):
            _hold(ledger, board, job, lane)
            lane.reissued = True
        else:
            resend(lane, job)
            ledger.touch(job)
    if len(rows) < query.limit:
        outbox.sure = outbox.doubt
    ledger.touch_board(board)


def _hold(ledger: Ledger, board: Board, job: Job, lane: Lane) -> None:
    """A Request that is to be sent again waits until the neighbour above has said what became of its job (R5): were the
    stores on both sides of this board old copies, the job would run once more."""
    for kind, number in enumerate(lane.sent):
        if number == lane.number:
            lane.sent[kind] = NEVER
    lane.number = 0
    # An earlier link may have carried it, under a number before that.
    lane.unsettled = lane.unsettled or lane.offered
    if lane.counted:
        lane.counted = False
        count(board.offered, job.branch, -1)
    _queue(board, job, lane)
    ledger.touch(job)


def _queue(board: Board, job: Job, lane: Lane) -> None:
    lane.waiting = True
    count(board.waiting, job.branch, 1)
    board.queued += 1


def _offer_waiting(ledger: Ledger, board: Board, query: Waiting, rows: list[Row]) -> None:
    if not rows and query.queued != board.queued:
        # The store was asked before it had what waits since then: it is asked again.
        return
    if not rows and query.unproved:
        # All that waits here waits for another neighbour to say what became of it (R5); asked again if one just did.
        if query.unproved == ledger.unproved():
            board.held.add(query.branch)
    elif not rows:
        board.waiting.pop(query.branch, None)
    for row in rows:
        job = ledger.adopt(row)
        if job is None or job.down is None or not job.down.waiting:
            continue
        if not board.may_offer(query.branch):
            return
        ledger.touch(job)
        _number(ledger, job, job.down)


def _exchange(ledger: Ledger, board: Board, query: Shared, rows: list[Row]) -> None:
    for row in rows:
        board.exchange_after = row.seq
        job = ledger.adopt(row)
        lane = None if job is None else job.lane_of(board.id)
        if lane is not None and lane.waiting and lane.unsettled and not lane.reissued:
            # A store was lost meanwhile, and may have taken it.
            lane.reissued = True
            assert job is not None
            ledger.touch(job)
        if board.own_loss and job is not None and lane is job.up and job.seq < ledger.first_seq:
            # As of a job that such a store does not know at all: the next agent may have lost its own copy as well.
            may_have_gone_on(ledger, job)
        if job is None or lane is None or lane.waiting or (lane is job.down and not lane.offered and not job.live):
            # One that never went on: as a job to be run it would be news to the peer.
            continue
        tell_again(ledger, board, job, lane)
    if len(rows) < query.limit:
        board.all_sent = True
        ledger.paged.append(board)


def tell_again(ledger: Ledger, board: Board, job: Job, lane: Lane) -> None:
    """Tell the peer all of a job once more; a Request, only once the neighbour above had its say."""
    if lane is job.up:
        goes_again(ledger, job, lane)
    resend(lane, job)
    if lane is job.down and job.live and not _is_told_above(ledger, job):
        _hold(ledger, board, job, lane)
    ledger.touch(job)


def _is_told_above(ledger: Ledger, job: Job) -> bool:
    """Whether the neighbour above has had its say on a job that was found in the store (R5)."""
    above = None if job.up is None else ledger.boards[job.up.board]
    return job.seq >= ledger.first_seq or above is None or above.proved or above.retired


def resend(lane: Lane, job: Job) -> None:
    """Make every fact of the job unsent on `lane`: the peer may have lost its copy."""
    if lane is job.down and lane.offered:
        lane.reissued = True
    for fact in job.facts:
        if fact is not None:
            lane.sent[fact.kind] = NEVER


def withdraw(board: Board, job: Job, lane: Lane) -> None:
    """The peer does not hold the job: what was sent counts as never sent, and the Request as not offered, unless an
    earlier life of the peer's store may have it (R3, R6)."""
    for kind, number in enumerate(lane.sent):
        if number != HAS:
            lane.sent[kind] = NEVER
    lane.number = 0
    lane.refused()
    if lane.counted:
        lane.counted = False
        count(board.offered, job.branch, -1)


def may_have_gone_on(ledger: Ledger, job: Job) -> None:
    """This store was put back, and in its lost future the Request may have gone on, though it says that it still waits:
    it goes marked, if it goes again, and only the destination ends the job (R4, R5)."""
    lane = job.down
    if lane is not None and job.live and not lane.reissued:
        lane.offered = lane.reissued = True
        ledger.touch(job)


def did_not_go_on(job: Job, reject: Reject) -> None:
    """The word of this agent in that future came back: it refused the job, which had not gone on after all."""
    lane = job.down
    if lane is not None and lane.sent[REQUEST] == NEVER and reject.reason != "lost":
        lane.offered = lane.reissued = lane.unsettled = False


def count_as_offered(ledger: Ledger, board: Board, job: Job, lane: Lane) -> None:
    """The peer has the Request: this store was restored from a copy in which the job still waited (R4), or is to be
    offered again."""
    if lane.waiting:
        lane.waiting = False
        count(board.waiting, job.branch, -1)
    if not lane.offered and job.facts[CANCEL] is not None:
        # It ended the job here instead of going on with it, and the job had gone on.
        lane.sent[CANCEL] = NEVER
    lane.offered = True
    if job.live and not lane.counted:
        lane.counted = True
        count(board.offered, job.branch, 1)
    ledger.touch(job)
