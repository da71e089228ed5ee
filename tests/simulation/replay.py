"""Play one schedule again, and say what it was and what is wrong: `python -m tests.simulation.replay --seed N`.

With `--mutant NAME` a planted bug is at work; with `--job PREFIX` every commit and record of that job is shown.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from unittest.mock import patch

from mesh.codec import unpack
from mesh.effects import Effects
from mesh.facts import decode, short_text
from mesh.messages import FactMessage
from mesh.simulation.disk import state_of
from mesh.simulation.failpoints import Failpoints
from mesh.simulation.verdict import violations
from mesh.simulation.world import START_MS, World
from tests.simulation.mutants import MUTANTS
from tests.simulation.schedules import Schedule, draw_schedule, run_schedule

TOLD = frozenset({"up", "down", "crash", "dies", "stop", "loss", "start", "close"})


def narrate(schedule: Schedule, wanted: str) -> None:
    """Run a schedule and print what happens in it, for the job whose short id starts with `wanted`."""
    noted, sending, committing = World.note, Failpoints.sending, Failpoints.committing
    worlds: list[World] = []

    def say(*words: object) -> None:
        print(f"{worlds[-1].now_ms - START_MS if worlds else 0:8d}", *words)

    def note(world: World, *parts: object) -> None:
        worlds[:] = [world]
        if parts[0] in TOLD:
            say(*(short_text(part) if isinstance(part, bytes) else part for part in parts))
        noted(world, *parts)

    def send(points: Failpoints, board_id: int, peer: str, messages: list[object]) -> None:
        for message in messages:
            if isinstance(message, FactMessage):
                fact = decode(message.kind, message.body, message.proof)
                if short_text(fact.job_id).startswith(wanted):
                    say(points.name, "->", peer, message.number, fact.kind.name, message.flags)
        sending(points, board_id, peer, messages)  # type: ignore[arg-type]

    def commit(points: Failpoints, effects: Effects, now_ms: int) -> None:
        for row in effects.batch.rows:
            if short_text(row.id).startswith(wanted):
                record = unpack(row.record)
                say(points.name, "commits", state_of(row), "attempt", record[5], "up", record[9], "down", record[10])
        committing(points, effects, now_ms)

    with (
        patch.object(World, "note", note),
        patch.object(Failpoints, "sending", send),
        patch.object(Failpoints, "committing", commit),
    ):
        judge(schedule)


def judge(schedule: Schedule) -> None:
    """Run a schedule and print its alarms and violations."""
    run = run_schedule(schedule)
    for alarm in run.history.alarms:
        print(f"{alarm.at_ms - START_MS:8d} alarm at {alarm.name}: {alarm.text}")
    found = violations(run)
    print(f"{len(run.history.told)} jobs, {run.history.crashes} crashes, trace {run.trace}, {len(found)} violations")
    print("\n".join(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--losses", choices=("yes", "no"), help="lose stores or not, where chance would decide")
    parser.add_argument("--mutant", choices=sorted(MUTANTS))
    parser.add_argument("--job", metavar="PREFIX")
    given = parser.parse_args()
    schedule = draw_schedule(given.seed, losses=None if given.losses is None else given.losses == "yes")
    print(schedule)
    with MUTANTS[given.mutant].plant() if given.mutant else nullcontext():
        if given.job is None:
            judge(schedule)
        else:
            narrate(schedule, given.job)


if __name__ == "__main__":
    main()
