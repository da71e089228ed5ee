"""The durable store: one SQLite file in WAL mode, written by one process (R1, R10).

A commit is on the disk when `apply` returns (`synchronous=FULL`). What is slow is never done in one go: trimming and
collecting take at most `SLICE` rows of a commit, and the rest with the commits after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from invitations.fingerprint import fingerprint_text
from invitations.peers import InvitationRow, PeerRow
from mesh.codec import STORED, pack
from mesh.effects import Answer, Batch, Query
from mesh.errors import StoreError, StoreFull
from mesh.opening import Snapshot
from mesh.room import Room
from mesh.row import Row
from mesh.storage import statements
from mesh.storage.blobs import drop_going, write_blobs
from mesh.storage.checkpoints import Checkpoints
from mesh.storage.checks import owner_of, seal, take, with_check
from mesh.storage.database import SCARCE_CHECKPOINTS, USUAL_CHECKPOINTS, connect_reader, connect_writer
from mesh.storage.faults import FAULTS, explained, faults_explained
from mesh.storage.lock import StoreLock
from mesh.storage.mark import COMMITS, LogMark
from mesh.storage.queries import Queries
from mesh.storage.snapshot import take_snapshot
from mesh.storage.space import Space
from mesh.storage.sweep import Sweep


class SqliteStore:
    """A `Store` in a file. Every call is made by one thread, the one that opened it.

    Args:
        path: the file; `-wal`, `-shm`, `.lock`, `.mark` and `.ballast` files stand beside it.
        keep_jobs: finished jobs of our own that stay after their horizon, for people to look up, while there is room.
        max_bytes: size of the database from which `room` says that it is full; jobs past their time go before that.
        ballast_bytes: the most that is kept in reserve on the disk; see `space`.
        owner: fingerprint of the agent whose store it is: it takes a new one, and no other opens it any more; None to
            open it whosever it is.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_jobs: int = 100_000,
        max_bytes: int = 4 * 1024**3,
        ballast_bytes: int = 33_554_432,
        owner: bytes | None = None,
    ) -> None:
        self._path = path
        self._owner = owner
        self._space = Space(path, ballast_bytes=ballast_bytes, max_bytes=max_bytes)
        self._lock = StoreLock(Path(f"{path}.lock"))
        self._mark = LogMark(path)
        self._checkpoints = Checkpoints(path)
        self._commits = 0
        self._connection: sqlite3.Connection | None = None
        self._failed: StoreError | None = None
        self._sweep = Sweep(keep_jobs)
        # What the seal covers of each board.
        self._named: dict[int, tuple[object, ...]] = {}

    @property
    def path(self) -> Path:
        return self._path

    def open(self) -> Snapshot:
        self._lock.take()
        try:
            self._failed = None
            self._sweep = self._sweep.begun()
            self._mark.check()
            connection = connect_writer(self._path)
            self._connection = connection
            self._mark.forget()
            self._commits = 0
            with faults_explained(self._path):
                self._check_owner(connection)
                drop_going(connection)
                boards = Queries(connection).boards()
                self._named = {board.id: board[:4] for board in boards}
                return take_snapshot(connection, boards, self._connect_reader)
        except BaseException:
            self.close()
            raise

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        holder = owner_of(connection)
        if self._owner is None or holder == self._owner:
            return
        if holder is not None:
            raise StoreError(
                f"{self._path} is the store of another agent ({fingerprint_text(holder)})",
                fix="put this agent's own store there, or move this one away to start without one",
            )
        take(connection, self._owner)

    def _connect_reader(self) -> sqlite3.Connection:
        return connect_reader(self._path)

    def apply(self, batches: Sequence[Batch]) -> None:
        try:
            self._apply(batches)
        except StoreFull:
            if not self._space.release():
                raise
            # What follows writes over its log early, so that the ballast's room is left for what is new.
            self._opened().execute(SCARCE_CHECKPOINTS).fetchall()
            self._apply(batches)

    def room(self) -> Room:
        connection = self._opened()
        before = self._space.room
        with faults_explained(self._path):
            room = self._space.look(connection)
            if (room is Room.DISK_FULL) is not (before is Room.DISK_FULL):
                connection.execute(SCARCE_CHECKPOINTS if room is Room.DISK_FULL else USUAL_CHECKPOINTS).fetchall()
        return room

    def _apply(self, batches: Sequence[Batch]) -> None:
        self._failed = self._failed or self._checkpoints.failure()
        connection = self._opened()
        sweep = self._sweep
        try:
            connection.execute("BEGIN IMMEDIATE")
            named = {board.id: board[:4] for batch in batches for board in batch.boards}
            changed = [_write(connection, batch) for batch in batches]
            if any(changed) or not named.items() <= self._named.items():
                seal(connection)
            _write_rows(connection, {row.seq: row for batch in batches for row in batch.rows})
            sweep = sweep.asked(connection, batches, tight=self._space.tight).advanced(connection)
            connection.execute("COMMIT")
        except FAULTS as error:
            failure = explained(error, self._path)
            if not isinstance(failure, StoreFull):
                self._failed = failure
            self._roll_back(connection)
            raise failure from error
        except BaseException:
            self._roll_back(connection)
            raise
        self._sweep = sweep
        self._named |= named
        self._checkpoints.committed(batches)
        if not self._commits % COMMITS:
            self._mark.put()
        self._commits += 1

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        # On a full disk SQLite has done so itself, as a rule.
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except FAULTS as error:
                self._failed = self._failed or explained(error, self._path)

    def read(self, query: Query) -> Answer:
        with faults_explained(self._path):
            return Queries(self._opened()).read(query)

    def list_jobs(self, *, live: bool | None, states: Sequence[int], after: int, limit: int) -> list[Row]:
        with faults_explained(self._path):
            return Queries(self._opened()).list_jobs(live=live, states=states, after=after, limit=limit)

    def find_short(self, prefix: bytes, limit: int) -> list[Row]:
        with faults_explained(self._path):
            return Queries(self._opened()).find_short(prefix, limit)

    def peers(self) -> list[PeerRow]:
        with faults_explained(self._path):
            return Queries(self._opened()).peers()

    def invitations(self) -> list[InvitationRow]:
        with faults_explained(self._path):
            return Queries(self._opened()).invitations()

    def close(self) -> None:
        """Close the file and give the lock back; without effect on a store that is not open."""
        connection, self._connection = self._connection, None
        try:
            self._checkpoints.close()
            if connection is not None:
                connection.close()
                if self._commits:
                    self._mark.put()
        finally:
            self._lock.release()

    def _opened(self) -> sqlite3.Connection:
        if self._failed is not None:
            raise self._failed
        assert self._connection is not None, "the store is not open"
        return self._connection


