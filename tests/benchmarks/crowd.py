"""Many agents in one process, which do nothing but be linked: `python -m tests.benchmarks.crowd PEER HOME...`.

Prints `ready` when each has a link to PEER; ends with SIGTERM or its input.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from agents import Agent
from agents.program import run_loop

LINKED_S = 120.0


async def _run(peer: str, homes: list[str]) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with AsyncExitStack() as running:
        agents = [await running.enter_async_context(Agent.load(home)) for home in homes]
        for agent in agents:
            await agent.wait_for_peer(peer, timeout=LINKED_S)
        print("ready", flush=True)
        await lines.read()


if __name__ == "__main__":
    run_loop(_run(sys.argv[1], sys.argv[2:]))
