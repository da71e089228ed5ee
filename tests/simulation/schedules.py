"""Random schedules: a seed draws the topology, the limits, the clocks, the callers and the faults.

Limits are tiny more often than not, so that paging, waiting for credit, eviction and parking happen all the time. One
schedule in three also loses stores, or puts them back to an old copy; the others may have no alarm at all. Rarer faults
(a second zone, children, poison, damaged rows, clones, clocks far off, revoked keys, slow links, strangers) come one or
two at a time, so that a schedule stays readable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from mesh.limits import Limits
from mesh.simulation.life import Habits, random_life
from mesh.simulation.program import POISON, SPLIT
from mesh.simulation.simulation import Simulation
from mesh.simulation.verdict import ALONE, disagreements, violations
from mesh.simulation.wires import Link
from mesh.simulation.world import Faults

NAMES = "abcdefgh"
SHAPES = ("chain", "star", "tree")
RARE = (
    "zones",
    "smugglers",
    "strangers",
    "splits",
    "poisons",
    "damages",
    "clones",
    "clocks",
    "fulls",
    "revokes",
    "slows",
)
"""Faults of which a schedule has one or two, or none."""
HARMLESS = frozenset({"zones", "smugglers", "strangers", "splits", "poisons", "fulls", "slows"})
"""Those that excuse nothing; the others come only where stores may be lost too."""
APART = (
    *({"zones", "smugglers"}, {"splits", "revokes"}, {"smugglers", "revokes"}, {"splits", "damages"}),
    *({one, other} for one in ("clocks", "revokes") for other in ("clones", "damages")),
)
"""Pairs that do not go together: a parent whose child was lost, or can never come home, waits for ever, and a store
that lost something is mended by peers that it still has, whose clocks are as right as the mesh assumes."""
MOST = 20
"""Sentences that are kept of a schedule that went wrong."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that a seed decides before the first event."""

    seed: int
    links: tuple[Link, ...]
    limits: Limits
    faults: Faults
    habits: Habits
    skews_ms: dict[str, int]
    shape: str = "chain"
    smugglers: tuple[str, ...] = ()
    strangers: tuple[tuple[str, str], ...] = ()


Slant = Callable[[Schedule], Schedule]
"""Makes something happen more often in a schedule."""


def as_drawn(schedule: Schedule) -> Schedule:
    return schedule


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one schedule; `counts` are its faults and its shape, by name."""

    seed: int
    violations: tuple[str, ...]
    crashes: int
    commits: int
    jobs: int
    losses: int
    trace: str
    counts: dict[str, int]


def tree(draw: Random, agents: int) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A chain, a star or a random tree, by name."""
    shape = draw.choice(SHAPES)
    links = []
    for index in range(1, agents):
        above = {"chain": index - 1, "star": 0, "tree": draw.randrange(index)}[shape]
        links.append((NAMES[above], NAMES[index]))
    return shape if agents > 3 else "chain", tuple(links)


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
    shape, links = tree(draw, agents)
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
    skews_ms = {name: draw.randint(-skew_ms, skew_ms) for name in names}
    plain = Schedule(seed, links, limits(draw), faults, habits, skews_ms, shape)
    few = draw.choice((0, 0, 1, 1, 2))
    if habits.restores or habits.losses:
        allowed = [one for one in RARE if one not in ("clocks", "revokes")]
    else:
        allowed = [one for one in RARE if losses is None or one in HARMLESS]
    drawn = draw.sample(allowed, few)
    drawn = drawn[:1] if set(drawn) in APART else drawn
    plain = with_blobs(plain, Random(f"blobs {seed}"))
    for rare in drawn:
        plain = rarer(plain, rare, draw)
    return plain


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
    large, payloads = draw.choice((0.3, 0.9)), draw.choice((0.0, 0.4, 0.9))
    return replace(
        schedule,
        limits=scale,
        faults=replace(schedule.faults, large=large, loaded=payloads),
        habits=replace(schedule.habits, payloads=payloads),
    )


