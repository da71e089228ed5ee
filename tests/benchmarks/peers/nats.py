"""NATS, request and reply: a server in Go between two clients in Python. Nothing is stored."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import nats
from nats.aio.msg import Msg

from agents.cli.bench import TEXT
from agents.program import run_loop
from tests.benchmarks.peers.load import Load, Measured, check, measure_both
from tests.benchmarks.peers.processes import nats_server, worker


def run(folder: Path, load: Load) -> Measured:
    """Measure it."""
    with (
        nats_server(folder, store=False) as url,
        worker("tests.benchmarks.peers.nats", url, log=folder / "worker.log"),
    ):
        return run_loop(_measure(url, load))


async def _measure(url: str, load: Load) -> Measured:
    client = await nats.connect(url)

    async def job(_: int) -> None:
        check((await client.request("jobs", TEXT.encode(), timeout=30)).data)

    try:
        return await measure_both(job, load)
    finally:
        await client.close()


async def _work(url: str) -> None:
    client = await nats.connect(url)

    async def give_back(message: Msg) -> None:
        await message.respond(message.data)

    await client.subscribe("jobs", cb=give_back)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    run_loop(_work(sys.argv[1]))
