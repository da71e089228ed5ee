"""NATS JetStream with a file store: each job is acknowledged by the server before it counts as put.

`run` stores the job and sends the result as a plain message; `run_both_stored` stores the result too. A NATS server
syncs its files to the disk at an interval (two minutes unless configured), not for each message.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from uuid import uuid4

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from agents.cli.bench import TEXT
from agents.program import run_loop
from tests.benchmarks.peers.load import Load, Measured, check, measure_both
from tests.benchmarks.peers.processes import nats_server, worker

_REPLY = "Reply"
_PENDING = 100_000


def run(folder: Path, load: Load, *, both: bool = False) -> Measured:
    """Measure it; `both`: job and result are stored."""
    with (
        nats_server(folder, store=True) as url,
        worker("tests.benchmarks.peers.jetstream", url, "both" if both else "job", log=folder / "worker.log"),
    ):
        return run_loop(_measure(url, load))


run_both_stored = partial(run, both=True)


async def _measure(url: str, load: Load) -> Measured:
    client = await nats.connect(url)
    stream = client.jetstream(publish_async_max_pending=_PENDING)
    results = f"results.{uuid4().hex}"
    waiting: dict[str, asyncio.Future[bytes]] = {}
    number = 0

    async def take(message: Msg) -> None:
        waiting.pop(message.subject).set_result(message.data)

    async def job(_: int) -> None:
        nonlocal number
        number += 1
        subject = f"{results}.{number}"
        answer = waiting[subject] = asyncio.get_running_loop().create_future()
        await stream.publish("jobs", TEXT.encode(), timeout=30, headers={_REPLY: subject})
        check(await answer)

    try:
        await client.subscribe(f"{results}.*", cb=take)
        return await measure_both(job, load)
    finally:
        await client.close()


async def _work(url: str, *, both: bool) -> None:
    client = await nats.connect(url)
    stream = client.jetstream(publish_async_max_pending=_PENDING)
    await stream.add_stream(name="jobs", subjects=["jobs"])
    if both:
        await stream.add_stream(name="results", subjects=["results.>"])
    async with asyncio.TaskGroup() as storing:

        async def give_back(message: Msg) -> None:
            assert message.headers is not None
            subject = message.headers[_REPLY]
            if both:
                storing.create_task(_store(stream, subject, message))
            else:
                await client.publish(subject, message.data)
                await message.ack()

        await stream.subscribe("jobs", cb=give_back, manual_ack=True, durable="worker")
        await client.flush()
        print("ready", flush=True)
        await asyncio.Event().wait()


async def _store(stream: JetStreamContext, subject: str, message: Msg) -> None:
    await stream.publish(subject, message.data, timeout=30)
    await message.ack()


if __name__ == "__main__":
    run_loop(_work(sys.argv[1], both=sys.argv[2] == "both"))
