"""Trimming and collecting a slice at a time."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.effects import Batch, Shared
from mesh.row import Row
from mesh.storage.columns import DESTINATION, ORIGIN
from mesh.storage.sqlite import SqliteStore
from mesh.storage.sweep import SLICE, Sweep
from tests.mesh.storage.rows import put, put_down, row

JOBS = SLICE + 500


def commit(store: SqliteStore, *rows: Row, **parts: Any) -> None:
    """Apply one batch and do what comes after it, as the writer does."""
    put(store, *rows, **parts)
    store.tidy()


def left(store: SqliteStore) -> int:
    return len(store.list_jobs(live=None, states=(), after=0, limit=100_000))


def whole(store: SqliteStore) -> int:
    return len(store.read(Shared(1, 1, 0, 100_000)).rows)


def test_one_commit_collects_a_slice_and_the_next_the_rest(sqlite: SqliteStore) -> None:
    put(sqlite, *(row(seq, live=0, due_ms=1, role=seq % 3) for seq in range(1, JOBS + 1)))
    sqlite._sweep = Sweep(keep_jobs=0)
    put(sqlite, collect_ms=1)
    assert left(sqlite) == JOBS - SLICE
    commit(sqlite)
    assert left(sqlite) == 0
    assert sqlite._sweep == Sweep(keep_jobs=0)


def test_one_commit_trims_a_slice_and_the_next_the_rest(sqlite: SqliteStore) -> None:
    put_down(sqlite, *(row(seq, live=0, up_number=seq * 3) for seq in range(1, JOBS + 1)))
    put(sqlite, trims=[(1, 0, 30), (1, 30, JOBS * 3)])
    assert whole(sqlite) == JOBS - SLICE
    commit(sqlite)
    assert whole(sqlite) == 0
    assert sqlite._sweep.trims == ()


def test_ranges_that_follow_one_another_take_one_statement(sqlite: SqliteStore) -> None:
    put_down(sqlite, *(row(seq, live=0, up_number=seq) for seq in range(1, 9)))
    said: list[str] = []
    sqlite._opened().set_trace_callback(said.append)
    for trim in ((1, 0, 2), (1, 2, 4), (1, 4, 5), (1, 6, 7), (2, 7, 9)):
        put(sqlite, trims=[trim])
    sqlite.settle()
    sqlite._opened().set_trace_callback(None)
    assert sum("UPDATE jobs" in one for one in said) == 3
    assert [found.seq for found in sqlite.read(Shared(1, 1, 0, 9)).rows] == [6, 8]


def test_a_slice_that_ends_within_a_range_leaves_the_rest_of_it_and_those_behind(sqlite: SqliteStore) -> None:
    put_down(sqlite, *(row(seq, live=0, up_number=seq) for seq in range(1, JOBS + 1)))
    put(sqlite, trims=[(1, 0, SLICE - 10)])
    put(sqlite, trims=[(1, SLICE - 10, SLICE + 5), (1, SLICE + 5, JOBS)])
    sqlite.settle()
    place = sqlite._sweep.trims[-1][3]
    assert sqlite._sweep.trims == ((1, SLICE, SLICE + 5, place), (1, SLICE + 5, JOBS, place))
    commit(sqlite)
    assert whole(sqlite) == 0


@pytest.mark.parametrize("jobs", [SLICE - 1, SLICE, SLICE + 1])
def test_slices_end_where_they_should(sqlite: SqliteStore, jobs: int) -> None:
    put_down(sqlite, *(row(seq, live=0, up_number=seq, due_ms=1, role=DESTINATION) for seq in range(1, jobs + 1)))
    put(sqlite, trims=[(1, 0, jobs)])
    assert whole(sqlite) == max(0, jobs - SLICE)
    commit(sqlite, collect_ms=1)
    assert left(sqlite) == 0


def test_our_own_jobs_are_counted_once_for_all_slices(sqlite: SqliteStore) -> None:
    put(sqlite, *(row(seq, live=0, due_ms=seq, role=ORIGIN) for seq in range(1, JOBS + 1)))
    sqlite._sweep = Sweep(keep_jobs=100)
    put(sqlite, collect_ms=JOBS)
    commit(sqlite)
    commit(sqlite)
    assert left(sqlite) == 100


def test_what_is_left_to_do_is_forgotten_at_the_end(sqlite: SqliteStore) -> None:
    put(sqlite, *(row(seq, live=0, due_ms=1) for seq in range(1, JOBS + 1)))
    sqlite.apply([Batch(collect_ms=1)])
    sqlite.close()
    sqlite.open()
    commit(sqlite)
    assert left(sqlite) == JOBS - SLICE
