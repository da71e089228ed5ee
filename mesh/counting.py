"""Jobs that take credit, and when they stop doing so (rules R6, R13)."""

from __future__ import annotations

from mesh.board import count
from mesh.job import Job
from mesh.ledger import Ledger


def uncount(ledger: Ledger) -> None:
    """Jobs that finished in this step no longer wait and take no credit."""
    for job in ledger.dirty.values():
        if not job.live:
            _uncount(ledger, job)


def overdue(ledger: Ledger, job: Job, now_ms: int) -> None:
    """A job that was offered has been silent for too long: its credit is free again, and people see it so (R6)."""
    down = job.down
    if down is not None and down.counted and now_ms >= (ledger.due_ms(job) or now_ms + 1):
        _release(ledger, job)
        ledger.changed(job)


def _uncount(ledger: Ledger, job: Job) -> None:
    down, up = job.down, job.up
    if down is not None and down.waiting:
        down.waiting = False
        count(ledger.boards[down.board].waiting, job.branch, -1)
    if down is not None and down.counted:
        _release(ledger, job)
    if up is not None and up.counted:
        up.counted = False
        board = ledger.boards[up.board]
        count(board.accepted, job.branch_above, -1)
        ledger.roomier[board.id] = board


def _release(ledger: Ledger, job: Job) -> None:
    """The credit that a job takes further down is free."""
    down = job.down
    assert down is not None
    down.counted = False
    board = ledger.boards[down.board]
    count(board.offered, job.branch, -1)
    ledger.pumped[board.id] = board
