"""How far a neighbour's clock is off this one, and what follows (PROTOCOL.md 13).

HELLO tells a clock one way: its delay looks like skew. So each side asks at once by PING, and then from time to time;
the answer CLOCK names the other's time somewhere between our two, half the round trip at most from their middle. A
measurement takes the place of one that was less exact, or that it contradicts: then somebody set a clock.
"""

from __future__ import annotations

from enum import IntEnum

from mesh.board import Board
from mesh.ledger import Ledger
from mesh.messages import Clock, Ping, Type, encode


class Skew(IntEnum):
    """What a skew leads to."""

    FINE = 0
    ALARMING = 1
    REFUSED = 2


class Clocks:
    """The clocks of the neighbours of one agent."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def greeted(self, board: Board, theirs_ms: int, now_ms: int) -> None:
        """A new link: the peer's HELLO told its clock; ask for it properly."""
        board.skew_ms, board.skew_error_ms = theirs_ms - now_ms, None
        self._judge(board)
        self.ask(board, now_ms)

    def ask(self, board: Board, now_ms: int) -> None:
        """Ask for a sign of life, and the time."""
        board.pinged_ms = now_ms
        self._ledger.effects.send.setdefault(board.id, []).append(encode(Type.PING, Ping(now_ms)))

    def measured(self, board: Board, clock: Clock, now_ms: int) -> bool:
        """The peer answered the PING that named our time by naming its own.

        Returns:
            Whether something else follows from its skew now.
        """
        sent_ms = clock.token
        if sent_ms != board.pinged_ms or sent_ms > now_ms:
            return False
        skew_ms, error_ms = clock.now_ms - (sent_ms + now_ms) // 2, (now_ms - sent_ms + 1) // 2
        before = board.skew_error_ms
        if before is not None and error_ms > before and abs(skew_ms - board.skew_ms) <= error_ms + before:
            return False
        board.skew_ms, board.skew_error_ms = skew_ms, error_ms
        return self._judge(board)

    def why_refused(self, board: Board) -> str:
        """Why the peer is given no credit for its clock; "" if it is."""
        if self._level(board) is not Skew.REFUSED:
            return ""
        apart = abs(board.skew_ms) / 1000
        return f'the clocks of "{self._ledger.name}" and "{board.name}" are {apart:.0f} s apart: set them right'

    def _level(self, board: Board) -> Skew:
        limits = self._ledger.limits
        # What is certain of it: the rest may be the way.
        off_ms = abs(board.skew_ms) - (board.skew_error_ms or 0)
        if off_ms > limits.skew_refuse_s * 1000:
            return Skew.REFUSED
        return Skew.ALARMING if off_ms > limits.skew_alarm_s * 1000 else Skew.FINE

    def _judge(self, board: Board) -> bool:
        level, before = self._level(board), board.skew_level
        board.skew_level = level
        if level > before:
            more = ": no jobs pass between them" if level is Skew.REFUSED else ""
            self._ledger.alarm(f'the clock of "{board.name}" is {abs(board.skew_ms) / 1000:.0f} s off this one{more}')
        return (level == Skew.REFUSED) is not (before == Skew.REFUSED)
