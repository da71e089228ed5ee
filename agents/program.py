"""An agent as a program: run until SIGINT or SIGTERM, say when it is ready, stop within seconds.

`mesh run` and `python handlers.py` do the same, because both come here.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from agents.exports import load
from agents.logs import log_to
from agents.running import Running
from agents.settings import Settings

log = logging.getLogger("hopboard")

T = TypeVar("T")

STOP_S: Final = 4.5
"""Seconds a clean stop may take; what is durable does not need one."""
SWITCH_S: Final = 0.0005
"""How soon a thread that waits for the interpreter gets it: the store's commits should not wait for the event loop's
whole turn, which is ten times as long by default."""
YOUNG: Final = 20_000
"""New objects between two looks of the garbage collector: jobs are let go without it, and a look at every 700th, the
default, takes about a tenth of the time that a job costs."""


class Startable(Protocol):
    """What is run: an `Agent`."""

    @property
    def running(self) -> Running:
        """The parts that are alive."""

    def settings(self) -> Settings:
        """What its folder says."""

    async def start(self) -> None:
        """Open the folder and run."""

    async def stop(self) -> None:
        """Stop cleanly."""


def run_program(agent: Startable) -> None:
    """Run until SIGINT or SIGTERM, logging to standard error as `[log]` says.

    Prints one line with the word `ready` once the store is open and the port, if there is one, listens.

    Raises:
        MeshError: it cannot be started, or its store failed.
    """
    log_to(None, agent.settings().config.log)
    run_loop(_serve(agent))


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on an event loop as agents that are programs have it, so that what is measured on it is theirs."""
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.set_threshold(YOUNG)
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(work)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop of the extra `[fast]`, where it is installed."""
    made: Callable[[], asyncio.AbstractEventLoop] | None = None
    if importlib.util.find_spec("uvloop") is not None:
        made = load("uvloop:new_event_loop")
    return made


async def _serve(agent: Startable) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await agent.start()
    running = agent.running
    try:
        running.failure.add_done_callback(lambda _: stop.set())
        where = running.peering.address or "no port"
        count = len(running.handlers.told)
        many = "instruction" if count == 1 else "instructions"
        settings = running.settings
        sys.stdout.write(f"{settings.name} ready: {where}, {count} {many}, kind {settings.kind}\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await _stop(agent, running)
    if running.failure.done():
        raise running.failure.result()


async def _stop(agent: Startable, running: Running) -> None:
    try:
        async with asyncio.timeout(STOP_S):
            await agent.stop()
    except TimeoutError:
        log.warning("the stop took longer than %s s", STOP_S)
        _leave()
    if running.executor.held:
        _leave()


def _leave() -> None:
    # What was acknowledged is on the disk; a handler that does not let go would hold the event loop for ever.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)
