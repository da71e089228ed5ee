"""Checkpoints beside the writer: when one is made, that commits go on meanwhile, and what a failed one means."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from mesh.blobs import Slice
from mesh.effects import Batch
from mesh.errors import StoreError
from mesh.storage.checkpoints import BYTES, Checkpoints
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import put, row, seqs

DATA = bytes(49_152)


def slices(size: int, blob: int = 1) -> Batch:
    return Batch(slices=[Slice(blob, start, DATA) for start in range(0, size, len(DATA))])


class Held(Checkpoints):
    """Each checkpoint waits until it may be made, in `file` if that is another one."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may = threading.Event()
        self.begun = 0

    def _make(self) -> StoreError | None:
        self.begun += 1
        assert self.may.wait(10)
        return super()._make()

    def finish(self) -> None:
        """Let the one that is under way be made, and wait for its end."""
        self.may.set()
        assert self._under_way is not None
        self._under_way.exception(10)
        self.may.clear()


@pytest.fixture
def held(path: Path, sqlite: SqliteStore) -> Held:
    sqlite._checkpoints = made = Held(path)
    return made


def test_large_bytes_go_into_the_database_while_commits_go_on(path: Path, sqlite: SqliteStore, held: Held) -> None:
    sqlite.apply([slices(BYTES)])
    before = path.stat().st_size
    put(sqlite, row(1))
    assert seqs(sqlite.list_jobs(live=None, states=(), after=0, limit=9)) == [1]
    assert path.stat().st_size == before < BYTES
    held.finish()
    assert path.stat().st_size > BYTES


def test_one_is_made_at_a_time_and_what_came_meanwhile_is_left_for_the_next(sqlite: SqliteStore, held: Held) -> None:
    for blob in (1, 2, 3):
        sqlite.apply([slices(BYTES, blob)])
    held.finish()
    assert held.begun == 1
    put(sqlite, row(1))
    held.finish()
    assert held.begun == 2


def test_nothing_is_done_for_few_bytes_or_for_jobs(sqlite: SqliteStore, held: Held) -> None:
    sqlite.apply([slices(BYTES - len(DATA))])
    put(sqlite, *(row(seq) for seq in range(1, 500)))
    assert not held.begun
    assert held._thread is None


def test_a_failed_one_ends_the_store(tmp_path: Path, sqlite: SqliteStore, held: Held) -> None:
    held._path = tmp_path / "elsewhere" / "store.db"
    sqlite.apply([slices(BYTES)])
    held.finish()
    for _ in range(2):
        with pytest.raises(StoreError, match="elsewhere"):
            put(sqlite, row(1))


def test_a_full_disk_leaves_everything_in_the_log(sqlite: SqliteStore, held: Held) -> None:
    class Full:
        def execute(self, _: str) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        def close(self) -> None:
            """Nothing is open."""

    held._connection = Full()  # type: ignore[assignment]
    sqlite.apply([slices(BYTES)])
    held.finish()
    put(sqlite, row(1))


def test_a_store_waits_for_the_last_one_when_it_closes(path: Path, sqlite: SqliteStore, held: Held) -> None:
    sqlite.apply([slices(BYTES)])
    held.may.set()
    sqlite.close()
    assert held.begun == 1
    assert not Path(f"{path}-wal").exists(), "its connection was the last one but ours"
    sqlite.open()
    put(sqlite, row(1))
