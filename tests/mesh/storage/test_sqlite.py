"""The durable store: what survives, and what happens when the disk does not go along."""

from __future__ import annotations

import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mesh.effects import Batch, ById, Numbered
from mesh.errors import StoreError, StoreFull, StoreLocked
from mesh.room import Room
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import (
    PINS,
    board,
    die,
    in_tables,
    job_id,
    journal_of,
    large_row,
    listed,
    put,
    put_down,
    row,
    seqs,
)

ROOT = Path(__file__).resolve().parents[3]

# Writes one job a batch, a few batches a commit, and says the highest seq that is durable.
WRITER = """
import sys
from itertools import count
from pathlib import Path
from mesh.effects import Batch
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import large_row
store = SqliteStore(Path(sys.argv[1]))
first = store.open().last_seq + 1
for start in count(first, 7):
    store.apply([Batch(rows=[large_row(seq)]) for seq in range(start, start + 7)])
    print(start + 6, flush=True)
"""


class Spy:
    """A connection that fails where it is told to."""

    def __init__(self, connection: sqlite3.Connection, statement: str, code: int) -> None:
        self._connection, self._statement, self._code = connection, statement, code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *arguments: Any) -> Any:
        if statement == self._statement:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return self._connection.execute(statement, *arguments)


@pytest.fixture
def connection(sqlite: SqliteStore) -> sqlite3.Connection:
    assert sqlite._connection is not None
    return sqlite._connection


