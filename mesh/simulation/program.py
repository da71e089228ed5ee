"""What the handlers of a simulated agent do: take a while, report, have their effect, and end or fail.

The effect stands for a row in somebody's database. An idempotent handler writes it together with the job id as guard,
so that doing it twice is doing it once; a `charge` has no such guard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from mesh.effects import Start
from mesh.ending import Ending
from mesh.engine import Engine
from mesh.lifecycle import State
from mesh.simulation.history import History
from mesh.simulation.world import Faults, World

LONGEST: Final = 30
"""Most pieces of 53 bytes that a long result has."""
CHARGE: Final = "charge"
"""An instruction that is not idempotent; every other one of the simulation's vocabulary is."""


class Runs(Protocol):
    """What a program needs of the agent that runs it."""

    def input(self, act: Callable[[Engine, int], None]) -> None:
        """Give the engine an input."""
        ...


class Program:
    """The handlers of one agent.

    Attributes:
        running: ids of the jobs whose handler runs, in the order of their start.
    """

    def __init__(self, name: str, agent: Runs, world: World, history: History, faults: Faults) -> None:
        self._name = name
        self._agent = agent
        self._world = world
        self._history = history
        self._faults = faults
        self._handlers: dict[bytes, Start] = {}
        self._begun: dict[bytes, None] = {}

    @property
    def running(self) -> tuple[bytes, ...]:
        return tuple(self._handlers)

    def run(self, start: Start) -> None:
        """Start a handler."""
        job_id, draw, faults = start.job_id, self._world.random, self._faults
        self._world.note("start", self._name, job_id, start.attempt)
        if job_id in self._handlers:
            self._history.problem("3", f"{self._name} starts {job_id.hex()[12:20]} while it runs")
        self._history.started(self._name, job_id)
        self._handlers[job_id] = start
        self._begun[job_id] = None
        ends_ms = draw.randint(0, faults.handler_ms)
        fails = draw.random() < faults.fails
        if not fails:
            self._later(start, draw.randint(0, ends_ms), lambda: self._affect(start))
        if draw.random() < faults.reports:
            self._later(start, draw.randint(0, ends_ms), lambda: self._report(start))
        self._later(start, ends_ms, lambda: self._end(start, fails=fails))

    def stop(self, job_id: bytes) -> None:
        """Cancel a handler."""
        if self._handlers.pop(job_id, None) is not None:
            self._finish(job_id, Ending(State.CANCELLED))

    def end(self, is_over: Callable[[bytes], bool]) -> None:
        """The agent is gone, and its handlers with it; `is_over` says whether the end of a job is durable."""
        for job_id in self._begun:
            if not is_over(job_id):
                self._history.deaths[job_id] += 1
        self._handlers.clear()
        self._begun.clear()

    def _later(self, start: Start, delay_ms: int, act: Callable[[], None]) -> None:
        self._world.later(delay_ms, lambda: act() if self._handlers.get(start.job_id) is start else None)

    def _affect(self, start: Start) -> None:
        self._history.affected(start.job_id, idempotent=start.instruction.keyword != CHARGE)

    def _report(self, start: Start) -> None:
        self._agent.input(lambda engine, now_ms: engine.progress(start.job_id, "half way", 0.5, now_ms))

    def _end(self, start: Start, *, fails: bool) -> None:
        del self._handlers[start.job_id]
        if fails:
            self._finish(start.job_id, Ending(State.ERROR, error=("failed", "no such project")))
        else:
            self._finish(start.job_id, Ending(State.COMPLETE, "str", self._result(start)))

    def _result(self, start: Start) -> str:
        done, draw = f"done {start.attempt}", self._world.random
        if self._faults.large and draw.random() < self._faults.large:
            done += f" {start.job_id.hex()}" * draw.randint(1, LONGEST)
        return f'"{done}"'

    def _finish(self, job_id: bytes, ending: Ending) -> None:
        self._agent.input(lambda engine, now_ms: engine.finished(job_id, ending, now_ms))
