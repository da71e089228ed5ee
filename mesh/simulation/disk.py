"""The disk of a simulated agent: a memory store that survives its engine, and lets the witness look at single rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mesh.blobs import Key
from mesh.board import BoardRow
from mesh.codec import STORED, unpack
from mesh.effects import Batch, Bytes
from mesh.facts import Kind, Request, decode
from mesh.job import Row
from mesh.lane import NEVER, Lane
from mesh.lifecycle import Role, State
from mesh.storage.memory import MemoryStore

_STATES: Final = tuple(State)
_ROLES: Final = tuple(Role)
_NUMBER, _REFUSED = 4, 7
"""Places of the watermark and of the refusals in a board's record."""
_UP, _DOWN = 9, 10
"""Places of the two lanes in a row's record."""


class Disk(MemoryStore):
    """A memory store that also lets the witness look at single rows.

    Attributes:
        by_id: the row of every job.
        boards: the row of every board.
        reached: by board, the highest number of the peer that was ever committed.
        refused: board and number of every record that was ever committed as refused.
        held: by board and blob, the most bytes of it that were ever committed.
        records: by number, the job it was given to, and the facts that were durable by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[bytes, Row] = {}
        self.boards: dict[int, BoardRow] = {}
        self.reached: dict[int, int] = {}
        self.refused: dict[tuple[int, int], None] = {}
        self.records: dict[int, tuple[bytes, bytes]] = {}
        self.held: dict[tuple[int, Key], int] = {}

    def copy(self) -> Disk:
        twin = Disk()
        for name, value in vars(self).items():
            setattr(twin, name, dict(value) if isinstance(value, dict) else value)
        return twin

    def apply(self, batches: Sequence[Batch]) -> None:
        super().apply(batches)
        for batch in batches:
            for blob in batch.blobs:
                key = Key(blob.job, blob.kind, blob.hash)
                found = sum(len(part.data) for part in self.read(Bytes(key, blob.id, 0, 1 << 30)).slices)
                self.held[blob.board, key] = max(min(blob.held, found), self.held.get((blob.board, key), 0))
            for row in batch.rows:
                self.by_id[row.id] = row
                for number in (row.up_number, row.down_number):
                    if number and number not in self.records:
                        self.records[number] = (row.id, row.facts or b"")
            for board in batch.boards:
                self.boards[board.id] = board
                record = unpack(board.record, STORED)
                self.reached[board.id] = max(record[_NUMBER], self.reached.get(board.id, 0))
                self.refused.update(((board.id, number), None) for number, *_ in record[_REFUSED])

    def kept(self) -> dict[bytes, Row]:
        """Every row, as it is now: trimmed and collected ones too."""
        return {row.id: row for row in self.rows.values()}


def state_of(row: Row) -> State:
    return _STATES[row.state]


def role_of(row: Row) -> Role:
    return _ROLES[row.role]


def version_of(row: Row) -> int:
    return int(unpack(row.record)[4])


def request_of(row: Row) -> Request | None:
    """The Request that a row keeps, if it was not trimmed."""
    for kind, body, proof in [] if row.facts is None else unpack(row.facts, STORED):
        content = decode(kind, body, proof).content
        if isinstance(content, Request):
            return content
    return None


def facts_of(row: Row) -> frozenset[int]:
    """The kinds of facts that a row keeps."""
    return frozenset(kind for kind, _, _ in ([] if row.facts is None else unpack(row.facts, STORED)))


def lane_of(row: Row, board_id: int) -> Lane | None:
    """The lane of a row on a board, as it is stored."""
    record = unpack(row.record)
    for place in (_UP, _DOWN):
        if record[place] is not None and record[place][0] == board_id:
            return Lane.from_record(record[place])
    return None


def end_number(row: Row) -> int:
    """The number under which the end of a finished job goes up; 0 while it has none, since it waits for its blob."""
    lane = None if row.up_board is None else lane_of(row, row.up_board)
    ended = lane is not None and NEVER not in (lane.sent[Kind.OUTCOME], lane.sent[Kind.REJECT])
    return row.up_number if ended else 0
