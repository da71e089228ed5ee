"""What the handlers of a simulated agent do: take a while, report, have their effect, and end or fail.

The effect stands for a row in somebody's database. An idempotent handler writes it together with the job id as guard,
so that doing it twice is doing it once; a `charge` has no such guard. A `poison` kills its agent whenever it runs. A
`split` puts jobs of its own, with the job as their parent, and waits for them without a slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from grammar.errors import MeshError
from grammar.instruction import Declaration
from grammar.openportal import VOCABULARY
from grammar.vocabulary import Vocabulary
from mesh.blobs import Blob, name_blob
from mesh.effects import Start
from mesh.ending import Ending
from mesh.engine import Engine
from mesh.lifecycle import State
from mesh.origin import Put
from mesh.simulation.setting import Setting
from mesh.staging import stage

LONGEST: Final = 30
"""Most pieces of 53 bytes that a long result has, and of 27 bytes that the payload of a child has."""
PART_MS: Final = 10
"""How long a part of a result takes that is stored ahead of its Outcome."""
CHARGE: Final = "charge"
"""An instruction that is not idempotent; every other one of the simulation's vocabulary is."""
POISON: Final = "poison"
"""An instruction that kills the agent which runs it, each time."""
SPLIT: Final = "split"
"""An instruction that puts child jobs and waits for them; some of these split again."""
WORDS: Final[Vocabulary] = VOCABULARY.extended(
    Declaration(CHARGE, idempotent=False), Declaration(POISON), Declaration(SPLIT)
)


class Runs(Protocol):
    """What a program needs of the agent that runs it."""

    def input(self, act: Callable[[Engine, int], None]) -> None:
        """Give the engine an input."""
        ...

    def put(self, wish: Put, reply: Callable[[bytes | MeshError], None]) -> None:
        """Put a job here."""
        ...

    def zone_of(self, job_id: bytes) -> str:
        """The zone of a job whose handler runs."""
        ...

    def is_over(self, job_id: bytes) -> bool:
        """Whether the store holds a job that ended."""
        ...

    def die(self, why: str) -> None:
        """Die at once."""
        ...


@dataclass(slots=True)
class _Split:
    """A handler and its children: those that were asked for, and those that are not over yet."""

    start: Start
    fails: bool
    asked: int
    open: dict[bytes, None] = field(default_factory=dict)
    yielded: bool = False


