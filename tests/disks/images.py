"""What a power cut leaves of the files that a recording wrote.

A disk keeps what was synced. Of what was written since, any part may have reached it, in any order, cut at the 512
bytes of a sector; a sector on its way may hold zeros or nonsense afterwards. Names are kept in order, as file systems
with a journal keep them, and for certain once their folder was synced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.disks.recording import Create, Delete, Event, Mark, Sync, SyncNames, SyncWrite, Truncate, Write

SECTOR: Final = 512


@dataclass(slots=True, eq=False)
class _File:
    """One file: what is durable of it, and what was done to it since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def sync_write(self, write: Write) -> None:
        """One write is durable, and so is how long the file is; what was written elsewhere is not."""
        pending: list[Write | Truncate] = []
        for change in self.pending:
            if isinstance(change, Truncate):
                _apply(self.durable, change)
                pending = [part for one in pending for part in _outside(one, change.size, 1 << 62)]
            elif change is not write:
                pending += _outside(change, write.offset, write.offset + len(write.data))
        _apply(self.durable, write)
        self.pending = pending


class Disk:
    """The files of a recording, as far as it was played."""

    def __init__(self) -> None:
        self._durable: dict[str, _File] = {}
        self._names: dict[str, _File] = {}
        self._pending: list[tuple[str, _File | None]] = []

    def play(self, event: Event) -> None:
        """Do what was recorded."""
        match event:
            case Create(path):
                self._names[path] = _File()
                self._pending.append((path, self._names[path]))
            case Delete(path, folder):
                del self._names[path]
                self._pending.append((path, None))
                self._sync_names(folder)
            case Write(path) | Truncate(path):
                self._names[path].pending.append(event)
            case Sync(path, folder):
                self._names[path].sync()
                self._sync_names(folder)
            case SyncWrite(path, write):
                self._names[path].sync_write(write)
            case SyncNames():
                self._sync_names(True)
            case Mark():
                pass

    def _sync_names(self, folder: bool) -> None:
        if folder:
            self._durable = dict(self._names)
            self._pending.clear()

    def image(self, random: Random) -> dict[str, bytes]:
        """The files after a power cut now, by path; `random` decides what got through."""
        names = dict(self._durable)
        for path, file in self._pending[: random.randint(0, len(self._pending))]:
            if file is None:
                names.pop(path, None)
            else:
                names[path] = file
        # Two pure cases happen often enough to be seen: nothing of it got through, and all of it did.
        luck = random.choice((0.0, 1.0, random.random()))
        return {path: _survived(file, luck, random) for path, file in names.items()}


def _survived(file: _File, luck: float, random: Random) -> bytes:
    content = bytearray(file.durable)
    for change in file.pending:
        if random.random() >= luck:
            continue
        if isinstance(change, Write) and random.random() < 0.5:
            _apply(content, _torn(content, change, random))
        else:
            _apply(content, change)
    return bytes(content)


def _torn(content: bytearray, write: Write, random: Random) -> Write:
    """A write of which some sectors did not get through, or came out as nonsense."""
    start, data = write.offset, bytearray(write.data)
    before = bytes(content[start : start + len(data)]).ljust(len(data), b"\0")
    first = start // SECTOR * SECTOR
    kept = random.random()
    for sector in range(first, start + len(data), SECTOR):
        if random.random() < kept:
            continue
        low, high = max(sector, start) - start, min(sector + SECTOR, start + len(data)) - start
        match random.randrange(4):
            case 0:
                data[low:high] = bytes(high - low)
            case 1:
                data[low:high] = random.randbytes(high - low)
            case _:
                data[low:high] = before[low:high]
    return Write(write.path, start, bytes(data))


def _outside(change: Write | Truncate, start: int, end: int) -> list[Write | Truncate]:
    """What of a write is not between two places."""
    if isinstance(change, Truncate):
        return [change]
    before = change.data[: max(0, start - change.offset)]
    after = change.data[max(0, end - change.offset) :]
    last = change.offset + len(change.data)
    parts = (Write(change.path, change.offset, before), Write(change.path, last - len(after), after))
    return [part for part in parts if part.data]


def _apply(content: bytearray, change: Write | Truncate) -> None:
    if isinstance(change, Truncate):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data
