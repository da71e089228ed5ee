"""`mesh run`: the agent in the foreground, with the handlers of its folder."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final

import click

from agents.agent import Agent
from agents.calls import CallFailed
from agents.cli.session import Session, pass_session
from agents.cli.showing import remark, say
from agents.door import Door
from agents.exports import load
from agents.logs import log_to
from agents.settings import HANDLERS, load_settings
from grammar.errors import MeshError

log = logging.getLogger("hopboard")

STOP_S: Final = 4.5
"""Seconds a clean stop may take; what is durable does not need one."""


@click.command()
@pass_session
def run(session: Session) -> None:
    """Run the agent until Ctrl-C or SIGTERM, with the handlers of its handlers.py if there is one."""
    settings = load_settings(session.home)
    log_to(None, settings.config.log)
    # Where a handlers.py makes its agent without naming a folder, it is this one that is meant.
    os.environ["MESH_HOME"] = str(session.home.absolute())
    file = session.home / HANDLERS
    agent = agent_of(file) if file.exists() else Agent.load(session.home)
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        runner.run(_serve(agent))


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop of the extra `[fast]`, where it is installed."""
    made: Callable[[], asyncio.AbstractEventLoop] | None = None
    if importlib.util.find_spec("uvloop") is not None:
        made = load("uvloop:new_event_loop")
    return made


async def _serve(agent: Agent) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await agent.start()
    running = agent.running
    door = Door(running)
    try:
        await door.open()
        running.failure.add_done_callback(lambda _: stop.set())
        where = running.peering.address or "no port"
        count = len(running.handlers.told)
        say(f"{agent.name} ready: {where}, {count} instruction{'' if count == 1 else 's'}, kind {agent.kind}")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await _stop(agent, door)
    if running.failure.done():
        raise running.failure.result()


async def _stop(agent: Agent, door: Door) -> None:
    try:
        async with asyncio.timeout(STOP_S):
            await door.close()
            await agent.stop()
    except TimeoutError:
        # What was acknowledged is on the disk. Whatever still holds on would hold the event loop too.
        log.warning("a handler did not let go within %s s; its job runs again at the next start", STOP_S)
        os._exit(0)


def agent_of(file: Path) -> Agent:
    """The object `agent` of a handlers.py.

    Raises:
        CallFailed: the file fails, or has no such object; what failed in it is on standard error.
    """
    spec = importlib.util.spec_from_file_location("handlers", file)
    assert spec is not None, "a path that ends in .py has a loader"
    assert spec.loader is not None, "a path that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    # As `python handlers.py` has it: the file's neighbours can be imported, and its names looked up by annotations.
    sys.path.insert(0, str(file.parent.absolute()))
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except MeshError as error:
        raise CallFailed(
            f"{_place(error, file)}: {error.message}", code=error.code, fix=error.fix, exit_code=2
        ) from error
    except (Exception, SystemExit) as error:
        for line in traceback.format_exception(
            type(error), error, _own_part(error.__traceback__, str(file.absolute()))
        ):
            remark(line.rstrip())
        raise CallFailed(
            f"{_place(error, file)}: {type(error).__name__}: {error}",
            code="MESH-E508",
            fix=f"correct it; `python {file}` shows the same",
        ) from error
    return _agent_in(module, file)


def _agent_in(module: ModuleType, file: Path) -> Agent:
    agent = getattr(module, "agent", None)
    if not isinstance(agent, Agent):
        what = 'no object called "agent"' if agent is None else f'an "agent" that is a {type(agent).__name__}'
        raise CallFailed(
            f"{file} has {what}", code="MESH-E508", fix="write `agent = Agent()` in it, or remove the file"
        )
    return agent


def _place(error: BaseException, file: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file.absolute())]
    return f"{file}, line {frames[-1].lineno}" if frames else str(file)


def _own_part(trace: TracebackType | None, name: str) -> TracebackType | None:
    """The trace from the file on, without what led to it."""
    while trace is not None and trace.tb_frame.f_code.co_filename != name:
        trace = trace.tb_next
    return trace
