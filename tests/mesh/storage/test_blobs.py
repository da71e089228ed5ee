"""The tables of blobs: one suite for both stores, and what damage does to the durable one (R10)."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import mesh.storage.slots
from mesh.blobs import BlobRow, Key, Owing, Slice, cut, name_blob
from mesh.effects import Batch, Bytes, Usage
from mesh.errors import StoreError
from mesh.quotas import Quota
from mesh.storage.contract import Store
from mesh.storage.reader import SqliteReader
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.conftest import OpenStore
from tests.mesh.storage.rows import board, die, job_id, put, row

DATA = bytes(range(200))
OTHER = DATA[::-1]
NAME = name_blob(DATA).name


def blob(number: int, seq: int, **columns: object) -> BlobRow:
    """A whole blob of the job `seq` that a fact names."""
    whole = BlobRow(number, job_id(seq), 1, NAME.hash, NAME.length, 0, 1, NAME.length, 1, 1, None, 5)
    return whole._replace(**columns)  # type: ignore[arg-type]


def key(seq: int, kind: int = 1) -> Key:
    return Key(job_id(seq), kind, NAME.hash)


def keep(store: Store, *rows: BlobRow, data: bytes = DATA) -> None:
    slices = [part for one in rows for part in cut(one.id, data[: one.held], 64)]
    store.apply([Batch(blobs=list(rows), slices=slices)])


def read(store: Store, seq: int, *, number: int = 0, offset: int = 0, limit: int = 100, kind: int = 1) -> bytes:
    return b"".join(part.data for part in store.read(Bytes(key(seq, kind), number, offset, limit)).slices)


def reopened(store: Store):  # type: ignore[no-untyped-def]
    store.close()
    return store.open()


def slices_of(path: Path) -> Path:
    return Path(f"{path}.slices")


@pytest.fixture(params=[True, False], ids=["slots", "table"], autouse=True)
def slots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether slices of 64 bytes fill a slot, or are few bytes that stay in the table."""
    if request.param:
        monkeypatch.setattr(mesh.storage.slots, "SLOT", 64)
    return bool(request.param)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    made = open_store()
    put(made, row(1), row(2))
    return made


def test_slices_come_in_order_from_where_they_are_asked_for(store: Store) -> None:
    keep(store, blob(1, 1), blob(2, 2))
    assert read(store, 1) == DATA
    assert read(store, 1, offset=64, limit=2) == DATA[64:192]
    assert read(store, 1, offset=3) == b""
    answer = store.read(Bytes(key(2), 0, 128, 5))
    assert answer.slices == (Slice(2, 128, DATA[128:192]), Slice(2, 192, DATA[192:]))


def test_only_a_whole_blob_is_found_by_its_name_and_any_by_its_number(store: Store) -> None:
    keep(store, blob(1, 1, held=128, named=0))
    assert read(store, 1) == b""
    assert read(store, 1, number=1) == DATA[:128]
    keep(store, blob(2, 1))
    assert read(store, 1) == DATA


def test_one_that_is_named_takes_the_place_of_an_older_one(store: Store) -> None:
    """It was fetched again, since that one is damaged; what was owed of it is owed of the new one."""
    keep(store, blob(1, 1, owed=2), blob(2, 2), blob(3, 1, kind=5))
    keep(store, blob(4, 1, named=0, counted=0, held=128))
    keep(store, blob(4, 1))
    assert read(store, 1, number=1) == b""
    assert read(store, 1) == DATA
    assert store.read(Usage(Quota(1, 1, 0))).size == 2 * NAME.length
    keep(store, blob(5, 2))
    assert reopened(store).blobs == (blob(4, 1, owed=2),)


def test_what_no_fact_names_yet_is_not_what_is_unneeded(store: Store) -> None:
    keep(store, blob(1, 1), blob(2, 1, named=0, counted=0))
    store.apply([Batch(unneeded=[(job_id(1), 1)])])
    assert read(store, 1, number=1) == b""
    assert read(store, 1, number=2) == DATA


def test_a_blob_grows(store: Store) -> None:
    keep(store, blob(1, 1, held=64, named=0))
    store.apply([Batch(blobs=[blob(1, 1, held=128, named=0)], slices=[Slice(1, 64, DATA[64:128])])])
    assert read(store, 1, number=1) == DATA[:128]


def test_payload_and_result_of_a_job_are_two_things(store: Store) -> None:
    keep(store, blob(1, 1), blob(2, 1, kind=5))
    store.apply([Batch(unneeded=[(job_id(1), 1)])])
    assert read(store, 1) == b""
    assert read(store, 1, kind=5) == DATA


def test_what_is_dropped_leaves_nothing(store: Store) -> None:
    keep(store, blob(1, 1), blob(2, 2))
    store.apply([Batch(dropped=[1, 77])])
    assert read(store, 1, number=1) == b""
    assert read(store, 2) == DATA


