"""The durable store: one SQLite file in WAL mode, written by one process (R1, R10).

A commit is on the disk when `apply` returns. What only changes jobs and boards goes to the journal, a file of its own
(`journal`), and from there to the tables by *folds* (`pending`): when there is much of it, before whatever reads them,
and when the store is closed or opened. Everything else is a transaction of SQLite (`synchronous=FULL`), which folds
what is in the journal and writes its own jobs and boards behind it: so a commit is there whole or not at all. The bytes
of blobs go to a third file (`slots`) before the transaction that names them.

What is slow is never done in one go: trimming and collecting take at most `SLICE` rows of a fold, and the rest with the
folds after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from invitations.fingerprint import fingerprint_text
from invitations.peers import InvitationRow, PeerRow
from mesh.board import BoardRow
from mesh.codec import STORED, pack
from mesh.effects import Answer, Batch, ById, Bytes, Query, Usage
from mesh.errors import StoreError, StoreFull
from mesh.opening import Snapshot
from mesh.room import Room
from mesh.row import Row
from mesh.storage import statements
from mesh.storage.blobs import SliceRow, freed_slots, open_slots, put_slices, write_blobs
from mesh.storage.checks import owner_of, seal, take, with_check
from mesh.storage.database import SCARCE_CHECKPOINTS, USUAL_CHECKPOINTS, connect_reader, connect_writer
from mesh.storage.faults import FAULTS, explained, faults_explained
from mesh.storage.journal import Journal
from mesh.storage.lock import StoreLock
from mesh.storage.mark import COMMITS, LogMark
from mesh.storage.pending import Pending, packed, put_boards, put_rows, unpacked
from mesh.storage.queries import Queries
from mesh.storage.slots import Slots
from mesh.storage.snapshot import take_snapshot
from mesh.storage.space import Space
from mesh.storage.sweep import Sweep

FEW: Final = 64
"""Rows of a fold while the disk is full: each then needs little room in SQLite's log."""