@pytest.fixture
def full(sqlite: SqliteStore, connection: sqlite3.Connection) -> SimpleNamespace:
    """A disk with room for a few more pages, and a way to make more room."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 8}").fetchall()
    return SimpleNamespace(store=sqlite, grow=lambda: connection.execute("PRAGMA max_page_count = 1000000").fetchall())


# --- reopening ---


def test_everything_is_there_after_a_reopening(sqlite: SqliteStore) -> None:
    rows = [large_row(seq) for seq in range(1, 300)]
    put(sqlite, *rows)
    sqlite.close()
    snapshot = sqlite.open()
    assert (snapshot.last_seq, len(list(snapshot.ids))) == (299, 299)
    assert sqlite.list_jobs(live=None, states=(), after=0, limit=1_000) == rows[::-1]


def test_the_settings_that_durability_rests_on(connection: sqlite3.Connection) -> None:
    def setting(name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert setting("journal_mode") == "wal"
    assert setting("synchronous") == 2
    assert setting("wal_autocheckpoint") > 0


def test_a_store_is_opened_once(sqlite: SqliteStore, path: Path) -> None:
    other = SqliteStore(path)
    with pytest.raises(StoreLocked, match="this process"):
        other.open()
    sqlite.close()
    other.open()
    other.close()


def test_closing_twice_is_closing_once(sqlite: SqliteStore) -> None:
    sqlite.close()
    sqlite.close()


def test_a_refused_opening_gives_the_lock_back(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be looked at as one" * 40)
    path.chmod(0o600)
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="damaged"):
        store.open()
    path.unlink()
    store.open()
    store.close()


# --- a full disk ---


def test_a_full_disk_keeps_nothing_of_the_commit(full: SimpleNamespace) -> None:
    store = full.store
    put(store, large_row(1))
    with pytest.raises(StoreFull) as raised:
        store.apply([Batch(rows=[large_row(2)]), Batch(rows=[large_row(seq) for seq in range(3, 200)], pins=PINS)])
    assert "free space" in raised.value.fix
    assert seqs(store.list_jobs(live=None, states=(), after=0, limit=500)) == [1]


def test_a_store_goes_on_after_a_full_disk(full: SimpleNamespace) -> None:
    store = full.store
    with pytest.raises(StoreFull):
        put(store, *(large_row(seq) for seq in range(1, 200)), pins=PINS)
    put(store, large_row(1), pins=PINS)
    full.grow()
    put(store, *(large_row(seq) for seq in range(1, 200)), pins=PINS)
    assert len(store.list_jobs(live=None, states=(), after=0, limit=500)) == 199


def test_what_a_failed_commit_would_have_trimmed_is_not_forgotten(full: SimpleNamespace) -> None:
    store = full.store
    put(store, row(1, live=0, up_number=5))
    trim = Batch(trims=[(1, 0, 5)])
    with pytest.raises(StoreFull):
        store.apply([trim, Batch(rows=[large_row(seq) for seq in range(2, 200)], pins=PINS)])
    assert store.read(ById((job_id(1),))).rows[0].facts is not None
    store.apply([trim])
    assert store.read(ById((job_id(1),))).rows[0].facts is None


@pytest.mark.interpreted
def test_a_journal_without_room_keeps_nothing_of_the_commit(
    sqlite: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    put(sqlite, row(1))
    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(StoreFull):
        put(sqlite, row(2))
    monkeypatch.undo()
    assert listed(sqlite) == [row(1)]
    put(sqlite, row(3))
    die(sqlite)
    sqlite.open()
    assert listed(sqlite) == [row(1), row(3)]


def test_a_fold_without_room_is_tried_again(full: SimpleNamespace, path: Path) -> None:
    store, rows = full.store, [large_row(seq) for seq in range(1, 200)]
    put(store, *rows)
    with pytest.raises(StoreFull):
        store.settle()
    with pytest.raises(StoreFull):
        store.read(Numbered(1, 1, 0, 9, 9))
    assert store.read(ById((job_id(7),))).rows == [large_row(7)]
    put(store, large_row(200))
    store.tidy()
    store.close()
    assert journal_of(path).exists(), "it stays, and is folded when there is room"
    store.open()
    assert listed(store) == [*rows, large_row(200)]


def test_on_a_full_disk_a_few_are_folded_at_a_time(sqlite: SqliteStore, path: Path) -> None:
    for seq in range(1, 200, 20):
        put(sqlite, *(row(one) for one in range(seq, seq + 20)))
    folded: list[int] = []

    class Counting(Spy):
        def execute(self, statement: str, *arguments: Any) -> Any:
            if statement == "COMMIT":
                folded.append(len(in_tables(path)))
            return super().execute(statement, *arguments)

    assert sqlite._connection is not None
    sqlite._connection = Counting(sqlite._connection, "", 0)  # type: ignore[assignment]
    sqlite._space.room = Room.DISK_FULL
    sqlite.tidy()
    assert folded == [0, 60, 120, 180]
    assert len(listed(sqlite)) == 200


# --- a disk that fails ---


@pytest.mark.interpreted
def test_a_failed_fsync_of_the_journal_stops_the_store(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwritev", fail)
    with pytest.raises(StoreError, match="has to stop") as raised:
        put(sqlite, row(1))
    assert not isinstance(raised.value, StoreFull)
    monkeypatch.undo()
    for again in (lambda: put(sqlite, row(2)), lambda: listed(sqlite), sqlite.settle):
        with pytest.raises(StoreError, match="has to stop"):
            again()


def test_a_failed_fsync_stops_the_store(sqlite: SqliteStore, connection: sqlite3.Connection) -> None:
    sqlite._connection = Spy(connection, "COMMIT", sqlite3.SQLITE_IOERR_FSYNC)  # type: ignore[assignment]
    with pytest.raises(StoreError, match="has to stop") as raised:
        put(sqlite, row(1), pins=PINS)
    assert not isinstance(raised.value, StoreFull)
    sqlite._connection = connection
    with pytest.raises(StoreError, match="has to stop"):
        put(sqlite, row(2))
    with pytest.raises(StoreError, match="has to stop"):
        sqlite.read(Numbered(1, 1, 0, 1, 1))
    assert not connection.in_transaction


def test_a_batch_that_is_no_batch_leaves_nothing_behind(sqlite: SqliteStore) -> None:
    with pytest.raises(AttributeError):
        sqlite.apply([Batch(cards=[(b"f", b"card")]), Batch(peers=[None])])  # type: ignore[list-item]
    put(sqlite, row(1))
    sqlite.close()
    assert sqlite.open().cards == ()


def test_a_roll_back_that_fails_stops_the_store(sqlite: SqliteStore, connection: sqlite3.Connection) -> None:
    sqlite._connection = Spy(connection, "ROLLBACK", sqlite3.SQLITE_IOERR_WRITE)  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        sqlite.apply([Batch(peers=[None])])  # type: ignore[list-item]
    with pytest.raises(StoreError, match="has to stop"):
        put(sqlite, row(1))
    sqlite._connection = connection


def test_an_id_belongs_to_one_job(sqlite: SqliteStore) -> None:
    """That it never has two is the engine's duty; a store that were given two could be opened all the same."""
    put_down(sqlite, row(1), row(3))
    put_down(sqlite, row(2, id=job_id(1)))
    assert sqlite.list_jobs(live=None, states=(), after=0, limit=9) == [row(3), row(2, id=job_id(1))]
    assert sqlite.read(ById((job_id(1),))).rows == [row(2, id=job_id(1))]


# --- crashes ---


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_writer_loses_nothing_that_it_reported(path: Path, seed: int) -> None:
    after = random.Random(seed)
    reported = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(after.randint(1, 60)):
            reported = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        # What it said before it died counts too.
        reported = max([reported, *(int(line) for line in process.stdout.read().split())])
        process.stdout.close()
        process.wait()
    store = SqliteStore(path)
    snapshot = store.open()
    assert snapshot.last_seq >= reported
    # A commit is there whole or not at all.
    assert snapshot.last_seq % 7 == 0
    rows = store.list_jobs(live=None, states=(), after=0, limit=100_000)
    assert rows == [large_row(seq) for seq in range(snapshot.last_seq, 0, -1)]
    store.close()


def test_boards_and_jobs_are_one_commit(sqlite: SqliteStore) -> None:
    put(sqlite, row(1, down_number=4), boards=[board(2, last=4)])
    sqlite.close()
    assert board(2, last=4) in sqlite.open().boards
