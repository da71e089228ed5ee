"""A file beside the store that is written without SQLite, in place, and synced by whoever needs it durable (R1)."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from mesh.storage.faults import NO_ROOM

_UNKNOWN: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""How the system says that it does not know that flag, for this file or at all."""


class PlainFile:
    """One such file, for its owner alone. Made when it is first written.

    Args:
        path: where it stands.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        # Makes a write return when it is durable (pwritev2(2), Linux 4.7).
        self._durably: int | None = getattr(os, "RWF_DSYNC", None)

    def make(self) -> None:
        """Make it, or open it if it is there; without effect on one that is open.

        Raises:
            OSError: it cannot be made; with EIO, its name may not last.
        """
        if self._descriptor is not None:
            return
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # Its name has to be as durable as what will be in it.
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        except OSError as error:
            raise OSError(errno.EIO, f"fsync: {error.strerror}", str(self.path.parent)) from error
        finally:
            os.close(folder)

    def write(self, data: bytes | memoryview, start: int) -> None:
        """Write all of `data` at `start`.

        Raises:
            OSError: some of it may be there.
        """
        descriptor, left = self._opened(), memoryview(data)
        while left:
            written = os.pwrite(descriptor, left, start)
            left, start = left[written:], start + written

    def sync(self) -> None:
        """Have everything that was written on the disk.

        Raises:
            OSError: with EIO, whatever the system says: what became of the bytes is not known.
        """
        try:
            os.fdatasync(self._opened())
        except OSError as error:
            raise OSError(errno.EIO, f"fdatasync: {error.strerror}", str(self.path)) from error

    def write_durably(self, parts: Sequence[bytes], start: int) -> None:
        """Write all of `parts`, one behind the other, at `start`, and have them on the disk: `write` and `sync`, in one
        call where the system has one for both. What was written elsewhere in the file before is not synced by that.

        Raises:
            OSError: as `write` does; with EIO, what became of the bytes is not known.
        """
        done = 0 if self._durably is None else self._at_once(parts, start, self._durably)
        if done < sum(map(len, parts)):
            self.write(memoryview(b"".join(parts))[done:], start + done)
            self.sync()

    def _at_once(self, parts: Sequence[bytes], start: int, durably: int) -> int:
        """How many bytes one call wrote, durably."""
        try:
            return os.pwritev(self._opened(), parts, start, durably)
        except OSError as error:
            if error.errno in _UNKNOWN:
                self._durably = None
            elif error.errno not in NO_ROOM:
                raise OSError(errno.EIO, f"pwritev: {error.strerror}", str(self.path)) from error
            # Which half of it found no room decides whether anything is certain: two calls tell.
            return 0

    def cut(self, size: int) -> None:
        """Cut it to `size` bytes."""
        os.ftruncate(self._opened(), size)

    def close(self) -> None:
        """Close it; it stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove it, closed or not."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108 - as the rest of what is done to it

    def _opened(self) -> int:
        assert self._descriptor is not None, "the file is not open"
        return self._descriptor
