"""What is in the journal and not in the tables: what is kept of it, and what a fold writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.blobs import BlobRow
from mesh.effects import (
    AtNumber,
    ById,
    ByKey,
    Due,
    Numbered,
    Query,
    Revoked,
    Shared,
    Unfinished,
    Usage,
    Waiting,
)
from mesh.errors import StoreError
from mesh.quotas import Quota
from mesh.row import Row
from mesh.storage import journal, pending
from mesh.storage.columns import DESTINATION, HOP
from mesh.storage.database import connect_writer
from mesh.storage.pending import Pending, packed, put_boards, put_rows, unpacked
from mesh.storage.queries import Queries
from mesh.storage.slots import Slots
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import (
    PINS,
    TOMBSTONE,
    board,
    die,
    in_tables,
    job_id,
    journal_of,
    listed,
    put,
    put_down,
    row,
    seqs,
)


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect_writer(path)
    yield connection
    connection.close()


def rows_in(connection: sqlite3.Connection) -> list[Row]:
    return Queries(connection, Slots(Path())).list_jobs(live=None, states=(), after=0, limit=100)[::-1]


def kept(*commits: list[Row], folded: int = 0) -> Pending:
    made = Pending(folded)
    for rows in commits:
        made.keep(rows, [], 100)
    return made


def test_what_is_packed_comes_back() -> None:
    rows = [row(1, key="key", waiting=1, due_ms=7), row(2, live=0, facts=None, up_board=None, up_branch=None)]
    boards = [board(1, last=5), board(2)]
    assert unpacked(packed(rows, boards)) == (rows, boards)
    assert unpacked(packed([], [])) == ([], [])


def test_a_job_is_found_as_it_was_written_last() -> None:
    made = kept([row(1), row(2)], [row(1, down_number=9)], folded=5)
    assert (made.find(job_id(1)), made.find(job_id(2)), made.find(job_id(3))) == (row(1, down_number=9), row(2), None)
    assert (len(made), made.last) == (2, 7)
    made.forget(6)
    assert (made.find(job_id(1)), made.find(job_id(2))) == (row(1, down_number=9), None)
    assert made.seqs(6) == [1]
    made.forget(8)
    assert (made.find(job_id(1)), len(made), made.last, made.size) == (None, 0, 8, 0)


def test_a_fold_writes_each_job_once_as_it_is(connection: sqlite3.Connection) -> None:
    made = kept([row(2), row(1)], [row(1, down_number=9)])
    made.keep([], [board(1, last=4)], 10)
    made.keep([], [board(1, last=5)], 10)
    made.fold(connection, made.last)
    assert rows_in(connection) == [row(1, down_number=9), row(2)]
    assert Queries(connection, Slots(Path())).boards() == [board(1, last=5)]


def test_a_part_leaves_out_what_was_written_again(connection: sqlite3.Connection) -> None:
    made = kept([row(1), row(2)], [row(3)], [row(1, down_number=9), row(4)])
    made.fold(connection, 2)
    made.forget(2)
    assert rows_in(connection) == [row(2), row(3)]
    made.fold(connection, 3)
    assert rows_in(connection) == [row(1, down_number=9), row(2), row(3), row(4)]


def test_a_later_fold_replaces(connection: sqlite3.Connection) -> None:
    put_boards(connection, [board(1, last=1)])
    put_rows(connection, [row(1), row(2)])
    put_boards(connection, [board(1, last=3)])
    put_rows(connection, [row(2, live=0), row(3)])
    assert rows_in(connection) == [row(1), row(2, live=0), row(3)]
    assert Queries(connection, Slots(Path())).boards() == [board(1, last=3)]


@pytest.mark.parametrize("jobs", [1, 15, 16, 17, 127, 128, 145, 300])
def test_any_number_of_rows_is_written(connection: sqlite3.Connection, jobs: int) -> None:
    put_rows(connection, [row(seq) for seq in range(jobs, 0, -1)])
    assert connection.execute("SELECT COUNT(*), min(seq), max(seq) FROM jobs").fetchone() == (jobs, 1, jobs)


def test_what_may_go_is_not_written(connection: sqlite3.Connection) -> None:
    done = {"live": 0, "role": HOP}
    made = kept(
        [
            row(1, up_number=5, **done),
            row(2, up_number=6, **done),
            row(3, up_number=5),
            row(4, up_number=5, state=TOMBSTONE, **done),
        ],
        [row(5, up_number=5, **done)],
    )
    made.fold(connection, 2, [(2, 0, 9, 2), (1, 0, 5, 1)])
    assert [found.facts is None for found in rows_in(connection)] == [True, False, False, False, False]


def test_what_is_owed_may_not_go(connection: sqlite3.Connection) -> None:
    blob = BlobRow(1, job_id(1), 5, b"h" * 20, 1, 0, 1, 1, 1, 0, 2, 0)
    connection.execute(f"INSERT INTO blobs VALUES ({', '.join('?' * 13)})", (*blob, b"check"))
    made = kept([row(seq, live=0, up_number=5) for seq in (1, 2)])
    made.fold(connection, 1, [(1, 0, 5, 1)])
    assert [found.facts is None for found in rows_in(connection)] == [False, True]


@pytest.mark.interpreted
def test_the_oldest_are_a_few_but_more_than_come_in_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "FOLD", 3)
    commits = [[row(1)], [row(2), row(3)], [row(4), row(5)], [row(6)], [row(7)]]
    assert kept(*commits).oldest() == 2
    assert kept(*commits, [row(8), row(9), row(10)]).oldest() == 4
    assert kept([], [], []).oldest() == 3
    assert Pending(10).oldest() == 10


def test_a_row_that_is_written_again_goes_behind_those_before_it(connection: sqlite3.Connection) -> None:
    made = kept([row(1), row(2)], [row(3)], [row(1, down_number=5)], [row(4)])
    made.fold(connection, 2)
    made.forget(2)
    assert [found.seq for found in rows_in(connection)] == [2, 3]
    assert made.seqs(0) == [1, 4]
    made.fold(connection, 3)
    made.forget(3)
    assert rows_in(connection) == [row(1, down_number=5), row(2), row(3)]
    assert made.seqs(0) == [4]


def test_a_board_is_folded_with_the_commit_that_wrote_it_last(connection: sqlite3.Connection) -> None:
    made = Pending()
    for boards in ([board(1, last=1), board(2, last=1)], [board(1, last=2)], [board(1, last=3)]):
        made.keep([], boards, 100)
    made.fold(connection, 2)
    made.forget(2)
    assert Queries(connection, Slots(Path())).boards() == [board(2, last=1)]
    made.fold(connection, 3)
    assert Queries(connection, Slots(Path())).boards() == [board(1, last=3), board(2, last=1)]


def test_few_rows_but_one_commit() -> None:
    made = kept([row(seq) for seq in range(1, 9)], [row(9)], [row(10), row(11)], [row(12)])
    assert [made.few(most) for most in (1, 8, 9, 10, 11, 12, 99)] == [1, 1, 2, 2, 3, 4, 4]
    assert Pending(10).few(5) == 10


@pytest.mark.interpreted
def test_it_is_long_by_rows_by_commits_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "ROWS", 3)
    monkeypatch.setattr(pending, "BYTES", 1_000)
    assert not kept([row(1), row(1)]).is_long
    assert kept([row(1), row(1), row(2)]).is_long
    assert kept([], [], []).is_long
    large = Pending()
    large.keep([row(1)], [], 1_000)
    assert large.is_long
    large.forget(1)
    assert not large.is_long


# --- in a store ---


def test_a_commit_of_jobs_and_boards_leaves_the_tables_alone(sqlite: SqliteStore, path: Path) -> None:
    before = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    put(sqlite, row(1), boards=[board(1, last=7)])
    put(sqlite, row(2), trims=[(1, 0, 5)])
    assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == before
    assert in_tables(path) == []
    assert listed(sqlite) == [row(1), row(2)], "whoever lists them has them folded"
    assert in_tables(path) == [2, 1]


def test_a_job_is_looked_up_without_a_fold(sqlite: SqliteStore, path: Path) -> None:
    put_down(sqlite, row(1), row(2))
    put(sqlite, row(1, down_number=5), row(3))
    ids = tuple(map(job_id, (3, 4, 2, 1)))
    assert sqlite.read(ById(ids)).rows == [row(3), row(2), row(1, down_number=5)]
    assert sqlite.read(Usage(Quota(1, 5, 0))).size == 0
    assert in_tables(path) == [2, 1]


def test_what_is_not_there_is_looked_up_without_a_fold_whatever_may_go(sqlite: SqliteStore, path: Path) -> None:
    put(sqlite, row(1, live=0, up_number=3), trims=[(1, 0, 5)])
    assert sqlite.read(ById((job_id(2),))).rows == []
    assert in_tables(path) == []
    assert [found.facts for found in sqlite.read(ById((job_id(2), job_id(1)))).rows] == [None]
    assert in_tables(path) == [1]


@pytest.mark.parametrize(
    "query",
    [
        ByKey("key"),
        Numbered(2, 1, 0, 9, 9),
        AtNumber(2, 0, ((5, "busy", ""),)),
        Waiting(2, 1, "0:far", 9),
        Shared(2, 1, 0, 9),
        Revoked(2, 0, 9),
        Unfinished(1, 0, 9),
        Due(9, 9, 1, ()),
    ],
)
def test_every_other_query_finds_what_is_in_the_journal(sqlite: SqliteStore, query: Query) -> None:
    job = row(1, key="key", down_number=5, waiting=1, due_ms=7, role=DESTINATION)
    put(sqlite, job)
    assert sqlite.read(query).rows == [job]


def test_the_oldest_of_a_long_journal_are_folded(
    sqlite: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "ROWS", 6)
    monkeypatch.setattr(pending, "FOLD", 3)
    for seq in range(1, 6):
        put(sqlite, row(seq))
        sqlite.tidy()
    assert in_tables(path) == []
    put(sqlite, row(2, down_number=5))
    sqlite.tidy()
    assert in_tables(path) == [3, 1], "the second was written again since"
    assert listed(sqlite) == [row(1), row(2, down_number=5), row(3), row(4), row(5)]


def test_what_a_dead_process_left_is_folded_at_the_opening(sqlite: SqliteStore, path: Path) -> None:
    put(sqlite, row(1), row(2), boards=[board(1, last=7)])
    put(sqlite, row(1, down_number=5))
    die(sqlite)
    assert in_tables(path) == []
    snapshot = sqlite.open()
    assert (snapshot.last_seq, snapshot.last_number, sorted(snapshot.ids)) == (2, 5, [job_id(1), job_id(2)])
    assert board(1, last=7) in snapshot.boards
    assert in_tables(path) == [2, 1]
    assert listed(sqlite) == [row(1, down_number=5), row(2)]


def test_a_store_that_was_closed_has_no_journal(sqlite: SqliteStore, path: Path) -> None:
    put(sqlite, row(1))
    assert journal_of(path).exists()
    sqlite.close()
    assert not journal_of(path).exists()
    assert in_tables(path) == [1]


def test_a_store_that_could_not_be_opened_keeps_its_journal(sqlite: SqliteStore, path: Path) -> None:
    put(sqlite, row(1))
    die(sqlite)
    left = journal_of(path).read_bytes()
    whole = path.read_bytes()
    path.write_bytes(b"\xff" * 8_192)
    with pytest.raises(StoreError):
        sqlite.open()
    assert journal_of(path).read_bytes() == left
    path.write_bytes(whole)
    sqlite.open()
    assert listed(sqlite) == [row(1)]


def test_what_else_a_batch_changes_is_one_commit_with_what_was_before_it(sqlite: SqliteStore, path: Path) -> None:
    put(sqlite, row(1), row(2))
    put(sqlite, row(1, down_number=5), pins=PINS)
    assert in_tables(path) == [2, 1]
    put(sqlite, row(2, down_number=6))
    die(sqlite)
    assert sqlite.open().pins == tuple(PINS)
    assert listed(sqlite) == [row(1, down_number=5), row(2, down_number=6)]


def test_a_damaged_row_is_taken_out_of_the_counts_behind_the_journal(sqlite: SqliteStore) -> None:
    put(sqlite, row(1, waiting=1), row(2, waiting=1))
    put(sqlite, row(2, waiting=1, down_number=0), quarantined=[1])
    assert seqs(sqlite.read(Waiting(2, 1, "0:far", 9)).rows) == [2]


def test_an_older_copy_of_the_tables_does_not_take_a_later_journal(sqlite: SqliteStore, path: Path) -> None:
    put_down(sqlite, row(1))
    sqlite.close()
    older = path.read_bytes()
    sqlite.open()
    put_down(sqlite, row(2))
    put(sqlite, row(3))
    die(sqlite)
    path.write_bytes(older)
    with pytest.raises(StoreError, match="commits are missing in its journal") as raised:
        sqlite.open()
    assert "restore a copy" in raised.value.fix


def test_an_old_copy_of_how_far_it_was_folded_refuses_the_store(sqlite: SqliteStore, path: Path) -> None:
    """The journal of that time may still be there, and would bring old rows back."""
    put_down(sqlite, row(1))
    with closing(sqlite3.connect(path)) as other:
        told = other.execute("SELECT folded, known FROM journal").fetchone()
    put(sqlite, row(1, down_number=3))
    put_down(sqlite)
    put(sqlite, row(1, down_number=4), pins=PINS)
    die(sqlite)
    for table, columns in (("journal", "folded = ?, known = ?"), ("seal", "folded = ?")):
        whole = path.read_bytes()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(f"UPDATE {table} SET {columns}", told[: columns.count("?")])
        with pytest.raises(StoreError, match="older copy"):
            sqlite.open()
        path.write_bytes(whole)


def test_the_journal_of_another_store_is_refused(sqlite: SqliteStore, path: Path, tmp_path: Path) -> None:
    other = SqliteStore(tmp_path / "other")
    other.open()
    put(other, boards=[board(1), board(2)])
    put(other, row(7))
    die(other)
    die(sqlite)
    journal_of(path).write_bytes(journal_of(tmp_path / "other").read_bytes())
    with pytest.raises(StoreError, match="the journal of another store"):
        sqlite.open()


@pytest.mark.interpreted
@given(seed=st.integers(0, 1_000_000))
def test_what_was_committed_is_there_whatever_happens(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Commits of every kind, folds, closes and deaths at random, against a dictionary."""
    draw, path = Random(seed), tmp_path_factory.mktemp("store") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending, "ROWS", draw.randint(1, 12))
        patch.setattr(journal, "LENGTH", 4_096)
        patch.setattr(journal, "_CHUNK", 2_048)
        store, rows, boards = SqliteStore(path), dict[int, Row](), [board(1), board(2)]
        store.open()
        put(store, boards=boards)
        for number in range(draw.randrange(40)):
            match draw.randrange(8):
                case 0:
                    die(store)
                    store = SqliteStore(path)
                    store.open()
                case 1:
                    store.close()
                    store.open()
                case 2:
                    store.settle()
                case _:
                    changed = [row(draw.randint(1, 9), up_number=number) for _ in range(draw.randrange(4))]
                    parts: dict[str, Any] = {"pins": PINS} if draw.random() < 0.2 else {}
                    if draw.random() < 0.5:
                        boards[0] = board(1, last=1_000 + number)
                        parts["boards"] = boards[:1]
                    put(store, *changed, **parts)
                    rows |= {job.seq: job for job in changed}
                    store.tidy()
            wanted = draw.randint(1, 9)
            assert store.read(ById((job_id(wanted),))).rows == [rows[one] for one in (wanted,) if one in rows]
        die(store)
        assert sorted(store.open().boards) == boards
        assert listed(store) == [rows[seq] for seq in sorted(rows)]
        store.close()
