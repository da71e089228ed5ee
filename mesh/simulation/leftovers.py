"""What a healed and settled mesh must not leave: alarms missing or false, boards, windows, counts and slots not empty.

14  a store that lost something raised the alarm, and no other did;
R   nothing is left in windows, counts, refusals, slots and exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mesh.facts import Kind, short_text
from mesh.simulation.excuses import LOST, TWO, Excuses, is_damage, told_of_loss
from mesh.simulation.history import Alarm
from mesh.simulation.host import Host
from mesh.simulation.simulation import Simulation
from mesh.simulation.wires import GREETING_MS, Wire

CLOCK: Final = "the clock of"
FULL: Final = "no new jobs are taken"
CLONE: Final = "a clone"


def leftovers(run: Simulation) -> Iterator[str]:
    """Everything of the kind, as sentences."""
    return _Leftovers(run).sentences()


class _Leftovers:
    def __init__(self, run: Simulation) -> None:
        self._run = run
        self._history = run.history
        self._excuses = Excuses(run.history)
        # A job whose path was cut by a revocation may never come home, or give its credit back.
        self._open_ended = any(self._excuses.crosses(told.path.split(".")) for told in run.history.told.values())

    def sentences(self) -> Iterator[str]:
        for wire in self._run.wires.all:
            if not wire.revoked:
                for name in wire.ends:
                    yield from self._board(wire, name)
        yield from self._losses()
        for alarm in self._history.alarms:
            if not self._justified(alarm):
                yield f"14: {alarm.name} raised a false alarm: {alarm.text}"
        for host in self._run.hosts.values():
            yield from self._slots(host)

    # -- alarms -------------------------------------------------------------------------------------------------

    def _losses(self) -> Iterator[str]:
        history = self._history
        for loss in history.losses:
            for peer in sorted(loss.noticed_by):
                if history.lost_at([peer], loss.lost_ms) or self._excuses.parted(loss.name, peer):
                    # The peer lost what it remembered, before or after it said so; or they never meet again.
                    continue
                pair = ((loss.name, peer), (peer, loss.name))
                # Of two clones the first one may be noticed while the second still runs.
                since_ms = loss.copied_ms if loss.name in history.clones else loss.lost_ms
                if not any(
                    alarm.at_ms >= since_ms and alarm.name == one and told_of_loss(alarm.text, other)
                    for alarm in history.alarms
                    for one, other in pair
                ):
                    yield f"14: {loss.name} lost what {peer} had committed, and nobody noticed"

    def _justified(self, alarm: Alarm) -> bool:
        history, name = self._history, alarm.name
        near = [name, *(wire.other(name) for wire in self._run.wires.at(name))]
        befell = any(loss.lost_ms <= alarm.at_ms for loss in history.losses) or bool(history.clones)
        if LOST in alarm.text:
            return any(loss.name in near and loss.lost_ms <= alarm.at_ms for loss in history.losses) or any(
                one in history.clones for one in near
            )
        if FULL in alarm.text:
            return bool(history.faults["full"])
        if CLONE in alarm.text:
            return any(one in history.clones for one in near)
        if CLOCK in alarm.text:
            return self._skewed(name)
        if is_damage(alarm.text):
            return any(at == name for at, _ in history.damages)
        if TWO in alarm.text:
            return befell or bool(history.damages)
        return befell or bool(history.damages) or bool(history.revoked) or bool(self._run.smugglers)

    def _skewed(self, name: str) -> bool:
        if self._run.faults.step_ms or self._history.faults["clocks"]:
            return True
        # A greeting that was long on its way makes a clock look late.
        mine, limit_ms = self._run.hosts[name].skew_ms, self._run.limits.skew_alarm_s * 1000 - GREETING_MS
        return any(
            abs(self._run.hosts[wire.other(name)].skew_ms - mine) > limit_ms for wire in self._run.wires.at(name)
        )

    # -- boards and slots ---------------------------------------------------------------------------------------

    def _board(self, wire: Wire, name: str) -> Iterator[str]:
        peer = wire.other(name)
        if not wire.up or not self._run.hosts[name].board(wire).open:
            yield f"R11: {name} has no link to {peer}"
            return
        board, theirs = self._run.hosts[name].board(wire), self._run.hosts[peer].board(wire)
        if board.exchanging:
            yield f"R4: {name} never ends its full exchange with {peer}"
        elif not board.proved:
            yield f"R5: {name} never proves itself to {peer}"
        if board.outbox.flight or board.outbox.behind:
            yield f"R3: {peer} never acknowledges what {name} sent it"
        if board.inbox.refused:
            yield f"R3: {peer} never confirms what {name} refused"
        if board.parked or board.awaited:
            yield f"R3: {name} never takes what {peer} sent it"
        if self._open_ended:
            return
        if board.inbox.away or board.inbox.strays:
            yield f"R7: what {name} has of {peer} never comes home"
        for branch in board.offered.keys() | theirs.accepted.keys() | board.waiting.keys():
            counts = [side.get(branch, 0) for side in (board.offered, theirs.accepted, board.waiting)]
            if any(self._run.hosts[end].disk.damaged for end in (name, peer)):
                # A damaged row that nobody has read is counted, from its columns.
                continue
            yield f"R13: {name} counts {counts} jobs of branch {branch} to {peer}, and all are over"

    def _slots(self, host: Host) -> Iterator[str]:
        if host.engine is None:
            yield f"2: {host.name}: the agent does not come up again"
            return
        # A blob of a job that nobody can end, or whose row is damaged, may stay.
        if not self._open_ended and not host.disk.damaged:
            yield from _blobs(host)
        destination = host.engine.destination
        if destination.running or destination.suspects or any(destination.ready.values()):
            yield f"R8: handlers or jobs are left at {host.name}, and all are over"


def _blobs(host: Host) -> Iterator[str]:
    assert host.engine is not None
    blobs = host.engine.ledger.blobs
    if blobs.owing or any(one.due or one.open or one.held for one in blobs.to.values()):
        yield f"R14: {host.name} never sends what it owes"
    if blobs.arriving or any(not blob.named for blob in host.disk.blobs.values()):
        yield f"R14: {host.name} keeps bytes that no fact names"
    for blob in host.disk.blobs.values():
        if blob.job not in host.disk.by_id:
            yield f"R14: {host.name} keeps bytes of {short_text(blob.job)}, which it does not know"
        elif blob.kind == Kind.REQUEST and blob.board:
            yield f"R14: {host.name} keeps the payload of {short_text(blob.job)}, which is over"
