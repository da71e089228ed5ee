"""The mark beside a store: it tells the log that belongs to it, and no other is taken up."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mesh.errors import StoreError
from mesh.storage.log import first_salt
from mesh.storage.mark import COMMITS, LogMark
from mesh.storage.reader import SqliteReader
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import board, put_down, row, seqs

PARTS = ("", "-wal", ".mark")


def killed(folder: Path, first: int) -> Path:
    """A store whose process died: five jobs in its database, five more in its log."""
    folder.mkdir()
    path = folder / "store"
    store = SqliteStore(path)
    for start in (first, first + 5):
        store.open()
        put_down(store, *(row(seq) for seq in range(start, start + 5)), boards=[board(1), board(2)])
        if start == first:
            store.close()
    left = folder / "left"
    left.mkdir()
    for part in PARTS:
        shutil.copy(f"{path}{part}", left)
    store.close()
    return left / "store"


def jobs(path: Path) -> list[int]:
    store = SqliteStore(path)
    try:
        store.open()
        return sorted(seqs(store.list_jobs(live=None, states=(), after=0, limit=100)))
    finally:
        store.close()


def turns_from(one: Path, other: Path) -> int:
    """How often the log of one store would have begun anew to have the salt of the other's."""
    first, second = first_salt(one), first_salt(other)
    assert first is not None
    assert second is not None
    return (second - first) % (1 << 32)


def test_a_store_takes_up_its_own_log(tmp_path: Path) -> None:
    path = killed(tmp_path / "one", 1)
    LogMark(path).check()
    assert jobs(path) == list(range(1, 11))
    assert jobs(path) == list(range(1, 11))


@pytest.mark.parametrize("other", ["killed", "closed"])
def test_the_log_of_another_store_is_refused_and_nothing_is_changed(tmp_path: Path, other: str) -> None:
    path, foreign = killed(tmp_path / "one", 1), killed(tmp_path / "two", 101)
    if turns_from(path, foreign) < 2 * COMMITS:
        # One of so many is taken for its own.
        foreign = killed(tmp_path / "three", 101)
    if other == "closed":
        store = SqliteStore(path)
        store.open()
        put_down(store, row(50))
        store.close()
    log = Path(f"{path}-wal")
    own, before = log.read_bytes() if log.exists() else b"", path.read_bytes()
    shutil.copy(f"{foreign}-wal", log)
    for _ in range(2):
        with pytest.raises(StoreError, match="the log of another store") as refused:
            jobs(path)
        assert "its own log" in refused.value.fix
        with pytest.raises(StoreError, match="the log of another store"):
            SqliteReader(path)
    assert path.read_bytes() == before
    log.write_bytes(own)
    assert jobs(path)[:10] == list(range(1, 11))


def test_a_log_that_begins_anew_is_still_its_own(tmp_path: Path) -> None:
    """Also when another process has it open, so that the one that writes does not count its turns from the first."""
    path = tmp_path / "store"
    store = SqliteStore(path)
    store.open()
    put_down(store, row(1))
    salts = set[int | None]()
    for seq in range(2, 8):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        put_down(store, row(seq))
        salts.add(first_salt(path))
        LogMark(path).check()
    assert len(salts) > 3, "it did begin anew"
    store.close()
    assert first_salt(path) is None


@pytest.mark.interpreted
def test_a_log_is_marked_again_before_its_mark_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked: list[int] = []
    monkeypatch.setattr("mesh.storage.sqlite.COMMITS", 3)
    monkeypatch.setattr(LogMark, "put", lambda _: marked.append(len(made)))
    store, made = SqliteStore(tmp_path / "store"), list[int]()
    store.open()
    for seq in range(1, 9):
        made.append(seq)
        put_down(store, row(seq))
    assert marked == [1, 4, 7]
    store.close()


@pytest.mark.parametrize("mark", [None, b"", b"xy", b"0123456789ab"])
def test_without_a_whole_mark_nothing_is_said(tmp_path: Path, mark: bytes | None) -> None:
    """As a power cut leaves it."""
    path = killed(tmp_path / "one", 1)
    file = Path(f"{path}.mark")
    file.unlink()
    if mark is not None:
        file.write_bytes(mark)
    assert jobs(path) == list(range(1, 11))


def test_while_the_first_commit_is_not_made_there_is_no_mark(tmp_path: Path) -> None:
    path = killed(tmp_path / "one", 1)
    store = SqliteStore(path)
    store.open()
    assert not Path(f"{path}.mark").exists()
    put_down(store, row(30))
    assert Path(f"{path}.mark").stat().st_mode & 0o077 == 0
    store.close()


def test_a_garbled_head_has_no_salt(tmp_path: Path) -> None:
    path = killed(tmp_path / "one", 1)
    log = Path(f"{path}-wal")
    whole = log.read_bytes()
    for content in (b"", whole[:31], b"\0" + whole[1:], whole[:17] + b"\xff\xff" + whole[19:]):
        log.write_bytes(content)
        assert first_salt(path) is None


def test_a_folder_that_takes_no_mark_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = killed(tmp_path / "one", 1)
    LogMark(path).forget()
    LogMark(path).forget()

    def full(*_: object) -> int:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "write", full)
    LogMark(path).put()
    monkeypatch.undo()
    assert jobs(path) == list(range(1, 11))


def test_a_mark_that_cannot_be_taken_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = killed(tmp_path / "one", 1)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match="cannot remove"):
        LogMark(path).forget()
