"""Planted bugs of the store, each to be shown by the crash images or by the corruptions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch
from zlib import crc32

import mesh.storage.sqlite
from mesh.blobs import Slice
from mesh.effects import Batch, Bytes
from mesh.job import Job, PlaceOn
from mesh.row import Row
from mesh.storage import blobs, checks, database, journal, queries, snapshot, statements
from mesh.storage.journal import Journal
from mesh.storage.plainfile import PlainFile
from mesh.storage.slots import Slots
from mesh.storage.sqlite import SqliteStore
from tests.disks.crash_images import IMAGE, Plant
from tests.disks.recording import Recording
from tests.disks.workload import ACKNOWLEDGED, BEGUN


@contextmanager
def _setting(old: str, new: str) -> Iterator[None]:
    settings, prepare = ((*database._SETTINGS,), (*database._PREPARE,))
    assert sum(old in one for one in settings + prepare) == 1
    with (
        patch.object(database, "_SETTINGS", tuple(one.replace(old, new) for one in settings)),
        patch.object(database, "_PREPARE", tuple(one.replace(old, new) for one in prepare)),
    ):
        yield


def never_synced() -> AbstractContextManager[None]:
    """Nothing waits for the disk."""
    return _setting("synchronous = FULL", "synchronous = OFF")


def synced_at_checkpoints() -> AbstractContextManager[None]:
    """SQLite's usual setting for this mode: a commit is durable some time later."""
    return _setting("synchronous = FULL", "synchronous = NORMAL")


def journal_in_memory() -> AbstractContextManager[None]:
    """What a commit overwrites is remembered by the process alone."""
    return _setting("journal_mode = WAL", "journal_mode = MEMORY")


@contextmanager
def acknowledged_before_the_commit() -> Iterator[None]:
    """Whoever put the batch is told at once."""
    mark = Recording.mark

    def told_early(recording: Recording, path: str, name: str, value: int) -> None:
        mark(recording, path, name, value)
        if name == BEGUN:
            mark(recording, path, ACKNOWLEDGED, value)

    with patch.object(Recording, "mark", told_early):
        yield


@contextmanager
def two_transactions() -> Iterator[None]:
    """Jobs in one transaction, everything else of the batch in another."""
    apply = SqliteStore.apply

    def twice(store: SqliteStore, batches: Sequence[Batch]) -> None:
        for batch in batches:
            apply(store, [Batch(rows=batch.rows)])
            parts = {field.name: getattr(batch, field.name) for field in fields(batch) if field.name != "rows"}
            apply(store, [Batch(**parts)])

    with patch.object(SqliteStore, "apply", twice):
        yield


@contextmanager
def leftovers_removed() -> Iterator[None]:
    """A start takes the log of a store that was not closed for rubbish."""
    connect = mesh.storage.sqlite.connect_writer

    def tidied(path: Path) -> object:
        if path.parent.name == IMAGE:
            Path(f"{path}-wal").unlink(missing_ok=True)
        return connect(path)

    with patch.object(mesh.storage.sqlite, "connect_writer", tidied):
        yield


def journal_never_synced() -> AbstractContextManager[None]:
    """A commit is acknowledged when the system has it, and not the disk."""

    def left(file: PlainFile, parts: Sequence[bytes], start: int) -> None:
        file.write(b"".join(parts), start)

    return patch.object(PlainFile, "write_durably", left)


@contextmanager
def slots_never_synced() -> Iterator[None]:
    """The bytes of a blob are acknowledged when the system has them."""
    sync = PlainFile.sync

    def left(file: PlainFile) -> None:
        if file.path.suffix != ".slices":
            sync(file)

    with patch.object(PlainFile, "sync", left):
        yield


@contextmanager
def slots_free_too_early() -> Iterator[None]:
    """A slot is taken again by the very commit that lets it go."""
    put = Slots.put

    def eager(slots: Slots, slices: Sequence[Slice]) -> list[int | None]:
        named = [slot for slot, holder in enumerate(slots._holders) if holder is not None]
        if slices and named:
            slots._free.insert(0, min(named))
        return put(slots, slices)

    with patch.object(Slots, "put", eager):
        yield


@contextmanager
def folded_in_two_transactions() -> Iterator[None]:
    """The tables are said to hold what is written to them a transaction later."""
    commit = SqliteStore._commit

    def twice(store: SqliteStore, write: Callable[[sqlite3.Connection], None], folded: int) -> None:
        connection = store._opened()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(statements.PUT_FOLDED, (folded, folded))
        connection.execute("COMMIT")
        commit(store, write, folded)

    with patch.object(SqliteStore, "_commit", twice):
        yield