class Program:
    """The handlers of one agent.

    Attributes:
        running: ids of the jobs whose handler runs, in the order of their start.
    """

    def __init__(self, name: str, agent: Runs, setting: Setting) -> None:
        self._name = name
        self._agent = agent
        self._wires, self._world, self._history = setting.wires, setting.world, setting.history
        self._faults, self._limits = setting.faults, setting.limits
        self._handlers: dict[bytes, Start] = {}
        self._begun: dict[bytes, None] = {}
        self._durable: dict[bytes, None] = {}
        self._splits: dict[bytes, _Split] = {}
        self._parents: set[bytes] = set()
        self._died: Counter[bytes] = Counter()
        self._retaken: dict[bytes, None] = {}

    @property
    def running(self) -> tuple[bytes, ...]:
        return tuple(self._handlers)

    def began(self, start: Start) -> None:
        """An attempt became durable; its handler starts soon."""
        self._durable[start.job_id] = None

    def run(self, start: Start) -> None:
        """Start a handler."""
        job_id, draw, faults = start.job_id, self._world.random, self._faults
        self._world.note("start", self._name, job_id, start.attempt)
        if self._died[job_id]:
            self._retaken[job_id] = None
            # One that waits for children is not counted; it goes on whenever they are over.
            again = len(self._retaken.keys() - self._splits.keys())
            if again > max(1, self._limits.handlers >> 2) and not self._history.lost_at([self._name]):
                self._history.problem("R8", f"{self._name} takes {again} jobs up again at once")
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
        match start.instruction.keyword:
            case "poison":
                self._later(start, ends_ms, lambda: self._agent.die(POISON))
            case "split":
                self._later(start, ends_ms, lambda: self._split(start, fails=fails))
            case _:
                self._later(start, ends_ms, lambda: self._end(start, fails=fails))

    def stop(self, job_id: bytes) -> None:
        """Cancel a handler."""
        self._retaken.pop(job_id, None)
        if self._handlers.pop(job_id, None) is not None:
            self._splits.pop(job_id, None)
            self._finish(job_id, Ending(State.CANCELLED))

    def end(self, is_over: Callable[[bytes], bool], *, clean: bool) -> None:
        """The agent is gone, and its handlers with it; `is_over` says whether the end of a job is durable."""
        for job_id in self._begun:
            if not is_over(job_id):
                self._history.deaths[job_id] += 1
                self._died[job_id] += not clean and job_id in self._handlers
        left = [job_id for job_id in self._durable if not is_over(job_id)]
        # Beside one that waits for children another one runs alone; where all wait, nobody else has begun yet.
        alone = [job_id for job_id in left if not self._waits(job_id)] or left
        if len(alone) == 1 and not clean:
            self._history.alone[alone[0]] += 1
        beside = [job_id for job_id in alone if job_id not in self._parents]
        if len(alone) > 1 and len(beside) == 1 and not clean:
            self._history.nearly_alone[beside[0]] += 1
        elif len(alone) > 1 and all(map(self._waits, alone)) and not clean:
            # The one that began last ran alone, until it began to wait too; that may not have become durable.
            self._history.nearly_alone[alone[-1]] += 1
        for gone in (self._handlers, self._begun, self._durable, self._splits, self._parents, self._retaken):
            gone.clear()

    def _waits(self, job_id: bytes) -> bool:
        return job_id in self._splits and self._splits[job_id].yielded

    def _later(self, start: Start, delay_ms: int, act: Callable[[], None]) -> None:
        self._world.later(delay_ms, lambda: act() if self._handlers.get(start.job_id) is start else None)

    def _affect(self, start: Start) -> None:
        self._history.affected(start.job_id, idempotent=start.instruction.keyword != CHARGE)

    def _report(self, start: Start) -> None:
        self._agent.input(lambda engine, now_ms: engine.progress(start.job_id, "half way", 0.5, now_ms))

    def _end(self, start: Start, *, fails: bool) -> None:
        text = "" if fails else self._result(start)
        if len(text) > self._limits.result_bytes and start.job_id[-1] % 2:
            self._store(start, name_blob(text.encode()), 0)
        elif fails:
            self._leave(start, Ending(State.ERROR, error=("failed", "no such project")))
        else:
            self._leave(start, Ending(State.COMPLETE, "str", text))

    def _store(self, start: Start, blob: Blob, offset: int) -> None:
        """Store every other large result ahead of its Outcome, two slices at a time."""
        end = offset + 2 * self._limits.slice_bytes
        self._agent.input(
            lambda engine, now_ms: stage(engine.ledger, start.job_id, blob.name, offset, blob.data[offset:end], now_ms)
        )
        if end < len(blob.data):
            self._later(start, PART_MS, lambda: self._store(start, blob, end))
        else:
            self._later(start, PART_MS, lambda: self._leave(start, Ending(State.COMPLETE, "str", blob)))

    def _leave(self, start: Start, ending: Ending) -> None:
        del self._handlers[start.job_id]
        self._retaken.pop(start.job_id, None)
        self._finish(start.job_id, ending)

    def _result(self, start: Start) -> str:
        done, draw = f"done {start.attempt}", self._world.random
        if self._faults.large and draw.random() < self._faults.large:
            done += f" {start.job_id.hex()}" * draw.randint(1, LONGEST)
        return f'"{done}"'

    def _finish(self, job_id: bytes, ending: Ending) -> None:
        self._agent.input(lambda engine, now_ms: engine.finished(job_id, ending, now_ms))

    # -- children -----------------------------------------------------------------------------------------------

    def _split(self, start: Start, *, fails: bool) -> None:
        # What it puts follows from the job id alone: an attempt that begins anew finds the same children by their key.
        job_id = start.job_id
        zone = self._agent.zone_of(job_id)
        peers = [wire.other(self._name) for wire in self._wires.at(self._name) if wire.zone == zone]
        self._parents.add(job_id)
        split = self._splits[job_id] = _Split(start, fails, 1 + job_id[-1] % 2)
        for number in range(split.asked):
            again = job_id[-2 - number] % 3 > 0
            text = SPLIT if again else f"add_user c{number}.proj.{self._name}"
            path = f"{self._name}.{peers[job_id[-4 - number] % len(peers)]}"
            payload = self._payload(job_id, number)
            wish = Put(zone, path, text, key=f"{job_id.hex()}/{number}", parent=job_id, payload=payload)
            self._agent.put(wish, lambda result: self._answered(split, result))

    def _payload(self, job_id: bytes, number: int) -> Blob | None:
        """What goes along with a child, if anything does."""
        if job_id[-6 - number] >= 256 * self._faults.loaded:
            return None
        return name_blob((job_id + bytes([number])) * (job_id[-8 - number] % LONGEST))

    def _answered(self, split: _Split, result: bytes | MeshError) -> None:
        # Refused, for being too deep: it does without.
        split.asked -= 1
        if isinstance(result, bytes) and not self._agent.is_over(result):
            split.open[result] = None
        self._go_on(split)

    def over(self, job_id: bytes) -> None:
        """A caller here is told that a job ended."""
        for split in list(self._splits.values()):
            if split.open.pop(job_id, job_id) is None:
                self._go_on(split)

    def _go_on(self, split: _Split) -> None:
        start = split.start
        if split.asked or self._handlers.get(start.job_id) is not start:
            return
        if split.open and not split.yielded:
            split.yielded = True
            self._agent.input(lambda engine, _: engine.destination.yielded(start.job_id))
        elif not split.open:
            del self._splits[start.job_id]
            if split.yielded:
                self._agent.input(lambda engine, _: engine.destination.resumed(start.job_id))
            self._end(start, fails=split.fails)
