"""Hashes of the small tables, their seal, and the walk through a store at its opening."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from mesh.errors import StoreError
from mesh.storage import checks
from mesh.storage.checks import check_of
from mesh.storage.reader import SqliteReader
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import board, invitation, large_row, peer, put

FINGERPRINT = b"f" * 20
TABLES = ("boards", "incarnations", "cards", "pins", "portals", "peers", "invitations")

Change = Callable[[str], None]


@pytest.fixture
def change(sqlite: SqliteStore, path: Path) -> Change:
    """A store with something in every table, closed; runs a statement on its file behind its back."""
    put(
        sqlite,
        *(large_row(seq, up_number=seq) for seq in range(1, 200)),
        incarnations=((b"i" * 8, 1), (b"j" * 8, 7)),
        cards=[(FINGERPRINT, b"card")],
        pins=[("lab", "a.b", FINGERPRINT)],
        portals=[("lab", "door", FINGERPRINT)],
        peers=[peer(1), peer(2, state="revoked")],
        invitations=[invitation(1)],
    )
    sqlite.close()

    def changed(statement: str) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(statement)
        connection.close()

    return changed


def refusal(path: Path) -> str:
    store = SqliteStore(path)
    with pytest.raises(StoreError) as raised:
        _ = (store.open(), store.peers(), store.invitations())
    store.close()
    assert "restore a copy" in raised.value.fix
    return raised.value.message


def test_a_hash_belongs_to_one_table() -> None:
    assert check_of("pins", "lab", "a", b"f") != check_of("portals", "lab", "a", b"f")
    assert check_of("pins", "lab", "a", b"f") != check_of("pins", "lab", "b", b"f")
    assert len(check_of("boards", 1, None)) == 16


def test_what_was_written_is_read(change: Change, path: Path) -> None:
    store = SqliteStore(path)
    snapshot = store.open()
    assert snapshot.incarnations == ((b"i" * 8, 1), (b"j" * 8, 7))
    assert (snapshot.cards, snapshot.pins) == (((FINGERPRINT, b"card"),), (("lab", "a.b", FINGERPRINT),))
    assert snapshot.portals == (("lab", "door", FINGERPRINT),)
    assert (store.peers(), store.invitations()) == ([peer(1), peer(2, state="revoked")], [invitation(1)])
    store.close()


@pytest.mark.parametrize("table", TABLES)
def test_a_changed_row_refuses_the_store(change: Change, path: Path, table: str) -> None:
    column = {"boards": "record", "incarnations": "incarnation", "cards": "card", "pins": "fingerprint"}.get(table)
    column = column or {"portals": "fingerprint"}.get(table, "record")
    change(f"UPDATE {table} SET {column} = x'00'")
    assert f"a row of its table {table}" in refusal(path)


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_is_gone_refuses_the_store(change: Change, path: Path, table: str) -> None:
    change(f"DELETE FROM {table}")
    assert "missing" in refusal(path)


def test_an_old_copy_of_the_peers_refuses_the_store(change: Change, path: Path, sqlite: SqliteStore) -> None:
    with closing(sqlite3.connect(path)) as connection:
        old = connection.execute("SELECT * FROM peers").fetchall()
    sqlite.open()
    put(sqlite, peers=[peer(1, state="revoked")])
    sqlite.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executemany("INSERT OR REPLACE INTO peers VALUES (?, ?, ?, ?)", old)
    assert "older copy" in refusal(path)


def test_a_reader_checks_the_peers_too(change: Change, path: Path) -> None:
    change("UPDATE peers SET record = x'90'")
    with SqliteReader(path) as reader, pytest.raises(StoreError, match="table peers"):
        reader.peers()


def test_other_tables_refuse_the_store(change: Change, path: Path) -> None:
    change("CREATE TABLE more (id)")
    assert "its tables are not those" in refusal(path)


def test_a_column_that_its_index_does_not_know_refuses_the_store(change: Change, path: Path) -> None:
    # An index that is taken away, changed past and put back: as an old page among new ones.
    change(
        """
        PRAGMA writable_schema = ON;
        CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'jobs_up';
        DELETE FROM sqlite_schema WHERE name = 'jobs_up';
        PRAGMA writable_schema = RESET;
        UPDATE jobs SET up_number = 1000 WHERE seq = 7;
        PRAGMA writable_schema = ON;
        INSERT INTO sqlite_schema SELECT * FROM temp.kept;
        PRAGMA writable_schema = RESET;
        """
    )
    assert "jobs_up" in refusal(path)


def test_a_store_too_large_to_walk_through_is_opened(change: Change, path: Path) -> None:
    with patch.object(checks, "WALKED_BYTES", 0):
        store = SqliteStore(path)
        assert store.open().last_seq == 199
        store.close()


def test_a_board_changes_without_a_new_seal(sqlite: SqliteStore, path: Path) -> None:
    put(sqlite, boards=[board(1, last=9)])
    sqlite.close()
    assert sqlite.open().boards[0] == board(1, last=9)


def test_a_store_belongs_to_the_agent_that_took_it(path: Path) -> None:
    for _ in range(2):
        store = SqliteStore(path, owner=FINGERPRINT)
        store.open()
        store.close()
    other = SqliteStore(path, owner=b"g" * 20)
    with pytest.raises(StoreError, match="store of another agent"):
        other.open()
    whoever = SqliteStore(path)
    whoever.open()
    whoever.close()


def test_a_first_page_from_before_its_tables_is_refused(path: Path) -> None:
    store = SqliteStore(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    path.chmod(0o600)
    first = path.read_bytes()
    store.open()
    store.close()
    whole = path.read_bytes()
    path.write_bytes(first + whole[len(first) :])
    with pytest.raises(StoreError, match="no tables"):
        store.open()
    assert path.read_bytes() == first + whole[len(first) :]
