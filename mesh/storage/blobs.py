"""The tables of blobs and their slices, over one connection (rules R10, R14).

A slice is written once and read whole, with a hash of its content and place beside it: one that does not match is as
good as gone, and so is all that follows it.

What goes has first nothing held, so that nobody finds it, and then loses its slices some at a time: to let go of one,
SQLite reads through all its pages, and 4 MiB in one commit took 7 ms.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from mesh.blobs import BlobRow, Key, Slice
from mesh.effects import Batch, Bytes
from mesh.quotas import Quota
from mesh.storage.columns import check_of_blob, check_of_slice, slice_id

_ROW: Final = "id, job, kind, hash, length, depth, board, held, named, counted, owed, at_ms"
_FITS: Final = frozenset(
    (int, bytes, int, bytes, int, int, int, int, int, int, owed, int) for owed in (int, type(None))
)
"""The types that the columns of a row may have."""
_PUT: Final = f"""
INSERT INTO blobs ({_ROW}, "check") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    held = excluded.held, named = excluded.named, counted = excluded.counted, owed = excluded.owed,
    at_ms = excluded.at_ms
"""  # noqa: S608 - what is put together here are constants of this file
_PUT_SLICE: Final = 'INSERT OR REPLACE INTO slices (id, data, "check") VALUES (?, ?, ?)'
_TAKE_OVER: Final = """
UPDATE blobs SET owed = ifnull(owed, (
    SELECT older.owed FROM blobs AS older INDEXED BY blobs_job
    WHERE older.job = blobs.job AND older.kind = blobs.kind AND older.hash = blobs.hash AND older.named = 1
        AND older.id <> blobs.id
))
WHERE id = ?
"""
_REPLACE: Final = """
DELETE FROM blobs INDEXED BY blobs_job WHERE job = ? AND kind = ? AND hash = ? AND named = 1 AND id <> ?
"""
_OWE: Final = "UPDATE blobs INDEXED BY blobs_job SET owed = ? WHERE job = ? AND kind = ? AND hash = ? AND named = 1"
_GONE: Final = -1
"""`held` of a blob that goes."""
_GO: Final = f"named = 0, counted = 0, owed = NULL, held = {_GONE}"
_LET_GO_OF_JOB: Final = f"""
UPDATE blobs INDEXED BY blobs_job SET {_GO} WHERE job = ? AND kind = ? AND named = 1 AND owed IS NULL
"""  # noqa: S608 - as above
_LET_GO: Final = f"UPDATE blobs SET {_GO} WHERE id = ?"  # noqa: S608 - as above
_GOING: Final = f"""
SELECT id FROM blobs INDEXED BY blobs_under_way WHERE named = 0 AND held = {_GONE} AND job = ?
"""  # noqa: S608 - as above
_DROP_SLICES: Final = "DELETE FROM slices WHERE id IN (SELECT id FROM slices WHERE id >= ? AND id < ? LIMIT ?)"
_DROP: Final = "DELETE FROM blobs WHERE id = ?"
# Their slices go with them: a trigger sees to it.
_DROP_GOING: Final = f"DELETE FROM blobs INDEXED BY blobs_under_way WHERE named = 0 AND held = {_GONE}"  # noqa: S608 - as above
_FIND: Final = f"""
SELECT {_ROW}, "check" FROM blobs INDEXED BY blobs_job
WHERE job = ? AND kind = ? AND hash = ? AND held = length ORDER BY named DESC, id
"""  # noqa: S608 - as above
_SLICES: Final = 'SELECT id, data, "check" FROM slices WHERE id >= ? AND id < ? ORDER BY id LIMIT ?'
_UNDER_WAY: Final = f"""
SELECT {_ROW}, "check" FROM blobs INDEXED BY blobs_under_way WHERE named = 0 OR owed IS NOT NULL ORDER BY id
"""  # noqa: S608 - as above
_LAST: Final = "SELECT ifnull(max(id), 0) FROM blobs"
_COUNTED: Final = """
SELECT board, kind, depth, sum(length) FROM blobs INDEXED BY blobs_counted WHERE counted = 1
GROUP BY board, kind, depth
"""
_COUNTED_OF: Final = """
SELECT ifnull(sum(length), 0) FROM blobs INDEXED BY blobs_counted
WHERE counted = 1 AND board = ? AND kind = ? AND depth = ?
"""


def write_blobs(connection: sqlite3.Connection, batch: Batch) -> None:
    """Write what a batch says about blobs."""
    for blob in batch.blobs:
        connection.execute(_PUT, (*blob, check_of_blob(blob)))
        if blob.named:
            connection.execute(_TAKE_OVER, (blob.id,))
            connection.execute(_REPLACE, (blob.job, blob.kind, blob.hash, blob.id))
    slices = [(slice_id(part.blob, part.offset), part.data) for part in batch.slices]
    connection.executemany(_PUT_SLICE, [(number, data, check_of_slice(number, data)) for number, data in slices])
    connection.executemany(_OWE, [(owing.board, *owing.key) for owing in batch.owing])
    connection.executemany(_LET_GO_OF_JOB, batch.unneeded)
    connection.executemany(_LET_GO, [(blob,) for blob in batch.dropped])


def going(connection: sqlite3.Connection, batches: Iterable[Batch]) -> tuple[int, ...]:
    """The blobs by number that `batches`, already written, let go of."""
    found = [blob for batch in batches for blob in batch.dropped]
    jobs = dict.fromkeys(job for batch in batches for job, _ in batch.unneeded)
    for job in jobs:
        found += [number for (number,) in connection.execute(_GOING, (job,))]
    return tuple(dict.fromkeys(found))


def drop_slices(connection: sqlite3.Connection, blobs: Sequence[int], most: int) -> tuple[int, ...]:
    """Drop slices of blobs that go, at most so many; gives the blobs that still have some."""
    for place, blob in enumerate(blobs):
        most -= connection.execute(_DROP_SLICES, (slice_id(blob, 0), slice_id(blob + 1, 0), most)).rowcount
        if most <= 0:
            return tuple(blobs[place:])
        connection.execute(_DROP, (blob,))
    return ()


def drop_going(connection: sqlite3.Connection) -> None:
    """Drop what was left of blobs that were let go of when the store was last open."""
    connection.execute(_DROP_GOING)


def read_slices(connection: sqlite3.Connection, query: Bytes) -> tuple[Slice, ...]:
    """Slices of a blob in order, up to the first that is missing or damaged."""
    blob = query.blob or _find(connection, query.key)
    found: list[Slice] = []
    if not blob:
        return ()
    offset = query.offset
    for number, data, check in connection.execute(
        _SLICES, (slice_id(blob, offset), slice_id(blob + 1, 0), query.limit)
    ):
        if number != slice_id(blob, offset) or check_of_slice(number, data) != check:
            break
        found.append(Slice(blob, offset, data))
        offset += len(data)
    return tuple(found)


def _find(connection: sqlite3.Connection, key: Key) -> int:
    rows = _sound(connection.execute(_FIND, key))
    return rows[0].id if rows else 0


def blobs_under_way(connection: sqlite3.Connection) -> tuple[BlobRow, ...]:
    """Blobs that no fact names, and blobs that are owed, oldest first."""
    return tuple(_sound(connection.execute(_UNDER_WAY)))


def last_blob(connection: sqlite3.Connection) -> int:
    """The highest number of a blob; 0 without any."""
    number: int = connection.execute(_LAST).fetchone()[0]
    return number


def counted_bytes(connection: sqlite3.Connection) -> tuple[tuple[int, int, int, int], ...]:
    """Bytes in every quota: (board, kind, depth, bytes)."""
    return tuple(connection.execute(_COUNTED).fetchall())


def counted_of(connection: sqlite3.Connection, quota: Quota) -> int:
    """Bytes in one quota."""
    size: int = connection.execute(_COUNTED_OF, quota).fetchone()[0]
    return size


def _sound(rows: Iterable[Sequence[object]]) -> list[BlobRow]:
    # A damaged page may give any column any type.
    made = [(BlobRow(*row[:-1]), row[-1]) for row in rows if tuple(map(type, row[:-1])) in _FITS]  # type: ignore[arg-type]
    return [row for row, check in made if check_of_blob(row) == check]
