"""Opening a file as a store of ours, and no other: its mode, its format, its schema, and how SQLite is to treat it."""

from __future__ import annotations

import os
import sqlite3
import stat
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mesh.errors import StoreError
from mesh.storage.checks import check_store, make_tables
from mesh.storage.faults import RESTORE, faults_explained
from mesh.storage.log import lost_commits
from mesh.storage.mark import LogMark

APPLICATION: Final = int.from_bytes(b"Hopb", "big")
"""`PRAGMA application_id` of our files, so that no other program's database is taken for ours."""
SCHEMA: Final = 4
"""`PRAGMA user_version`: the schema that this version reads and writes."""

PAGE_BYTES: Final = 4096

_STATEMENTS: Final = 128
_LOG_HEAD: Final = 32
"""Bytes of a write-ahead log before its first frame."""
# Measured on rows of 700 bytes, median of five interleaved rounds. Pages of 8 or 16 KiB and a memory mapping made no
# difference beyond the noise, so the pages are SQLite's own, and there is no mapping: under one, a failing disk ends
# the process by SIGBUS where it could have said what happened. A checkpoint each 4,000 pages (16 MB) rather than each
# 1,000: of commits of 64 rows the slowest hundredth takes 2 ms, not 5; of commits of 1,000 rows, 29 ms and not 19.
USUAL_CHECKPOINTS: Final = "PRAGMA wal_autocheckpoint = 4000"
SCARCE_CHECKPOINTS: Final = "PRAGMA wal_autocheckpoint = 64"
"""While the disk is full the log is written over early instead of growing."""
_PREPARE: Final = (f"PRAGMA page_size = {PAGE_BYTES}", "PRAGMA journal_mode = WAL")
_SETTINGS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -16384",
    "PRAGMA temp_store = MEMORY",
    USUAL_CHECKPOINTS,
    "PRAGMA journal_size_limit = 67108864",
)


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the store at `path` for the thread that calls, and make it if there is none.

    Raises:
        StoreError: exposed to others, foreign, newer than this version, damaged, or not to be opened. Nothing of the
            file was changed.
    """
    _make_private(path)
    _check_not_emptied(path)
    if lost_commits(path):
        raise StoreError(f"{path}-wal is damaged: commits in it cannot be read any more", fix=RESTORE)
    with faults_explained(path):
        _adapt_nothing()
        connection = sqlite3.connect(path, isolation_level=None, cached_statements=_STATEMENTS)
        try:
            if _is_empty(connection):
                _check_new(path)
                _create(connection)
            _check_format(connection, path)
            check_store(connection, _schema())
            for setting in _SETTINGS:
                connection.execute(setting).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection


def _adapt_nothing() -> None:
    """Have `bytes` and None bound as they are.

    For each of them that a statement is given, Python's `sqlite3` looks for a way to adapt it: in a table, then by two
    attributes that neither has. The errors of that took a third of the time to write a row. What is in the table is
    found before; the table is the process's, and this says nothing that is not so without it.
    """
    sqlite3.register_adapter(bytes, bytes)
    nothing: dict[None, None] = {}
    sqlite3.register_adapter(type(None), nothing.get)


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the store at `path` for reading, beside the agent that writes to it or without one.

    Raises:
        StoreError: there is none, or as `connect_writer`.
    """
    check_private(path)
    LogMark(path).check()
    with faults_explained(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, cached_statements=_STATEMENTS
        )
        # A column that is no UTF-8 any more belongs to one damaged row, and must not take the others with it.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            _check_format(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def check_private(path: Path) -> None:
    """Whether `path` is a file that only its owner can read: the peer book in it holds secrets.

    Raises:
        StoreError: it is not.
    """
    try:
        # The name is judged, not a descriptor: closing one would drop the locks that SQLite holds on the file.
        mode = path.stat().st_mode
    except OSError as error:
        raise StoreError(
            f"cannot open the store {path}: {error.strerror}", fix="check the folder's name; `mesh run` makes a store"
        ) from error
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is not a regular file", fix="name the store itself")
    if mode & 0o077:
        raise StoreError(
            f"{path} can be read or written by others (mode {stat.S_IMODE(mode):04o})", fix=f"chmod 600 {path}"
        )


def _make_private(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        check_private(path)
    except OSError as error:
        raise StoreError(
            f"cannot make the store {path}: {error.strerror}", fix=f"check its folder: ls -ld {path.parent}"
        ) from error


def _check_not_emptied(path: Path) -> None:
    # SQLite would remove the log of an empty file. Its first frame is never written before the file's first page is
    # durable, so this is no store that was being made when its process died.
    log = Path(f"{path}-wal")
    if not path.stat().st_size and log.exists() and log.stat().st_size > _LOG_HEAD:
        raise StoreError(
            f"{path} is empty, and {log.name} beside it is not: the store was cut off",
            fix=RESTORE,
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _is_empty(connection: sqlite3.Connection) -> bool:
    # Also one that was being made when its process died: nothing is in it before everything is.
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    return not tables and not _pragma(connection, "application_id") and not _pragma(connection, "user_version")


def _check_new(path: Path) -> None:
    # A first page that knows of no table, before other pages, is an old copy of itself.
    if path.stat().st_size > PAGE_BYTES:
        raise StoreError(f"{path} is damaged: it has pages and no tables", fix=RESTORE)


def _create(connection: sqlite3.Connection) -> None:
    for setting in _PREPARE:
        connection.execute(setting).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    make_tables(connection, _schema())
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _schema() -> str:
    return resources.files("mesh.storage").joinpath("schema.sql").read_text("utf-8")


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "application_id") != APPLICATION:
        raise StoreError(
            f"{path} is a database of another program", fix="name another file as the store, or move this one away"
        )
    version = _pragma(connection, "user_version")
    if version != SCHEMA:
        raise StoreError(
            f"{path} has schema {version}, and this version of Hopboard reads schema {SCHEMA}",
            fix="start the version that wrote it, or a newer one",
        )
