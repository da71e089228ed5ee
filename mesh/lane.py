"""A lane: what one board knows of one job.

A job has at most two, towards the origin and towards the destination. The lane says which facts the peer has, which
have been sent under which number, and which are still to be sent (rules R2, R6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mesh.facts import Kind

NEVER: Final = 0
"""Lane entry of a fact the peer has not been sent."""
HAS: Final = -1
"""Lane entry of a fact that the peer has without our telling, or need not have."""

SLOTS: Final = len(Kind) + 1
"""Facts are kept in lists by kind; kinds start at 1."""


class Lane:
    """What one board knows of one job.

    Attributes:
        board: the board's number in this store.
        number: the job's number in our sequence on that board, 0 before it has one. A job that changes again moves
            to a new number, so that the backlog is never longer than the live jobs (R2).
        sent: by kind, the number a fact was last sent under, or `NEVER`, or `HAS`.
        offered: the Request has been given a number here: it may have been sent, and only the destination may now
            say that the job expired (R6).
        unsettled: the Request went out on a link that ended before it was acknowledged, and was refused on a later one:
            an earlier life of the peer's store may have taken it, so it stays offered (R6).
        reissued: the Request was acknowledged once and has to be sent again (R5).
        waiting: the Request has no number yet and is counted in the board's `waiting`.
        counted: the job is counted in the board's `offered` (downwards) or `accepted` (upwards).
    """

    __slots__ = ("board", "counted", "number", "offered", "reissued", "sent", "unsettled", "waiting")

    def __init__(self, board: int) -> None:
        self.board = board
        self.number = 0
        self.sent = [HAS] * SLOTS
        self.offered = False
        self.unsettled = False
        self.reissued = False
        self.waiting = False
        self.counted = False

    def refused(self) -> None:
        """The peer did not take the Request: it is not offered any more, unless an earlier life of the peer's store was
        offered it (R3, R6)."""
        self.offered = self.reissued or self.unsettled

    @property
    def taken(self) -> bool:
        """Whether the job is in one of the board's counts."""
        return self.waiting or self.counted

    def carry(self, number: int, acked: int, waiting: Sequence[int] = ()) -> None:
        """Move the job to `number`: its record carries every fact that is above the acknowledged number (R2), but those
        of the kinds `waiting`, which wait for a blob (R14)."""
        self.number = number
        sent = self.sent
        for kind in range(1, SLOTS):
            if sent[kind] == NEVER or sent[kind] > acked:
                # Under its earlier number no record will carry it any more.
                sent[kind] = NEVER if kind in waiting else number

    def record(self) -> list[object]:
        sent = self.sent[1:]
        marks = self.offered, self.reissued, self.waiting, self.counted, self.unsettled
        return [self.board, self.number, *sent, *marks]

    @classmethod
    def from_record(cls, record: list[object]) -> Lane:
        lane = cls(record[0])  # type: ignore[arg-type]
        lane.number = record[1]  # type: ignore[assignment]
        lane.sent = [HAS, *record[2:-5]]  # type: ignore[list-item]
        lane.offered, lane.reissued, lane.waiting, lane.counted, lane.unsettled = record[-5:]  # type: ignore[assignment]
        return lane
