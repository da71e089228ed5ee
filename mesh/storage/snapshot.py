"""What a store tells at its opening, from counts and indexes alone: no job's row is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

from mesh.board import BoardRow
from mesh.opening import Snapshot
from mesh.storage import statements
from mesh.storage.blobs import blobs_under_way, counted_bytes, last_blob
from mesh.storage.checks import checked, damage
from mesh.storage.columns import HOP, outbox_of

_CHUNK: Final = 4_096


class Stream:
    """One column of text or bytes, read by whoever iterates, over a connection of its own.

    The opening of a store gives its ids to the engine, which goes through them once. Ten million of them need not
    be in memory for that, and the connection that writes belongs to another thread.

    Args:
        connect: opens a connection that only reads, in the thread that calls it.
        statement: gives the column.
    """

    __slots__ = ("_connect", "_statement")

    def __init__(self, connect: Callable[[], sqlite3.Connection], statement: str) -> None:
        self._connect = connect
        self._statement = statement

    def __iter__(self) -> Iterator[Any]:
        connection = self._connect()
        try:
            cursor = connection.execute(self._statement)
            while chunk := cursor.fetchmany(_CHUNK):
                for (value,) in chunk:
                    yield value
        finally:
            connection.close()


def take_snapshot(
    connection: sqlite3.Connection, boards: list[BoardRow], connect: Callable[[], sqlite3.Connection]
) -> Snapshot:
    """Read the snapshot of an open store; its `ids` and `keys` are streamed over a connection that `connect` opens.

    Raises:
        sqlite3.DatabaseError: a board was written before the jobs that stand beside it.
    """

    def found(statement: str, *arguments: object) -> list[Any]:
        return connection.execute(statement, arguments).fetchall()

    strays: list[tuple[int, int, int]] = []
    last_number = 0
    for board in boards:
        outbox = outbox_of(board)
        strays += found(statements.STRAYS, board.id, outbox.home, HOP)
        last = max(connection.execute(statements.LAST_NUMBERS, {"board": board.id}).fetchone())
        if last > outbox.last:
            # They are written together: the peer would be told of positions that were given out already.
            raise damage(f'the board with "{board.name}" is older than its jobs')
        last_number = max(last_number, last)
    downward = found(statements.COUNT_DOWN)
    return Snapshot(
        boards=tuple(boards),
        cards=tuple(checked(connection, "cards", statements.CARDS)),
        pins=tuple(checked(connection, "pins", statements.PINS)),
        portals=tuple(checked(connection, "portals", statements.PORTALS)),
        incarnations=tuple(checked(connection, "incarnations", statements.INCARNATIONS)),
        last_seq=found(statements.LAST_SEQ)[0][0],
        last_number=last_number,
        ids=Stream(connect, statements.IDS),
        keys=Stream(connect, statements.KEYS),
        waiting=tuple((board_id, branch, jobs) for waiting, board_id, branch, jobs in downward if waiting),
        offered=tuple((board_id, branch, jobs) for waiting, board_id, branch, jobs in downward if not waiting),
        accepted=tuple(found(statements.COUNT_UP)),
        strays=tuple(strays),
        next_due_ms=found(statements.FIRST_DUE)[0][0],
        blobs=blobs_under_way(connection),
        last_blob=last_blob(connection),
        counted=counted_bytes(connection),
    )
