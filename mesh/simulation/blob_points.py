"""Assertions about blobs at the boundaries between two effects (rules R1, R14): each looks at the agent's disk."""

from __future__ import annotations

from collections.abc import Callable

from mesh.blobs import Key, name_blob
from mesh.effects import Bytes
from mesh.facts import Fact, Kind, Request, blob_of, short_text
from mesh.lifecycle import State
from mesh.messages import WITHOUT, BlobMessage, FactMessage, Held, Message, SliceMessage
from mesh.simulation.disk import Disk, facts_of, state_of


def whole(disk: Disk, key: Key) -> bytes:
    """The bytes of the whole blob of that key, b"" without one."""
    return b"".join(part.data for part in disk.read(Bytes(key, 0, 0, 1 << 30)).slices)


def sound(disk: Disk, job_id: bytes, request: Request) -> bool:
    """Whether the payload that a Request names is on the disk, to the last byte."""
    name = blob_of(request)
    if name is None or not name.length:
        return True
    return name_blob(whole(disk, Key(job_id, Kind.REQUEST, name.hash))).name == name


class BlobPoints:
    """The assertions of one agent; `broken(rule, sentence)` takes what is wrong."""

    def __init__(self, broken: Callable[[str, str], None]) -> None:
        self._broken = broken
        self._offered: dict[tuple[int, Key], int] = {}

    def sending(self, disk: Disk, board_id: int, message: Message) -> None:
        """A message leaves for a peer: slices, and what is said of those that came, are durable (13)."""
        match message:
            case BlobMessage():
                key = Key(message.job_id, message.kind, message.hash)
                # What is taken back may have come whole all the same: the answer is on its way then.
                if message.length:
                    self._offered[board_id, key] = message.length
            case SliceMessage():
                key = Key(message.job_id, message.kind, message.hash)
                part = whole(disk, key)[message.offset : message.offset + len(message.data)]
                # A job that ended meanwhile let go of it; the peer is told.
                if part and part != message.data:
                    self._broken("13", f"sends bytes of {short_text(key.job)} that are not on its disk")
            case Held():
                if not message.reason and message.held and not self._held(disk, board_id, message):
                    self._broken("13", f"acknowledges {message.held} bytes of {short_text(message.job_id)} too early")
            case _:
                pass

    def _held(self, disk: Disk, board_id: int, message: Held) -> bool:
        key = Key(message.job_id, message.kind, message.hash)
        row = disk.by_id.get(key.job)
        if row is not None and (row.facts is None or state_of(row) is State.DELETED or key.kind in facts_of(row)):
            return True
        return disk.held.get((board_id, key), 0) >= message.held

    def arrived(self, disk: Disk, board_id: int, message: Message) -> None:
        """A peer says what it holds. Who runs on a copy of the disk goes on from what was said before."""
        if isinstance(message, Held):
            key = Key(message.job_id, message.kind, message.hash)
            if self._offered.get((board_id, key)) == message.held:
                disk.there[board_id, key] = None

    def naming(self, disk: Disk, board_id: int, message: FactMessage, fact: Fact) -> None:
        """A fact leaves under its number: the peer has said that it holds what it names (R14)."""
        name = blob_of(fact.content)
        if name is None or not name.length or message.flags & WITHOUT:
            return
        if (board_id, Key(fact.job_id, fact.kind, name.hash)) not in disk.there:
            self._broken("R14", f"sends the {fact.kind.name} of {short_text(fact.job_id)} before its bytes are there")
