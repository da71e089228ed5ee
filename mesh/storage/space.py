"""Room on the disk: a reserve for what must be taken when there is none left, and when to say so (R10, R7).

The reserve is a file beside the store, the *ballast*. It is as large as the store (a log may have to hold every row
once more, and results may be as large as payloads), so that a young store keeps little. A commit for which there is no
room is made again without it.

That is the second line. The first is to look after each commit how much the disk has left: with less than the ballast's
own size no new job is taken, though commits still succeed. From either, the way back is the same: the ballast stands
again and twice its size is free.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from mesh.room import Room
from mesh.storage.database import PAGE_BYTES

LEAST: Final = 524_288
"""Bytes of ballast that the smallest store keeps."""
_PAGES: Final = "PRAGMA page_count", "PRAGMA freelist_count"
RECOUNT: Final = 4_194_304
"""Bytes that were folded since the pages were counted: more, and they are counted again."""


class Ballast:
    """A file that holds blocks of the disk. Fails silently to hold any on a file system that gives none to zeros.

    Args:
        path: where it stands; one that an earlier process left is taken over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size if path.exists() else 0
        """Bytes it holds."""

    def grow(self, size: int) -> bool:
        """Hold `size` bytes; says whether the disk had them. If not, it holds what it did."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            os.ftruncate(descriptor, self.size)
            return False
        finally:
            os.close(descriptor)
        self.size = size
        return True

    def release(self) -> bool:
        """Give everything back; says whether it held anything."""
        held, self.size = self.size, 0
        self._path.unlink(missing_ok=True)
        return held > 0


class Space:
    """What is left for a store.

    Args:
        path: the store's file.
        ballast_bytes: the largest ballast.
        max_bytes: size of the database, with slots and journal and without its log, at which new jobs are refused.

    Attributes:
        room: what was found when it last looked.
        tight: the store is at three quarters of `max_bytes`: whatever may go has to go.
    """

    def __init__(self, path: Path, *, ballast_bytes: int, max_bytes: int) -> None:
        self._folder = path.parent
        self._ballast_bytes = ballast_bytes
        self._max_bytes = max_bytes
        self._ballast = Ballast(Path(f"{path}.ballast"))
        self._pages: tuple[int, int] | None = None
        self._unseen = 0
        self.room = Room.ENOUGH
        self.tight = False

    def release(self) -> bool:
        """A commit found no room: give it the ballast; says whether there was any."""
        if not self._ballast.release():
            return False
        self.room = Room.DISK_FULL
        return True

    def changed(self, folded: int | None = None) -> None:
        """The database was written to; `folded`: it took in so many bytes from the journal, and nothing else."""
        self._unseen += folded or 0
        if folded is None or self._unseen >= RECOUNT:
            self._pages = None

    def look(self, connection: sqlite3.Connection, journaled: int, sliced: int) -> Room:
        """Look at the disk and the database, and put the ballast back where there is room for it.

        Args:
            connection: is asked only if the database was written to since, and it matters how much.
            journaled: bytes that are not in the database yet.
            sliced: bytes of blobs that stand in a file beside it.

        Raises:
            sqlite3.Error: the database cannot be asked.
        """
        used = self._used(connection) + journaled + sliced
        if self._is_tight(used) and self._unseen:
            self._pages = None
            used = self._used(connection) + journaled + sliced
        self.tight = self._is_tight(used)
        pages, _ = self._counted(connection)
        # What is folded goes through the log, and then makes the database larger. Results are as large as payloads may
        # be: whoever holds many bytes of one must be able to take as many of the other.
        if not self._disk_has_room(pages * PAGE_BYTES + self._unseen + 2 * journaled + sliced):
            self.room = Room.DISK_FULL
        elif used >= self._max_bytes or (self.room is Room.STORE_FULL and used * 10 > self._max_bytes * 9):
            self.room = Room.STORE_FULL
        else:
            self.room = Room.ENOUGH
        return self.room

    def _used(self, connection: sqlite3.Connection) -> int:
        pages, unused = self._counted(connection)
        return (pages - unused) * PAGE_BYTES + self._unseen

    def _counted(self, connection: sqlite3.Connection) -> tuple[int, int]:
        if self._pages is None:
            pages, unused = (connection.execute(one).fetchone()[0] for one in _PAGES)
            self._pages, self._unseen = (pages, unused), 0
        return self._pages

    def _is_tight(self, used: int) -> bool:
        return used * 4 >= self._max_bytes * 3

    def _disk_has_room(self, size: int) -> bool:
        # In powers of two, so that a growing store seldom asks for more.
        wanted = min(self._ballast_bytes, max(LEAST, 1 << (size - 1).bit_length()))
        missing = max(0, wanted - self._ballast.size)
        spare = 2 * wanted if self.room is Room.DISK_FULL else wanted
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < spare + missing:
            return False
        return not missing or self._ballast.grow(wanted)
