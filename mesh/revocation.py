"""Revoking a peer: what only it could end is ended as lost, and its key starts nothing here any more (rule R6).

Whether a job that was offered to it has happened is not known, and the answer says so. What was never offered waits on
a new board for whoever is invited under that name next; the old board stays as a record and never has a link again, so
nothing of it can reach another key.
"""

from __future__ import annotations

from mesh.board import Board, count
from mesh.destination import Destination
from mesh.dispatch import PAGE
from mesh.effects import Revoked
from mesh.facts import REQUEST
from mesh.homeward import goes_nowhere
from mesh.hop import Hop
from mesh.job import Job
from mesh.lane import HAS, NEVER, Lane
from mesh.ledger import Ledger
from mesh.lifecycle import Role
from mesh.refetching import not_known
from mesh.row import Row
from mesh.sending import forget_board, never_comes_back


def revoke(ledger: Ledger, board: Board) -> None:
    """Retire `board`: close its link, put a fresh one in its place, and look through the jobs that it shared."""
    ledger.effects.close.append((board.id, "this peer was revoked"))
    board.close()
    board.retired = True
    board.exchanging = False
    ledger.touch_board(board)
    ledger.renew(board)
    forget_board(ledger, board)
    for job_id in sorted(board.wanted):
        # A row that is damaged, and this peer was asked for its copy.
        if job_id in ledger.quarantined and not_known(ledger, board, job_id):
            never_comes_back(ledger, job_id)
    goes_nowhere(ledger, board)
    ledger.effects.queries.append(Revoked(board.id, 0, PAGE))


def settle(ledger: Ledger, hop: Hop, destination: Destination, query: Revoked, rows: list[Row], now_ms: int) -> None:
    """End what only the revoked peer could end, and move what it was never offered."""
    board = ledger.boards[query.board]
    heir = ledger.by_name[board.zone, board.name]
    for row in rows:
        job = ledger.adopt(row)
        if job is None or not job.live or job.facts[REQUEST] is None:
            continue
        down = job.down
        if down is not None and down.board == board.id:
            if not down.offered:
                _move(ledger, job, down, board, heir)
            else:
                hop.lose(job, f'"{board.name}" was revoked while it had this job: effect unknown', now_ms)
        elif job.role is Role.DESTINATION:
            destination.disown(job, board.name, now_ms)
    if len(rows) == query.limit:
        ledger.effects.queries.append(Revoked(query.board, rows[-1].seq, query.limit))


def _move(ledger: Ledger, job: Job, lane: Lane, board: Board, heir: Board) -> None:
    if lane.taken:
        # Counted, and not offered: its payload was on its way (R14).
        count(board.waiting if lane.waiting else board.offered, job.branch, -1)
    moved = job.down = Lane(heir.id)
    for kind, sent in enumerate(lane.sent):
        if sent != HAS:
            moved.sent[kind] = NEVER
    ledger.touch(job)
