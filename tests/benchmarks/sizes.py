"""How much is measured: full sizes, or those of a quick look.

`BENCH_QUICK=1` makes everything small, to see whether it works; `BENCH_ROUNDS` and `BENCH_MEMORY_JOBS` change one size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Sizes:
    """Attributes:
    quick: the figures mean nothing.
    rounds: how often everything of a part is measured, in turn.
    seconds: how long one throughput is measured.
    singles: jobs of one latency, one after the other.
    history, waiting: finished and waiting jobs in the store that is measured against an empty one.
    flat_jobs: jobs of one such measurement: SQLite's log is checkpointed every 10,000 or so, and each has to have some.
    memory_jobs: jobs through one link while memory is looked at.
    idle_links: links beside the one that is measured.
    """

    quick: bool = False
    rounds: int = 3
    seconds: float = 3.0
    singles: int = 300
    history: int = 100_000
    waiting: int = 10_000
    flat_jobs: int = 30_000
    memory_jobs: int = 100_000
    idle_links: tuple[int, ...] = (1, 10, 200)

    @property
    def close_rounds(self) -> int:
        """Rounds where a ratio close to 1 is wanted."""
        return 2 * self.rounds


QUICK = Sizes(
    quick=True,
    rounds=2,
    seconds=0.5,
    singles=30,
    history=2_000,
    waiting=500,
    flat_jobs=1_000,
    memory_jobs=2_000,
    idle_links=(1, 3, 10),
)


def sizes_of(environment: Mapping[str, str] = os.environ) -> Sizes:
    """The sizes that the environment asks for."""
    found = QUICK if environment.get("BENCH_QUICK", "0") not in {"", "0"} else Sizes()
    if rounds := environment.get("BENCH_ROUNDS"):
        found = replace(found, rounds=int(rounds))
    if jobs := environment.get("BENCH_MEMORY_JOBS"):
        found = replace(found, memory_jobs=int(jobs))
    return found
