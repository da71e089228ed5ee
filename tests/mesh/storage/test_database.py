"""Which files are opened as a store, and which are refused, with what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mesh.errors import StoreError
from mesh.storage.database import APPLICATION, SCHEMA, connect_reader, connect_writer
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import large_row, put


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def changed(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.fixture
def filled(path: Path) -> Path:
    """A store of some pages, closed."""
    store = SqliteStore(path)
    store.open()
    put(store, *(large_row(seq) for seq in range(1, 300)))
    store.close()
    return path


def test_a_new_store_is_for_its_owner_alone(path: Path) -> None:
    connection = connect_writer(path)
    connection.execute("INSERT INTO cards VALUES (x'01', x'02', x'03')")
    modes = {one.name: mode(one) for one in path.parent.iterdir()}
    connection.close()
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


@pytest.mark.parametrize("connect", [connect_writer, connect_reader])
def test_a_store_that_others_can_read_is_refused(path: Path, connect) -> None:
    connect_writer(path).close()
    path.chmod(0o640)
    with pytest.raises(StoreError, match="0640") as raised:
        connect(path)
    assert raised.value.fix == f"chmod 600 {path}"


@pytest.mark.parametrize("connect", [connect_writer, connect_reader])
def test_a_folder_is_no_store(path: Path, connect) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="not a regular file"):
        connect(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file") as raised:
        connect_writer(tmp_path / "missing" / "store.db")
    assert str(tmp_path / "missing") in raised.value.fix


def test_a_reader_makes_no_store(path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        connect_reader(path)
    assert not path.exists()


@pytest.mark.parametrize("connect", [connect_writer, connect_reader])
def test_a_database_of_another_program_is_refused_and_left_alone(path: Path, connect) -> None:
    changed(path, "CREATE TABLE theirs (x)")
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        connect(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("connect", [connect_writer, connect_reader])
def test_a_newer_schema_is_refused(path: Path, connect) -> None:
    connect_writer(path).close()
    changed(path, f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(StoreError, match=f"schema {SCHEMA + 1}") as raised:
        connect(path)
    assert "newer" in raised.value.fix


def test_our_files_say_what_they_are(path: Path) -> None:
    connection = connect_writer(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    connection.close()


def test_a_store_whose_making_was_interrupted_is_made(path: Path) -> None:
    path.touch(0o600)
    sqlite3.connect(path).execute("PRAGMA journal_mode = WAL").connection.close()
    connect_writer(path).close()
    connect_reader(path).close()


@pytest.mark.parametrize("connect", [connect_writer, connect_reader])
def test_a_file_that_is_no_database_is_refused(path: Path, connect) -> None:
    path.write_bytes(b"some text of a person, longer than a header of SQLite\n" * 100)
    path.chmod(0o600)
    with pytest.raises(StoreError, match="damaged or is no store") as raised:
        connect(path)
    assert "restore a copy" in raised.value.fix


def test_a_damaged_store_says_so(filled: Path) -> None:
    content = bytearray(filled.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    filled.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        SqliteStore(filled).open()


@pytest.mark.parametrize("length", [50, 99, 512, 4_000, 4_096, 8_192, 40_000])
def test_a_truncated_store_says_so(filled: Path, length: int) -> None:
    with filled.open("r+b") as file:
        file.truncate(length)
    store = SqliteStore(filled)
    with pytest.raises(StoreError, match="damaged"):
        store.open()


def test_an_emptied_store_with_a_log_is_refused(path: Path) -> None:
    connection = connect_writer(path)
    log = Path(f"{path}-wal").read_bytes()
    connection.close()
    path.write_bytes(b"")
    Path(f"{path}-wal").write_bytes(log)
    with pytest.raises(StoreError, match="cut off"):
        connect_writer(path)
    assert Path(f"{path}-wal").read_bytes() == log


def test_bytes_and_none_are_bound_as_they_are(path: Path) -> None:
    connection = connect_writer(path)
    data = b"\x00data"
    ((found, none),) = connection.execute("SELECT ?, ?", (data, None))
    assert (found, none) == (data, None)
    connection.close()
