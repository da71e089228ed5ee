"""The tables of blobs and their slices, over one connection (rules R10, R14).

A slice is written once and read whole, with a hash of its content and place beside it: one that does not match is as
good as gone, and so is all that follows it.
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
# Their slices go with them: a trigger sees to it.
_DROP_OF_JOB: Final = "DELETE FROM blobs INDEXED BY blobs_job WHERE job = ? AND kind = ? AND named = 1 AND owed IS NULL"
_DROP: Final = "DELETE FROM blobs WHERE id = ?"
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
    connection.executemany(_DROP_OF_JOB, batch.unneeded)
    connection.executemany(_DROP, [(blob,) for blob in batch.dropped])


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
