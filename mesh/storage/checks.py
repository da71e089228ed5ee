"""Damage that SQLite does not see by itself, found before anything of a store is used (R10).

Three kinds of hashes and one walk:

* A job's row carries its own (`mesh.job`); it is checked when the row is read, and a damaged row is fetched again.
* Each row of the small tables carries one over its table's name and its columns; it is checked when the row is read.
* The seal is a hash over all of those, so that no row goes missing or comes back old, a revoked peer for one. What
  changes of a board with every commit is left out of it: an old board is noticed by its positions (R4).
* At each opening SQLite walks its trees and compares every index with its table: an old or foreign page among new ones
  hardly agrees with both.

Nobody else can send the small tables again: damage there, or in the trees, refuses the store.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

from msgpack import packb

from mesh.storage import statements

WALKED_BYTES: Final = 1 << 30
"""The largest store that is walked through at its opening. 150 MB, which hold 100,000 jobs, take 0.3 s."""

MARK_BYTES: Final = 8
"""Of the random mark that a store's journal bears."""


def check_of(table: str, *columns: object) -> bytes:
    """The hash that a row of a small table carries: 16 bytes."""
    return blake2b(packb((table, *columns)), digest_size=16).digest()


def with_check(table: str, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows as they are written: each with its hash behind its columns."""
    return [(*row, check_of(table, *row)) for row in rows]


def checked(connection: sqlite3.Connection, table: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a small table without their hashes, which `statement` gives behind the columns.

    Raises:
        sqlite3.DatabaseError: a row does not match its hash.
    """
    rows = []
    for *columns, check in connection.execute(statement):
        if check_of(table, *columns) != check:
            raise damage(f"a row of its table {table} is not what was written")
        rows.append(tuple(columns))
    return rows


def seal(connection: sqlite3.Connection) -> None:
    """Renew the seal, in the transaction that changed a table under it."""
    connection.execute(statements.PUT_SEAL, (_sealed(connection),))


def owner_of(connection: sqlite3.Connection) -> bytes | None:
    """The fingerprint of the agent whose store this is, None while none has taken it.

    Raises:
        sqlite3.DatabaseError: its row does not match its hash.
    """
    rows = checked(connection, "owner", statements.OWNER)
    return rows[0][0] if rows else None


def take(connection: sqlite3.Connection, owner: bytes) -> None:
    """Make a store nobody else's."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(statements.PUT_OWNER, with_check("owner", [(owner,)]))
    seal(connection)
    connection.execute("COMMIT")


def check_store(connection: sqlite3.Connection, schema: str) -> None:
    """Look for damage in a store that was just opened.

    Args:
        connection: nothing was read from it but its format.
        schema: what made its tables.

    Raises:
        sqlite3.DatabaseError: found; the text says what.
    """
    connection.execute("PRAGMA cell_size_check = ON").fetchall()
    # SQLite keeps each statement as it was written.
    if [made for (made,) in connection.execute(statements.TABLES)] != sorted(_made_by(schema)):
        raise damage("its tables are not those of a store")
    if _bytes(connection) <= WALKED_BYTES:
        ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if found != "ok":
            raise damage(found.splitlines()[-1])
    folded = [found for _, found, _ in connection.execute(statements.JOURNAL)]
    if connection.execute(statements.SEAL).fetchall() != [(_sealed(connection), *folded)]:
        raise damage("peers, pins or cards are missing, or come from an older copy")


def make_tables(connection: sqlite3.Connection, schema: str) -> None:
    """Make the tables of a store, and what has to be in an empty one, in the transaction that is open."""
    for statement in _made_by(schema):
        connection.execute(statement)
    connection.execute(statements.MAKE_JOURNAL, (os.urandom(MARK_BYTES),))
    connection.execute(statements.MAKE_SEAL, (_sealed(connection),))


def _made_by(schema: str) -> Iterator[str]:
    """The statements of a script, as SQLite keeps them. A trigger has several within it."""
    statement = ""
    for line in schema.splitlines(keepends=True):
        statement += "" if line.startswith("--") else line
        if sqlite3.complete_statement(statement):
            yield statement.strip().removesuffix(";")
            statement = ""


def _sealed(connection: sqlite3.Connection) -> bytes:
    found = [check for (check,) in connection.execute(statements.SEALED)]
    return blake2b(
        b"".join(sorted(found + [check_of("", *board) for board in connection.execute(statements.NAMED)]))
    ).digest()


def _bytes(connection: sqlite3.Connection) -> int:
    (pages,), (size,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    return int(pages * size)


def damage(text: str) -> sqlite3.DatabaseError:
    """An error that says what is damaged in a store."""
    # As SQLite reports what it finds by itself, so that `faults` has one way to explain both.
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
