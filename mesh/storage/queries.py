"""What is asked of the tables, over one connection: the same answers for the agent that writes and for a reader."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final, assert_never

from invitations.peers import InvitationRow, PeerRow
from mesh.board import BoardRow
from mesh.codec import STORED, unpack
from mesh.effects import (
    Answer,
    AtNumber,
    ById,
    ByKey,
    Bytes,
    Due,
    Numbered,
    Query,
    Revoked,
    Shared,
    Unfinished,
    Usage,
    Waiting,
)
from mesh.facts import ID_BYTES
from mesh.row import Row
from mesh.storage import statements
from mesh.storage.blobs import counted_of, read_slices
from mesh.storage.checks import checked
from mesh.storage.columns import DESTINATION, HASH_BYTES, number_on, row_of
from mesh.storage.slots import Slots

NEWEST: Final = 1_000_000
"""Ids that a search for a short one looks at, newest first: about 100 ms."""

_EVERY_STATE: Final = -1
_LAST: Final = 2**63 - 1
_seq: Final = itemgetter(0)


class Queries:
    """Answers from one open connection; what SQLite raises is left to the caller."""

    __slots__ = ("_connection", "_slots")

    def __init__(self, connection: sqlite3.Connection, slots: Slots) -> None:
        self._connection = connection
        self._slots = slots

    def _rows(self, statement: str, arguments: Sequence[object] | dict[str, object]) -> list[Row]:
        return list(map(row_of, self._connection.execute(statement, arguments)))

    def read(self, query: Query) -> Answer:
        """Answer a query of the engine."""
        match query:
            case ById():
                rows = [row for job_id in query.ids for row in self._rows(statements.BY_ID, (job_id,))]
            case ByKey():
                rows = self._rows(statements.BY_KEY, (query.key,))
            case Numbered():
                rows = self._numbered(query.board, query.after, query.upto, query.limit)
            case AtNumber():
                numbers = sorted({number for number, _, _ in query.refused})
                rows = [row for number in numbers for row in self._numbered(query.board, number - 1, number, -1)]
            case Waiting():
                rows = self._waiting(query)
            case Shared() | Revoked():
                arguments = (query.board, query.after, query.limit)
                up, down = (self._rows(one, arguments) for one in (statements.SHARED_UP, statements.SHARED_DOWN))
                rows = _merged(up, down, _seq, query.limit)
            case Unfinished():
                rows = self._rows(statements.UNFINISHED, (query.board, query.after, DESTINATION, query.limit))
            case Due():
                return self._due(query)
            case Bytes():
                return Answer(query, [], slices=read_slices(self._connection, self._slots, query))
            case Usage():
                return Answer(query, [], size=counted_of(self._connection, query.quota))
            case _:
                assert_never(query)
        return Answer(query, rows)

    def _numbered(self, board: int, after: int, upto: int, limit: int) -> list[Row]:
        arguments = (board, after, upto, limit)
        up, down = (self._rows(one, arguments) for one in (statements.NUMBERED_UP, statements.NUMBERED_DOWN))

        def place(row: Row) -> tuple[int, int]:
            return number_on(row, board), row.seq

        return _merged(up, down, place, limit)

    def _due(self, query: Due) -> Answer:
        arguments: dict[str, object] = {
            "now_ms": query.now_ms,
            "limit": query.limit,
            "first_seq": query.first_seq,
            "unproved": json.dumps(query.unproved),
        }
        rows = self._rows(statements.DUE, arguments)
        following = self._connection.execute(statements.NEXT_DUE, {**arguments, "found": len(rows)}).fetchone()
        return Answer(query, rows, None if following is None else following[0])

    def _waiting(self, query: Waiting) -> list[Row]:
        if not query.unproved:
            return self._rows(statements.WAITING, (query.board, query.branch, query.limit))
        unproved = json.dumps(query.unproved)
        return self._rows(statements.WAITING_PROVED, {**query._asdict(), "unproved": unproved})

    def list_jobs(self, *, live: bool | None, states: Sequence[int], after: int, limit: int) -> list[Row]:
        """Rows for people, newest first; see `Store.list_jobs`."""
        statement = statements.LIST_ALL
        if live is not None:
            statement = statements.LIST_LIVE if live else statements.LIST_FINISHED
        wanted = sum(1 << state for state in set(states)) if states else _EVERY_STATE
        return self._rows(statement, {"before": after or _LAST, "states": wanted, "limit": limit})

    def find_short(self, prefix: bytes, limit: int) -> list[Row]:
        """Rows whose id's hash part starts with `prefix`, newest first; see `Store.find_short`."""
        start = ID_BYTES - HASH_BYTES + 1
        return self._rows(statements.FIND_SHORT, {"prefix": prefix, "start": start, "newest": NEWEST, "limit": limit})

    def boards(self) -> list[BoardRow]:
        """Every board."""
        return [BoardRow._make(found) for found in checked(self._connection, "boards", statements.BOARDS)]

    def peers(self) -> list[PeerRow]:
        """Every row of the peer book."""
        return [PeerRow.from_record(record) for record in self._records("peers", statements.PEERS)]

    def invitations(self) -> list[InvitationRow]:
        """Every invitation that was written."""
        return [InvitationRow.from_record(record) for record in self._records("invitations", statements.INVITATIONS)]

    def _records(self, table: str, statement: str) -> Iterable[list[Any]]:
        return (unpack(record, STORED) for *_, record in checked(self._connection, table, statement))


def _merged(up: list[Row], down: list[Row], key: Callable[[Row], Any], limit: int) -> list[Row]:
    # A board is one row's upstream or its downstream, never both: no row is in both lists.
    if not (up and down):
        return up or down
    both = merge(up, down, key=key)
    return list(both if limit < 0 else islice(both, limit))
