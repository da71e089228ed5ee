"""The tables of blobs and their slices, over one connection (rules R10, R14).

A slice is written once and read whole, with a hash of its content and place beside it: one that does not match is as
good as gone, and so is all that follows it. The bytes of most are in a file beside the database (`slots`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from mesh.blobs import BlobRow, Key, Slice
from mesh.effects import Batch, Bytes
from mesh.quotas import Quota
from mesh.storage.columns import check_of_blob, check_of_slice, slice_id
from mesh.storage.slots import Slots

SliceRow = tuple[int, int | None, int, bytes, bytes | None]
"""What stands of a slice in its table: its number, slot, size and check, and its bytes if it has no slot."""

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
_PUT_SLICE: Final = """
INSERT INTO slices (id, slot, size, "check", data) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    slot = excluded.slot, size = excluded.size, "check" = excluded."check", data = excluded.data
"""
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
_LET_GO_OF_JOB: Final = """
DELETE FROM blobs INDEXED BY blobs_job WHERE job = ? AND kind = ? AND named = 1 AND owed IS NULL
"""
_LET_GO: Final = "DELETE FROM blobs WHERE id = ?"
_FIND: Final = f"""
SELECT {_ROW}, "check" FROM blobs INDEXED BY blobs_job
WHERE job = ? AND kind = ? AND hash = ? AND held = length ORDER BY named DESC, id
"""  # noqa: S608 - as above
_SLICES: Final = 'SELECT id, slot, size, "check", data FROM slices WHERE id >= ? AND id < ? ORDER BY id LIMIT ?'
_NAMED_SLOTS: Final = "SELECT slot, id FROM slices WHERE slot IS NOT NULL"
# Rows of slices also go by triggers and with others, so which slots go is noted by triggers as well. They are this
# connection's own, and nothing of them is on the disk.
_NOTE_FREED: Final = (
    "CREATE TEMP TABLE freed (slot, id)",
    """
    CREATE TEMP TRIGGER slices_dropped AFTER DELETE ON main.slices WHEN OLD.slot IS NOT NULL BEGIN
        INSERT INTO freed VALUES (OLD.slot, OLD.id);
    END
    """,
    """
    CREATE TEMP TRIGGER slices_replaced AFTER UPDATE ON main.slices WHEN OLD.slot IS NOT NULL BEGIN
        INSERT INTO freed VALUES (OLD.slot, OLD.id);
    END
    """,
)
# A slice that comes again may come to the slot that it named before, if the file was cut off there.
_FREED: Final = """
SELECT slot, id FROM freed WHERE slot IS NOT (SELECT slices.slot FROM slices WHERE slices.id = freed.id)
"""
_FORGET_FREED: Final = "DELETE FROM freed"
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


def write_blobs(connection: sqlite3.Connection, batch: Batch, slices: Iterator[SliceRow]) -> None:
    """Write what a batch says about blobs.

    Args:
        slices: rows of its slices come next.
    """
    for blob in batch.blobs:
        connection.execute(_PUT, (*blob, check_of_blob(blob)))
        if blob.named:
            connection.execute(_TAKE_OVER, (blob.id,))
            connection.execute(_REPLACE, (blob.job, blob.kind, blob.hash, blob.id))
    connection.executemany(_PUT_SLICE, islice(slices, len(batch.slices)))
    connection.executemany(_OWE, [(owing.board, *owing.key) for owing in batch.owing])
    connection.executemany(_LET_GO_OF_JOB, batch.unneeded)
    connection.executemany(_LET_GO, [(blob,) for blob in batch.dropped])


def put_slices(slots: Slots, slices: Sequence[Slice]) -> Iterator[SliceRow]:
    """Have the bytes of slices in slots, which are taken for the transaction that is open; gives the rows to write."""
    rows: list[SliceRow] = []
    for part, slot in zip(slices, slots.put(slices), strict=True):
        number, data = slice_id(part.blob, part.offset), part.data
        rows.append((number, slot, len(data), check_of_slice(number, data), data if slot is None else None))
    return iter(rows)


def open_slots(connection: sqlite3.Connection, slots: Slots) -> None:
    """Begin with the slots that the table names, and note on this connection which ones go.

    Raises:
        StoreError: as `Slots.open`.
    """
    slots.open(connection.execute(_NAMED_SLOTS))
    for statement in _NOTE_FREED:
        connection.execute(statement)


def freed_slots(connection: sqlite3.Connection) -> list[tuple[object, int]]:
    """The slots that the transaction which is open let go of, with the numbers of their slices; asked for once."""
    freed = connection.execute(_FREED).fetchall()
    connection.execute(_FORGET_FREED)
    return freed


def read_slices(connection: sqlite3.Connection, slots: Slots, query: Bytes) -> tuple[Slice, ...]:
    """Slices of a blob in order, up to the first that is missing or damaged."""
    blob = query.blob or _find(connection, query.key)
    found: list[Slice] = []
    if not blob:
        return ()
    offset = query.offset
    for number, slot, size, check, kept in connection.execute(
        _SLICES, (slice_id(blob, offset), slice_id(blob + 1, 0), query.limit)
    ):
        data = kept if slot is None else slots.read(slot, size)
        if number != slice_id(blob, offset) or type(data) is not bytes or check_of_slice(number, data) != check:
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
