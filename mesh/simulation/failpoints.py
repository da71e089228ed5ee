"""Assertions at the boundaries between two effects: what is sent, started or answered is durable by then (rule R1).

Each looks at the agent's disk, not at its engine: the engine's own idea of what is committed is what is being tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grammar.errors import MeshError
from mesh.board import Board, BoardRow
from mesh.effects import Batch, Effects, Start
from mesh.errors import FactError
from mesh.facts import Fact, Kind, decode, short_text
from mesh.lifecycle import TERMINAL, Role, State
from mesh.limits import Limits
from mesh.messages import END, Ack, FactMessage, Hello, Message
from mesh.positions import Incarnations
from mesh.row import Row
from mesh.simulation.blob_points import BlobPoints, sound
from mesh.simulation.disk import (
    Disk,
    attempt_of,
    doubts,
    end_number,
    end_sent,
    facts_of,
    home_of,
    lane_of,
    request_of,
    role_of,
    state_of,
    version_of,
)
from mesh.simulation.excuses import Excuses
from mesh.simulation.history import History

AT_ONCE_MS: Final = 1_000
"""Within this time a revoked key has no link any more, and starts nothing."""


class Failpoints:
    """The assertions of one agent: `name` on `disk`."""

    def __init__(self, name: str, disk: Disk, limits: Limits, history: History) -> None:
        self.name = name
        self.disk = disk
        self._limits = limits
        self._history = history
        self._excuses = Excuses(history)
        self._flight: dict[int, dict[int, None]] = {}
        self._replaced: dict[int, dict[bytes, None]] = {}
        self._noticed: dict[int, list[bytes]] = {}
        self._blobs = BlobPoints(self._broken)

    def _broken(self, rule: str, sentence: str) -> None:
        self._history.problem(rule, f"{self.name} {sentence}")

    # -- before a commit ----------------------------------------------------------------------------------------

    def committing(self, effects: Effects, now_ms: int) -> None:
        """A step is about to become durable."""
        batch = effects.batch
        for start in effects.start:
            held = self.disk.by_id.get(start.job_id)
            if held is not None and state_of(held) is State.DELETED and not self._is_forgotten(start.job_id):
                self._broken("10", f"starts {short_text(start.job_id)}, whose Delete was durable")
        for row in batch.rows:
            for number in (row.up_number, row.down_number):
                if number and self.disk.records.get(number, (row.id,))[0] != row.id:
                    self._broken("14", f"gave the number {number} to a second job")
            if role_of(row) is Role.ORIGIN and not row.live:
                self._history.home.add(row.id)
            elif row.up_board in self.disk.boards and not row.live:
                above = self.disk.boards[row.up_board]
                self._history.outcomes.setdefault((self.name, above.name, above.zone), {})[row.id] = end_number(row)
            before = self.disk.by_id.get(row.id)
            if before is None:
                continue
            # A damaged tombstone comes back from a neighbour, if that one had it yet, and did not forget it.
            forgotten = row.id in self.disk.damaged
            if state_of(before) is State.DELETED and state_of(row) is not State.DELETED and not forgotten:
                self._broken("10", f"brought the deleted {short_text(row.id)} back to {state_of(row)}")
        for board in batch.boards:
            self._replaced.setdefault(board.id, {}).update(dict.fromkeys(self._noticed.pop(board.id, ())))
            self._coming_home(board, batch.rows)
        if batch.collect_ms is not None:
            self._collecting(batch, now_ms)

    def _is_forgotten(self, job_id: bytes) -> bool:
        """What is damaged here comes back from an agent that lost what it knew of it."""
        others = [name for name in self._path(job_id) if name != self.name]
        return job_id in self.disk.damaged and any(map(self._excuses.lost, others))

    def _coming_home(self, board: BoardRow, rows: Sequence[Row]) -> None:
        """What is taken to be home has been at its origin (R7); an end that the agent above brought itself is its own
        to bring there."""
        before, after = home_of(self.disk.boards.get(board.id)), home_of(board)
        if after <= before:
            return
        written = {row.seq: row for row in rows}
        # What is damaged does not go up before a neighbour, who is asked first, has given it back.
        whole = (row for row in self.disk.rows.values() if row.id not in self.disk.damaged and row.seq not in written)
        for row in (*whole, *rows):
            if row.up_board != board.id or not before < end_sent(row) <= after:
                continue
            excuses = self._excuses
            excused = excuses.crosses(self._path(row.id)) or excuses.rejected_twice(self.name, facts_of(row))
            if row.id not in self._history.home and not excused:
                self._broken("R7", f"takes {short_text(row.id)} to be home by way of {board.name}, and it is not")

    def _collecting(self, batch: Batch, now_ms: int) -> None:
        # A twin collects, and what is gone from it has to be past its horizon at true time, less what the clock is off.
        twin = self.disk.copy()
        twin.apply([Batch(collect_ms=batch.collect_ms)])
        slack_ms = 60_000
        for row in self.disk.rows.values():
            if row.seq in twin.rows or row.facts is None:
                continue
            request = request_of(self.disk.by_id[row.id])
            horizon_ms = int(self._limits.horizon_s * 1000)
            if request is not None and now_ms + slack_ms < request.expires_ms + horizon_ms:
                self._broken("11", f"collects {short_text(row.id)}, which could still be accepted")

    def durable(self, rows: Sequence[Row], now_ms: int) -> None:
        """Rows became durable, though the agent may stop or die before it can act on that: a job is put from now on."""
        for row in rows:
            if role_of(row) is Role.ORIGIN:
                told = self._history.of(row.id)
                told.put_ms = told.put_ms or now_ms
                request = None if told.path else request_of(row)
                if request is not None:
                    told.path, told.zone = request.path, request.zone
                state = state_of(row)
                if state in TERMINAL and state is not State.DELETED:
                    told.durable.append(state)
                    told.doubted = told.doubted or doubts(row)

    def committed(self, rows: Sequence[Row]) -> None:
        """Rows are durable: whoever looks sees them, and a caller at the origin is told of an end."""
        for row in rows:
            state = state_of(row)
            self._history.observe(self.name, row.id, state, version_of(row))
            if role_of(row) is Role.ORIGIN:
                self._history.tell(row.id, state)

    # -- after it -----------------------------------------------------------------------------------------------

    def sending(self, board_id: int, peer: str, messages: Sequence[Message]) -> None:
        """Messages leave for a peer (13)."""
        for message in messages:
            match message:
                case FactMessage():
                    self._sending_fact(board_id, peer, message)
                case Ack():
                    self._acknowledging(board_id, peer, message)
                case Hello():
                    self._flight[board_id] = {}
                    reached = self.disk.reached.get(board_id, 0)
                    if message.received is not None and message.received[1] > reached:  # type: ignore[operator]
                        self._broken("13", f"greets with {message.received[1]}, and has committed {reached}")
                case _:
                    self._blobs.sending(self.disk, board_id, message)

    def arrived(self, board_id: int, messages: Sequence[Message]) -> None:
        """Messages of a peer came: what it acknowledges is no longer in flight."""
        for message in messages:
            self._blobs.arrived(self.disk, board_id, message)
            if isinstance(message, Ack):
                flight = self._flight.get(board_id, {})
                for number in [number for number in flight if number <= message.received]:
                    del flight[number]

    def connected(self, board: Board, before: bytes | None, hello: Hello) -> None:
        """A peer greeted. A store that a later one of its replaced here is a clone, and not let in (14).

        Args:
            before: the opening of the peer's store that was known here, None during a full exchange.
        """
        if not board.open:
            return
        theirs = Incarnations.heard(hello.incarnations)
        if theirs.current in self._replaced.get(board.id, {}):
            self._broken("14", f"lets {board.name} in with a store that a later one replaced")
        if before and board.exchanging and not hello.exchanging and before not in theirs.names():
            self._noticed.setdefault(board.id, []).append(before)

    def died(self) -> None:
        """What was noticed and not committed is forgotten with the agent's memory."""
        self._noticed.clear()

    def forget(self) -> None:
        """The disk is another one: what was known of the peers' stores is lost with it."""
        self._replaced.clear()

    def _acknowledging(self, board_id: int, peer: str, ack: Ack) -> None:
        committed = self.disk.numbers.get(board_id, 0)
        if ack.received > committed:
            self._broken("13", f"acknowledges {ack.received} and has committed {committed}")
        for number, reason, detail in ack.refused:
            if (board_id, number) not in self.disk.refused:
                self._broken("13", f"refuses {number} and has not committed that")
            if reason not in self._history.usual and self._history.is_whole:
                self._broken("R3", f"refuses what an honest peer sent: {reason}: {detail}")
        if self._history.is_whole:
            zone = self.disk.boards[board_id].zone
            for job_id, number in self._history.outcomes.get((peer, self.name, zone), {}).items():
                # Revoking a peer counts as its acknowledgement (R6): what it was to have is as good as home.
                away = job_id not in self._history.home and not self._excuses.crosses(self._path(job_id))
                if 0 < number <= ack.home and away:
                    self._broken("R7", f"says that {short_text(job_id)} is home, and it is not")

    def _path(self, job_id: bytes) -> list[str]:
        told = self._history.told.get(job_id)
        return [] if told is None else told.path.split(".")

    def _sending_fact(self, board_id: int, peer: str, message: FactMessage) -> None:
        flight = self._flight.setdefault(board_id, {})
        flight[message.number] = None
        if len(flight) > self._limits.window_records:
            self._broken("R12", f"has {len(flight)} records in flight to {peer}")
        holder, facts = self.disk.records.get(message.number, (b"", b""))
        try:
            fact = decode(message.kind, message.body, message.proof)
        except FactError:
            self._broken("23", f"sends what is no fact, of {short_text(holder)}")
            return
        self._blobs.naming(self.disk, board_id, message, fact)
        row = self.disk.by_id.get(fact.job_id)
        if row is None or holder != fact.job_id or message.body not in facts:
            self._not_durable(message.number, fact, row, holder)
            if row is None:
                return
        if fact.kind is Kind.REQUEST and row.down_board == board_id and message.flags & END and row.live:
            lane = lane_of(row, board_id)
            if lane is None or not lane.offered:
                self._broken("R6", f"offers {short_text(fact.job_id)}, and that is not durable")
            self._crediting(peer, row)

    def _not_durable(self, number: int, fact: Fact, row: Row | None, holder: bytes) -> None:
        short = short_text(fact.job_id)
        if holder in self.disk.damaged:
            self._broken("23", f"serves the {fact.kind.name} of {short_text(holder)} from a damaged row")
        elif row is None:
            self._broken("13", f"sends {short}, which is not durable")
        elif holder != fact.job_id:
            self._broken("13", f"sends {short} as {number}, which is not durable")
        else:
            self._broken("13", f"sends the {fact.kind.name} of {short}, which is not durable")

    def _crediting(self, peer: str, row: Row) -> None:
        same = (row.down_board, row.down_branch)
        offered = [one for one in self.disk.rows.values() if one.live and (one.down_board, one.down_branch) == same]
        out = sum(1 for one in offered if not one.waiting)
        if out > self._limits.credit_jobs and self._history.is_whole:
            self._broken("R13", f"has {out} unfinished jobs at {peer}, which takes {self._limits.credit_jobs}")

    def starting(self, start: Start, now_ms: int) -> None:
        """A handler is about to start: its attempt is durable (R8), and its origin's key was not revoked (20)."""
        row = self.disk.by_id.get(start.job_id)
        if row is None or attempt_of(row) < start.attempt:
            self._broken("R8", f"starts attempt {start.attempt} of {short_text(start.job_id)}, which is not durable")
            return
        # A job that ended in the same commit needs no bytes; its handler is stopped.
        named = request_of(row) if row.live else None
        if named is not None and named.payload is not None and not sound(self.disk, start.job_id, named):
            self._broken("R14", f"starts {short_text(start.job_id)} without its payload")
        for revoked in self._history.revoked:
            request = request_of(row)
            assert request is not None, "what starts is live, and has its Request"
            came = request.path.startswith(f"{revoked.whom}.") and request.zone == revoked.zone
            if came and revoked.by == self.name and now_ms > revoked.at_ms + AT_ONCE_MS:
                self._broken("20", f"starts {short_text(start.job_id)} of {revoked.whom}, whose key it has revoked")

    def replying(self, result: bytes | MeshError) -> None:
        """A caller is about to be answered (1)."""
        if not isinstance(result, MeshError) and result not in self.disk.by_id:
            self._broken("1", f"acknowledges {short_text(result)}, which is not durable")
