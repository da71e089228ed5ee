"""A random life for a simulated mesh: callers who put, cancel, delete and repeat themselves, and faults that strike.

`random_life` lets it pass; all of it is drawn from the run's own source of chance, so the seed decides it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from grammar.errors import MeshError
from mesh.simulation.program import CHARGE
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
        charges: share that is not idempotent.
        keyed: share that is put with an idempotency key and repeated until it is acknowledged, and sometimes after.
        payloads: share that has one, of at most `PAYLOAD_BYTES`.
        short, short_s: share of jobs that may wait only for so long, at most; the others wait an hour.
        cut_every_s, crash_every_s, stop_every_s, stall_every_s: mean time between such faults, over each link or
            agent; 0 for never.
        restores, losses: how many stores are put back to an old copy, and lost.
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
    restores: int = 0
    losses: int = 0


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
            self._at_random(lambda number=number: self._put(number))  # type: ignore[misc]
        for _ in range(self._times(habits.cut_every_s, len(wires))):
            ends = self._draw.choice(wires).ends
            self._at_random(lambda ends=ends: run.cut(*ends))  # type: ignore[misc]
        for _ in range(self._times(habits.stall_every_s, len(wires))):
            one, other = self._draw.choice(wires).ends
            seconds = self._draw.uniform(0.2, 30.0)
            self._at_random(lambda one=one, other=other, seconds=seconds: run.stall(one, other, seconds))  # type: ignore[misc]
        for every_s, strike in ((habits.crash_every_s, run.crash), (habits.stop_every_s, run.stop)):
            for _ in range(self._times(every_s, len(self._names))):
                name = self._draw.choice(self._names)
                self._at_random(lambda name=name, strike=strike: strike(name))  # type: ignore[misc]
        for _ in range(habits.restores):
            name = self._draw.choice(self._names)
            copied, restored = sorted(self._draw.randint(0, self._span_ms) for _ in range(2))
            run.world.later(copied, lambda name=name: run.keep_copy(name))  # type: ignore[misc]
            run.world.later(restored, lambda name=name: run.restore(name))  # type: ignore[misc]
        for _ in range(habits.losses):
            name = self._draw.choice(self._names)
            self._at_random(lambda name=name: run.lose(name))  # type: ignore[misc]

    def _times(self, every_s: float, places: int) -> int:
        # The mean, rounded by chance: a rare fault is rare, not absent.
        mean = self._habits.seconds / every_s * places if every_s else 0.0
        return int(mean + self._draw.random())

    def _at_random(self, act: Callable[[], None]) -> None:
        self._run.world.later(self._draw.randint(0, self._span_ms), act)

    def _put(self, number: int) -> None:
        run, habits, draw = self._run, self._habits, self._draw
        names = self._path()
        text = CHARGE if draw.random() < habits.charges else f"add_user u{number}.proj.{names[0]}"
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
                run.world.later(delay, lambda: run.cancel(result))
            elif meddle < habits.cancels + habits.deletes:
                run.world.later(delay, lambda: run.delete(result))
            elif again and key is not None:
                run.world.later(delay, ask)

        def ask() -> None:
            run.put(".".join(names), text, life_s=life_s, key=key, payload=payload, on_reply=replied)
            if key is not None:
                run.world.later(RETRY_MS, lambda: None if acknowledged else ask())

        ask()

    def _path(self) -> list[str]:
        path = [self._draw.choice(self._names)]
        wanted = self._draw.randint(2, self._habits.longest)
        while len(path) < wanted:
            onward = [wire.other(path[-1]) for wire in self._run.wires.at(path[-1])]
            onward = sorted(name for name in onward if name not in path)
            if not onward:
                break
            path.append(self._draw.choice(onward))
        return path
