"""Letting go of what is not needed any more (R7), a slice with each fold, so that none takes long."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from mesh.effects import Batch
from mesh.storage import statements
from mesh.storage.columns import DELETED, DESTINATION, HOP, ORIGIN
from mesh.storage.pending import Pending, Trim

SLICE: Final = 1_000
"""Most rows that one fold trims or collects (2,000 took 15 ms); what is left over comes with the next ones."""

_OTHERS: Final = (HOP, DESTINATION)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is still to be trimmed and collected. A value: a fold that fails leaves the one before it in force.

    Attributes:
        keep_jobs: finished jobs of our own that stay after their horizon.
        trims: in the order they were asked for.
        collect_ms: jobs whose horizon lies before this may go; None once they are gone.
        spare: finished jobs of our own that need not stay, as counted when `collect_ms` was asked for; None before.
        is_new: something was asked for that no fold has seen yet.
        is_late: more was asked for than one slice takes: there should be a fold soon, of everything.
    """

    keep_jobs: int
    trims: tuple[Trim, ...] = ()
    collect_ms: int | None = None
    spare: int | None = None
    is_new: bool = False
    is_late: bool = False

    def begun(self) -> Sweep:
        """With nothing to do: as it is when a store is opened."""
        return Sweep(self.keep_jobs)

    def asked(self, batches: Sequence[Batch], place: int) -> Sweep:
        """With what `batches` ask for, which were committed at that place of the journal, or before the next."""
        if not any(batch.trims or batch.collect_ms is not None for batch in batches):
            return self
        trims = tuple((*trim, place) for batch in batches for trim in batch.trims)
        times = [batch.collect_ms for batch in batches if batch.collect_ms is not None]
        sweep = replace(self, trims=self.trims + trims, is_new=True) if trims else self
        return replace(sweep, collect_ms=times[-1], spare=None, is_new=True) if times else sweep

    def advanced(
        self, connection: sqlite3.Connection, pending: Pending, last: int, *, tight: bool, blobs: bool
    ) -> Sweep:
        """Fold up to the place `last`, and do a slice of the work, in the transaction that is open. Nothing is
        collected before everything is folded.

        Args:
            connection: of the store.
            pending: what may be folded.
            last: a place in it.
            tight: there is little room: `keep_jobs` keeps nothing.
            blobs: there may be some that go with a job, or that keep one.
        """
        left, trims, done = SLICE, self.trims, []
        while trims and trims[0][3] <= last and left > 0:
            board, after, _, _ = trims[0]
            joined = _joined(trims, last)
            left, reached = _trim(connection, board, after, trims[joined - 1][2], left)
            done.append((board, after, reached))
            trims = _beyond(trims, joined, reached)
        pending.fold(connection, last, self.trims, blobs=blobs)
        if done and blobs:
            newer = json.dumps(pending.seqs(last))
            connection.executemany(statements.DROP_TRIMMED, [(*part, newer) for part in done])
        is_left = bool(trims) and trims[0][3] <= last
        is_new = bool(trims) and trims[-1][3] > last
        sweep = replace(self, trims=trims, is_new=is_new, is_late=is_left or self.collect_ms is not None)
        if self.collect_ms is None or not left or last < pending.last:
            return sweep
        return sweep._collected(connection, self.collect_ms, left, tight=tight)

    def _collected(self, connection: sqlite3.Connection, over_ms: int, left: int, *, tight: bool) -> Sweep:
        spare = self.spare
        if spare is None:
            (finished,) = connection.execute(statements.FINISHED, (ORIGIN,)).fetchone()
            spare = finished if tight else max(0, finished - self.keep_jobs)
        for role in _OTHERS:
            left -= connection.execute(statements.COLLECT, (role, over_ms, left)).rowcount
        ours = connection.execute(statements.COLLECT, (ORIGIN, over_ms, min(left, spare))).rowcount
        if left > ours:
            return replace(self, collect_ms=None, spare=None, is_late=False)
        return replace(self, spare=spare - ours)


def _joined(trims: Sequence[Trim], last: int) -> int:
    """How many of the first ranges follow one another and were asked for by the place `last`: one statement does for
    all of them. (A step asks for one each time; the tables hold nothing that is newer than any.)"""
    count = 1
    for before, (board, after, _, place) in pairwise(trims):
        if board != before[0] or after != before[2] or place > last:
            break
        count += 1
    return count


def _beyond(trims: tuple[Trim, ...], joined: int, reached: int) -> tuple[Trim, ...]:
    """What is left of ranges of which the first ones were trimmed together up to a number."""
    done = sum(1 for _, _, upto, _ in trims[:joined] if upto <= reached)
    if done == joined:
        return trims[done:]
    board, _, upto, place = trims[done]
    return ((board, reached, upto, place), *trims[done + 1 :])


def _trim(connection: sqlite3.Connection, board: int, after: int, upto: int, most: int) -> tuple[int, int]:
    """Trim a range as far as `most` rows go; gives how many more may be done, and the number it came to."""
    few = upto - after <= most
    last = None if few else connection.execute(statements.TRIM_END, (board, after, upto, most - 1)).fetchone()
    reached: int = upto if last is None else last[0]
    done = connection.execute(statements.TRIM, (board, after, reached, DELETED)).rowcount
    return (most - done if last is None else 0), reached
