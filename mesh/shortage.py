"""What an agent does while its store has no room for more jobs (rule R10).

It says so, refuses new jobs, collects what may go, and asks the store again from time to time: the store looks for room
with every commit, so a commit that collects is the question, too.
"""

from __future__ import annotations

from mesh.greeting import Greeting
from mesh.ledger import Ledger
from mesh.room import Room, why_none


class Shortage:
    """The want of room at one agent, if there is one."""

    def __init__(self, ledger: Ledger, greeting: Greeting) -> None:
        self._ledger = ledger
        self._greeting = greeting
        self._retry_ms: int | None = None

    def told(self, room: Room, now_ms: int) -> None:
        """The store says what room it has: refuse new jobs, or take them again, here and from every peer."""
        ledger = self._ledger
        if room is ledger.room:
            return
        ledger.room = room
        for board in ledger.boards.values():
            if board.open:
                self._greeting.give_credit(board)
        if room is Room.ENOUGH:
            self._retry_ms = None
            return
        ledger.alarm(f"{why_none(room, ledger.name)}: no new jobs are taken until there is room, only what ends others")
        self._look_again(now_ms)

    def next_deadline_ms(self) -> int | None:
        """When to ask the store again."""
        return self._retry_ms

    def tick(self, now_ms: int) -> None:
        """Collect, and so ask the store again, when it is time."""
        retry_ms = self._retry_ms
        # A clock that was set back must not put it off.
        if retry_ms is not None and not now_ms < retry_ms <= now_ms + int(self._ledger.limits.room_s * 1000):
            self._look_again(now_ms)

    def _look_again(self, now_ms: int) -> None:
        self._ledger.effects.batch.collect_ms = now_ms
        self._retry_ms = now_ms + int(self._ledger.limits.room_s * 1000)
