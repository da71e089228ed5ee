"""What must hold after a simulated run, whatever happened in it.

`violations(run)` checks, once the mesh was healed and has settled:

* every acknowledged, undeleted job is over at its origin, and its caller was told one final state only;
* only the destination ever started a job, and it started one again only after it died while the job was running;
* no caller was told failure, expiry or cancellation of a job whose effect happened, unless that is said to be unknown;
* the bytes of an Outcome are the same everywhere, and both sides of every board hold the same facts;
* a deleted job shows as alive nowhere;
* no job started after its time.
"""

from __future__ import annotations

from mesh.facts import Kind, short_text
from mesh.job import Job
from mesh.lifecycle import State
from mesh.simulation import Simulation

SKEW_MS = 60_000


def violations(run: Simulation) -> list[str]:
    """Everything that should not be, as sentences; empty when all is well."""
    held = {name: run.jobs(name) for name in run.nodes}
    found = list(run.problems)
    for job_id, told in run.told.items():
        names = told.path.split(".")
        if not told.acknowledged and not told.deleted:
            continue
        found += _job(run, held, job_id, names)
    found += _boards(run, held)
    return found


def _job(run: Simulation, held: dict[str, dict[bytes, Job]], job_id: bytes, names: list[str]) -> list[str]:
    told = run.told[job_id]
    found: list[str] = []
    short = short_text(job_id)
    mine = held[names[0]].get(job_id)
    if mine is None:
        return [f"1: {short} is lost at its origin"]
    if told.deleted:
        found += [
            f"10: {short} was deleted and is alive at {name}"
            for name in names
            if job_id in held[name] and held[name][job_id].live
        ]
    elif mine.live:
        found.append(f"2: {short} ({told.path}) is still {mine.state} at its origin")
    final = [state for state in told.states if state != State.DELETED]
    if len(final) > 1 and final[0] != State.REJECTED:
        found.append(f"6: the caller of {short} was told {final}")
    found += [f"4: {short} was started at {name}" for name in run.started_by.get(job_id, ()) if name != names[-1]]
    last = held[names[-1]].get(job_id)
    if last is not None and run.starts[job_id] > max(1, last.attempt):
        found.append(f"3: {short} started {run.starts[job_id]} times in {last.attempt} attempts")
    outcome = mine.outcome
    done = run.effects_done.get(job_id, 0)
    if done and not told.deleted and not mine.live and mine.state is not State.COMPLETE:
        unknown = outcome is not None and outcome.unknown_effect
        if not unknown:
            found.append(f"7: the caller of {short} was told {mine.state}, and its effect happened")
    if run.first_start_ms.get(job_id, 0) > mine.request.expires_ms + 2 * SKEW_MS:
        found.append(f"12: {short} started after its time")
    bodies = {fact.body for name in names if job_id in held[name] and (fact := held[name][job_id].facts[Kind.OUTCOME])}
    if len(bodies) > 1:
        found.append(f"5: {short} has {len(bodies)} outcomes")
    return found


def _boards(run: Simulation, held: dict[str, dict[bytes, Job]]) -> list[str]:
    found = []
    for wire in run.wires.values():
        one, other = wire.ends
        for job_id in held[one].keys() & held[other].keys():
            first, second = held[one][job_id], held[other][job_id]
            if _facts(first) != _facts(second) and _trimmed(first) is _trimmed(second) is False:
                ours = {kind.name for kind, _ in _facts(first)}
                theirs = {kind.name for kind, _ in _facts(second)}
                found.append(f"9: {short_text(job_id)} differs: {one} has {ours}, {other} has {theirs}")
    return found


def _facts(job: Job) -> set[tuple[Kind, bytes]]:
    return {(fact.kind, fact.body) for fact in job.facts if fact is not None}


def _trimmed(job: Job) -> bool:
    return job.facts[Kind.REQUEST] is None
