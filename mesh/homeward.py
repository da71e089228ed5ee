"""The way home of an Outcome or Reject through a hop: under which number it goes on, and who is told when it is there.

An end that came from the next agent is *away* under its number there, until the agent above says `home` of the number
that it went on under (R7). Who is below lets go of it then, so that may be told late and never early: an end that gets
another number above is home with that one alone, and a full exchange takes every number away (R4).
"""

from __future__ import annotations

from typing import Final

from mesh.board import Board
from mesh.facts import OUTCOME, REJECT, Kind
from mesh.job import Job
from mesh.lane import HAS, NEVER, Lane
from mesh.ledger import Ledger
from mesh.lifecycle import Role
from mesh.replication import STRAY
from mesh.sending import came_again, came_home

ENDS: Final = frozenset({OUTCOME, REJECT})


def is_home(ledger: Ledger, board_id: int, number: int) -> None:
    """What came from a board under a number of its peer is at its origin, or has nobody to go to any more."""
    board = ledger.boards[board_id]
    board.inbox.came_home(number)
    ledger.acks[board.id] = board


def goes_on(ledger: Ledger, job: Job, lane: Lane, before: int) -> None:
    """A job got another number for the agent above, in place of `before`: if that carries an end, both are away under
    that one. (The record of the earlier one may never go out, and still count as home with what was numbered since; and
    whoever has both takes the later number for the one that is not home.)"""
    relayed = ledger.boards[lane.board].outbox.relayed
    if lane.number in (lane.sent[OUTCOME], lane.sent[REJECT]):
        _back(ledger, job, lane, before)
        goes_again(ledger, job, lane)
    if job.arrived:
        assert job.down is not None
        relayed[lane.number] = (job.down.board, job.arrived)
        job.arrived = 0


def goes_again(ledger: Ledger, job: Job, lane: Lane) -> None:
    """All that the agent above was told of a job goes up once more: nothing of it is home with an earlier number."""
    for number in sorted({lane.number, lane.sent[OUTCOME], lane.sent[REJECT]}, reverse=True):
        _back(ledger, job, lane, number)


def _back(ledger: Ledger, job: Job, lane: Lane, number: int) -> None:
    found = ledger.boards[lane.board].outbox.relayed.pop(number, None)
    if found is None:
        return
    if job.arrived:
        # A Reject and the Outcome that overrides it: below, the job has the later number, which stands for both.
        is_home(ledger, *found)
    else:
        job.arrived = found[1] or STRAY


def was_told(ledger: Ledger, job: Job, lane: Lane) -> bool:
    """Whether the agent above has taken the end of a job: it would not send its Request then, if it knew that."""
    end = REJECT if job.facts[OUTCOME] is None else OUTCOME
    return lane is job.up and not job.live and 0 < lane.sent[end] <= ledger.boards[lane.board].outbox.acked


def goes_up_all_the_same(job: Job, lane: Lane, kind: Kind) -> bool:
    """Whether an end that came from the agent above is carried there if it, or another one, comes from below as well:
    only of a number of ours does a hop say when it is home. The origin has it there."""
    return lane is job.up and kind in ENDS and job.role is Role.HOP and job.place.index > 1


def still_away(ledger: Ledger, job: Job, kind: Kind, board: Board, number: int) -> None:
    """The end of a job came again from below, under another number, and is not yet known to be home."""
    if job.role is not Role.HOP or job.up is None:
        return
    outbox = ledger.boards[job.up.board].outbox
    sent = job.up.sent[kind]
    came_again(ledger, job)
    if job.arrived:
        board.inbox.came_home(job.arrived)
        job.arrived = number
    elif sent == NEVER or (sent == HAS and goes_up_all_the_same(job, job.up, kind)):
        job.up.sent[kind] = NEVER
        job.arrived = number
    elif sent == HAS or job.up.number <= outbox.home:
        return
    else:
        before = outbox.relayed.get(job.up.number)
        if before is not None:
            ledger.boards[before[0]].inbox.came_home(before[1])
        outbox.relayed[job.up.number] = (board.id, number)
    board.inbox.away[number] = None
    # Whoever waits for its blob may leave memory meanwhile: the number is kept beside what is owed.
    ledger.touch(job)


def begins_anew(ledger: Ledger, board: Board) -> None:
    """A full exchange with the agent below begins: what is on its way up came under numbers that mean nothing any more,
    and which a store that was put back gives to other jobs (R4). It comes again."""
    for other in ledger.boards.values():
        for number, (source, _) in other.outbox.relayed.items():
            if source == board.id:
                other.outbox.relayed[number] = (source, STRAY)
    for deliveries in ledger.blobs.to.values():
        for delivery in deliveries.due.values():
            if delivery.arrived is not None and delivery.arrived[0] == board.id:
                delivery.arrived = (board.id, STRAY)


def went_home(ledger: Ledger, board: Board, upto: int) -> None:
    """Our Outcomes up to a number are at their origins: tell those from whom they came, and let go of them (R7)."""
    before = board.outbox.home
    _let_go(ledger, board, before, board.outbox.went_home(upto))


def goes_nowhere(ledger: Ledger, board: Board) -> None:
    """The peer above was revoked, which counts as its acknowledgement: all that went up there is as good as home."""
    board.outbox.renumbering = False
    went_home(ledger, board, board.outbox.last)


def rest(ledger: Ledger, board: Board) -> None:
    """At the end of a step: if all that the peer has is home, so is what was numbered and is not there any more."""
    outbox = board.outbox
    if outbox.renumbering and board.all_sent:
        before = outbox.home
        _let_go(ledger, board, before, outbox.renumbered())
    if board.open and outbox.all_home:
        went_home(ledger, board, outbox.last)


def _let_go(ledger: Ledger, board: Board, before: int, gone: list[tuple[int, int]]) -> None:
    for board_id, number in gone:
        is_home(ledger, board_id, number)
    if board.outbox.home > before:
        ledger.trim(board)
        came_home(ledger, board)