def _write_rows(connection: sqlite3.Connection, rows: dict[int, Row]) -> None:
    # A job that several batches of the group changed is written once, as the last one leaves it.
    pending = list(rows.values())
    start = 0
    for size, statement in statements.PUT_ROWS:
        while len(pending) - start >= size:
            connection.execute(statement, tuple(chain.from_iterable(pending[start : start + size])))
            start += size


def _write(connection: sqlite3.Connection, batch: Batch) -> bool:
    """Write all but the jobs; whether a table under the seal changed."""
    if batch.boards:
        connection.executemany(statements.PUT_BOARD, with_check("boards", batch.boards))
    if batch.quarantined:
        connection.executemany(statements.QUARANTINE, [(seq,) for seq in batch.quarantined])
    if batch.has_blobs:
        write_blobs(connection, batch)
    tables: tuple[tuple[str, str, Sequence[tuple[Any, ...]]], ...] = (
        ("incarnations", statements.PUT_INCARNATION, batch.incarnations or ()),
        ("cards", statements.PUT_CARD, batch.cards),
        ("pins", statements.PUT_PIN, batch.pins),
        ("portals", statements.PUT_PORTAL, batch.portals),
        ("peers", statements.PUT_PEER, [_kept(peer, peer.fingerprint, peer.zone) for peer in batch.peers]),
        ("invitations", statements.PUT_INVITATION, [_kept(made, made.id) for made in batch.invitations]),
    )
    if not any(rows for _, _, rows in tables):
        return False
    if batch.incarnations is not None:
        connection.execute(statements.FORGET_INCARNATIONS)
    for table, statement, rows in tables:
        connection.executemany(statement, with_check(table, rows))
    return True


def _kept(row: PeerRow | InvitationRow, *key: object) -> tuple[object, ...]:
    return (*key, pack(row.to_record(), STORED))
