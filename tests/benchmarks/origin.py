"""An origin with a load in its own process, driven by its standard input: `python -m tests.benchmarks.origin HOME`.

Each line is a JSON object with `id`, `do` and parameters; several may be under way. Each answer is a line with that
`id` and `result` or `error`. The first line says `ready`. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from agents import Agent
from agents.measuring import measure
from agents.program import run_loop
from grammar.errors import MeshError

CHUNK = 1_000


class Origin:
    """What can be asked for."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def answer(self, do: str, **params: Any) -> Any:
        """Do one thing; raises MeshError."""
        ways: dict[str, Callable[..., Awaitable[Any]]] = {"measure": self.measure, "put": self.put}
        return await ways[do](**params)

    async def measure(
        self,
        *,
        path: str,
        instruction: str,
        outstanding: int,
        jobs: int | None = None,
        seconds: float | None = None,
        patience_s: float = 60.0,
    ) -> dict[str, Any]:
        """Put to result, again and again."""
        command = f"{path} {instruction}"

        def job(_: int) -> asyncio.Future[Any]:
            return self._agent.call(command)

        timing = await measure(
            job, outstanding=outstanding, jobs=jobs, seconds=seconds, failures=(MeshError,), patience_s=patience_s
        )
        return timing.to_record(hops=path.count("."), durable=True) | {
            "max_ms": timing.within_ms(100),
            "first_error": timing.first_error,
        }

    async def put(self, *, path: str, instruction: str, jobs: int) -> int:
        """Put jobs that nobody waits for; returns how many are durable."""
        waiting = self._agent.running.jobs
        done = 0
        while done < jobs:
            puts = [waiting.wish(f"{path} {instruction}") for _ in range(min(CHUNK, jobs - done))]
            for found in await waiting.put_all(puts):
                if isinstance(found, MeshError):
                    raise found
            done += len(puts)
        return done


async def _run(home: str) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with Agent.load(home) as agent, asyncio.TaskGroup() as tasks:
        origin = Origin(agent)

        async def work(number: int, asked: dict[str, Any]) -> None:
            try:
                said = {"result": await origin.answer(**asked)}
            except MeshError as error:
                said = {"error": f"{error.code}: {error.message}"}
            print(json.dumps({"id": number, **said}), flush=True)

        print(json.dumps({"ready": True}), flush=True)
        while line := await lines.readline():
            asked = json.loads(line)
            tasks.create_task(work(asked.pop("id"), asked))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    run_loop(_run(sys.argv[1]))
