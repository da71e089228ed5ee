"""What must hold after a simulated run, whatever happened in it.

`violations(run)` is called once the mesh was healed and has settled. Every sentence starts with the number of the
invariant, or the name of the delivery rule, that is broken:

1   an acknowledged job is there; 2 it is over, everywhere;
3   no handler was started again but after a death of its agent, and a `charge` had its effect once;
4   only the destination started it, and its Outcome is under the key that the Request names;
5   one Outcome, the same bytes everywhere; 6 callers were told one final state;
7   no caller was told a failure of what happened, unless the answer says that its effect is unknown;
9   both sides of every board hold the same facts; 10 a deleted job is alive nowhere;
12  nothing started after its time; 18 no job is held by an agent, or on a board, outside its zone;
23  every row can be read, or was damaged by the run;
R8  a job ends as poisoned if, and only if, it killed its agent while it ran alone.

What is left over on boards, and alarms that were missing or false (14, R), is in `leftovers`; what is wrong while it
happens (8, 10, 11, 13, 20 and more) comes from `history` and `failpoints`. Which fault excuses what is in `excuses`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from mesh.blobs import Key, name_blob
from mesh.errors import CorruptRow
from mesh.facts import Kind, blob_of, short_text
from mesh.job import Job
from mesh.lane import NEVER, Lane
from mesh.lifecycle import State
from mesh.simulation.blob_points import whole
from mesh.simulation.excuses import Excuses
from mesh.simulation.history import Told
from mesh.simulation.leftovers import leftovers
from mesh.simulation.program import CHARGE, POISON, SPLIT
from mesh.simulation.simulation import Simulation
from mesh.simulation.wires import Wire

PATIENCE_MS: Final = 1_000
"""How long after its decision a handler may start: its commit comes first."""
ALONE: Final = 2
"""Deaths of its agent while it ran alone after which a job ends as poisoned."""


def violations(run: Simulation) -> list[str]:
    """Everything that should not be, as sentences; empty when all is well."""
    return [*run.history.problems, *_Verdict(run).sentences(), *leftovers(run)]


def disagreements(run: Simulation) -> list[str]:
    """Where two neighbours differ over a job though nothing is under way between them (9); jobs may still be live."""
    verdict = _Verdict(run)
    found: list[str] = []
    for wire in run.wires.all:
        level = run.wires.is_still and all(run.hosts[name].is_level for name in wire.ends)
        if level and not wire.revoked:
            found += verdict.differences(wire)
    return found


class _Verdict:
    def __init__(self, run: Simulation) -> None:
        self._run = run
        self._history = run.history
        self._excuses = Excuses(run.history)
        self._held: dict[str, dict[bytes, Job]] = {}
        self._unread: list[str] = []
        for name, host in run.hosts.items():
            try:
                # One that has just died, by a bug of its own or by chance, is asked when it is back.
                self._held[name] = host.jobs() if host.up else {}
            except CorruptRow as error:
                self._held[name] = {}
                self._unread.append(f"23: {name}: {error.message}")
        self._stuck = self._excuses.stuck(self._held)

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
            # A damaged row comes back from a neighbour without its key, which is the origin's alone.
            known = self._excuses.lost(origin) or any(self._excuses.damaged(origin, job_id) for job_id in ids)
            if len(ids) > 1 and not known:
                yield f'4: {origin} made {len(ids)} jobs for the key "{key}"'

    # -- one job, as its callers see it -------------------------------------------------------------------------

    def _callers(self, job_id: bytes, told: Told) -> Iterator[str]:
        names = told.path.split(".")
        short = f"{short_text(job_id)} ({told.path})"
        excuses, origin = self._excuses, names[0]
        lost = excuses.lost(origin, told.put_ms)
        mine = self._held[origin].get(job_id)
        if mine is None:
            if told.acknowledged and not lost and not self._unreadable(job_id, names):
                yield f"1: {short} is lost at its origin"
            return
        if told.deleted and mine.state is not State.DELETED and not lost and not excuses.damaged(origin, job_id):
            yield f"10: the deleted {short} is {mine.state} at its origin"
        final = [state for state in told.states if state is not State.DELETED]
        # Told ahead of the commit by an origin that then died, while the destination went back to an older copy, or was
        # revoked: nobody remembers it. Else what is told later says that the effect is unknown, or both outcomes met,
        # and were flagged.
        back = excuses.lost(names[-1], told.put_ms) or excuses.damaged(names[-1], job_id)
        ahead = final[:1] != told.durable[:1]
        excused = back and (told.doubted or excuses.unknown(mine) or excuses.flagged(job_id) or ahead)
        excused |= ahead and excuses.crosses(names)
        excused |= excuses.nowhere(job_id, names, told)
        rejects = (State.REJECTED, State.EXPIRED, State.CANCELLED)
        # What was told ahead is told once more at the end, when a hop has had another word meanwhile.
        later = final[1:] if final and ahead and final[0] is final[-1] else final
        excused |= bool(later) and later[0] in rejects and excuses.overridden(job_id, names, told)
        if len(set(final)) > 1 and not lost and not excused:
            yield f"6: the caller of {short} was told {', '.join(final)}"
        yield from self._effect(job_id, told, names, mine)

    def _unreadable(self, job_id: bytes, names: Sequence[str]) -> bool:
        """The origin's row is damaged, and this life has not read it yet, or no neighbour has a copy to give back."""
        if not self._excuses.damaged(names[0], job_id):
            return False
        copy = self._held[names[1]].get(job_id)
        return (
            not self._run.hosts[names[0]].has_quarantined(job_id)
            or copy is None
            or copy.facts[Kind.REQUEST] is None
            or self._excuses.parted(names[0], names[1])
        )

    def _effect(self, job_id: bytes, told: Told, names: list[str], mine: Job) -> Iterator[str]:
        history, excuses, short = self._history, self._excuses, f"{short_text(job_id)} ({told.path})"
        happened, starts, deaths = history.effects[job_id], history.starts[job_id], history.deaths[job_id]
        forgotten = excuses.forgotten(job_id, names, told)
        again = excuses.lost(names[-1], told.put_ms) or excuses.damaged(names[-1], job_id)
        if mine.facts[Kind.REQUEST] is not None:
            charge = mine.request.instruction == CHARGE
            if happened > 1 and not forgotten:
                yield f"3: {short} had its effect {happened} times"
            if charge and starts > 1 and not forgotten:
                yield f"3: {short} is not idempotent and was started {starts} times"
            if history.first_start_ms.get(job_id, 0) > mine.request.expires_ms + PATIENCE_MS:
                yield f"12: {short} was started after its time"
        if starts > 1 + deaths and not again:
            yield f"3: {short} was started {starts} times in {deaths} deaths"
        if State.COMPLETE in told.states and not happened:
            yield f"3: the caller of {short} was told that it is complete, and it had no effect"
        failed = mine.state in (State.ERROR, State.EXPIRED, State.CANCELLED, State.REJECTED)
        # What a destination did and lost before its neighbour had heard of it, nobody can know (14).
        if happened and failed and not forgotten and not excuses.unknown(mine) and not self._unaware(mine, names, told):
            yield f"7: the caller of {short} was told {mine.state}, and its effect happened"
        yield from self._poison(job_id, told, mine, again=again)

    def _poison(self, job_id: bytes, told: Told, mine: Job, *, again: bool) -> Iterator[str]:
        outcome, short = mine.outcome, f"{short_text(job_id)} ({told.path})"
        if outcome is None:
            return
        alone = self._history.alone[job_id]
        enough = alone + self._history.nearly_alone[job_id] >= self._alone(told)
        if outcome.error is not None and outcome.error[0] == "poisoned" and not enough and not again:
            yield f"R8: {short} ended as poisoned, and its agent died {alone} times while it ran alone"
        if told.text == POISON and outcome.state == State.COMPLETE:
            yield f"R8: {short} kills every agent that runs it, and is complete"

    def _alone(self, told: Told) -> int:
        # That a parent waits, and others run beside it, is known to the witness a commit earlier than to the engine.
        return ALONE - 1 if told.text == SPLIT else ALONE

    # -- one job, everywhere ------------------------------------------------------------------------------------

    def _copies(self, job_id: bytes) -> Iterator[str]:
        copies = {name: jobs[job_id] for name, jobs in self._held.items() if job_id in jobs}
        short = short_text(job_id)
        for name, job in copies.items():
            if job.live and job_id not in self._stuck:
                yield f"2: {short} is still {job.state} at {name}, its {job.role}"
        known = next((job for job in copies.values() if job.facts[Kind.REQUEST] is not None), None)
        if known is None:
            return
        names = known.place.names
        yield from self._zone(short, known.request.zone, copies)
        for name in self._history.started_by.get(job_id, ()):
            if name != names[-1]:
                yield f"4: {short} was started at {name}"
        outcomes = [fact for job in copies.values() if (fact := job.facts[Kind.OUTCOME]) is not None]
        destination = self._run.hosts[names[-1]].fingerprint
        if any(fact.content.signer != destination for fact in outcomes):  # type: ignore[union-attr]
            yield f"4: {short} has an outcome that its destination did not sign"
        yield from self._bytes_of(job_id, copies, names)
        several = len({fact.body for fact in outcomes}) > 1
        back = self._excuses.lost(names[-1]) or self._excuses.damaged(names[-1], job_id)
        if several and not (back and self._excuses.flagged(job_id)):
            yield f"5: {short} has {len({fact.body for fact in outcomes})} outcomes"
        horizon_ms = known.request.expires_ms + int(self._run.limits.horizon_s * 1000)
        if not several and self._run.world.now_ms < horizon_ms:
            yield from self._sides(job_id, copies, names)

    def _bytes_of(self, job_id: bytes, copies: dict[str, Job], names: tuple[str, ...]) -> Iterator[str]:
        """Large results: what the origin has is what the destination signed, and it has it (5)."""
        origin, short = copies.get(names[0]), short_text(job_id)
        outcome = None if origin is None else origin.outcome
        name = None if outcome is None else blob_of(outcome)
        if origin is None or name is None:
            return
        held = origin.holding >> Kind.OUTCOME & 1
        key = Key(job_id, Kind.OUTCOME, name.hash)
        if held and name_blob(whole(self._run.hosts[names[0]].disk, key)).name != name:
            yield f"5: the result of {short} is not what its destination signed"
        gone = any(self._excuses.lost(one) or self._excuses.damaged(one, job_id) for one in names)
        if not held and not gone and not self._excuses.crosses(names):
            yield f"5: the result of {short} is lost, and no store was"

    def _unaware(self, job: Job, names: list[str], told: Told) -> bool:
        """The hop that rejected the job lost its store, and whoever could have told it that the job had gone on did."""
        reject = job.reject
        if reject is None or job.outcome is not None or reject.agent not in names:
            return False
        place = names.index(reject.agent)
        return self._excuses.overridden(job.id, names[max(0, place - 1) : place + 2], told)

    def _zone(self, short: str, zone: str, copies: dict[str, Job]) -> Iterator[str]:
        for name, job in copies.items():
            if name in self._run.smugglers:
                continue
            if not any(wire.zone == zone for wire in self._run.wires.at(name)):
                yield f"18: {name} holds {short} of zone {zone}, in which it has no link"
            boards = self._run.hosts[name].disk.boards
            for lane in job.lanes:
                if boards[lane.board].zone != zone:
                    yield f"18: {name} shares {short} of zone {zone} in zone {boards[lane.board].zone}"

    def differences(self, wire: Wire) -> Iterator[str]:
        """Jobs of which the two ends of a wire hold different facts."""
        one, other = wire.ends
        mine, theirs = self._held[one], self._held[other]
        for job_id in [job_id for job_id in mine if job_id in theirs]:
            names = mine[job_id].place.names
            beside = one in names and other in names and abs(names.index(one) - names.index(other)) == 1
            differ = beside and self._differ(mine[job_id], theirs[job_id]) and mine[job_id].request.zone == wire.zone
            if differ and not self._excuses.flagged(job_id) and not self._outdated(job_id, wire):
                kinds = f"{one} has {_kinds(mine[job_id])}, {other} has {_kinds(theirs[job_id])}"
                yield f"9: of the live {short_text(job_id)} {kinds}"

    def _outdated(self, job_id: bytes, wire: Wire) -> bool:
        """Only the reports differ, and the destination lost the counter by which the later one is known."""
        one, other = (self._held[name][job_id] for name in wire.ends)
        facts = [{(fact.kind, fact.body) for fact in job.facts if fact is not None} for job in (one, other)]
        reports = all(kind is Kind.PROGRESS for kind, _ in facts[0] ^ facts[1])
        names = one.place.names
        return reports and (self._excuses.lost(names[-1]) or self._excuses.damaged(names[-1], job_id))

    def _sides(self, job_id: bytes, copies: dict[str, Job], names: tuple[str, ...]) -> Iterator[str]:
        short = short_text(job_id)
        for above, below in pairwise(names):
            upper, lower = copies.get(above), copies.get(below)
            if self._excuses.parted(above, below) or not self._run.smugglers.isdisjoint((above, below)):
                continue
            if upper is None and lower is not None:
                if not self._excuses.damaged(above, job_id):
                    yield f"9: {below} holds {short}, and {above} does not"
            elif upper is not None and lower is None:
                ended = upper.reject is not None and upper.reject.agent == above
                gone = self._excuses.damaged(below, job_id) or ended
                if upper.down is not None and upper.down.offered and not gone and not _was_refused(upper, upper.down):
                    yield f"9: {above} offered {short}, and {below} does not hold it"
            elif upper is not None and lower is not None and self._differ(upper, lower):
                yield f"9: of {short} {above} has {_kinds(upper)}, {below} has {_kinds(lower)}"

    def _differ(self, one: Job, other: Job) -> bool:
        if one.facts[Kind.REQUEST] is None or other.facts[Kind.REQUEST] is None:
            return False
        upper, lower = (one, other) if one.place.index < other.place.index else (other, one)
        mine, theirs = ({(fact.kind, fact.body) for fact in job.facts if fact is not None} for job in (upper, lower))
        if upper.reject is not None:
            # Said by an agent whose store forgot, or never learned, that the job had gone on. It only travels up; an
            # Outcome overrides it, and who rejected the job further down goes on saying so.
            above = upper.place.names.index(upper.reject.agent) <= upper.place.index
            if above and (upper.outcome is not None or self._excuses.lost(upper.reject.agent)):
                mine, theirs = ({one for one in facts if one[0] is not Kind.REJECT} for facts in (mine, theirs))
        return mine != theirs


def _kinds(job: Job) -> str:
    return " ".join(fact.kind.name.lower() for fact in job.facts if fact is not None)


def _was_refused(job: Job, lane: Lane) -> bool:
    """Whether the next agent need not hold a job, though it counts as offered: it waits for the neighbour above, or for
    its payload, and is offered again; or it was over here when it was refused there, as one that an earlier life may
    have taken."""
    return (
        lane.waiting
        or (job.live and lane.sent[Kind.REQUEST] == NEVER)
        or (lane.unsettled and not lane.number and not job.live)
    )
