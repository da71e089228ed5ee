"""What must hold after a simulated run, whatever happened in it.

`violations(run)` is called once the mesh was healed and has settled. Every sentence starts with the number of the
invariant, or the name of the delivery rule, that is broken:

1   an acknowledged job is there; 2 it is over, everywhere;
3   no handler was started again but after a death of its agent, and a `charge` had its effect once;
4   only the destination started it, and its Outcome is under the key that the Request names;
5   one Outcome, the same bytes everywhere; 6 callers were told one final state;
7   no caller was told a failure of what happened, unless the answer says that its effect is unknown;
9   both sides of every board hold the same facts; 10 a deleted job is alive nowhere;
12  nothing started after its time; 14 a store that lost something raised the alarm, and no other did;
R   nothing is left in windows, counts, refusals, slots and exchanges.

A lost or restored store excuses what the invariants say that it excuses, and nothing else. What is wrong while it
happens (8, 10, 11, 13, 15 and more) comes from `history` and `failpoints`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from mesh.blobs import Key, name_blob
from mesh.errors import CorruptRow
from mesh.facts import Kind, blob_of, short_text
from mesh.job import Job
from mesh.lifecycle import State
from mesh.simulation.blob_points import whole
from mesh.simulation.history import Told
from mesh.simulation.host import Host
from mesh.simulation.program import CHARGE
from mesh.simulation.simulation import Simulation
from mesh.simulation.wires import GREETING_MS

PATIENCE_MS: Final = 1_000
"""How long after its decision a handler may start: its commit comes first."""
LOST: Final = "lost what the other side had committed"
TWO: Final = "two outcomes"
CLOCK: Final = "the clock of"


def violations(run: Simulation) -> list[str]:
    """Everything that should not be, as sentences; empty when all is well."""
    return [*run.history.problems, *_Verdict(run).sentences()]


def disagreements(run: Simulation) -> list[str]:
    """Where two neighbours differ over a job though nothing is under way between them (9); jobs may still be live."""
    verdict = _Verdict(run)
    found: list[str] = []
    for wire in run.wires.all:
        if all(run.hosts[name].is_level for name in wire.ends):
            found += verdict.differences(*wire.ends)
    return found


class _Verdict:
    def __init__(self, run: Simulation) -> None:
        self._run = run
        self._history = run.history
        self._held: dict[str, dict[bytes, Job]] = {}
        self._unread: list[str] = []
        for name, host in run.hosts.items():
            try:
                # One that has just died, by a bug of its own or by chance, is asked when it is back.
                self._held[name] = host.jobs() if host.up else {}
            except CorruptRow as error:
                self._held[name] = {}
                self._unread.append(f"23: {name}: {error.message}")

    def sentences(self) -> Iterator[str]:
        yield from self._unread
        if down := [name for name, host in self._run.hosts.items() if not host.up]:
            yield f"2: {', '.join(down)} fell over though nothing was done to it any more"
            return
        for job_id, told in self._history.told.items():
            if told.path:
                yield from self._callers(job_id, told)
        for job_id in dict.fromkeys(job_id for jobs in self._held.values() for job_id in jobs):
            yield from self._copies(job_id)
        for (origin, key), ids in self._history.keys.items():
            if len(ids) > 1 and not self._history.lost_at([origin]):
                yield f'4: {origin} made {len(ids)} jobs for the key "{key}"'
        yield from self._neighbours()
        yield from self._alarms()
        for host in self._run.hosts.values():
            if host.up:
                yield from _leftovers(host)
            else:
                yield f"2: {host.name}: the agent does not come up again"

    # -- one job, as its callers see it -------------------------------------------------------------------------

    def _callers(self, job_id: bytes, told: Told) -> Iterator[str]:
        names = told.path.split(".")
        short = f"{short_text(job_id)} ({told.path})"
        lost = set(self._history.lost_at(names, told.put_ms))
        mine = self._held[names[0]].get(job_id)
        if mine is None:
            if told.acknowledged and names[0] not in lost:
                yield f"1: {short} is lost at its origin"
            return
        if told.deleted and mine.state is not State.DELETED and names[0] not in lost:
            yield f"10: the deleted {short} is {mine.state} at its origin"
        final = [state for state in told.states if state is not State.DELETED]
        # Told ahead of the commit by an origin that then died, while the destination went back to an older copy: what
        # is told later says that the effect is unknown (or both outcomes met, and were flagged).
        unknown = mine.outcome is not None and mine.outcome.unknown_effect
        excused = names[-1] in lost and (unknown or self._flagged(job_id))
        if len(final) > 1 and names[0] not in lost and not excused:
            yield f"6: the caller of {short} was told {', '.join(final)}"
        yield from self._effect(job_id, told, names, mine)

    def _effect(self, job_id: bytes, told: Told, names: list[str], mine: Job) -> Iterator[str]:
        history, short = self._history, f"{short_text(job_id)} ({told.path})"
        happened = history.effects[job_id]
        spared = names[-1] in history.lost_at(names, told.put_ms)
        if mine.facts[Kind.REQUEST] is not None:
            charge = mine.request.instruction == CHARGE
            if happened > 1 and not spared:
                yield f"3: {short} had its effect {happened} times"
            if charge and history.starts[job_id] > 1 and not spared:
                yield f"3: {short} is not idempotent and was started {history.starts[job_id]} times"
            if history.first_start_ms.get(job_id, 0) > mine.request.expires_ms + PATIENCE_MS:
                yield f"12: {short} was started after its time"
        if history.starts[job_id] > 1 + history.deaths[job_id] and not spared:
            yield f"3: {short} was started {history.starts[job_id]} times in {history.deaths[job_id]} deaths"
        if State.COMPLETE in told.states and not happened:
            yield f"3: the caller of {short} was told that it is complete, and it had no effect"
        outcome = mine.outcome
        failed = mine.state in (State.ERROR, State.EXPIRED, State.CANCELLED, State.REJECTED)
        # What a destination did and lost before its neighbour had heard of it, nobody can know (14).
        forgot = any(
            loss.name == names[-1] and loss.lost_ms >= told.put_ms and names[-2] not in loss.noticed_by
            for loss in history.losses
        )
        if happened and failed and not forgot and not (outcome is not None and outcome.unknown_effect):
            yield f"7: the caller of {short} was told {mine.state}, and its effect happened"

    # -- one job, everywhere ------------------------------------------------------------------------------------

    def _copies(self, job_id: bytes) -> Iterator[str]:
        copies = {name: jobs[job_id] for name, jobs in self._held.items() if job_id in jobs}
        short = short_text(job_id)
        for name, job in copies.items():
            if job.live:
                yield f"2: {short} is still {job.state} at {name}, its {job.role}"
        whole = next((job for job in copies.values() if job.facts[Kind.REQUEST] is not None), None)
        if whole is None:
            return
        names = whole.place.names
        for name in self._history.started_by.get(job_id, ()):
            if name != names[-1]:
                yield f"4: {short} was started at {name}"
        outcomes = [fact for job in copies.values() if (fact := job.facts[Kind.OUTCOME]) is not None]
        destination = self._run.hosts[names[-1]].peer_row.fingerprint
        yield from self._bytes_of(short, copies, names)
        if any(fact.content.signer != destination for fact in outcomes):  # type: ignore[union-attr]
            yield f"4: {short} has an outcome that its destination did not sign"
        several = len({fact.body for fact in outcomes}) > 1
        if several and not (names[-1] in self._history.lost_at(list(names)) and self._flagged(job_id)):
            yield f"5: {short} has {len({fact.body for fact in outcomes})} outcomes"
        horizon_ms = whole.request.expires_ms + int(self._run.limits.horizon_s * 1000)
        if not several and self._run.world.now_ms < horizon_ms:
            yield from self._sides(short, copies, names)

    def _bytes_of(self, short: str, copies: dict[str, Job], names: tuple[str, ...]) -> Iterator[str]:
        """Large results: what the origin has is what the destination signed, and it has it (5)."""
        origin = copies.get(names[0])
        outcome = None if origin is None else origin.outcome
        name = None if outcome is None else blob_of(outcome)
        if origin is None or name is None:
            return
        held = origin.holding >> Kind.OUTCOME & 1
        if (
            held
            and name_blob(whole(self._run.hosts[names[0]].disk, Key(origin.id, Kind.OUTCOME, name.hash))).name != name
        ):
            yield f"5: the result of {short} is not what its destination signed"
        if not held and not self._history.lost_at(list(names)):
            yield f"5: the result of {short} is lost, and no store was"

    def differences(self, one: str, other: str) -> Iterator[str]:
        """Jobs of which two neighbours hold different facts."""
        mine, theirs = self._held[one], self._held[other]
        for job_id in [job_id for job_id in mine if job_id in theirs]:
            names = mine[job_id].place.names
            beside = one in names and other in names and abs(names.index(one) - names.index(other)) == 1
            if beside and _differ(mine[job_id], theirs[job_id]) and not self._flagged(job_id):
                kinds = f"{one} has {_kinds(mine[job_id])}, {other} has {_kinds(theirs[job_id])}"
                yield f"9: of the live {short_text(job_id)} {kinds}"

    def _sides(self, short: str, copies: dict[str, Job], names: tuple[str, ...]) -> Iterator[str]:
        for above, below in pairwise(names):
            upper, lower = copies.get(above), copies.get(below)
            if upper is None and lower is not None:
                yield f"9: {below} holds {short}, and {above} does not"
            elif upper is not None and lower is None:
                if upper.down is not None and upper.down.offered:
                    yield f"9: {above} offered {short}, and {below} does not hold it"
            elif upper is not None and lower is not None and _differ(upper, lower):
                yield f"9: of {short} {above} has {_kinds(upper)}, {below} has {_kinds(lower)}"

    def _flagged(self, job_id: bytes) -> bool:
        return any(TWO in alarm.text and short_text(job_id) in alarm.text for alarm in self._history.alarms)

    # -- stores and alarms --------------------------------------------------------------------------------------

    def _alarms(self) -> Iterator[str]:
        history = self._history
        for loss in history.losses:
            for peer in sorted(loss.noticed_by):
                if history.lost_at([peer], loss.lost_ms):
                    # The peer lost what it remembered, before or after it said so.
                    continue
                pair = ((loss.name, peer), (peer, loss.name))
                if not any(
                    alarm.at_ms >= loss.lost_ms and LOST in alarm.text and (alarm.name, other) in pair
                    for alarm in history.alarms
                    for other in (alarm.text.rpartition('with "')[2].rstrip('"'),)
                ):
                    yield f"14: {loss.name} lost what {peer} had committed, and nobody noticed"
        for alarm in history.alarms:
            near = [alarm.name, *(wire.other(alarm.name) for wire in self._run.wires.at(alarm.name))]
            befell = [loss for loss in history.losses if loss.lost_ms <= alarm.at_ms]
            if LOST in alarm.text:
                justified = any(loss.name in near for loss in befell)
            elif CLOCK in alarm.text:
                justified = self._skewed(alarm.name)
            else:
                justified = bool(befell)
            if not justified:
                yield f"14: {alarm.name} raised a false alarm: {alarm.text}"

    def _skewed(self, name: str) -> bool:
        if self._run.faults.step_ms:
            return True
        # A greeting that was long on its way makes a clock look late.
        mine, limit_ms = self._run.hosts[name].skew_ms, self._run.limits.skew_alarm_s * 1000 - GREETING_MS
        return any(
            abs(self._run.hosts[wire.other(name)].skew_ms - mine) > limit_ms for wire in self._run.wires.at(name)
        )

    # -- boards -------------------------------------------------------------------------------------------------

    def _neighbours(self) -> Iterator[str]:
        for wire in self._run.wires.all:
            for name in wire.ends:
                peer = wire.other(name)
                if not wire.up or not self._run.hosts[name].board(peer).open:
                    yield f"R11: {name} has no link to {peer}"
                    continue
                board, theirs = self._run.hosts[name].board(peer), self._run.hosts[peer].board(name)
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
                if board.inbox.away or board.inbox.strays:
                    yield f"R7: what {name} has of {peer} never comes home"
                for branch in board.offered.keys() | theirs.accepted.keys() | board.waiting.keys():
                    counts = [side.get(branch, 0) for side in (board.offered, theirs.accepted, board.waiting)]
                    yield f"R13: {name} counts {counts} jobs of branch {branch} to {peer}, and all are over"


def _leftovers(host: Host) -> Iterator[str]:
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
    destination = host.engine.destination
    if destination.running or destination.suspects or any(destination.ready.values()):
        yield f"R8: handlers or jobs are left at {host.name}, and all are over"


def _differ(upper: Job, lower: Job) -> bool:
    if upper.facts[Kind.REQUEST] is None or lower.facts[Kind.REQUEST] is None:
        return False
    return {(fact.kind, fact.body) for fact in upper.facts if fact is not None} != {
        (fact.kind, fact.body) for fact in lower.facts if fact is not None
    }


def _kinds(job: Job) -> str:
    return " ".join(fact.kind.name.lower() for fact in job.facts if fact is not None)
