"""What the tables of jobs and boards do not hold yet: the rows that are in the journal, by job.

A *fold* brings them into the tables in one transaction, each job once: as it was written last, mostly finished. Nobody
waits for it but the commits that come meanwhile: so it takes a few of the oldest each time, which also gives a job time
to end before it is written; and all of them before whatever reads the tables.

Whoever looks up a job by its id is answered from here.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, TypeVar

from msgpack import packb, unpackb

from mesh.board import BoardRow
from mesh.row import Row
from mesh.storage import statements
from mesh.storage.checks import with_check
from mesh.storage.columns import DELETED

ROWS: Final = 4_096
"""Rows, or commits, that are left in the journal before the oldest are folded."""
BYTES: Final = 4_194_304
"""Bytes of them, the same."""
FOLD: Final = 512
"""Rows that are folded at a time: a few milliseconds."""

_seq: Final = itemgetter(0)
_FACTS: Final = len(Row._fields) - 2  # before the check
# What `Row._replace` does, without a step in Python for each row.
_new: Final[Callable[[type[Row], tuple[Any, ...]], Row]] = tuple.__new__
_T = TypeVar("_T", Row, BoardRow)

Trim = tuple[int, int, int, int]
"""Finished jobs whose facts may go: (board, after, upto), as in `Batch.trims`, as far as they were written up to that
place in the journal."""


class Pending:
    """The rows that are in the journal of an open store, and its places. A commit that fails leaves it as it was:
    `keep` and `forget` are called once theirs is durable.

    Args:
        folded: the last place that the tables hold.
    """

    def __init__(self, folded: int = 0) -> None:
        self.last = folded
        """The last place that was given."""
        # In the order of their places, both.
        self._rows: dict[bytes, tuple[int, Row]] = {}
        self._boards: dict[int, tuple[int, BoardRow]] = {}
        # Of each commit: its place, how many rows and bytes it wrote.
        self._commits: deque[tuple[int, int, int]] = deque()
        self._written = 0
        self.size = 0
        """Bytes in the journal."""

    def __len__(self) -> int:
        return len(self._commits)

    @property
    def is_long(self) -> bool:
        """Whether it is time for a fold."""
        return self._written >= ROWS or len(self._commits) >= ROWS or self.size >= BYTES

    def find(self, job_id: bytes) -> Row | None:
        """A job as it was written last; None if its table knows as much."""
        found = self._rows.get(job_id)
        return None if found is None else found[1]

    def seqs(self, after: int) -> list[int]:
        """The jobs that were written after a place."""
        return [row.seq for place, row in self._rows.values() if place > after]

    def keep(self, rows: Sequence[Row], boards: Sequence[BoardRow], size: int) -> None:
        """A commit was added to the journal, at the next place: `size` bytes."""
        place = self.last = self.last + 1
        self._commits.append((place, len(rows), size))
        self._written += len(rows)
        self.size += size
        held = self._rows
        for row in rows:
            job_id = row[1]
            if job_id in held:
                del held[job_id]
            held[job_id] = place, row
        for board in boards:
            self._boards.pop(board.id, None)
            self._boards[board.id] = place, board

    def oldest(self) -> int:
        """The place up to which a long journal is folded next: faster than it grows."""
        newest = self._commits[-1][1] if self._commits else 0
        return self.few(max(FOLD, 2 * newest))

    def few(self, rows: int) -> int:
        """The place up to which no more than `rows` were written, in one commit at least."""
        reached = 0
        for place, count, _ in self._commits:
            rows -= count
            if reached and rows < 0:
                break
            reached = place
        return reached or self.last

    def fold(
        self, connection: sqlite3.Connection, last: int, trims: Sequence[Trim] = (), *, blobs: bool = True
    ) -> None:
        """Write what was last written up to the place `last` into the tables, in the transaction that is open, without
        the facts that `trims` let go; `blobs`: some may be owed, and keep them."""
        found = _up_to(last, self._rows)
        owed = frozenset(job for (job,) in connection.execute(statements.OWED)) if trims and blobs else frozenset()
        rows = _trimmed(found, trims, owed) if trims else [row for _, row in found]
        put_rows(connection, rows)
        # A board that is at work is in every commit, and so in none of these until all are folded.
        if boards := _up_to(last, self._boards):
            put_boards(connection, [board for _, board in boards])

    def forget(self, last: int) -> None:
        """The tables hold what was written up to the place `last`."""
        if last >= self.last:
            self.last = last
            self._rows.clear()
            self._boards.clear()
            self._commits.clear()
            self._written = self.size = 0
            return
        while self._commits and self._commits[0][0] <= last:
            _, rows, size = self._commits.popleft()
            self._written -= rows
            self.size -= size
        for _, row in _up_to(last, self._rows):
            del self._rows[row.id]
        for _, board in _up_to(last, self._boards):
            del self._boards[board.id]


def _up_to(last: int, entries: Mapping[Any, tuple[int, _T]]) -> list[tuple[int, _T]]:
    """Those that were last written up to a place."""
    found: list[tuple[int, _T]] = []
    for entry in entries.values():
        if entry[0] > last:
            break
        found.append(entry)
    return found


def packed(rows: Sequence[Row], boards: Sequence[BoardRow]) -> bytes:
    """What a commit changes, as the content of an entry of the journal."""
    content: bytes = packb((boards, rows))
    return content


def unpacked(content: bytes) -> tuple[list[Row], list[BoardRow]]:
    """What `packed` was given."""
    boards, rows = unpackb(content, use_list=False)
    return [Row._make(row) for row in rows], [BoardRow._make(board) for board in boards]


def put_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write jobs into their table, in its own order: what is new then goes to the ends of its trees."""
    ordered = sorted(rows, key=_seq)
    start = 0
    for size, statement in statements.PUT_ROWS:
        while len(ordered) - start >= size:
            connection.execute(statement, tuple(chain.from_iterable(ordered[start : start + size])))
            start += size


def put_boards(connection: sqlite3.Connection, boards: Iterable[BoardRow]) -> None:
    """Write boards into theirs."""
    connection.executemany(statements.PUT_BOARD, with_check("boards", boards))


def _trimmed(found: Iterable[tuple[int, Row]], trims: Sequence[Trim], owed: frozenset[bytes]) -> list[Row]:
    """Rows without the facts that may go; those of a job whose bytes are owed may not."""
    ranges: dict[int | None, list[Trim]] = {}
    for trim in trims:
        ranges.setdefault(trim[0], []).append(trim)
    return [
        _new(Row, (*row[:_FACTS], None, *row[_FACTS + 1 :]))
        if not row.live
        and row.up_board in ranges
        and any(after < row.up_number <= upto and place <= at for _, after, upto, at in ranges[row.up_board])
        and row.state != DELETED
        and row.id not in owed
        else row
        for place, row in found
    ]