def rarer(schedule: Schedule, rare: str, draw: Random) -> Schedule:
    """The schedule with one of the rarer faults."""
    habits, links = schedule.habits, tuple(dict.fromkeys(link[:2] for link in schedule.links))
    match rare:
        case "zones" | "smugglers":
            zoned = tuple((*link[:2], draw.choice(("lab", "den"))) for link in links)
            both = tuple((*link[:2], "den") for link in zoned if link[2] == "lab" and draw.random() < 0.3)
            names = sorted({name for link in links for name in link[:2]})
            smugglers = (draw.choice(names),) if rare == "smugglers" else ()
            habits = replace(habits, strays=0.6 if smugglers else 0.2)
            return replace(schedule, links=zoned + both, smugglers=smugglers, habits=habits)
        case "strangers":
            pairs = [link[:2] if draw.random() < 0.5 else link[1::-1] for link in links]
            return replace(schedule, strangers=tuple(draw.sample(pairs, draw.randint(1, len(pairs)))))
        case "splits":
            return replace(schedule, habits=replace(habits, splits=draw.choice((0.2, 0.6))))
        case "poisons":
            return replace(schedule, habits=replace(habits, poisons=draw.choice((0.1, 0.4))))
        case "slows":
            return replace(schedule, habits=replace(habits, slows=0.7, slow_bytes_s=draw.choice((500, 5_000))))
        case _:
            return replace(
                schedule, habits=replace(habits, **{rare: draw.randint(1, 4 if rare in ("damages", "fulls") else 1)})
            )


def run_schedule(schedule: Schedule) -> Simulation:
    """Let it happen, heal, and settle."""
    run = Simulation(
        schedule.links,
        seed=schedule.seed,
        faults=schedule.faults,
        limits=schedule.limits,
        skews_ms=schedule.skews_ms,
        smugglers=schedule.smugglers,
        strangers=schedule.strangers,
    )
    random_life(run, schedule.habits)
    run.heal(8.0)
    for sentence in disagreements(run):
        rule, _, rest = sentence.partition(": ")
        run.history.problem(rule, rest)
    run.heal(600.0, each_s=_longest_s(schedule))
    return run


def _longest_s(schedule: Schedule) -> float:
    """How long a job may keep others waiting: its handler, and a payload and a result that go a slice at a time."""
    limits, faults = schedule.limits, schedule.faults
    slices = -(-limits.blob_bytes // limits.slice_bytes)
    return (faults.handler_ms + 2 * slices * 2 * (faults.delay_ms + faults.commit_ms)) / 1000


def play(seed: int, *, losses: bool | None = None, slant: Slant = as_drawn) -> Result:
    """Run the schedule of a seed, slanted, and judge it."""
    schedule = slant(draw_schedule(seed, losses=losses))
    run = run_schedule(schedule)
    history = run.history
    return Result(
        seed,
        tuple(violations(run)[:MOST]),
        history.crashes,
        history.commits,
        len(history.told),
        len(history.losses),
        run.trace,
        counted(schedule, run),
    )


def counted(schedule: Schedule, run: Simulation) -> dict[str, int]:
    """The faults and the shape of a schedule."""
    history, habits = run.history, schedule.habits
    texts = [told.text for told in history.told.values()]
    return {
        f"{schedule.shape}s": 1,
        **dict(history.faults),
        "cuts": history.cuts,
        "zoned": int(len({link[2:] for link in schedule.links}) > 1),
        "smugglers": len(schedule.smugglers),
        "strangers": len(schedule.strangers),
        "slow": int(habits.slows > 0),
        "splits": texts.count(SPLIT),
        "children": sum(told.depth > 0 for told in history.told.values()),
        "deepest": sum(told.depth >= run.limits.children_depth for told in history.told.values()),
        "poisons": texts.count(POISON),
        "poisoned": sum(alone >= ALONE for alone in history.alone.values()),
    }


def play_all(seeds: Sequence[int], *, losses: bool | None = None) -> list[Result]:
    """Play many, in order."""
    return [play(seed, losses=losses) for seed in seeds]
