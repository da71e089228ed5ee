"""Letting go of what is not needed any more (R7), a slice with each commit, so that none takes long."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mesh.effects import Batch
from mesh.storage import statements
from mesh.storage.blobs import drop_slices, going
from mesh.storage.columns import DELETED, DESTINATION, HOP, ORIGIN

SLICE: Final = 1_000
"""Most rows that one commit trims or collects (2,000 took 15 ms); what is left over comes with the next ones."""
BLOB_SLICES: Final = 12
"""Slices of blobs that one commit drops, beside as many as it brings: about a millisecond."""

_OTHERS: Final = (HOP, DESTINATION)
_ALL: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is still to be trimmed and collected. A value: a commit that fails leaves the one before it in force.

    Attributes:
        keep_jobs: finished jobs of our own that stay after their horizon.
        trims: (board, after, upto), as in `Batch.trims`.
        collect_ms: jobs whose horizon lies before this may go; None once they are gone.
        spare: finished jobs of our own that need not stay, when `collect_ms` was asked for.
        going: blobs that were let go of, and still have slices.
        slices: of them, how many the next commit drops.
    """

    keep_jobs: int
    trims: tuple[tuple[int, int, int], ...] = ()
    collect_ms: int | None = None
    spare: int = 0
    going: tuple[int, ...] = ()
    slices: int = BLOB_SLICES

    def begun(self) -> Sweep:
        """With nothing to do: as it is when a store is opened."""
        return Sweep(self.keep_jobs)

    def asked(self, connection: sqlite3.Connection, batches: Sequence[Batch], *, tight: bool) -> Sweep:
        """With what `batches`, already written, ask for; where room is `tight`, `keep_jobs` keeps nothing."""
        trims = [trim for batch in batches for trim in batch.trims]
        times = [batch.collect_ms for batch in batches if batch.collect_ms is not None]
        sweep = replace(self, trims=(*self.trims, *trims)) if trims else self
        if any(batch.unneeded or batch.dropped for batch in batches):
            sweep = replace(sweep, going=(*sweep.going, *going(connection, batches)))
        if sweep.going:
            brought = sum(len(batch.slices) for batch in batches)
            sweep = replace(sweep, slices=_ALL if tight else BLOB_SLICES + brought)
        if times:
            (finished,) = connection.execute(statements.FINISHED, (ORIGIN,)).fetchone()
            sweep = replace(sweep, collect_ms=times[-1], spare=finished if tight else max(0, finished - self.keep_jobs))
        return sweep

    def advanced(self, connection: sqlite3.Connection) -> Sweep:
        """After one slice of the work."""
        sweep = self
        if self.going:
            sweep = replace(self, going=drop_slices(connection, self.going, self.slices))
        return sweep._swept(connection) if sweep.trims or sweep.collect_ms is not None else sweep

    def _swept(self, connection: sqlite3.Connection) -> Sweep:
        left = SLICE
        trims = self.trims
        while trims and left > 0:
            board, after, upto = trims[0]
            left, reached = _trim(connection, board, after, upto, left)
            trims = trims[1:] if reached == upto else ((board, reached, upto), *trims[1:])
        if self.collect_ms is None or not left:
            return replace(self, trims=trims)
        for role in _OTHERS:
            left -= connection.execute(statements.COLLECT, (role, self.collect_ms, left)).rowcount
        ours = connection.execute(statements.COLLECT, (ORIGIN, self.collect_ms, min(left, self.spare))).rowcount
        if left > ours:
            return replace(self, trims=(), collect_ms=None, spare=0)
        return replace(self, trims=(), spare=self.spare - ours)


def _trim(connection: sqlite3.Connection, board: int, after: int, upto: int, most: int) -> tuple[int, int]:
    """Trim a range as far as `most` rows go; gives how many more may be done, and the number it came to."""
    last = connection.execute(statements.TRIM_END, (board, after, upto, most - 1)).fetchone()
    reached: int = upto if last is None else last[0]
    done = connection.execute(statements.TRIM, (board, after, reached, DELETED)).rowcount
    if done:
        connection.execute(statements.DROP_TRIMMED, (board, after, reached))
    return (most - done if last is None else 0), reached