@contextmanager
def read_without_a_fold() -> Iterator[None]:
    """Queries are answered from the tables as they are."""
    with patch.object(SqliteStore, "settle", lambda _: None):
        yield


@contextmanager
def entries_written_over() -> Iterator[None]:
    """The journal begins anew before what is in it is in the tables."""
    place = Journal._room_for

    def at_the_start(made: Journal, size: int) -> int:
        return 0 if made._at > 1_024 else place(made, size)

    with patch.object(Journal, "_room_for", at_the_start):
        yield


LOSING: Mapping[str, Plant] = MappingProxyType(
    {
        plant.__name__: plant
        for plant in (
            never_synced,
            synced_at_checkpoints,
            journal_in_memory,
            acknowledged_before_the_commit,
            two_transactions,
            leftovers_removed,
            journal_never_synced,
            slots_never_synced,
            slots_free_too_early,
            folded_in_two_transactions,
            read_without_a_fold,
            entries_written_over,
        )
    }
)
"""Bugs by which a power cut loses or mixes up something."""


@contextmanager
def rows_believed() -> Iterator[None]:
    """Rows of jobs are read without a look at their hash."""
    read = Job.from_row

    def believed(row: Row, place_on: PlaceOn) -> Job:
        return read(row._replace(check=crc32(row.record, crc32(row.id))), place_on)

    with patch.object(Job, "from_row", believed):
        yield


@contextmanager
def tables_believed() -> Iterator[None]:
    """Rows of the small tables are read without a look at theirs."""

    def believed(connection: sqlite3.Connection, table: str, statement: str) -> list[tuple[Any, ...]]:
        return [tuple(columns) for *columns, _ in connection.execute(statement)]

    with patch.object(queries, "checked", believed), patch.object(snapshot, "checked", believed):
        yield


@contextmanager
def trees_believed() -> Iterator[None]:
    """No walk through the store at its opening."""
    with patch.object(checks, "WALKED_BYTES", -1):
        yield


@contextmanager
def seal_believed() -> Iterator[None]:
    """The seal is taken to be right, whatever it says."""

    def believed(connection: sqlite3.Connection) -> bytes:
        found = connection.execute(statements.SEAL).fetchone()
        return b"" if found is None else bytes(found[0])

    with patch.object(checks, "_sealed", believed):
        yield


@contextmanager
def journal_believed() -> Iterator[None]:
    """An entry of the journal is taken for what was written, whatever is in it."""

    def believed(data: bytes, start: int) -> int:
        if start + journal._BEFORE > len(data):
            return 0
        end = start + journal._BEFORE + int(journal._HEAD.unpack_from(data, start)[3])
        return end if end <= len(data) else 0

    with patch.object(journal, "_end_of", believed):
        yield


@contextmanager
def gaps_passed_over() -> Iterator[None]:
    """An entry of the journal that is missing is no matter."""

    def passed(made: Journal, mark: bytes, folded: int, known: int) -> list[bytes]:
        while True:
            try:
                return opened(made, mark, folded, 0)
            except sqlite3.DatabaseError:
                folded += 1

    opened = Journal.open
    with patch.object(Journal, "open", passed):
        yield


@contextmanager
def slices_believed() -> Iterator[None]:
    """Bytes of blobs are read without a look at their hash."""

    def found(connection: sqlite3.Connection, slots: Slots, query: Bytes) -> tuple[Slice, ...]:
        checks: dict[int, bytes] = {
            number: bytes(check) for number, check in connection.execute('SELECT id, "check" FROM slices')
        }
        with patch.object(blobs, "check_of_slice", lambda number, _: checks.get(number)):
            return read(connection, slots, query)

    read = blobs.read_slices
    with patch.object(queries, "read_slices", found):
        yield


BELIEVED: Mapping[str, tuple[Plant, str, str]] = MappingProxyType(
    {
        plant.__name__: (plant, damage, part)
        for plant, damage, part in (
            (rows_believed, "row_flipped", ""),
            (tables_believed, "name_flipped", ""),
            (trees_believed, "page_from_before", ""),
            (seal_believed, "page_from_before", ""),
            (journal_believed, "row_flipped", "journal"),
            (gaps_passed_over, "sector_garbled", "journal"),
            (slices_believed, "bit_flipped", "slices"),
        )
    }
)
"""Bugs by which damage is not noticed, the kind of damage that hits them most often, and where ("" for anywhere)."""
