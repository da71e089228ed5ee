"""taskiq over Redis: one worker process. A client learns of a result by asking Redis again and again.

A thousand jobs outstanding are a thousand sent by fifty senders, then collected by fifty collectors, and the next
thousand. A thousand clients that each send one and wait for it reach about half as much: they ask too often.
"""

from __future__ import annotations

import os
from array import array
from functools import partial
from pathlib import Path
from time import perf_counter

from taskiq import AsyncTaskiqTask

from agents.cli.bench import TEXT
from agents.measuring import Timing, measure
from agents.program import run_loop
from tests.benchmarks.peers.load import Load, Measured, check, measure_both
from tests.benchmarks.peers.processes import child, program, redis_server

_AT_ONCE = 50
_ALONE_S = 0.001
_AMONG_MANY_S = 0.005


def run(folder: Path, load: Load, *, fsync: bool = False) -> Measured:
    """Measure it; `fsync`: Redis writes its log through to the disk before it answers."""
    with redis_server(folder, fsync=fsync) as url:
        os.environ["BENCH_REDIS_URL"] = url
        with child(
            *(program("taskiq"), "worker", "tests.benchmarks.peers.taskiq_jobs:broker", "--workers", "1"),
            log=folder / "worker.log",
        ):
            return run_loop(_measure(load))


run_fsync = partial(run, fsync=True)


async def _measure(load: Load) -> Measured:
    # Both read the address of the server when they are loaded.
    from tests.benchmarks.peers.taskiq_jobs import broker, give_back

    async def job(_: int) -> None:
        task = await give_back.kiq(TEXT)
        check((await task.wait_result(check_interval=_ALONE_S, timeout=60)).return_value)

    async def many(outstanding: int, seconds: float) -> Timing:
        began = perf_counter()
        times_ms = array("d")
        while perf_counter() - began < seconds:
            sent: list[tuple[float, AsyncTaskiqTask[str]]] = []

            async def send(_: int, sent: list[tuple[float, AsyncTaskiqTask[str]]] = sent) -> None:
                sent.append((perf_counter(), await give_back.kiq(TEXT)))

            async def collect(number: int, sent: list[tuple[float, AsyncTaskiqTask[str]]] = sent) -> None:
                start, task = sent[number]
                check((await task.wait_result(check_interval=_AMONG_MANY_S, timeout=60)).return_value)
                times_ms.append((perf_counter() - start) * 1000)

            await measure(send, outstanding=_AT_ONCE, jobs=outstanding)
            await measure(collect, outstanding=_AT_ONCE, jobs=outstanding)
        return Timing(outstanding, perf_counter() - began, array("d", sorted(times_ms)), 0)

    await broker.startup()
    try:
        return await measure_both(job, load, many)
    finally:
        await broker.shutdown()
