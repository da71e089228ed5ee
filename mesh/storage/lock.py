"""One process per store (R10): a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mesh.errors import StoreError, StoreLocked


class StoreLock:
    """An exclusive lock on a file beside the store, which tells who has it.

    The lock is the kernel's (`flock`), not the file's existence: it is gone the moment its process is, and the file is
    never removed, since whoever removes it would let two processes lock two files of one name.

    Args:
        path: the lock file; made with mode 0600 if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock at once or not at all.

        Raises:
            StoreLocked: another process, or another store object of this one, has it.
            StoreError: the lock file cannot be made.
        """
        assert self._descriptor is None, "the lock is taken already"
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot make {self._path}: {error.strerror}",
                fix=f"make its folder, or check who owns it: ls -ld {self._path.parent}",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise _locked(self._path, holder) from error
        except OSError as error:
            os.close(descriptor)
            raise StoreError(
                f"cannot lock {self._path}: {error.strerror}", fix="keep the store on a local disk with free space"
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(path: Path, holder: str) -> StoreLocked:
    store = path.with_suffix("")
    if not holder.isdecimal():
        return StoreLocked(f"another process has {store} open", fix=f"find it with: fuser {path}")
    if int(holder) == os.getpid():
        return StoreLocked(f"this process has {store} open already", fix="use the agent that is running")
    return StoreLocked(
        f"process {holder} has {store} open",
        fix=f"that agent is running: talk to it, or stop it first (kill {holder})",
    )
