"""What the opening tells, and how it gives many ids."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from threading import Thread

import pytest

from mesh.effects import Batch
from mesh.errors import StoreError
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import board, job_id, large_row, put, row


def test_ids_are_streamed_to_another_thread_while_the_store_is_written(sqlite: SqliteStore) -> None:
    put(sqlite, *(row(seq) for seq in range(1, 6_001)))
    sqlite.close()
    ids = sqlite.open().ids
    got: list[bytes] = []
    reading = Thread(target=lambda: got.extend(ids))
    reading.start()
    put(sqlite, row(6_001))
    reading.join()
    assert set(got) - {job_id(6_001)} == {job_id(seq) for seq in range(1, 6_001)}


def test_ids_need_not_be_read_to_the_end(sqlite: SqliteStore) -> None:
    put(sqlite, *(row(seq) for seq in range(1, 10)))
    sqlite.close()
    ids = iter(sqlite.open().ids)
    assert len(list(islice(ids, 2))) == 2
    ids.close()  # type: ignore[attr-defined]


def test_a_board_that_is_older_than_its_jobs_refuses_the_store(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    store.apply([Batch(boards=[board(1, last=7), board(2, last=6)], rows=[row(1, up_number=7, down_number=6)])])
    store.close()
    store.open()
    store.apply([Batch(boards=[board(2, last=5)])])
    store.close()
    with pytest.raises(StoreError, match=r'the board with "peer-2" is older than its jobs'):
        store.open()


def test_opening_a_large_store_is_quick(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    for start in range(1, 20_001, 2_000):
        put(store, *(large_row(seq, live=seq % 2, up_number=seq) for seq in range(start, start + 2_000)))
    store.close()
    start_s = time.perf_counter()
    snapshot = store.open()
    assert len(list(snapshot.ids)) == 20_000
    # Five times as many take 0.16 s; the rest is for a machine that does other things too.
    assert time.perf_counter() - start_s < 0.5
    store.close()
