"""Room on the disk: on a small file system of its own where this user may mount one, and by SQLite's own page limit."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.blobs import SLICE_BYTES, Key, Slice
from mesh.effects import Batch, Bytes
from mesh.errors import StoreFull
from mesh.room import Room
from mesh.storage.columns import DESTINATION, ORIGIN
from mesh.storage.space import LEAST, RECOUNT, Ballast, Space
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import board, large_row, put, row

MIB = 1_048_576
SMALL = 8 * MIB
NOBODY = Key(b"", 1, b"")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leaving: int = 0) -> Path:
    """Take all but `leaving` bytes of the disk with a file."""
    filler = folder / "somebody else's"
    with filler.open("ab") as file:
        while True:
            disk = os.statvfs(folder)
            free = disk.f_bavail * disk.f_frsize - leaving
            if free <= 0:
                return filler
            file.write(b"\0" * min(free, MIB))
            file.flush()


def put_bytes(store: SqliteStore, *blobs: int) -> None:
    """One slice of the longest for each of these blobs."""
    store.apply([Batch(slices=[Slice(blob, 0, bytes(SLICE_BYTES)) for blob in blobs])])


def opened(path: Path, **settings: int) -> SqliteStore:
    store = SqliteStore(path, **settings)
    store.open()
    put(store, boards=[board(1), board(2)])
    return store


# --- limits that are no full disk ---


def test_a_limit_on_the_size_of_files_is_a_full_disk_and_not_a_bad_one(tmp_path: Path) -> None:
    """EFBIG, in truth: the log may not grow. A quota is reported in the same way."""
    store = opened(tmp_path / "store", ballast_bytes=LEAST)
    log = tmp_path / "store-wal"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 100_000, before[1]))
    try:
        with pytest.raises(StoreFull, match="no room to write"):
            put(store, *[large_row(n) for n in range(1, 1_000)])
        assert store.room() is Room.DISK_FULL
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.list_jobs(live=None, states=(), after=0, limit=10) == [], "nothing of it was kept"
    put(store, *[large_row(n) for n in range(1, 1_000)])
    assert len(store.list_jobs(live=None, states=(), after=0, limit=2_000)) == 999
    assert store.room() is Room.ENOUGH
    store.close()


# --- the ballast ---


def test_a_ballast_holds_blocks_and_gives_them_back(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "store.ballast")
    assert not ballast.release(), "there was none"
    assert ballast.grow(LEAST)
    held = (tmp_path / "store.ballast").stat()
    assert (ballast.size, held.st_size) == (LEAST, LEAST)
    assert held.st_blocks * 512 >= LEAST, "blocks, not a hole"
    assert held.st_mode & 0o077 == 0
    assert ballast.grow(2 * LEAST)
    assert ballast.release()
    assert not (tmp_path / "store.ballast").exists()


def test_a_ballast_for_which_there_is_no_room_holds_what_it_did(small_disk: Path) -> None:
    ballast = Ballast(small_disk / "store.ballast")
    assert ballast.grow(MIB)
    assert not ballast.grow(2 * SMALL)
    assert ballast.size == MIB
    disk = os.statvfs(small_disk)
    assert disk.f_bavail * disk.f_frsize >= SMALL - 2 * MIB, "what it tried to take is free again"


def test_the_ballast_grows_with_the_store_up_to_its_limit(tmp_path: Path) -> None:
    store = opened(tmp_path / "store.sqlite", ballast_bytes=2 * MIB)
    ballast = tmp_path / "store.sqlite.ballast"
    assert store.room() is Room.ENOUGH
    assert ballast.stat().st_size == LEAST
    sizes = []
    for start in range(1, 6_000, 1_000):
        put(store, *(large_row(seq) for seq in range(start, start + 1_000)))
        assert store.room() is Room.ENOUGH
        sizes.append(ballast.stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[-1] == 2 * MIB
    store.close()


# --- a full disk ---


def test_with_little_left_the_disk_counts_as_full_though_commits_succeed(small_disk: Path) -> None:
    store = opened(small_disk / "store.sqlite")
    assert store.room() is Room.ENOUGH
    filler = fill(small_disk, leaving=LEAST // 2)
    put(store, row(1))
    assert store.room() is Room.DISK_FULL
    assert Ballast(small_disk / "store.sqlite.ballast").size == LEAST, "no commit has needed it yet"
    filler.unlink()
    assert store.room() is Room.ENOUGH
    store.close()


def test_between_one_and_two_reserves_nothing_changes(small_disk: Path) -> None:
    store = opened(small_disk / "store.sqlite")
    assert store.room() is Room.ENOUGH
    filler = fill(small_disk, leaving=LEAST * 3 // 2)
    assert store.room() is Room.ENOUGH, "above one reserve it goes on"
    fill(small_disk, leaving=LEAST // 2)
    assert store.room() is Room.DISK_FULL
    filler.unlink()
    fill(small_disk, leaving=LEAST * 3 // 2)
    assert store.room() is Room.DISK_FULL, "and comes back above two, lest it flutter"
    filler.unlink()
    assert store.room() is Room.ENOUGH
    store.close()


def test_on_a_full_disk_commits_go_on_from_the_ballast(small_disk: Path) -> None:
    path = small_disk / "store.sqlite"
    store = opened(path)
    put(store, *(large_row(seq, role=DESTINATION) for seq in range(1, 101)))
    assert store.room() is Room.ENOUGH
    filler = fill(small_disk)
    for seq in range(1, 101):
        # Every job ends: its row is written again, and its Outcome with it.
        put(store, large_row(seq, role=DESTINATION, live=0, due_ms=10))
        assert store.room() is Room.DISK_FULL
    assert len(store.list_jobs(live=False, states=(), after=0, limit=200)) == 100
    assert not (small_disk / "store.sqlite.ballast").exists()
    store.close()
    store.open()
    assert len(store.list_jobs(live=False, states=(), after=0, limit=200)) == 100, "and they are on the disk"
    filler.unlink()
    assert store.room() is Room.ENOUGH
    assert Ballast(small_disk / "store.sqlite.ballast").size >= LEAST, "restored"
    store.close()


def test_on_a_full_disk_results_as_large_as_the_payloads_are_taken(small_disk: Path) -> None:
    """What ends jobs goes to slots, too: so the reserve is for them as well as for the database."""
    store = opened(small_disk / "store.sqlite")
    put(store, *(row(seq, role=DESTINATION) for seq in range(1, 29)))
    put_bytes(store, *range(1, 29))
    assert store.room() is Room.ENOUGH
    fill(small_disk)
    for seq in range(1, 29):
        put_bytes(store, 100 + seq)
        put(store, row(seq, role=DESTINATION, live=0))
        assert store.room() is Room.DISK_FULL
    store.close()
    store.open()
    assert len(store.list_jobs(live=False, states=(), after=0, limit=200)) == 28
    assert b"".join(part.data for part in store.read(Bytes(NOBODY, 128, 0, 1)).slices) == bytes(SLICE_BYTES)
    store.close()


def test_without_ballast_a_full_disk_keeps_nothing_of_a_commit(small_disk: Path) -> None:
    store = opened(small_disk / "store.sqlite")
    fill(small_disk)

    def put_many() -> None:
        for start in range(1, 10_000, 100):
            put(store, *(large_row(seq) for seq in range(start, start + 100)))

    with pytest.raises(StoreFull):
        put_many()
    kept = len(store.list_jobs(live=None, states=(), after=0, limit=10_000))
    assert kept % 100 == 0, "whole commits only"
    store.close()
    store.open()
    assert len(store.list_jobs(live=None, states=(), after=0, limit=10_000)) == kept
    store.close()


def test_by_sqlites_own_limit_a_commit_without_room_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path / "store.sqlite")
    assert store.room() is Room.ENOUGH
    connection = store._opened()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    release = Space.release

    def released(self: Space) -> bool:
        connection.execute("PRAGMA max_page_count = 1000000").fetchall()
        return release(self)

    monkeypatch.setattr(Space, "release", released)
    put(store, *(large_row(seq) for seq in range(1, 101)))
    assert len(store.list_jobs(live=None, states=(), after=0, limit=200)) == 100
    assert not (tmp_path / "store.sqlite.ballast").exists()
    assert store.room() is Room.ENOUGH, "this disk has plenty: the ballast is back at once"
    assert (tmp_path / "store.sqlite.ballast").exists()
    store.close()


def test_a_commit_that_found_no_room_for_its_slots_is_made_again_and_takes_the_same_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path / "store.sqlite")
    put_bytes(store, 1, 2)
    assert store.room() is Room.ENOUGH
    real, refused = os.pwrite, [OSError(errno.EDQUOT, "no room")]

    def written(descriptor: int, data: bytes, start: int) -> int:
        if start > SLICE_BYTES * 5 // 2 and refused:
            raise refused.pop()
        return real(descriptor, data[: SLICE_BYTES * 2 // 3], start)

    monkeypatch.setattr(os, "pwrite", written)
    put_bytes(store, 3, 4)
    assert not (tmp_path / "store.sqlite.ballast").exists()
    assert store._slots.size == 4 * SLICE_BYTES
    assert (tmp_path / "store.sqlite.slices").stat().st_size == 4 * SLICE_BYTES
    assert [len(store.read(Bytes(NOBODY, blob, 0, 1)).slices) for blob in (1, 2, 3, 4)] == [1, 1, 1, 1]
    store.close()


# --- a store at its size ---


def test_a_store_at_its_size_is_full_until_jobs_past_their_time_are_collected(tmp_path: Path) -> None:
    store = opened(tmp_path / "store.sqlite", max_bytes=MIB, keep_jobs=100_000)
    seqs = iter(range(1, 100_000))
    while store.room() is Room.ENOUGH:
        put(store, *(large_row(next(seqs), role=ORIGIN, live=0, due_ms=1_000) for _ in range(50)))
    assert store.room() is Room.STORE_FULL
    put(store, collect_ms=999)
    assert store.room() is Room.STORE_FULL, "none is past its time: each is still needed to know it again"
    before = len(store.list_jobs(live=None, states=(), after=0, limit=10_000))
    put(store, large_row(next(seqs), role=ORIGIN, live=0, due_ms=5_000), collect_ms=1_000)
    store.tidy()
    left = store.list_jobs(live=None, states=(), after=0, limit=10_000)
    assert before > 1_000
    assert [found.due_ms for found in left] == [5_000], "only what is past its time, though keep_jobs would keep all"
    assert store.room() is Room.ENOUGH
    store.close()


def test_pages_are_counted_again_when_much_was_folded_or_it_matters(tmp_path: Path) -> None:
    space = Space(tmp_path / "store", ballast_bytes=0, max_bytes=100 * MIB)
    connection = sqlite3.connect(tmp_path / "store", isolation_level=None)
    connection.execute("CREATE TABLE bytes (some BLOB)")
    said: list[str] = []
    connection.set_trace_callback(said.append)

    def asked() -> bool:
        said.clear()
        space.look(connection, 0, 0)
        return bool(said)

    assert [asked(), asked()] == [True, False]
    space.changed(RECOUNT - 1)
    assert not asked()
    space.changed(1)
    assert asked()
    space.changed()
    assert asked()
    connection.execute("INSERT INTO bytes VALUES (zeroblob(?))", (72 * MIB,))
    space.changed(1)
    assert not asked()
    space.changed()
    assert [asked(), space.tight] == [True, False]
    space.changed(4 * MIB - 1)
    assert [asked(), space.tight] == [True, False], "they went where there was room"
    connection.close()


def test_with_room_enough_keep_jobs_are_kept(tmp_path: Path) -> None:
    store = opened(tmp_path / "store.sqlite", max_bytes=64 * MIB, keep_jobs=7)
    put(store, *(large_row(seq, role=ORIGIN, live=0, due_ms=seq) for seq in range(1, 101)))
    assert store.room() is Room.ENOUGH
    put(store, collect_ms=1_000)
    left = store.list_jobs(live=None, states=(), after=0, limit=1_000)
    assert sorted(found.due_ms or 0 for found in left) == list(range(94, 101)), "the newest"
    store.close()


def test_live_jobs_and_tombstones_are_never_collected_for_room(tmp_path: Path) -> None:
    store = opened(tmp_path / "store.sqlite", max_bytes=MIB)
    seqs = iter(range(1, 100_000))
    while store.room() is Room.ENOUGH:
        put(store, *(large_row(next(seqs), role=ORIGIN, due_ms=1) for _ in range(50)))
    count = len(store.list_jobs(live=True, states=(), after=0, limit=10_000))
    put(store, collect_ms=10_000)
    put(store, collect_ms=10_000)
    assert len(store.list_jobs(live=True, states=(), after=0, limit=10_000)) == count
    assert store.room() is Room.STORE_FULL
    store.close()
