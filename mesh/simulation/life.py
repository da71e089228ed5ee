"""A random life for a simulated mesh: callers who put, cancel, delete and repeat themselves, and faults that strike.

`random_life` lets it pass; all of it is drawn from the run's own source of chance, so the seed decides it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from grammar.errors import MeshError
from mesh.room import Room
from mesh.simulation.program import CHARGE, POISON, SPLIT
from mesh.simulation.simulation import Simulation

RETRY_MS: Final = 2_000
"""After this time a caller with an idempotency key who has no answer asks again."""
PAYLOAD_BYTES: Final = 1_500
MEDDLE_MS: Final = 6_000
"""Longest time between a put and its cancel or delete."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What callers do and which faults strike, over `seconds`.

    Attributes:
        jobs: how many are put, on random paths of 2 to `longest` agents.
        cancels, deletes: share of the jobs that are cancelled, or deleted, at a random moment.
        charges, poisons, splits: share that is not idempotent, that kills its agent, that puts children.
        strays: share whose path leaves its zone, if there is more than one.
        keyed: share that is put with an idempotency key and repeated until it is acknowledged, and sometimes after.
        payloads: share that has one, of at most `PAYLOAD_BYTES`.
        short, short_s: share of jobs that may wait only for so long, at most; the others wait an hour.
        cut_every_s, crash_every_s, stop_every_s, stall_every_s: mean time between such faults, over each link or
            agent; 0 for never.
        restores, losses: how many stores are put back to an old copy, and lost.
        damages: how many stored rows have a bit flipped.
        clones: how many agents run on two copies of one store for a while.
        clocks: how many agents restart with a clock that is off beyond the limit, and are set right later.
        fulls: how many disks have no room for new jobs for a while.
        revokes: how many keys are revoked.
        slows: share of the links that carry little, from `slow_bytes_s` up to ten times that in a second.
    """

    jobs: int = 12
    seconds: float = 20.0
    longest: int = 5
    cancels: float = 0.12
    deletes: float = 0.08
    charges: float = 0.2
    keyed: float = 0.2
    payloads: float = 0.0
    short: float = 0.2
    short_s: float = 8.0
    cut_every_s: float = 6.0
    crash_every_s: float = 8.0
    stop_every_s: float = 40.0
    stall_every_s: float = 30.0
    poisons: float = 0.0
    splits: float = 0.0
    strays: float = 0.1
    restores: int = 0
    losses: int = 0
    damages: int = 0
    clones: int = 0
    clocks: int = 0
    fulls: int = 0
    revokes: int = 0
    slows: float = 0.0
    slow_bytes_s: int = 1_000


def random_life(run: Simulation, habits: Habits) -> None:
    """Let callers and faults have their way for `habits.seconds`."""
    _Life(run, habits).plan()
    run.run(habits.seconds)


class _Life:
    def __init__(self, run: Simulation, habits: Habits) -> None:
        self._run = run
        self._habits = habits
        self._draw = run.world.random
        self._names = list(run.hosts)
        self._span_ms = int(habits.seconds * 1000)

    def plan(self) -> None:
        """Decide what happens when."""
        run, habits, wires = self._run, self._habits, self._run.wires.all
        for number in range(habits.jobs):
            self._at_random(partial(self._put, number))
        for _ in range(self._times(habits.cut_every_s, len(wires))):
            self._at_random(partial(run.cut, *self._draw.choice(wires).ends))
        for _ in range(self._times(habits.stall_every_s, len(wires))):
            self._at_random(partial(run.stall, *self._draw.choice(wires).ends, self._draw.uniform(0.2, 30.0)))
        for every_s, strike in ((habits.crash_every_s, run.crash), (habits.stop_every_s, run.stop)):
            for _ in range(self._times(every_s, len(self._names))):
                self._at_random(partial(strike, self._draw.choice(self._names)))
        for _ in range(habits.restores):
            name = self._draw.choice(self._names)
            copied, restored = sorted(self._draw.randint(0, self._span_ms) for _ in range(2))
            run.world.later(copied, partial(run.stores.keep_copy, name))
            run.world.later(restored, partial(run.stores.restore, name))
        for _ in range(habits.losses):
            self._at_random(partial(run.stores.lose, self._draw.choice(self._names)))
        self._plan_rarer()

    def _plan_rarer(self) -> None:
        run, habits, draw = self._run, self._habits, self._draw
        for wire in run.wires.all:
            if draw.random() < habits.slows:
                wire.bytes_s = draw.randint(habits.slow_bytes_s, 10 * habits.slow_bytes_s)
        for inviter, host in run.hosts.items():
            for _, invited in host.strangers:
                self._at_random(partial(run.admit, inviter, invited))
        for _ in range(habits.damages):
            self._at_random(partial(run.stores.damage, draw.choice(self._names)))
        for _ in range(habits.clones):
            name, seconds = draw.choice(self._names), draw.uniform(2.0, self._habits.seconds)
            self._at_random(partial(run.stores.clone, name, seconds))
        for _ in range(habits.clocks):
            name, skew_ms = draw.choice(self._names), draw.choice((-1, 1)) * draw.randint(130_000, 500_000)
            self._at_random(partial(run.set_clock, name, skew_ms))
            self._at_random(partial(run.set_clock, name, 0))
        for _ in range(habits.fulls):
            fill = partial(run.fill, draw.choice(self._names), Room.DISK_FULL, seconds=draw.uniform(1.0, 8.0))
            self._at_random(fill)
        for _ in range(habits.revokes):
            wire = draw.choice(run.wires.all)
            by, whom = wire.ends if draw.random() < 0.5 else wire.ends[::-1]
            self._at_random(partial(run.revoke, by, whom, wire.zone))

    def _times(self, every_s: float, places: int) -> int:
        # The mean, rounded by chance: a rare fault is rare, not absent.
        mean = self._habits.seconds / every_s * places if every_s else 0.0
        return int(mean + self._draw.random())

    def _at_random(self, act: Callable[[], None]) -> None:
        self._run.world.later(self._draw.randint(0, self._span_ms), act)

    def _put(self, number: int) -> None:
        run, habits, draw = self._run, self._habits, self._draw
        names, zone = self._path()
        what, shares = draw.random(), (habits.charges, habits.poisons, habits.splits)
        text = f"add_user u{number}.proj.{names[0]}"
        for special, share in zip((CHARGE, POISON, SPLIT), shares, strict=True):
            if 0.0 <= what < share:
                text = special
            what -= share
        life_s = draw.uniform(0.05, habits.short_s) if draw.random() < habits.short else 3_600.0
        key = f"key {number}" if draw.random() < habits.keyed else None
        payload = None
        if habits.payloads and draw.random() < habits.payloads:
            payload = draw.randbytes(draw.randint(0, PAYLOAD_BYTES))
        again = draw.random() < 0.3
        meddle = draw.random()
        delay = draw.randint(0, MEDDLE_MS)
        acknowledged: list[bytes] = []

        def replied(result: bytes | MeshError) -> None:
            if not isinstance(result, bytes) or acknowledged:
                return
            acknowledged.append(result)
            if meddle < habits.cancels:
                run.later(delay, partial(run.cancel, result))
            elif meddle < habits.cancels + habits.deletes:
                run.later(delay, partial(run.delete, result))
            elif again and key is not None:
                run.later(delay, ask)

        def ask() -> None:
            run.put(".".join(names), text, zone=zone, life_s=life_s, key=key, payload=payload, on_reply=replied)
            if key is not None:
                run.later(RETRY_MS, lambda: None if acknowledged else ask())

        ask()

    def _path(self) -> tuple[list[str], str]:
        draw, wires = self._draw, self._run.wires
        path = [draw.choice(self._names)]
        wanted = draw.randint(2, self._habits.longest)
        zone = draw.choice(wires.at(path[0])).zone
        strays = draw.random() < self._habits.strays
        while len(path) < wanted:
            # The first hop is known to the origin, which takes no job for another zone.
            everywhere = strays and len(path) > 1
            ways = [wire for wire in wires.at(path[-1]) if everywhere or wire.zone == zone]
            onward = sorted({wire.other(path[-1]) for wire in ways} - set(path))
            if not onward:
                break
            path.append(draw.choice(onward))
        return path, zone
