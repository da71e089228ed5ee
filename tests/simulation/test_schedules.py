"""Thousands of random schedules: whatever happens to agents, links, clocks and stores, the invariants hold.

`SIMULATION_SCHEDULES` says how many, `SIMULATION_FIRST` where to start; a failing seed prints how to replay it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.simulation.parallel import spread
from tests.simulation.schedules import Result, play, play_all
from tests.totals import Totals, number

SCHEDULES = number("SIMULATION_SCHEDULES", 3000)
FIRST = number("SIMULATION_FIRST", 0)
CHUNK = 50
SHOWN = ("chains", "stars", "trees", "children", "poisoned", "damages", "clones", "revocations", "full")
ROOT = Path(__file__).parent.parent.parent


def played(seeds: range) -> list[Result]:
    return play_all(seeds)


def test_random_schedules_keep_every_invariant(totals: Totals) -> None:
    chunks = [range(first, min(first + CHUNK, FIRST + SCHEDULES)) for first in range(FIRST, FIRST + SCHEDULES, CHUNK)]
    counts: Counter[str] = Counter()
    failed: list[Result] = []
    for results in spread(played, chunks):
        for result in results:
            counts.update(
                schedules=1,
                **{name: result.counts.get(name, 0) for name in SHOWN},
                crashes=result.crashes,
                losses=result.losses,
                jobs=result.jobs,
                commits=result.commits,
            )
            if result.violations:
                failed.append(result)
    totals.add("pure", **counts, violations=sum(len(result.violations) for result in failed))
    assert not failed, "\n".join(
        f"python -m tests.simulation.replay --seed {result.seed}\n    " + "\n    ".join(result.violations[:3])
        for result in failed[:10]
    )
    # Silence counts only if something happened.
    assert counts["crashes"] > counts["schedules"]
    assert counts["jobs"] > counts["schedules"]
    assert SCHEDULES < 100 or all(counts[name] for name in SHOWN)


def test_the_same_seed_gives_the_same_trace() -> None:
    """24, within one process: nothing outside the seed decides."""
    for seed in range(5):
        assert play(seed).trace == play(seed).trace


def test_the_trace_does_not_depend_on_how_python_hashes() -> None:
    """24, between processes: no order of a set decides anything."""
    program = "from tests.simulation.schedules import play; print([play(seed).trace for seed in range(12)])"
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": salt},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(traces) == 1
