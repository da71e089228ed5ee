"""The journal: a file beside the store, in which a commit of jobs and boards is one durable write (R1).

The table of jobs has nine indexes, and a job changes two or three times within milliseconds: a commit that wrote it
touched eight pages or more, and a row cost 6 us of CPU. As a part of an entry of a file it costs less than 1, and no
commit gives the disk fewer bytes to sync. (In a table of SQLite without an index it still cost 3: statements, values,
pages, a log. That did not pay for writing it twice.) What is in the journal goes to the tables later, each job once
(`pending`).

An entry begins at a sector of its own, so that nothing that was synced is written again with what is new. Its *place*
is a number given once in the life of a store. The store keeps the last place that its tables hold, and each transaction
of its own takes one too: so a journal fits the one state of the tables that it goes on from. What entries there are is
found by a look at every sector. Where they lie says nothing, and old ones need not be removed.

Damage (R10). An entry carries a checksum of all of it, and the store's own random mark; one that does not match is
none. The last one may be missing: a power cut may have torn it before anybody was told of it, as with SQLite's own log.
One that is missing before others refuses the store: each was begun only when the one before it was durable. So does
one that the store knew of when it last folded: what was written again in it was left out of the tables.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

from mesh.errors import StoreError
from mesh.storage.checks import damage
from mesh.storage.faults import NO_ROOM, RESTORE
from mesh.storage.plainfile import PlainFile

SECTOR: Final = 512
LENGTH: Final = 8_388_608
"""Bytes after which the file begins anew from its start, where that is free."""
_CHUNK: Final = 1_048_576
"""Bytes by which it grows, zeros written ahead: a sync of bytes that were there before has no length and no blocks of
the file to write down, and takes half the time."""
_MAGIC: Final = b"HopJ"
_HEAD: Final = struct.Struct(">4s8sQI")
"""Magic, mark, place, length of the content. The checksum follows, then the content."""
_SUM: Final = struct.Struct(">I")
_BEFORE: Final = _HEAD.size + _SUM.size


class Journal:
    """The journal of one store.

    Args:
        path: the store's file.
    """

    def __init__(self, path: Path) -> None:
        self._file = PlainFile(Path(f"{path}.journal"))
        self._mark = b""
        self._size = 0
        # Where the next entry goes, if it ends before `_ceiling`; place, start and end of those that are needed.
        self._at, self._ceiling = 0, LENGTH
        self._needed: deque[tuple[int, int, int]] = deque()
        # The last place of which another may stand below one that was written before it.
        self._leapt = 0

    def open(self, mark: bytes, folded: int, known: int) -> list[bytes]:
        """The contents of the entries behind the place `folded`, in order.

        Args:
            mark: the store's own, random.
            folded: the last place that its tables hold.
            known: the last place that was given when that was said.

        Raises:
            sqlite3.DatabaseError: some are missing.
            StoreError: it belongs to another store.
            OSError: it cannot be read.
        """
        self._mark = mark
        self._needed.clear()
        try:
            data = self._file.path.read_bytes()
        except FileNotFoundError:
            data = b""
        self._size = len(data)
        found = {place: span for place, span in self._entries(data) if place > folded}
        last = max(found, default=folded)
        if last != folded + len(found) or last < known:
            raise damage("commits are missing in its journal")
        places = sorted(found)
        self._needed.extend((place, found[place][0], _padded(found[place][1])) for place in places)
        self._at = max((end for _, _, end in self._needed), default=0)
        self._ceiling = max(self._at, LENGTH)
        self._leapt = places[-1] if places else 0
        return [data[found[place][0] + _BEFORE : found[place][1]] for place in places]

    def _entries(self, data: bytes) -> Iterator[tuple[int, tuple[int, int]]]:
        """The place of each entry of ours, where it starts and where it ends."""
        start = 0
        while (start := data.find(_MAGIC, start)) >= 0:
            end = 0 if start % SECTOR else _end_of(data, start)
            if not end:
                start += 1
                continue
            _, mark, place, _ = _HEAD.unpack_from(data, start)
            if mark == self._mark:
                yield place, (start, end)
            elif not start:
                # (Elsewhere, what looks like an entry of another store may be what somebody wrote into a fact.)
                raise StoreError(
                    f"{self._file.path} is the journal of another store", fix=f"put its own journal there, or {RESTORE}"
                )
            start = end

    def append(self, place: int, content: bytes) -> None:
        """Add an entry, durably.

        Raises:
            OSError: it was not kept. A number of `NO_ROOM` says that there is no room, and that the next one may be
                tried; any other, that nothing is certain any more.
        """
        self._file.make()
        head = _HEAD.pack(_MAGIC, self._mark, place, len(content))
        checksum = _SUM.pack(crc32(content, crc32(head)))
        size = _BEFORE + len(content)
        start = self._room_for(_padded(size))
        end = start + _padded(size)
        if end > self._size:
            self._grow(end)
        self._file.write_durably((head, checksum, content), start)
        self._size = max(self._size, start + size)
        self._at = end
        self._needed.append((place, start, end))

    def forget(self, place: int) -> None:
        """The tables hold what the entries up to `place` say."""
        while self._needed and self._needed[0][0] <= place:
            self._needed.popleft()

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file, if nothing in it is needed any more. It is opened before it is used again."""
        if not self._needed:
            self._file.remove()

    def _room_for(self, size: int) -> int:
        """Where `size` bytes may be written: over no entry that is needed."""
        if not self._needed:
            self._at, self._ceiling = 0, LENGTH
        elif self._at + size > self._ceiling:
            self._look_for(size)
        return self._at

    def _look_for(self, size: int) -> None:
        """Find the next place for `size` bytes without a look at every entry that is needed: there may be thousands,
        and from here on each commit may come by."""
        place, oldest, _ = self._needed[0]
        if self._at <= oldest:
            # Those of the round before stand there; the first of them may be needed no more.
            if self._at + size > oldest:
                # What was written in this round stays below the others.
                self._leapt = self._needed[-1][0]
                oldest = self._at = max(end for _, _, end in self._needed)
            self._ceiling = max(oldest, self._at + size)
        elif self._at + size > LENGTH and size <= oldest and place > self._leapt:
            self._at, self._ceiling = 0, oldest
        else:
            self._ceiling = max(LENGTH, self._at + size)

    def _grow(self, end: int) -> None:
        wanted = -(-end // _CHUNK) * _CHUNK
        try:
            self._file.write(bytes(wanted - self._size), self._size)
            self._size = wanted
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            # There may be room for the entry itself.
            self._file.cut(self._size)


def _padded(size: int) -> int:
    return -(-size // SECTOR) * SECTOR


def _end_of(data: bytes, start: int) -> int:
    """Where the entry at `start` ends; 0 if there is none."""
    if start + _BEFORE > len(data):
        return 0
    end = start + _BEFORE + int(_HEAD.unpack_from(data, start)[3])
    (told,) = _SUM.unpack_from(data, start + _HEAD.size)
    view = memoryview(data)
    found = crc32(view[start + _BEFORE : end], crc32(view[start : start + _HEAD.size]))
    return end if end <= len(data) and found == told else 0
