"""Raw `websockets`: one connection, a server that gives back each message. Nothing is stored, signed or encrypted.

It is no job system; it is the floor under one that speaks websockets in Python.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from agents.cli.bench import TEXT
from agents.program import run_loop
from tests.benchmarks.peers.load import Load, Measured, check, measure_both
from tests.benchmarks.peers.processes import free_port, worker


def run(folder: Path, load: Load) -> Measured:
    """Measure it."""
    port = free_port()
    with worker("tests.benchmarks.peers.echo", str(port), log=folder / "server.log"):
        return run_loop(_measure(port, load))


async def _measure(port: int, load: Load) -> Measured:
    async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as line:
        # Answers come in the order of the messages.
        waiting: deque[asyncio.Future[str | bytes]] = deque()

        async def read() -> None:
            async for message in line:
                waiting.popleft().set_result(message)

        async def job(_: int) -> None:
            answer: asyncio.Future[str | bytes] = asyncio.get_running_loop().create_future()
            waiting.append(answer)
            await line.send(TEXT)
            check(await answer)

        reading = asyncio.create_task(read())
        try:
            return await measure_both(job, load)
        finally:
            reading.cancel()


async def _serve(port: int) -> None:
    async def give_back(line: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in line:
                await line.send(message)

    async with serve(give_back, "127.0.0.1", port, compression=None) as server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    run_loop(_serve(int(sys.argv[1])))
