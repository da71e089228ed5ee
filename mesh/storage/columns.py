"""What every store has to understand of the rows that it keeps, beside the columns it looks them up by."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b, sha256
from itertools import product
from typing import Final

from mesh.blobs import BlobRow
from mesh.board import Board, BoardRow
from mesh.limits import Limits
from mesh.replication import Outbox
from mesh.row import Row

ORIGIN: Final = 0
HOP: Final = 1
DESTINATION: Final = 2
"""How `Row.role` tells the role: its place in `Role`."""

DELETED: Final = 10
"""How `Row.state` tells a tombstone: its place in `State`. It is never trimmed, since its Delete answers every later
Request (R9)."""

HASH_BYTES: Final = 20
"""The end of a job id, whose first characters people type."""

CHECK_BYTES: Final = 16
"""Of the hash beside a stored blob or slice (R10)."""

_LIMITS: Final = Limits()
_INT: Final = (int,)
_BYTES: Final = (bytes,)
_INT_OR_NONE: Final = (int, type(None))
_TEXT_OR_NONE: Final = (str, type(None))
_TYPES: Final[tuple[tuple[type, ...], ...]] = (
    *(_INT, _BYTES, _INT, _INT, _INT, _INT_OR_NONE, _INT, _INT_OR_NONE, _INT, _TEXT_OR_NONE, _TEXT_OR_NONE),
    *(_INT, _INT_OR_NONE, (type(None), str), _BYTES, (bytes, type(None)), _INT),
)
"""The types that the columns of a `Row` may have."""
# Every combination of them: one look-up instead of a look at each column.
_FITS: Final = frozenset(product(*_TYPES))


def row_of(columns: Iterable[object]) -> Row:
    """A job's row as its table gave it.

    A damaged page may give any column any type. One that is wrong is taken as empty, 0 or "" (a key as none), so that
    the row is one by its types, and its checksum or its blobs say that it is damaged.
    """
    found = tuple(columns)
    if tuple(map(type, found)) in _FITS:
        return Row._make(found)
    pairs = zip(found, _TYPES, strict=True)
    return Row._make([value if type(value) in allowed else allowed[0]() for value, allowed in pairs])


def number_on(row: Row, board: int) -> int:
    """The job's number in our sequence on `board`; 0 without one, or on a board that does not share it."""
    if row.up_board == board:
        return row.up_number
    return row.down_number if row.down_board == board else 0


def outbox_of(board: BoardRow) -> Outbox:
    """Our half of that board as it was stored: up to which of our numbers every Outcome is at its origin (R7), and the
    last one given out."""
    return Board.from_row(board, _LIMITS).outbox


def check_of_blob(row: BlobRow) -> bytes:
    """A hash of what never changes of a blob's row; what does change is believed only as far as slices bear it out."""
    told = b"%d %d %d %d %d " % (row.id, row.kind, row.length, row.depth, row.board)
    return blake2b(told + row.job + row.hash, digest_size=CHECK_BYTES).digest()


def slice_id(blob: int, offset: int) -> int:
    """The number of a slice: slices of one blob stand together, in order."""
    return blob << 32 | offset


def check_of_slice(number: int, data: bytes) -> bytes:
    """A hash of a stored slice and of its place. (Most processors have instructions for this one: a third of the time
    that BLAKE2b takes.)"""
    return sha256(number.to_bytes(8, "big") + data, usedforsecurity=False).digest()[:CHECK_BYTES]
