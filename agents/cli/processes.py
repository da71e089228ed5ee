"""Agents as child processes, for verbs that start some of their own: `demo` shows them, `bench` measures them.

Whatever happens in the block that runs one, its process has ended when the block is left.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from agents.cli.showing import clean

MESH: Final = (sys.executable, "-c", "from agents.cli import main; main()")
"""The command `mesh` of this very installation."""
LOG: Final = "agent.log"
"""What an agent that is run from here logs, in its folder."""

START_S: Final = 15.0
"""How long an agent may take to say that it is ready."""
STOP_S: Final = 6.0
"""How long an agent may take to stop; it promises 5 s."""
_LAST_LINES: Final = 20

Fault = Callable[[str], Exception]
"""Makes the error of the verb out of what went wrong."""


def environment() -> dict[str, str]:
    """That of this process, without what would lead a child to another agent's folder."""
    return {name: value for name, value in os.environ.items() if name != "MESH_HOME"}


@asynccontextmanager
async def agent_process(
    home: Path, fault: Fault, *, own_session: bool = False, cwd: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the agent of `home` by `mesh run` from here to the end of the block, its log in its folder.

    Args:
        home: the agent's folder; its name is what errors call the agent.
        fault: makes the error to raise.
        own_session: keep the keys of the terminal from it: Ctrl-C is then for this process to act on.
        cwd: where it runs; packages that stand there come before all others.

    Raises:
        whatever `fault` makes: it was not ready in time, or ended before, or with a status other than 0. The process
            has ended then.
    """
    with (home / LOG).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(*MESH, "-C", str(home), "run"),
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=cwd,
            start_new_session=own_session,
        )
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read(process, told), name=f"output of {home.name}")
    try:
        async with asyncio.timeout(START_S):
            ready = await told
    except BaseException as error:
        await _end(process, reading)
        if isinstance(error, TimeoutError):
            raise fault(f"the agent {home.name} was not ready after {START_S:g} s: {last_lines(home)}") from error
        raise
    try:
        if not ready:
            raise fault(f"the agent {home.name} ended before it was ready: {last_lines(home)}")
        yield process
    finally:
        status = await _end(process, reading)
    if status != 0:
        raise fault(f"the agent {home.name} ended with status {status}: {last_lines(home)}")


async def _read(process: asyncio.subprocess.Process, told: asyncio.Future[bool]) -> None:
    """Say through `told` whether the agent got ready; then read on, so that it is never kept waiting for a reader."""
    assert process.stdout is not None
    async for line in process.stdout:
        if b"ready" in line and not told.done():
            told.set_result(True)
    if not told.done():
        told.set_result(False)


async def _end(process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> int:
    status = await stop_process(process)
    reading.cancel()
    await asyncio.wait([reading])
    return status


async def stop_process(process: asyncio.subprocess.Process) -> int:
    """End a process, kindly first, and wait until it has ended; returns its status."""
    if process.returncode is None:
        # It may end by itself in this moment.
        with suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()


def last_lines(home: Path) -> str:
    """The end of what the agent of `home` logged, on one line."""
    with (home / LOG).open(errors="replace") as log:
        return clean(" / ".join(line.strip() for line in deque(log, _LAST_LINES))) or "its log is empty"
