"""What the twin in memory has beyond the contract: it can be copied."""

from __future__ import annotations

from mesh.effects import ById
from mesh.storage.memory import MemoryStore
from tests.mesh.storage.rows import board, job_id, put, row, seqs


def test_a_copy_shares_nothing_that_changes() -> None:
    store = MemoryStore(keep_jobs=3)
    put(store, row(1), boards=[board(1), board(2)], incarnations=((b"one", 1),))
    copy = store.copy()
    put(store, row(1, live=0), row(2), boards=[board(1, home=5)])
    assert copy.rows == {1: row(1)}
    assert copy.open().boards == (board(1), board(2))
    assert copy.open().incarnations == ((b"one", 1),)
    put(copy, row(3))
    assert seqs(store.read(ById((job_id(1), job_id(2), job_id(3)))).rows) == [1, 2]


def test_closing_keeps_the_content() -> None:
    store = MemoryStore()
    put(store, row(1))
    store.close()
    assert list(store.open().ids) == [job_id(1)]
