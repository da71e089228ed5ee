"""Revoking a peer: what only it could end is ended as lost, and its key starts nothing here any more (rule R6).

Whether a job that was offered to it has happened is not known, and the answer says so. What was never offered goes on
waiting for whoever is invited under that name next.
"""

from __future__ import annotations

from mesh.board import Board
from mesh.dispatch import PAGE
from mesh.effects import Revoked
from mesh.facts import Kind
from mesh.hop import Hop
from mesh.job import Row
from mesh.lane import HAS
from mesh.ledger import Ledger
from mesh.replication import NO_POSITION


def revoke(ledger: Ledger, board: Board) -> None:
    """Forget the key of `board`'s peer: close the link, and look through the jobs that it shared."""
    if board.fingerprint is not None:
        ledger.revoked.add(board.fingerprint)
    ledger.effects.close.append((board.id, "this peer was revoked"))
    board.close()
    board.fingerprint = None
    board.keywords = None
    board.exchanging = False
    # Revoking counts as the acknowledgement of everything; whoever comes next begins anew.
    board.outbox.restart()
    board.inbox.start(NO_POSITION)
    board.inbox.refused.clear()
    board.proved = True
    ledger.touch_board(board)
    ledger.effects.queries.append(Revoked(board.id, 0, PAGE))


def end_lost(ledger: Ledger, hop: Hop, query: Revoked, rows: list[Row], now_ms: int) -> None:
    """End what only the revoked peer could end."""
    board = ledger.boards[query.board]
    for row in rows:
        job = ledger.adopt(row)
        if job is None or not job.live or job.facts[Kind.REQUEST] is None:
            continue
        down = job.down
        if down is not None and down.board == board.id and down.offered:
            message = f'"{board.name}" was revoked while it had this job: effect unknown'
            hop.lose(job, message, now_ms)
        elif job.up is not None and job.up.board == board.id:
            job.up.sent = [HAS] * len(job.up.sent)
            ledger.touch(job)
    if len(rows) == query.limit:
        ledger.effects.queries.append(Revoked(query.board, rows[-1].seq, query.limit))
