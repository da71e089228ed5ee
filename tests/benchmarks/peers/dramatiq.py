"""Dramatiq over Redis: one worker process of eight threads."""

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
            *(program("dramatiq"), "tests.benchmarks.peers.dramatiq_jobs", "--processes", "1", "--threads", "8"),
            log=folder / "worker.log",
        ):
            # It reads the address of the server when it is loaded.
            from tests.benchmarks.peers.dramatiq_jobs import give_back

            return measure_both_in_turn(
                lambda: give_back.send(TEXT), lambda message: message.get_result(block=True, timeout=60_000), load
            )


run_fsync = partial(run, fsync=True)
