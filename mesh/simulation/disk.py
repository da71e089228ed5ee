"""The disk of a simulated agent: a memory store that survives a crash, can be damaged, and lets a witness look inside.

What the witness remembers of it (`by_id`, `records`, `reached`, `refused`) is what was ever committed, whatever became
of the rows since: an engine that serves something else has not read what it wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgpack

from mesh.blobs import Key
from mesh.board import BoardRow
from mesh.codec import STORED, unpack
from mesh.effects import Batch, Bytes
from mesh.facts import Kind, Outcome, Request, decode
from mesh.lane import NEVER, Lane
from mesh.lifecycle import Role, State
from mesh.messages import Position
from mesh.row import Row
from mesh.storage.memory import MemoryStore

_STATES: Final = tuple(State)
_ROLES: Final = tuple(Role)
_HOME, _NUMBER, _REFUSED = 2, 4, 7
"""Places of both watermarks and of the refusals in a board's record."""
_VERSION, _ATTEMPT = 4, 5
"""Places of the version and of the attempt in a row's record."""
_UP, _DOWN = 9, 10
"""Places of the two lanes in a row's record."""


class Disk(MemoryStore):
    """A memory store that also lets the witness look at single rows.

    Attributes:
        by_id: the row of every job, as it was last written.
        boards: the row of every board.
        numbers: by board, the watermark that was last committed; `reached` the highest one that ever was.
        refused: board and number of every record that was ever committed as refused.
        records: by number, the job it was given to, and the facts that were durable by then.
        held: by board and blob, the most bytes of it that were ever committed.
        there: board and blob of everything that its peer has said it holds whole.
        damaged: jobs whose row was damaged, and not written since.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[bytes, Row] = {}
        self.boards: dict[int, BoardRow] = {}
        self.numbers: dict[int, int] = {}
        self.reached: dict[int, int] = {}
        self.refused: dict[tuple[int, int], None] = {}
        self.records: dict[int, tuple[bytes, bytes]] = {}
        self.held: dict[tuple[int, Key], int] = {}
        self.there: dict[tuple[int, Key], None] = {}
        self.damaged: dict[bytes, None] = {}

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
                self.damaged.pop(row.id, None)
                for number in (row.up_number, row.down_number):
                    if number:
                        before = self.records.get(number, (row.id, b""))
                        # What else became durable under a number before it was sent goes out under it, too.
                        self.records[number] = (before[0], before[1] + (row.facts or b""))
            for board in batch.boards:
                self.boards[board.id] = board
                # The engine's own document: what a peer's bytes are checked for is not in it.
                record = msgpack.unpackb(board.record)
                self.numbers[board.id] = number = record[_NUMBER]
                self.reached[board.id] = max(number, self.reached.get(board.id, 0))
                for refused, *_ in record[_REFUSED]:
                    self.refused[board.id, refused] = None

    @property
    def openings(self) -> tuple[Position, ...]:
        """The incarnations that were committed, oldest first."""
        return self._incarnations

    def kept(self) -> dict[bytes, Row]:
        """Every row, as it is now: trimmed and collected ones too."""
        return {row.id: row for row in self.rows.values()}

    def damage(self, seq: int, at: int, bit: int) -> None:
        """Flip one bit of a row, as a bad sector does: the bit `bit` of byte `at` of its record and facts."""
        row = self.rows[seq]
        record, facts = bytearray(row.record), bytearray(row.facts or b"")
        if at < len(record):
            record[at] ^= 1 << bit
        else:
            facts[at - len(record)] ^= 1 << bit
        self.rows[seq] = row._replace(record=bytes(record), facts=None if row.facts is None else bytes(facts))
        self.damaged[row.id] = None


def state_of(row: Row) -> State:
    return _STATES[row.state]


def role_of(row: Row) -> Role:
    return _ROLES[row.role]


def version_of(row: Row) -> int:
    return int(msgpack.unpackb(row.record)[_VERSION])


def attempt_of(row: Row) -> int:
    return int(msgpack.unpackb(row.record)[_ATTEMPT])


def request_of(row: Row) -> Request | None:
    """The Request that a row keeps, if it was not trimmed."""
    for kind, body, proof in [] if row.facts is None else unpack(row.facts, STORED):
        content = decode(kind, body, proof).content
        if isinstance(content, Request):
            return content
    return None


def doubts(row: Row) -> bool:
    """Whether a row keeps an Outcome which says that the effect is unknown."""
    for kind, body, proof in [] if row.facts is None else unpack(row.facts, STORED):
        content = decode(kind, body, proof).content
        if isinstance(content, Outcome):
            return content.unknown_effect
    return False


def facts_of(row: Row) -> frozenset[int]:
    """The kinds of facts that a row keeps."""
    return frozenset(kind for kind, _, _ in ([] if row.facts is None else unpack(row.facts, STORED)))


def lane_of(row: Row, board_id: int) -> Lane | None:
    """The lane of a row on a board, as it is stored."""
    record = msgpack.unpackb(row.record)
    for place in (_UP, _DOWN):
        if record[place] is not None and record[place][0] == board_id:
            return Lane.from_record(record[place])
    return None


def home_of(board: BoardRow | None) -> int:
    """Up to which number the ends that went up to the peer of a board are taken to be home."""
    return 0 if board is None else int(msgpack.unpackb(board.record)[_HOME])


def end_sent(row: Row) -> int:
    """The number under which this agent itself told the end of a job to the next one above; 0 if it did not."""
    lane = None if row.live or row.up_board is None else lane_of(row, row.up_board)
    return 0 if lane is None else max(lane.sent[Kind.OUTCOME], lane.sent[Kind.REJECT], 0)


def end_number(row: Row) -> int:
    """The number under which the end of a finished job goes up; 0 while it has none, since it waits for its blob."""
    lane = None if row.up_board is None else lane_of(row, row.up_board)
    ended = lane is not None and NEVER not in (lane.sent[Kind.OUTCOME], lane.sent[Kind.REJECT])
    return row.up_number if ended else 0
