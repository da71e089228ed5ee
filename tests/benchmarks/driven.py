"""A row of agents for a measurement that `mesh bench` does not make: stores that are filled, links that idle, bulk.

The origin makes its own load in its own process (`origin.py`), the others run as `mesh run` has them.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agents import offline
from agents.cli.bench import TEXT
from agents.cli.loopback import HANDLERS_TEXT, ORIGIN, BenchFailed, make_row
from agents.cli.processes import agent_process, environment, stop_process
from agents.settings import make_home
from invitations.files import write_private

ROOT: Final = Path(__file__).resolve().parents[2]
PING: Final = f"ping {TEXT}"
_LINE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process in MiB: all of it, and what no file stands behind."""

    resident: float
    anonymous: float


def memory_of(pid: int) -> Memory:
    """As the kernel tells it now."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {name: int(kib) / 1024 for name, kib in re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", status, re.MULTILINE)}
    return Memory(found["VmRSS"], found["RssAnon"])


class Failed(Exception):
    """What the origin was asked for did not work."""


class Driven:
    """An origin that runs, and the rest of its row."""

    def __init__(self, origin: asyncio.subprocess.Process, others: Sequence[asyncio.subprocess.Process]) -> None:
        self.origin = origin
        self.others = tuple(others)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask(self, do: str, **params: Any) -> Any:
        """Have the origin do something.

        Raises:
            Failed: it did not work.
        """
        self._number += 1
        answer = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        assert self.origin.stdin is not None
        self.origin.stdin.write(json.dumps({"id": self._number, "do": do, **params}).encode() + b"\n")
        return await answer

    async def rate(self, path: str, jobs: int, *, outstanding: int = 1_000) -> float:
        """Jobs a second, of so many.

        Raises:
            Failed: one of them failed.
        """
        found = await self.ask("measure", path=path, instruction=PING, outstanding=outstanding, jobs=jobs)
        if found["errors"]:
            raise Failed(found["first_error"])
        rate: float = found["per_s"]
        return rate

    async def read(self) -> None:
        """Hand out the answers until the origin has ended."""
        assert self.origin.stdout is not None
        async for line in self.origin.stdout:
            said = json.loads(line)
            if "ready" in said:
                self.ready.set_result(None)
            elif "error" in said:
                self._waiting.pop(said["id"]).set_exception(Failed(said["error"]))
            else:
                self._waiting.pop(said["id"]).set_result(said["result"])
        for waiter in (self.ready, *self._waiting.values()):
            if not waiter.done():
                waiter.set_exception(Failed("the origin ended"))


def prepare_row(folder: Path, hops: int, *, handlers: str = HANDLERS_TEXT, limits: str = "") -> None:
    """Make a row of agents in `folder`.

    Args:
        handlers: text of the handlers.py of all but the origin.
        limits: lines of `[limits]` for the origin.
    """
    folder.mkdir(parents=True)
    make_row(folder, hops, handlers)
    if limits:
        with (folder / ORIGIN / "mesh.toml").open("a") as configuration:
            configuration.write(f"\n[limits]\n{limits}\n")


@asynccontextmanager
async def driven_row(folder: Path, hops: int, *, packages: Path = ROOT) -> AsyncIterator[Driven]:
    """Run the origin in `folder` and the agents after it to the end of the block; a job has been along by then.

    Args:
        packages: the folder with the packages that they use.
    """
    names = (ORIGIN, *(f"agent{n}" for n in range(1, hops + 1)))
    async with AsyncExitStack() as started:
        origin = await started.enter_async_context(_origin(folder / ORIGIN, packages))
        others = [
            await started.enter_async_context(agent_process(folder / name, BenchFailed, cwd=packages))
            for name in names[1:]
        ]
        driven = Driven(origin, others)
        reading = asyncio.create_task(driven.read())
        try:
            await driven.ready
            await driven.rate(".".join(names), 1)
            yield driven
        finally:
            assert origin.stdin is not None
            origin.stdin.close()
            await asyncio.wait([reading], timeout=10)
            reading.cancel()


@asynccontextmanager
async def _origin(home: Path, packages: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with (home / "origin.log").open("a") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.benchmarks.origin", str(home)),
            cwd=packages,
            env=environment() | {"PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=_LINE,
        )
    try:
        yield process
    finally:
        await stop_process(process)


def make_crowd(folder: Path, count: int) -> list[Path]:
    """So many agents that the origin in `folder` has invited, which must not run yet; returns their folders."""
    homes = []
    for number in range(count):
        name = f"idle{number}"
        home = folder / name
        make_home(home, name)
        invitation = folder / f"{name}.invite.toml"
        write_private(invitation, offline.invite(folder / ORIGIN, name, None, None, (), ())["text"])
        offline.join(home, invitation)
        homes.append(home)
    return homes


@asynccontextmanager
async def idling(homes: Sequence[Path]) -> AsyncIterator[None]:
    """Run a crowd in one process to the end of the block; each of it has a link to the origin by then.

    Raises:
        Failed: one of them got none.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.crowd", ORIGIN, *map(str, homes)),
        cwd=ROOT,
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise Failed(f"{len(homes)} agents did not all get a link")
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await stop_process(process)