class SqliteStore:
    """A `Store` in a file. Every call is made by one thread, the one that opened it.

    Args:
        path: the file; `-wal`, `-shm`, `.journal`, `.slices`, `.lock`, `.mark` and `.ballast` files stand beside it.
        keep_jobs: finished jobs of our own that stay after their horizon, for people to look up, while there is room.
        max_bytes: size of database, slots and journal from which `room` says that it is full; jobs past their time go
            before that.
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
        self._commits = 0
        self._connection: sqlite3.Connection | None = None
        self._failed: StoreError | None = None
        self._is_open = False
        self._sweep = Sweep(keep_jobs)
        self._journal = Journal(path)
        self._pending = Pending()
        self._slots = Slots(path)
        # What the seal covers of each board; and whether there may be blobs.
        self._named: dict[int, tuple[object, ...]] = {}
        self._blobs = False

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
            self._space.changed()
            with faults_explained(self._path):
                self._check_owner(connection)
                boards = self._queries(connection).boards()
                self._named = {board.id: board[:4] for board in boards}
                self._take_up_journal(connection)
                # What is beyond the last slot in use is cut off: not before these files are known to fit each other.
                open_slots(connection, self._slots)
                self._blobs = connection.execute(statements.HAS_BLOBS).fetchone() == (1,)
            if self._pending:
                self._fold()
            with faults_explained(self._path):
                snapshot = take_snapshot(connection, self._queries(connection).boards(), self._connect_reader)
            self._is_open = True
            return snapshot
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

    def _take_up_journal(self, connection: sqlite3.Connection) -> None:
        ((mark, folded, known),) = connection.execute(statements.JOURNAL).fetchall()
        connection.execute(statements.SEAL_FOLDED)
        self._pending = Pending(folded)
        for content in self._journal.open(mark, folded, known):
            self._pending.keep(*unpacked(content), len(content))

    def _connect_reader(self) -> sqlite3.Connection:
        return connect_reader(self._path)

    def apply(self, batches: Sequence[Batch]) -> None:
        self._with_reserve(lambda: self._apply(batches))

    def tidy(self) -> None:
        # Nobody asked for it: without room for it, it is tried again after another commit.
        with suppress(StoreFull):
            if self._sweep.is_late or (self._space.room is Room.DISK_FULL and self._pending):
                self._fold()
            elif self._pending.is_long:
                self._with_reserve(lambda: self._fold_to(self._pending.oldest()))

    def settle(self) -> None:
        self._opened()
        if self._pending or self._sweep.is_new:
            self._fold()

    def _with_reserve(self, run: Callable[[], None]) -> None:
        try:
            run()
        except StoreFull:
            if not self._space.release():
                raise
            # What follows writes over its log early, so that the ballast's room is left for what is new.
            self._opened().execute(SCARCE_CHECKPOINTS).fetchall()
            run()

    def room(self) -> Room:
        connection = self._opened()
        before = self._space.room
        with faults_explained(self._path):
            room = self._space.look(connection, self._pending.size, self._slots.size)
            if (room is Room.DISK_FULL) is not (before is Room.DISK_FULL):
                connection.execute(SCARCE_CHECKPOINTS if room is Room.DISK_FULL else USUAL_CHECKPOINTS).fetchall()
        return room

    def _apply(self, batches: Sequence[Batch]) -> None:
        self._opened()
        # What several batches of the group changed is written once, as the last one leaves it.
        rows = list({row.seq: row for batch in batches for row in batch.rows}.values())
        boards = list({board.id: board for batch in batches for board in batch.boards}.values())
        named = {board.id: board[:4] for board in boards}
        is_new = not named.items() <= self._named.items()
        if is_new or any(map(_is_more, batches)):
            self._write_all(batches, rows, boards, is_new=is_new)
            self._named |= named
        else:
            self._write_down(rows, boards)
            self._sweep = self._sweep.asked(batches, self._pending.last)

    def _write_down(self, rows: list[Row], boards: list[BoardRow]) -> None:
        if rows or boards:
            content = packed(rows, boards)
            self._append(content)
            self._pending.keep(rows, boards, len(content))

    def _append(self, content: bytes) -> None:
        try:
            self._journal.append(self._pending.last + 1, content)
        except OSError as error:
            failure = explained(error, self._path)
            if not isinstance(failure, StoreFull):
                self._failed = failure
            raise failure from error

    def _write_all(self, batches: Sequence[Batch], rows: list[Row], boards: list[BoardRow], *, is_new: bool) -> None:
        # A place of its own: the journal that goes on from here fits no earlier state of the tables.
        place = self._pending.last + 1
        sweep = self._sweep
        self._blobs |= any(batch.has_blobs for batch in batches)

        def write(connection: sqlite3.Connection) -> None:
            nonlocal sweep
            slices = put_slices(self._slots, [part for batch in batches for part in batch.slices])
            sweep = self._advanced(sweep, connection, self._pending, place)
            put_boards(connection, boards)
            changed = [_write(connection, batch, slices) for batch in batches]
            if is_new or any(changed):
                seal(connection)
            put_rows(connection, rows)
            sweep = self._advanced(sweep.asked(batches, place), connection, Pending(place), place)

        self._commit(write, place)
        self._sweep = sweep

    def _fold(self) -> None:
        """Fold everything, and let go of some of what may go.

        Raises:
            StoreFull: there is no room, and no reserve; what is left in the journal stays there.
            StoreError: as `apply`.
        """
        if self._space.room is Room.DISK_FULL:
            while (reached := self._pending.few(FEW)) < self._pending.last:
                self._with_reserve(partial(self._fold_to, reached))
        self._with_reserve(lambda: self._fold_to(self._pending.last))

    def _fold_to(self, last: int) -> None:
        sweep = self._sweep

        def write(connection: sqlite3.Connection) -> None:
            nonlocal sweep
            sweep = self._advanced(sweep, connection, self._pending, last)

        self._commit(write, last if last < self._pending.last else last + 1)
        self._sweep = sweep

    def _advanced(self, sweep: Sweep, connection: sqlite3.Connection, pending: Pending, last: int) -> Sweep:
        return sweep.advanced(connection, pending, last, tight=self._space.tight, blobs=self._blobs)

    def _commit(self, write: Callable[[sqlite3.Connection], None], folded: int) -> None:
        """Make one transaction of what `write` does, after which the tables hold the journal up to `folded`."""
        connection = self._opened()
        try:
            connection.execute("BEGIN IMMEDIATE")
            write(connection)
            connection.execute(statements.PUT_FOLDED, (folded, max(folded, self._pending.last)))
            freed = freed_slots(connection) if self._slots.size else []
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
        self._slots.keep(freed)
        size = self._pending.size
        self._pending.forget(folded)
        self._journal.forget(folded)
        self._space.changed(size - self._pending.size if self._pending else None)
        if not self._commits % COMMITS:
            self._mark.put()
        self._commits += 1

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        self._slots.give_back()
        # On a full disk SQLite has done so itself, as a rule.
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except FAULTS as error:
                self._failed = self._failed or explained(error, self._path)

    def read(self, query: Query) -> Answer:
        if isinstance(query, ById):
            return self._by_id(query)
        if not isinstance(query, (Bytes, Usage)) or self._sweep.is_new:
            self.settle()
        with faults_explained(self._path):
            return self._queries(self._opened()).read(query)

    def _by_id(self, query: ById) -> Answer:
        connection = self._opened()
        with faults_explained(self._path):
            rows = [row for job_id in query.ids for row in self._find(connection, job_id)]
        if rows and self._sweep.is_new:
            # Their facts may have to go. (Mostly there are none: what comes first is asked for, to be sure, R7.)
            self.settle()
            with faults_explained(self._path):
                return self._queries(connection).read(query)
        return Answer(query, rows)

    def _find(self, connection: sqlite3.Connection, job_id: bytes) -> list[Row]:
        found = self._pending.find(job_id)
        return self._queries(connection).read(ById((job_id,))).rows if found is None else [found]

    def list_jobs(self, *, live: bool | None, states: Sequence[int], after: int, limit: int) -> list[Row]:
        self.settle()
        with faults_explained(self._path):
            return self._queries(self._opened()).list_jobs(live=live, states=states, after=after, limit=limit)

    def find_short(self, prefix: bytes, limit: int) -> list[Row]:
        self.settle()
        with faults_explained(self._path):
            return self._queries(self._opened()).find_short(prefix, limit)

    def peers(self) -> list[PeerRow]:
        with faults_explained(self._path):
            return self._queries(self._opened()).peers()

    def invitations(self) -> list[InvitationRow]:
        with faults_explained(self._path):
            return self._queries(self._opened()).invitations()

    def close(self) -> None:
        """Close the files and give the lock back; without effect on a store that is not open."""
        try:
            if self._is_open and self._failed is None:
                # Without room for it the journal stays, and the next opening folds it.
                with suppress(StoreError):
                    self.settle()
                    self._journal.remove()
        finally:
            self._is_open = False
            connection, self._connection = self._connection, None
            try:
                self._journal.close()
                self._slots.close()
                if connection is not None:
                    connection.close()
                    if self._commits:
                        self._mark.put()
            finally:
                self._lock.release()

    def _queries(self, connection: sqlite3.Connection) -> Queries:
        return Queries(connection, self._slots)

    def _opened(self) -> sqlite3.Connection:
        if self._failed is not None:
            raise self._failed
        assert self._connection is not None, "the store is not open"
        return self._connection


def _is_more(batch: Batch) -> bool:
    """Whether a batch changes more than jobs and boards."""
    return (
        bool(batch.quarantined or batch.cards or batch.pins or batch.portals or batch.peers or batch.invitations)
        or batch.incarnations is not None
        or batch.collect_ms is not None
        or batch.has_blobs
    )


def _write(connection: sqlite3.Connection, batch: Batch, slices: Iterator[SliceRow]) -> bool:
    """Write all but jobs and boards, its slices as `write_blobs` does; whether a table under the seal changed."""
    if batch.quarantined:
        connection.executemany(statements.QUARANTINE, [(seq,) for seq in batch.quarantined])
    if batch.has_blobs:
        write_blobs(connection, batch, slices)
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
