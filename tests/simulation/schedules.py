"""Random schedules: a seed draws the topology, the limits, the clocks, the callers and the faults.

Limits are tiny more often than not, so that paging, waiting for credit, eviction and parking happen all the time. One
schedule in three also loses stores, or puts them back to an old copy; the others may have no alarm at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from mesh.limits import Limits
from mesh.simulation.life import Habits, random_life
from mesh.simulation.simulation import Simulation
from mesh.simulation.verdict import disagreements, violations
from mesh.simulation.world import Faults

NAMES = "abcdefgh"
MOST = 20
"""Sentences that are kept of a schedule that went wrong."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that a seed decides before the first event."""

    seed: int
    links: tuple[tuple[str, str], ...]
    limits: Limits
    faults: Faults
    habits: Habits
    skews_ms: dict[str, int]


Slant = Callable[[Schedule], Schedule]
"""Makes something happen more often in a schedule."""


def as_drawn(schedule: Schedule) -> Schedule:
    return schedule


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one schedule."""

    seed: int
    violations: tuple[str, ...]
    crashes: int
    commits: int
    jobs: int
    losses: int
    trace: str


def tree(draw: Random, agents: int) -> tuple[tuple[str, str], ...]:
    """A chain, a star or a random tree."""
    shape = draw.choice(("chain", "star", "tree"))
    links = []
    for index in range(1, agents):
        above = {"chain": index - 1, "star": 0, "tree": draw.randrange(index)}[shape]
        links.append((NAMES[above], NAMES[index]))
    return tuple(links)


def limits(draw: Random) -> Limits:
    """Limits that make small things scarce."""
    wide = draw.random() < 0.25
    return Limits() if wide else Limits(
        credit_jobs=draw.choice((1, 2, 2, 3, 20)),
        window_records=draw.choice((1, 2, 3, 3, 8, 64)),
        resident_jobs=draw.choice((1, 4, 4, 8, 64)),
        handlers=draw.choice((1, 2, 2, 4, 16)),
        handlers_per_peer=draw.choice((1, 2, 16)),
        run_s=600.0,
    )  # fmt: skip


def draw_schedule(seed: int, *, losses: bool | None = None) -> Schedule:
    """The schedule of a seed; `losses` asks for lost stores, or for none, where chance would decide."""
    draw = Random(seed)
    agents = draw.choice((2, 2, 3, 3, 3, 4, 5, 8))
    links = tree(draw, agents)
    faults = Faults(
        delay_ms=draw.choice((5, 40, 400)),
        commit_ms=draw.choice((1, 15, 15, 200)),
        handler_ms=draw.choice((50, 1_000, 1_000, 3_000, 20_000)),
        reports=draw.choice((0.2, 0.9)),
        lumps=draw.choice((0.0, 0.2, 0.6)),
        crash=draw.choice((0.0, 0.002, 0.01)),
        down_s=draw.choice((0.5, 5.0)),
        step_ms=draw.choice((0, 0, 5_000, 60_000)),
        notice_ms=draw.choice((1, 300, 2_000)),
    )
    habits = Habits(
        jobs=draw.randint(4, 14),
        cancels=draw.choice((0.1, 0.3)),
        deletes=draw.choice((0.05, 0.2)),
        seconds=draw.choice((4.0, 12.0, 20.0)),
        cut_every_s=draw.choice((0.0, 2.0, 6.0)),
        crash_every_s=draw.choice((0.0, 4.0, 12.0)),
        stall_every_s=draw.choice((0.0, 0.0, 20.0)),
        short=draw.choice((0.0, 0.2, 0.7)),
    )
    if draw.random() < 1 / 3 if losses is None else losses:
        habits = replace(habits, restores=draw.randint(0, 2), losses=draw.choice((0, 0, 1)))
    skew_ms = draw.choice((0, 0, 2_000, 20_000, 50_000))
    names = NAMES[:agents]
    schedule = Schedule(
        seed, links, limits(draw), faults, habits, {name: draw.randint(-skew_ms, skew_ms) for name in names}
    )
    return with_blobs(schedule, Random(f"blobs {seed}"))


def with_blobs(schedule: Schedule, draw: Random, chance: float = 0.4) -> Schedule:
    """Payloads and large results for some schedules, by a chance of its own: the others stay as they were drawn."""
    if draw.random() >= chance:
        return schedule
    scale = replace(
        schedule.limits,
        result_bytes=200,
        blob_bytes=2_000,
        slice_bytes=draw.choice((64, 200, 500)),
        blob_window_bytes=draw.choice((1, 300, 2_000)),
        blob_arriving_bytes=draw.choice((1, 3_000, 20_000)),
        blob_quota_bytes=draw.choice((1, 3_000, 100_000)),
        blob_orphan_s=draw.choice((3.0, 30.0)),
        collect_s=2.0,
    )
    return replace(
        schedule,
        limits=scale,
        faults=replace(schedule.faults, large=draw.choice((0.3, 0.9))),
        habits=replace(schedule.habits, payloads=draw.choice((0.0, 0.4, 0.9))),
    )


def run_schedule(schedule: Schedule) -> Simulation:
    """Let it happen, heal, and settle."""
    run = Simulation(
        schedule.links,
        seed=schedule.seed,
        faults=schedule.faults,
        limits=schedule.limits,
        skews_ms=schedule.skews_ms,
    )
    random_life(run, schedule.habits)
    run.heal(8.0)
    for sentence in disagreements(run):
        rule, _, rest = sentence.partition(": ")
        run.history.problem(rule, rest)
    run.heal(600.0)
    return run


def play(seed: int, *, losses: bool | None = None, slant: Slant = as_drawn) -> Result:
    """Run the schedule of a seed, slanted, and judge it."""
    run = run_schedule(slant(draw_schedule(seed, losses=losses)))
    history = run.history
    return Result(
        seed,
        tuple(violations(run)[:MOST]),
        history.crashes,
        history.commits,
        len(history.told),
        len(history.losses),
        run.trace,
    )


def play_all(seeds: Sequence[int], *, losses: bool | None = None) -> list[Result]:
    """Play many, in order."""
    return [play(seed, losses=losses) for seed in seeds]
