"""Celery over Redis: one worker process that runs jobs itself (`--pool solo`, its quickest for jobs this small)."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from agents.cli.bench import TEXT
from tests.benchmarks.peers.load import Load, Measured, measure_both_in_turn
from tests.benchmarks.peers.processes import child, program, redis_server


def run(folder: Path, load: Load, *, fsync: bool = False) -> Measured:
    """Measure it; `fsync`: Redis writes its log through to the disk before it answers."""
    with redis_server(folder, fsync=fsync) as url:
        os.environ["BENCH_REDIS_URL"] = url
        with child(
            *(program("celery"), "-A", "tests.benchmarks.peers.celery_jobs", "worker", "--pool", "solo", "-l", "error"),
            log=folder / "worker.log",
        ):
            # It reads the address of the server when it is loaded.
            from tests.benchmarks.peers.celery_jobs import give_back

            return measure_both_in_turn(
                lambda: give_back.delay(TEXT), lambda result: result.get(timeout=60, interval=0.001), load
            )


run_fsync = partial(run, fsync=True)
