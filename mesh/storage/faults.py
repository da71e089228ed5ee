"""What SQLite and the system report, in our words: which faults leave the store working, what to do about others."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from mesh.errors import StoreError, StoreFull

RESTORE: Final = (
    "move it and the files beside it away and restore a copy, however old: the neighbours send what it lacks. Without "
    "a copy, start empty and pair again; lost are the jobs put here that were not yet sent"
)
"""What to do about a damaged store (rules R4 and R5 make an old copy, or none, safe to start on)."""
_PRIMARY: Final = 0xFF
_FULL: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        # The index of the write-ahead log, a file of its own, could not grow: ENOSPC by another name.
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }
)
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""How the system says that there is no room: on the disk, in a quota, in a file of the largest size allowed."""
_NOT_OURS: Final = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR})
"""How it says that a file is not for this process to write, or is none. (A disk that fails may be read-only next.)"""
_PROBE: Final = 65_536
"""Bytes to try with: more than the page that failed, so that what another process frees a moment later is no matter."""

FAULTS: Final = (sqlite3.Error, UnicodeDecodeError, OSError)
"""What the store's calls raise: errors of SQLite, and of the system where the journal is written. Of a damaged schema
SQLite tells the text, which is no text any more, and Python then fails over the telling."""


def explained(error: Exception, path: Path) -> StoreError:
    """The error to raise instead of `error`, one of `FAULTS`, which came of the store at `path`."""
    if isinstance(error, UnicodeDecodeError):
        return StoreError(f"{path} is damaged or is no store: its schema is not readable", fix=RESTORE)
    code = getattr(error, "sqlite_errorcode", 0)
    number = error.errno if isinstance(error, OSError) else None
    if number in NO_ROOM or code in _FULL or (code == sqlite3.SQLITE_IOERR_WRITE and _no_room(path)):
        return StoreFull(
            f"no room to write to {path}; nothing of this commit was kept",
            fix="free space on its disk, or raise its quota (quota, ulimit -f); the agent goes on by itself",
        )
    if isinstance(error, OSError) and number in _NOT_OURS:
        return _not_ours(Path(error.filename or path), error.strerror or str(error))
    if number is not None:
        return _failed_disk(path, str(error))
    match code & _PRIMARY:
        # SQLITE_ERROR: our statements are right, so the tables are not.
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR:
            return StoreError(f"{path} is damaged or is no store: {error}", fix=RESTORE)
        case sqlite3.SQLITE_IOERR:
            return _failed_disk(path, _name(error))
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return _not_ours(path, str(error))
        case sqlite3.SQLITE_BUSY:
            return StoreError(
                f"another program holds {path}: {error}",
                fix=f"end it (fuser {path}); only the agent writes to its store",
            )
    return StoreError(f"the store {path} failed ({_name(error)}): {error}", fix="start the agent again")


def _not_ours(path: Path, what: str) -> StoreError:
    return StoreError(
        f"{path} cannot be opened or written: {what}",
        fix=f"check who owns it and its folder: ls -ld {path.parent} {path}",
    )


def _failed_disk(path: Path, what: str) -> StoreError:
    return StoreError(
        f"the disk under {path} failed ({what}): what was not acknowledged may be lost, and this process has to stop",
        fix="check the disk (dmesg), then start the agent again",
    )


@contextmanager
def faults_explained(path: Path) -> Iterator[None]:
    """Turn what SQLite raises within into a `StoreError` about `path`."""
    try:
        yield
    except FAULTS as error:
        raise explained(error, path) from error


def _no_room(path: Path) -> bool:
    """Whether no more can be written beside the store now, nor in a file as long as the longest of its own."""
    # SQLite tells ENOSPC from the other errors of a write, but not a quota that is used up (EDQUOT) or a limit on the
    # size of files (EFBIG), and Python does not hand on its `sqlite3_system_errno`. So the write is tried once more, by
    # ourselves: whoever hits none of these limits may have a bad disk, and is not told anything else.
    lengths = [file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists()]
    try:
        with TemporaryFile(dir=path.parent, buffering=0) as probe:
            left = _PROBE
            while left:
                left -= os.pwrite(probe.fileno(), bytes(left), max(lengths, default=0) + _PROBE - left)
            # Over a network the quota is asked for no sooner.
            os.fsync(probe.fileno())
    except OSError as error:
        return error.errno in NO_ROOM
    return False


def _name(error: Exception) -> str:
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    return name
