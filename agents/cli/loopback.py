"""A mesh of its own for `mesh bench`: agents in a row on loopback, made in a folder and gone with it.

The first agent, the origin, runs in this process, where the load is made: what is timed is put to result at the
origin, and nothing of a local door. Every other one is a process of its own, as `mesh run` has it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

from agents import offline
from agents.agent import Agent
from agents.calls import CallFailed
from agents.cli.processes import LOG, START_S, agent_process, last_lines
from agents.cli.processors import keep_on, one_of_each_core, own_processors
from agents.logs import log_to
from agents.settings import HANDLERS, make_home
from invitations.files import write_private

T = TypeVar("T")

ORIGIN: Final = "origin"

HANDLERS_TEXT: Final = '''\
"""The job that is measured: it gives back what it was given."""

from __future__ import annotations

from agents import Agent

agent = Agent()


@agent.handler(read_only=True)
async def ping(text: str) -> str:
    return text
'''


class BenchFailed(CallFailed):
    """The measurement could not be made; whatever was started is stopped."""

    def __init__(self, message: str, fix: str = "try it again on a machine that has less to do") -> None:
        super().__init__(message, code="MESH-E521", fix=fix, exit_code=1)


class Row:
    """Agents in a row that run: `origin.agent1.agent2`."""

    def __init__(self, origin: Agent, names: Sequence[str], processes: Sequence[asyncio.subprocess.Process]) -> None:
        self.origin = origin
        self._names = tuple(names)
        self._processes = tuple(processes)
        self._processors = own_processors()

    def path(self, hops: int) -> str:
        """From the origin over so many links."""
        return ".".join(self._names[: hops + 1])

    def spread(self, hops: int) -> bool:
        """Give each agent of a path over so many links a core of its own, as it has where every agent runs on a machine
        of its own; if there are fewer cores than such agents, let all share all of them.

        Returns:
            Whether each has its own.
        """
        cores = one_of_each_core(self._processors)
        apart = hops < len(cores)
        self.gather()
        if apart:
            for core, pid in zip(cores, self._pids[: hops + 1], strict=False):
                keep_on(pid, (core,))
        return apart

    def gather(self) -> None:
        """Let all agents share all processors again."""
        for pid in self._pids:
            keep_on(pid, self._processors)

    @property
    def _pids(self) -> list[int]:
        return [os.getpid(), *(process.pid for process in self._processes)]

    def ping(self, path: str, text: str) -> asyncio.Future[None]:
        """One job, put to result.

        Raises (when it is awaited):
            MeshError: it was refused, or failed.
        """
        return self.origin.call(f"{path} ping {text}")

    async def guard(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` while all agents run.

        Raises:
            BenchFailed: one of them ended.
        """
        working = asyncio.ensure_future(work())
        failing = asyncio.shield(self.origin.running.failure)
        ends = [asyncio.ensure_future(one.wait()) for one in self._processes]
        every: list[asyncio.Future[Any]] = [working, failing, *ends]
        try:
            await asyncio.wait(every, return_when=asyncio.FIRST_COMPLETED)
            for end, name in zip(ends, self._names[1:], strict=True):
                if end.done():
                    raise BenchFailed(f"the agent {name} ended with status {end.result()} while it was measured")
            if failing.done():
                raise BenchFailed(f"the agent {ORIGIN} failed while it was measured: {failing.result()}")
            return await working
        finally:
            for one in every:
                one.cancel()
            await asyncio.wait(every)


def make_row(folder: Path, hops: int, handlers: str) -> tuple[str, ...]:
    """Make the agents of a row with `hops` links, each invited by the one before it; returns their names.

    Args:
        folder: where; each gets a folder in it.
        hops: how many links.
        handlers: text of the handlers.py of each but the origin.

    Raises:
        MeshError: the folder does not take them.
    """
    names = (ORIGIN, *(f"agent{n}" for n in range(1, hops + 1)))
    for name in names:
        make_home(folder / name, name)
        if name != ORIGIN:
            write_private(folder / name / HANDLERS, handlers)
    for upstream, downstream in pairwise(names):
        invitation = folder / f"{downstream}.invite.toml"
        write_private(invitation, offline.invite(folder / upstream, downstream, None, None, (), ())["text"])
        offline.join(folder / downstream, invitation)
    return names


@asynccontextmanager
async def running_row(folder: Path, names: Sequence[str]) -> AsyncIterator[Row]:
    """Run the agents that `make_row` made, from here to the end of the block; a job has been along it by then.

    Raises:
        BenchFailed: one of them did not get ready, or no link came to stand.
    """
    async with AsyncExitStack() as running:
        log = running.enter_context((folder / ORIGIN / LOG).open("a"))
        origin = Agent.load(folder / ORIGIN)
        log_to(log, origin.settings().config.log)
        running.callback(logging.getLogger("hopboard").handlers.clear)
        await running.enter_async_context(origin)
        processes = [
            await running.enter_async_context(agent_process(folder / name, BenchFailed, own_session=True))
            for name in names[1:]
        ]
        row = Row(origin, names, processes)
        try:
            async with asyncio.timeout(START_S):
                await row.guard(lambda: row.ping(row.path(len(processes)), "first"))
        except TimeoutError as error:
            raise BenchFailed(
                f"no job came back over {len(processes)} hops within {START_S:g} s: {last_lines(folder / ORIGIN)}"
            ) from error
        try:
            yield row
        finally:
            row.gather()
