"""Every query finds its rows by an index made for it, never by looking at all of them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.storage import statements
from mesh.storage.database import connect_writer

# Plans that may read a whole index, or the table from its newest end until enough is found.
SCANS = frozenset(
    {"FIND_SHORT", "LIST_ALL", "LIST_FINISHED", "IDS", "KEYS", "COUNT_UP", "COUNT_DOWN"} | {"HAS_BLOBS", "OWED"}
)
SMALL = frozenset(
    {"BOARDS", "INCARNATIONS", "FORGET_INCARNATIONS", "CARDS", "PINS", "PORTALS", "PEERS", "INVITATIONS"}
    | {"NAMED", "OWNER", "SEAL", "SEALED", "TABLES", "JOURNAL"}
)
NAMES = sorted(
    name
    for name, value in vars(statements).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, str) and not name.startswith("PUT")
)


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect_writer(path)
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, statement: str) -> list[str]:
    marks = statement.count("?")
    arguments = [1] * marks if marks else dict.fromkeys(re.findall(r":(\w+)", statement), "1")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", arguments)]


@pytest.mark.parametrize("name", NAMES)
def test_no_statement_scans(connection: sqlite3.Connection, name: str) -> None:
    steps = plan(connection, getattr(statements, name))
    if name not in SCANS | SMALL:
        scans = [step for step in steps if step.startswith("SCAN") and "json_each" not in step]
        assert all("jobs_live" in step or "CONSTANT" in step for step in scans), steps


@pytest.mark.parametrize(
    "name", ["NUMBERED_UP", "NUMBERED_DOWN", "WAITING", "SHARED_UP", "SHARED_DOWN", "DUE", "UNFINISHED"]
)
def test_pages_come_sorted_from_their_index(connection: sqlite3.Connection, name: str) -> None:
    assert not [
        step
        for step in plan(connection, getattr(statements, name))
        if "FOR ORDER BY" in step and "LAST TERM" not in step
    ]
