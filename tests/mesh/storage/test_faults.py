"""Every fault of SQLite has one cause and one fix, and only a full disk leaves the store working."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from mesh.errors import StoreError, StoreFull
from mesh.storage.faults import explained, faults_explained

PATH = Path("/home/agent/store.db")


def fault(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_NAME"
    return error


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE])
def test_a_full_disk_is_told_apart(code: int) -> None:
    assert isinstance(explained(fault(code), PATH), StoreFull)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_quota_and_a_limit_on_files_are_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """SQLite reports them as any failed write."""

    def refused(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(number, os.strerror(number))

    write = fault(sqlite3.SQLITE_IOERR_WRITE)
    assert not isinstance(explained(write, tmp_path / "store"), StoreFull), "there is room, so it was something else"
    monkeypatch.setattr(os, "pwrite", refused)
    assert isinstance(explained(write, tmp_path / "store"), StoreFull)
    assert not list(tmp_path.iterdir())


def test_a_bad_disk_is_no_full_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.EIO, "bad disk")

    monkeypatch.setattr(os, "pwrite", failing)
    error = explained(fault(sqlite3.SQLITE_IOERR_WRITE), tmp_path / "store")
    assert not isinstance(error, StoreFull)
    assert "has to stop" in error.message


@pytest.mark.parametrize(
    ("code", "message", "fix"),
    [
        (sqlite3.SQLITE_CORRUPT, "damaged", "restore a copy"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged", "restore a copy"),
        (sqlite3.SQLITE_NOTADB, "damaged", "restore a copy"),
        (sqlite3.SQLITE_IOERR, "has to stop", "dmesg"),
        (sqlite3.SQLITE_IOERR_FSYNC, "has to stop", "dmesg"),
        (sqlite3.SQLITE_CANTOPEN, "cannot be opened", "ls -ld"),
        (sqlite3.SQLITE_READONLY, "cannot be opened or written", "ls -ld"),
        (sqlite3.SQLITE_BUSY, "another program", "fuser"),
        (sqlite3.SQLITE_CONSTRAINT, "SQLITE_NAME", "start the agent again"),
    ],
)
def test_a_fault_names_its_cause_and_its_fix(code: int, message: str, fix: str) -> None:
    error = explained(fault(code), PATH)
    assert not isinstance(error, StoreFull)
    assert str(PATH) in error.message
    assert message in error.message
    assert fix in error.fix


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR])
def test_a_file_beside_the_store_that_is_not_its_own_is_no_bad_disk(number: int) -> None:
    error = explained(OSError(number, os.strerror(number), f"{PATH}.slices"), PATH)
    assert error.message.startswith(f"{PATH}.slices cannot be opened or written")
    assert "ls -ld" in error.fix


def test_an_error_without_a_code_is_explained_too() -> None:
    assert "ProgrammingError" in explained(sqlite3.ProgrammingError("closed"), PATH).message


def test_only_what_sqlite_raises_is_turned() -> None:
    with pytest.raises(StoreError), faults_explained(PATH):
        raise fault(sqlite3.SQLITE_BUSY)
    with pytest.raises(KeyError), faults_explained(PATH):
        raise KeyError("a bug")
