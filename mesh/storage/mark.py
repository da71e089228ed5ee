"""Which write-ahead log belongs to a database: SQLite itself would take up any that stands beside it (R10).

A log of another store, put there by a clumsy restore, holds whole pages: where they are pages of jobs alone, every hash
in them is right, and the rows are another agent's. So the store keeps a *mark* beside itself, which tells its own log.

What tells a log from others is in its head (https://sqlite.org/walformat.html): the first salt is drawn at random when
the log is made, and grows by one each time it begins anew. The mark goes, durably, before the store is written to, and
comes again after the first commit: a process that dies in between leaves none, which says nothing, and one that was
torn is as good as none.
"""

from __future__ import annotations

import os
import struct
from hashlib import blake2b
from pathlib import Path
from typing import Final

from mesh.errors import StoreError
from mesh.storage.faults import RESTORE
from mesh.storage.log import first_salt

_SALT: Final = struct.Struct(">I")
COMMITS: Final = 1 << 16
"""Commits after which a log is marked again: it begins anew at most once with each."""
_TURNS: Final = 2 * COMMITS
"""Times that a log may have begun anew since it was marked. Of 32,768 logs that are not ours, one is taken for ours."""
_CLOSED: Final = b"none"
"""Stands for the log of a store that was closed: it has none."""
_CHECK_BYTES: Final = 8


class LogMark:
    """The mark of one store.

    Args:
        path: the store's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = Path(f"{path}.mark")

    def check(self) -> None:
        """Compare the mark with the log that is there.

        Raises:
            StoreError: the log is another store's.
        """
        marked, salt = self._marked(), first_salt(self._path)
        if marked is None or salt is None:
            return
        turns = (salt - _SALT.unpack(marked)[0]) % (1 << 32)
        # Read again: a process that writes to the store may just have made another log.
        if (marked != _CLOSED and turns < _TURNS) or marked != self._marked():
            return
        raise StoreError(f"{self._path}-wal is the log of another store", fix=f"put its own log there, or {RESTORE}")

    def forget(self) -> None:
        """Take the mark away, durably: the log is written to from now on.

        Raises:
            StoreError: the folder does not allow it.
        """
        try:
            self._file.unlink()
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(
                f"cannot remove {self._file}: {error.strerror}", fix=f"check its folder: ls -ld {self._path.parent}"
            ) from error

    def put(self) -> None:
        """Mark the log that is there, or say that there is none. Where that cannot be written, nothing is said."""
        salt = first_salt(self._path)
        if salt is None and Path(f"{self._path}-wal").exists():
            return
        content = _CLOSED if salt is None else _SALT.pack(salt)
        try:
            self._file.unlink(missing_ok=True)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, content + _check(content))
            finally:
                os.close(descriptor)
        except OSError:
            return

    def _marked(self) -> bytes | None:
        try:
            data = self._file.read_bytes()
        except OSError:
            return None
        content = data[:-_CHECK_BYTES]
        return content if len(content) == _SALT.size and _check(content) == data[-_CHECK_BYTES:] else None


def _check(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECK_BYTES).digest()
