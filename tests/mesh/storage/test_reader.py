"""Reading beside the agent and without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.effects import ById, Numbered
from mesh.errors import StoreError
from mesh.storage.reader import SqliteReader
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import board, die, invitation, job_id, journal_of, peer, put, put_down, row, seqs


def test_a_reader_sees_each_commit_of_the_agent_beside_it(sqlite: SqliteStore, path: Path) -> None:
    put_down(sqlite, row(1, down_number=5))
    with SqliteReader(path) as reader:
        assert seqs(reader.read(Numbered(2, 1, 0, 9, 9)).rows) == [1]
        put_down(sqlite, row(2, down_number=6))
        assert seqs(reader.read(Numbered(2, 1, 0, 9, 9)).rows) == [1, 2]


def test_a_reader_answers_when_the_agent_is_down(sqlite: SqliteStore, path: Path) -> None:
    put(sqlite, row(1), row(2, live=0), peers=[peer(1)], invitations=[invitation(1)])
    sqlite.close()
    with SqliteReader(path) as reader:
        assert seqs(reader.list_jobs(live=None, states=(), after=0, limit=5)) == [2, 1]
        assert seqs(reader.find_short(job_id(1)[6:10], 5)) == [1]
        assert reader.read(ById((job_id(2),))).rows == [row(2, live=0)]
        assert reader.boards() == [board(1), board(2), board(3)]
        assert reader.peers() == [peer(1)]
        assert reader.invitations() == [invitation(1)]
    sqlite.open()


def test_a_reader_holds_no_writer_up(sqlite: SqliteStore, path: Path) -> None:
    with SqliteReader(path) as reader:
        reader.boards()
        sqlite.close()
        sqlite.open()
        put_down(sqlite, row(1))
        assert seqs(reader.list_jobs(live=True, states=(), after=0, limit=5)) == [1]


def test_a_reader_tells_that_jobs_are_not_in_the_tables(sqlite: SqliteStore, path: Path) -> None:
    with SqliteReader(path) as reader:
        assert not reader.is_behind()
        put(sqlite, boards=[board(1, last=7)])
        assert not reader.is_behind(), "no job is"
        put(sqlite, row(1))
        assert reader.is_behind()
        sqlite.settle()
        assert not reader.is_behind()
        put(sqlite, row(2))
        die(sqlite)
        assert reader.is_behind()
        journal_of(path).write_bytes(b"")
        assert not reader.is_behind(), "as a power cut may leave it"
        sqlite.open()
        put(sqlite, row(3))
        sqlite.close()
        assert not reader.is_behind()


def test_a_reader_finds_a_path_with_odd_characters(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=rwc#100%.db"
    store = SqliteStore(path)
    store.open()
    with SqliteReader(path) as reader:
        assert reader.boards() == []
    store.close()


def test_a_reader_cannot_write(sqlite: SqliteStore, path: Path) -> None:
    with SqliteReader(path) as reader, pytest.raises(Exception, match="readonly"):
        reader._connection.execute("DELETE FROM jobs")


def test_there_is_nothing_to_read(path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        SqliteReader(path)
