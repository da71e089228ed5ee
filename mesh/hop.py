"""The hop's part: forward what is for others, or refuse *instead of* forwarding, never after (rules R6, R9).

A hop needs neither the vocabulary nor a handler. It may end a job only while it has not offered it to the next agent,
by a Reject in its own name.
"""

from __future__ import annotations

from mesh.access import CONTROL
from mesh.board import Board
from mesh.dispatch import may_have_gone_on
from mesh.facts import CANCEL, DELETE, PROGRESS, REJECT, REQUEST, VERSION, Reject
from mesh.job import Job
from mesh.lane import HAS, NEVER, Lane
from mesh.ledger import Ledger
from mesh.lifecycle import Role


class Hop:
    """The jobs that pass through this agent; and, for any role, the ending of a job that was never offered."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def forward(self, job: Job, now_ms: int, *, reissued: bool) -> None:
        """A Request for somebody further down, seen for the first time; `reissued` when this agent may have known and
        forwarded it before it lost its store: the mark travels on (R5)."""
        ledger = self._ledger
        request = job.request
        following = job.place.names[job.place.index + 1]
        board = ledger.by_name.get((request.zone, following))
        if reissued:
            self._forward_again(job, board, now_ms)
            return
        if board is None:
            message = f'agent "{ledger.name}" has no peer "{following}" in zone "{request.zone}"'
            fix = f'correct the path, or invite "{following}" there: mesh invite {following}'
            self.refuse(job, "no_route", message, fix, now_ms)
            return
        if refused := self._another_key(job, board):
            self.refuse(job, "identity_changed", *refused, now_ms)
            return
        keyword = request.instruction.split(" ", 1)[0]
        denial = ledger.access.by_rules(keyword, request.zone, job.place.names[0], request.origin)
        if denial is not None and denial.kind == "denied" and keyword not in CONTROL:
            self.refuse(job, "denied", denial.message, "", now_ms)
            return
        job.down = self._onward(job, board)
        ledger.changed(job)

    def _onward(self, job: Job, board: Board) -> Lane:
        lane = Lane(board.id)
        for kind in (REQUEST, CANCEL, DELETE):
            if job.facts[kind] is not None:
                lane.sent[kind] = NEVER
        return lane

    def _forward_again(self, job: Job, board: Board | None, now_ms: int) -> None:
        # It may have gone on before this store was lost: it counts as offered, so nobody but its destination ends it.
        ledger = self._ledger
        if board is None:
            message = f'agent "{ledger.name}" lost its store and does not know where this job went: effect unknown'
            self.refuse(job, "lost", message, "look at the destination whether it was done", now_ms)
            return
        job.down = self._onward(job, board)
        if job.facts[PROGRESS] is not None:
            # A destination that lost its store goes on counting from what it once said.
            job.down.sent[PROGRESS] = NEVER
        # Credit it takes when it goes: a neighbour above marks what it lost sight of, too, and most of that never went.
        job.down.offered = job.down.reissued = True
        ledger.changed(job)

    def _another_key(self, job: Job, board: Board) -> tuple[str, str] | None:
        """The last hop knows the destination's key; a Request that names another one does not pass."""
        wanted = job.request.destination
        last = job.place.index + 2 == len(job.place.names)
        if not last or wanted is None or board.fingerprint in (None, wanted):
            return None
        self._ledger.alarm(f'a job names another key for "{board.name}" than the one this agent has pinned')
        return (
            f'agent "{self._ledger.name}" knows "{board.name}" under another key than the origin does',
            f"verify who is right, then at the origin: mesh trust {'.'.join(job.place.names[1:])} --forget",
        )

    def refuse(self, job: Job, reason: str, message: str, fix: str, now_ms: int) -> None:
        """End a job that was never offered to the next agent."""
        assert job.down is None or not job.down.offered, "a job that was offered is its destination's to end"
        self._reject(job, reason, message, fix, now_ms)

    def lose(self, job: Job, message: str, now_ms: int) -> None:
        """End a job that was offered to an agent which will never answer: nobody knows its effect (R6)."""
        self._reject(job, "lost", message, "find out whether it was done, then put it again", now_ms)

    def _reject(self, job: Job, reason: str, message: str, fix: str, now_ms: int) -> None:
        ledger = self._ledger
        if job.down is not None:
            job.down.sent = [HAS] * len(job.down.sent)
        content = Reject(VERSION, job.id, ledger.fingerprint, ledger.name, reason, message, fix, now_ms)
        ledger.make(job, REJECT, content, now_ms)

    def cancel(self, job: Job, now_ms: int) -> None:
        """A Cancel on its way down: a job that was never offered further ends here. What an unproved store says of
        that is not believed: the Cancel travels on with the Request then (R5)."""
        if self._never_went_on(job) and self._ledger.proved(job):
            self.refuse(job, "cancelled", f'cancelled at "{self._ledger.name}", before it went on', "", now_ms)

    def _never_went_on(self, job: Job) -> bool:
        """Whether a live job waits here and was never offered further. One that its destination reported on went on,
        whatever this store says: its end is the destination's, and a Reject would not be one."""
        if not job.live or job.down is None or job.down.offered:
            return False
        if job.progress is not None:
            may_have_gone_on(self._ledger, job)
            return False
        return True

    def expire(self, job: Job, now_ms: int) -> None:
        """Time is up for a job that waits here and was never offered further."""
        if job.role is not Role.DESTINATION and self._never_went_on(job) and job.down is not None:
            where = job.place.names[job.place.index + 1]
            why = self._ledger.boards[job.down.board].credit_reason
            message = f'expired at "{self._ledger.name}" while waiting for "{where}"' + (f": {why}" if why else "")
            self.refuse(job, "expired", message, f'see why "{where}" is not connected: mesh peers', now_ms)