def test_of_a_group_each_batch_follows_the_one_before_it(store: Store) -> None:
    keep(store, blob(1, 1))
    store.apply([Batch(dropped=[1]), Batch(blobs=[blob(1, 2)], slices=list(cut(1, OTHER, 64)))])
    assert (read(store, 1), read(store, 2)) == (b"", OTHER)
    store.apply([Batch(blobs=[blob(2, 1)], slices=list(cut(2, DATA, 64))), Batch(dropped=[2])])
    assert read(store, 1) == b""


def test_what_is_under_way_is_told_at_the_opening(store: Store) -> None:
    keep(store, blob(1, 1), blob(2, 2, named=0, held=64, counted=0), blob(5, 2, kind=5))
    store.apply([Batch(owing=[Owing(key(1), 2), Owing(key(2), 2)])])
    snapshot = reopened(store)
    assert snapshot.blobs == (blob(1, 1, owed=2), blob(2, 2, named=0, held=64, counted=0))
    assert (snapshot.last_blob, sorted(snapshot.counted)) == (5, [(1, 1, 0, NAME.length), (1, 5, 0, NAME.length)])
    store.apply([Batch(owing=[Owing(key(1), None)])])
    assert [one.id for one in reopened(store).blobs] == [2]


def test_a_quota_counts_what_counts(store: Store) -> None:
    other = NAME.hash[::-1]
    keep(store, blob(1, 1), blob(2, 2, counted=0), blob(3, 2, hash=other, board=2), blob(4, 1, hash=other, depth=3))
    assert [store.read(Usage(Quota(number, 1, 0))).size for number in (1, 2, 3)] == [NAME.length, NAME.length, 0]
    assert [store.read(Usage(Quota(1, 1, depth))).size for depth in (2, 3)] == [0, NAME.length]
    assert store.read(Usage(Quota(1, 5, 0))).size == 0


def test_a_trimmed_job_lets_go_of_its_bytes_unless_they_are_owed(store: Store) -> None:
    put(store, row(1, live=0, up_number=5), row(2, live=0, up_number=6))
    keep(store, blob(1, 1, kind=5), blob(2, 2, kind=5))
    store.apply([Batch(owing=[Owing(key(2, 5), 1)])])
    put(store, trims=[(1, 0, 10)])
    assert (read(store, 1, kind=5), read(store, 2, kind=5)) == (b"", DATA)
    assert [found.facts is None for found in store.list_jobs(live=None, states=(), after=0, limit=9)] == [False, True]


def test_a_collected_job_lets_go_of_its_bytes(store: Store) -> None:
    put(store, row(1, live=0, due_ms=10), row(2, live=0, due_ms=99))
    keep(store, blob(1, 1), blob(2, 2))
    put(store, collect_ms=50)
    assert (read(store, 1, number=1), read(store, 2)) == (b"", DATA)


