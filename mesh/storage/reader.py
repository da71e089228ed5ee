"""Reading a store without writing: when its agent is down, or beside it while it runs.

SQLite in WAL mode lets readers and the one writer work side by side: a reader sees what is in the tables, and holds
nobody up. What is in the journal alone it does not see: beside an agent it is brought into the tables first (`beside`),
and an agent that ended by itself left nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from invitations.peers import InvitationRow, PeerRow
from mesh.board import BoardRow
from mesh.effects import Answer, Query
from mesh.row import Row
from mesh.storage import statements
from mesh.storage.database import connect_reader
from mesh.storage.faults import faults_explained
from mesh.storage.journal import Journal
from mesh.storage.pending import unpacked
from mesh.storage.queries import Queries
from mesh.storage.slots import Slots


class SqliteReader:
    """A store opened for reading only. Every call blocks, and is made by the thread that constructed it.

    Args:
        path: the store's file.

    Raises:
        StoreError: there is none, or it cannot be read; any call may raise it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect_reader(path)
        self._slots = Slots(path)
        self._queries = Queries(self._connection, self._slots)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_behind(self) -> bool:
        """Whether jobs are in the journal that the tables do not hold: an agent writes, or ended without a close."""
        with faults_explained(self._path):
            (told,) = self._connection.execute(statements.JOURNAL).fetchall()
            return any(unpacked(content)[0] for content in Journal(self._path).open(*told))

    def read(self, query: Query) -> Answer:
        """Answer a query of the engine from the tables."""
        with faults_explained(self._path):
            return self._queries.read(query)

    def list_jobs(self, *, live: bool | None, states: Sequence[int], after: int, limit: int) -> list[Row]:
        """Rows for people, newest first; see `Store.list_jobs`."""
        with faults_explained(self._path):
            return self._queries.list_jobs(live=live, states=states, after=after, limit=limit)

    def find_short(self, prefix: bytes, limit: int) -> list[Row]:
        """Rows whose id's hash part starts with `prefix`, newest first."""
        with faults_explained(self._path):
            return self._queries.find_short(prefix, limit)

    def boards(self) -> list[BoardRow]:
        """Every board, by its number."""
        with faults_explained(self._path):
            return self._queries.boards()

    def peers(self) -> list[PeerRow]:
        """Every row of the peer book."""
        with faults_explained(self._path):
            return self._queries.peers()

    def invitations(self) -> list[InvitationRow]:
        """Every invitation that was written."""
        with faults_explained(self._path):
            return self._queries.invitations()

    def close(self) -> None:
        """Close it; it is not used again."""
        self._connection.close()
        self._slots.close()
