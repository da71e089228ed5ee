"""Signs of life on the links: quiet ones are asked for one, dead ones are given up (rule R11)."""

from __future__ import annotations

from typing import Final

from mesh.board import Board
from mesh.clocks import Clocks
from mesh.greeting import Greeting
from mesh.ledger import Ledger

CLOCK_PINGS: Final = 6
"""Times `ping_s` after which a link that is not quiet is asked for the time again."""


class Liveness:
    """Looks after the links of one agent; only received traffic counts."""

    def __init__(self, ledger: Ledger, greeting: Greeting, clocks: Clocks) -> None:
        self._ledger = ledger
        self._greeting = greeting
        self._clocks = clocks

    def next_deadline_ms(self) -> int | None:
        """When a link may have to be asked for a sign of life, or given up: never too late, maybe too early."""
        return self._greeting.watch_ms

    def watch(self, now_ms: int) -> None:
        """Ping quiet links and give up dead ones."""
        limits, watch_ms = self._ledger.limits, self._greeting.watch_ms
        ping, dead = int(limits.ping_s * 1000), int(limits.dead_s * 1000)
        if watch_ms is None or now_ms < watch_ms <= now_ms + ping:
            return
        times = []
        for board in self._ledger.boards.values():
            if not board.open:
                continue
            # Never later than now, but for a clock that was set back.
            board.heard_ms, board.pinged_ms = min(board.heard_ms, now_ms), min(board.pinged_ms, now_ms)
            if now_ms >= board.heard_ms + dead:
                self._greeting.refuse(board, f"nothing heard for {limits.dead_s:.0f} s")
                continue
            if now_ms >= _next_ping_ms(board, ping):
                self._clocks.ask(board, now_ms)
            times.append(min(_next_ping_ms(board, ping), board.heard_ms + dead))
        self._greeting.watch_ms = min(times, default=None)


def _next_ping_ms(board: Board, ping_ms: int) -> int:
    # Also on a link that is never quiet, though seldom: the answer tells the peer's clock.
    return min(max(board.heard_ms, board.pinged_ms) + ping_ms, board.pinged_ms + CLOCK_PINGS * ping_ms)
