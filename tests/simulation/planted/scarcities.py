"""Planted bugs that show where something is short, slow, off or damaged: room, time, clocks, rows, and the confirmation
of what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mesh.board import Board, BoardRow
from mesh.clocks import Clocks, Skew
from mesh.destination import Destination
from mesh.job import Job
from mesh.replication import Inbox
from mesh.room import Room
from mesh.shortage import Shortage
from tests.simulation.planted.planting import planted


@contextmanager
def what_came_too_late_starts() -> Iterator[None]:
    """A job whose time was up when it came, since the link is slow, starts: it was sent in time."""
    claim, start = Destination.claim, Destination._start
    late: set[bytes] = set()

    def believe(destination: Destination, job: Job, now_ms: int, **known: Any) -> None:
        if now_ms > job.request.expires_ms:
            late.add(job.id)
            now_ms = job.request.expires_ms
        claim(destination, job, now_ms, **known)

    def begin(destination: Destination, job: Job, now_ms: int) -> bool:
        return start(destination, job, job.request.expires_ms if job.id in late else now_ms)

    with patch.object(Destination, "claim", believe):
        yield from planted(Destination, "_start", begin)


@contextmanager
def clock_once_off_is_never_believed_again() -> Iterator[None]:
    """A clock that was too far off gets no credit any more, though it was set right."""
    good = Clocks._level
    yield from planted(Clocks, "_level", lambda clocks, board: max(good(clocks, board), Skew(board.skew_level)))


@contextmanager
def room_is_not_said_again() -> Iterator[None]:
    """Peers that wait for room are not told when there is some."""
    good = Shortage.told

    def told(shortage: Shortage, room: Room, now_ms: int) -> None:
        if room is Room.ENOUGH:
            shortage._ledger.room = room
            shortage._retry_ms = None
        else:
            good(shortage, room, now_ms)

    yield from planted(Shortage, "told", told)


@contextmanager
def wanted_is_known_in_memory_alone() -> Iterator[None]:
    """Which damaged jobs a neighbour is asked for is forgotten when the agent dies."""
    good = Board.row

    def row(board: Board) -> BoardRow:
        with patch.object(board, "wanted", set[bytes]()):
            return good(board)

    yield from planted(Board, "row", row)


@contextmanager
def confirmed_means_all() -> Iterator[None]:
    """Whatever was refused is forgotten with the first confirmation, though that speaks of earlier numbers."""
    good = Inbox.confirmed
    yield from planted(Inbox, "confirmed", lambda inbox, number: good(inbox, max([number, *inbox.refused])))
