"""The bytes of blobs: slices that are worth it stand in a file beside the database, each in a slot of its own (R14).

In the database a slice was written twice, page by page, through a log: twelve of them took 2 to 5 ms, and every commit
behind them waited. In a file that is written in place they take less than one, and letting go of them takes nothing.
A slot is as long as the longest slice that peers take. What fills less than half of one, or more than one, stays in the
table.

The table says which slot has which slice, and a hash of it: damage, or another copy of either file, is found when it is
read. A slot is written and synced before the transaction that names it; it is free again after the commit of the one
that lets it go, and not before. Which ones are free is in memory only, and is found at the opening by what the table
names: so what a crash left over is free, too.

A damaged row may name the slot of another one, or one that a file which is too short does not have, and that a new
slice gets then. So it is also in memory which slice has a slot, and no other lets go of it: else the next ones would
share it.

Who reads beside the writer may come too late: the slot has another slice by then, and its hash does not match. The
row has gone then, or goes in a moment: it is the same as if it had come a little later.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from pathlib import Path
from typing import Final

from mesh.blobs import SLICE_BYTES, Slice
from mesh.errors import StoreError
from mesh.storage.columns import slice_id
from mesh.storage.faults import RESTORE
from mesh.storage.plainfile import PlainFile

SLOT: Final = SLICE_BYTES
"""Bytes of a slot."""


class Slots:
    """The slots of one store, for one thread.

    Args:
        path: the store's file.
    """

    def __init__(self, path: Path) -> None:
        self._file = PlainFile(Path(f"{path}.slices"))
        self._reading: int | None = None
        # The number of the slice in each slot; None in one that is free, or that the table names twice.
        self._holders: list[int | None] = []
        # A heap: the lowest goes first, so that the end of the file empties and can be cut off.
        self._free: list[int] = []
        self._taken: list[int] = []

    @property
    def size(self) -> int:
        """Bytes of the slots that are in use."""
        return (len(self._holders) - len(self._free)) * SLOT

    def open(self, named: Iterable[tuple[object, int]]) -> None:
        """Begin, as the one that writes.

        Args:
            named: the slots that the table names, whatever is in that column, and the numbers of their slices.

        Raises:
            StoreError: there is no such file, and there should be.
            OSError: it cannot be written.
        """
        self._taken.clear()
        path = self._file.path
        size = path.stat().st_size if path.exists() else None
        ends = 0 if size is None else -(-size // SLOT)
        used: dict[int, int | None] = {}
        for slot, number in named:
            if size is None:
                raise StoreError(f"{path} is missing: it holds payloads and results of the store", fix=RESTORE)
            # What a damaged page names beyond the end is nowhere.
            if isinstance(slot, int) and 0 <= slot < ends:
                used[slot] = None if slot in used else number
        self._holders = [used.get(slot) for slot in range(max(used, default=-1) + 1)]
        self._free = [slot for slot in range(len(self._holders)) if slot not in used]
        if size is not None:
            self._file.make()
            if size > len(self._holders) * SLOT:
                self._file.cut(len(self._holders) * SLOT)

    def put(self, slices: Sequence[Slice]) -> list[int | None]:
        """Write those slices that are worth it, durably, for the transaction that is open: `keep` or `give_back` ends
        it.

        Returns:
            The slot of each; None for one that is to stay in the table.

        Raises:
            OSError: they were not kept; see `PlainFile`.
        """
        # (`slice_bytes` can be set to more than a slot has.)
        places = [self._take(part) if SLOT <= 2 * len(part.data) <= 2 * SLOT else None for part in slices]
        if self._taken:
            self._file.make()
            for first, data in _runs(zip(places, slices, strict=True)):
                self._file.write(b"".join(data), first * SLOT)
            self._file.sync()
        return places

    def _take(self, part: Slice) -> int:
        if self._free:
            slot = heappop(self._free)
        else:
            slot = len(self._holders)
            self._holders.append(None)
        self._holders[slot] = slice_id(part.blob, part.offset)
        self._taken.append(slot)
        return slot

    def keep(self, freed: Iterable[tuple[object, int]]) -> None:
        """The transaction is durable: it names what was put, and lets go of the slots `freed`, each told with the
        number of its slice."""
        self._taken.clear()
        for slot, number in freed:
            if isinstance(slot, int) and 0 <= slot < len(self._holders) and self._holders[slot] == number:
                self._give(slot)

    def give_back(self) -> None:
        """The transaction came to nothing."""
        taken, self._taken = self._taken, []
        for slot in taken:
            self._give(slot)

    def _give(self, slot: int) -> None:
        self._holders[slot] = None
        heappush(self._free, slot)

    def read(self, slot: object, size: object) -> bytes:
        """What stands in a slot, fewer than `size` bytes if it ends before; b"" where no slot can be.

        Raises:
            OSError: it cannot be read.
        """
        if not isinstance(slot, int) or not isinstance(size, int) or not 0 <= size <= SLOT or not 0 <= slot < 1 << 40:
            return b""
        if self._reading is None:
            try:
                self._reading = os.open(self._file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return b""
        return os.pread(self._reading, size, slot * SLOT)

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()
        reading, self._reading = self._reading, None
        if reading is not None:
            os.close(reading)


def _runs(placed: Iterable[tuple[int | None, Slice]]) -> Iterator[tuple[int, list[bytes]]]:
    """What goes into one slot after the other is one write: after each the interpreter has to be waited for, which is
    the event loop's meanwhile."""
    first, data = 0, list[bytes]()
    for slot, part in placed:
        if slot is None:
            continue
        if data and (slot != first + len(data) or len(data[-1]) < SLOT):
            yield first, data
            data = []
        if not data:
            first = slot
        data.append(part.data)
    if data:
        yield first, data