@pytest.mark.parametrize("change", ["data = zeroblob(16)", '"check" = zeroblob(16)', "slot = 0", "slot = 1 << 60"])
def test_a_damaged_slice_is_as_good_as_gone(path: Path, slots: bool, change: str) -> None:
    if slots and change.startswith("data"):
        change = "size = 1 << 40"
    store = SqliteStore(path)
    store.open()
    put(store, row(1), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE slices SET {change} WHERE id = (1 << 32) + 64")
    connection.close()
    if "slot" in change and not slots:
        with pytest.raises(StoreError, match="is missing"):
            store.open()
        return
    store.open()
    assert read(store, 1) == DATA[:64]
    assert read(store, 1, offset=64) == b""
    store.close()


def test_a_slice_in_another_ones_place_is_damaged(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    put(store, row(1), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM slices WHERE id = 1 << 32")
        connection.execute("UPDATE slices SET id = 1 << 32 WHERE id = (1 << 32) + 64")
    connection.close()
    store.open()
    assert read(store, 1) == b""
    store.close()


def test_a_damaged_row_is_no_blob(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    put(store, row(1), boards=[board(1), board(2)])
    keep(store, blob(1, 1, owed=2))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE blobs SET hash = zeroblob(32)")
    connection.close()
    assert store.open().blobs == ()
    store.close()


def test_what_goes_takes_its_slices_along(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    put(store, row(1), row(2), boards=[board(1), board(2)])
    keep(store, blob(1, 1), blob(2, 1, kind=5), blob(3, 2))
    store.apply([Batch(unneeded=[(job_id(1), 5)])])
    store.apply([Batch(dropped=[1])])
    assert (read(store, 1), read(store, 1, kind=5), read(store, 2)) == (b"", b"", DATA)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id >> 32, COUNT(*) FROM slices GROUP BY 1").fetchall() == [(3, 4)]


def test_a_slot_is_free_after_the_commit_that_lets_it_go(path: Path, slots: bool) -> None:
    """A commit that comes to nothing must leave what it would have let go of."""
    store = SqliteStore(path)
    store.open()
    put(store, row(1), row(2), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    used = store._slots.size
    # One group lets go of a blob and brings another one.
    brought = [Slice(2, part.offset, part.data) for part in cut(2, DATA, 64)]
    store.apply([Batch(unneeded=[(job_id(1), 1)]), Batch(blobs=[blob(2, 2)], slices=brought)])
    assert (read(store, 1), read(store, 2)) == (b"", DATA)
    assert store._slots.size == used
    keep(store, blob(3, 1))
    assert (read(store, 1), read(store, 2)) == (DATA, DATA)
    assert store._slots.size == 2 * used
    if slots:
        assert slices_of(path).stat().st_size == 5 * 64 + 64, "three slots were free, of which the last is full"
    store.close()


def test_a_commit_that_fails_leaves_slots_as_they_were(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    put(store, row(1), row(2), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    used = store._slots.size
    connection = store._opened()
    connection.execute("CREATE TEMP TRIGGER refused BEFORE INSERT ON main.blobs BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreError):
        store.apply([Batch(dropped=[1]), Batch(blobs=[blob(2, 2)], slices=list(cut(2, DATA, 64)))])
    assert store._slots.size == used
    reopened(store)
    assert (read(store, 1), read(store, 2)) == (DATA, b"")
    store.close()


def test_slots_that_could_not_be_synced_stop_the_store(
    path: Path, slots: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    store = SqliteStore(path)
    store.open()
    put(store, row(1), row(2), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    if slots:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", fails)
            with pytest.raises(StoreError, match="has to stop"):
                keep(store, blob(2, 2))
        with pytest.raises(StoreError, match="has to stop"):
            read(store, 1)
    reopened(store)
    assert (read(store, 1), read(store, 2)) == (DATA, b"")
    store.close()


def test_a_slice_that_comes_again_takes_the_place_of_the_first(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    put(store, row(1), boards=[board(1), board(2)])
    keep(store, blob(1, 1, held=128, named=0))
    used = store._slots.size
    keep(store, blob(1, 1, held=128, named=0))
    assert read(store, 1, number=1) == DATA[:128]
    assert store._slots.size == used
    store.close()


def test_a_store_without_its_slices_is_refused(path: Path, slots: bool) -> None:
    store = SqliteStore(path)
    store.open()
    put(store, row(1), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    store.close()
    assert slices_of(path).exists() is slots
    if slots:
        slices_of(path).unlink()
        with pytest.raises(StoreError, match="is missing"):
            store.open()


def test_an_opening_that_is_refused_cuts_nothing_off(path: Path) -> None:
    """Whoever put an old copy of the database beside newer files may still take it away again."""
    store = SqliteStore(path)
    store.open()
    put(store, row(1), row(2), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    store.close()
    older = path.read_bytes()
    store.open()
    keep(store, blob(2, 2))
    put(store, row(3))
    die(store)
    newer = path.read_bytes()
    path.write_bytes(older)
    with pytest.raises(StoreError, match="journal"):
        store.open()
    path.write_bytes(newer)
    store.open()
    assert (read(store, 1), read(store, 2)) == (DATA, DATA)
    store.close()


@pytest.mark.parametrize("left", [0, 64, 100])
@pytest.mark.parametrize("number", [1, 2])
def test_slices_that_were_cut_off_are_as_good_as_gone(path: Path, slots: bool, left: int, number: int) -> None:
    """And come again: as they were, or as another blob."""
    store = SqliteStore(path)
    store.open()
    put(store, row(1), row(2), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    store.close()
    if slots:
        slices_of(path).write_bytes(DATA[:left])
    store.open()
    assert read(store, 1) == (DATA[: left // 64 * 64] if slots else DATA)
    keep(store, blob(number, 1))
    assert read(store, 1) == DATA
    keep(store, blob(3, 2), data=OTHER)
    assert (read(store, 1), read(store, 2)) == (DATA, OTHER), "what was cut off let go of no slot of another"
    store.close()


@pytest.mark.parametrize("is_open", [False, True])
def test_a_damaged_row_that_names_the_slot_of_another_takes_nothing_else_along(path: Path, is_open: bool) -> None:
    """Else each of the two would let go of it, and the slices after them share it, for ever."""
    store = SqliteStore(path)
    store.open()
    put(store, *map(row, range(1, 6)), boards=[board(1), board(2)])
    keep(store, blob(1, 1), blob(2, 2))
    if not is_open:
        store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE slices SET slot = 3 WHERE id = 1 << 32 AND slot IS NOT NULL")
    if not is_open:
        store.open()
    store.apply([Batch(dropped=[1])])
    keep(store, blob(3, 3), data=OTHER)
    assert (read(store, 2), read(store, 3)) == (DATA, OTHER)
    store.apply([Batch(dropped=[2])])
    keep(store, blob(4, 4))
    keep(store, blob(5, 5), data=OTHER)
    assert [read(store, seq) for seq in (3, 4, 5)] == [OTHER, DATA, OTHER]
    store.close()


def test_a_reader_beside_finds_what_is_in_slots(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    put(store, row(1), boards=[board(1), board(2)])
    keep(store, blob(1, 1))
    with SqliteReader(path) as reader:
        assert b"".join(part.data for part in reader.read(Bytes(key(1), 0, 0, 9)).slices) == DATA
    store.close()
