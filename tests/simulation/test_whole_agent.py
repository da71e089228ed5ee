"""The whole agent, in virtual time: whatever is cut, killed or stopped, every acknowledged job ends once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import pytest

from mesh.effects import Batch
from tests.mesh.transport.loops import VirtualLoop
from tests.simulation.parallel import spread
from tests.simulation.whole_agent import LoopWriter, WholeMesh, virtual
from tests.totals import Totals, number

SCHEDULES = number("WHOLE_AGENT_SCHEDULES", 120)
FIRST = number("WHOLE_AGENT_FIRST", 0)
CHUNK = 15
TREES = ([("a", "b")], [("a", "b"), ("b", "c")], [("a", "b"), ("a", "c"), ("c", "d")])


class Result(NamedTuple):
    """What became of one schedule."""

    seed: int
    violations: tuple[str, ...]
    crashes: int
    jobs: int
    losses: int
    trace: str


async def live(seed: int) -> Result:
    """One schedule: callers and faults for some seconds, then peace, then the verdict."""
    async with asyncio.TaskGroup() as tasks:
        mesh = WholeMesh(TREES[seed % len(TREES)], seed, tasks)
        random = mesh.random
        with virtual(random, asyncio.get_running_loop(), mesh.dies):
            for name in mesh.members:
                await own_context(tasks, mesh.start(name))
            callers = []
            restores = random.random() < 0.2
            names = list(mesh.members)
            for number in range(random.randint(5, 15)):
                await asyncio.sleep(random.uniform(0, 1))
                callers.append(tasks.create_task(mesh.put(path(mesh, random.choice(names)), f"u{number}")))
                fate = random.random()
                if fate < 0.25:
                    name = random.choice(names)
                    await mesh.kill(name)
                    await asyncio.sleep(random.uniform(0, 2))
                    await own_context(tasks, mesh.start(name))
                elif fate < 0.3:
                    name = random.choice(names)
                    await mesh.stop(name)
                    await own_context(tasks, mesh.start(name))
                elif fate < 0.5:
                    ends = random.choice(mesh.links)
                    mesh.network.cut(*ends)
                    await asyncio.sleep(random.uniform(0, 2))
                    mesh.network.mend(*ends)
                elif fate < 0.6:
                    # A slow peer: nothing gets through to it for a while, though the link stands.
                    ends = random.choice(mesh.links)
                    mesh.network.stall(*ends)
                    await asyncio.sleep(random.uniform(0, 10))
                    mesh.network.resume(*ends)
                elif fate < 0.7 and restores:
                    name = random.choice(names)
                    mesh.keep_copy(name)
                    await asyncio.sleep(random.uniform(0, 4))
                    await own_context(tasks, mesh.restore(name))
            mesh.failpoint = 0.0
            await asyncio.sleep(5)
            for name in mesh.members:
                await own_context(tasks, mesh.start(name))
            await asyncio.sleep(150)
            found = tuple(mesh.violations())
            for caller in callers:
                caller.cancel()
            for name in mesh.members:
                await mesh.stop(name)
        return Result(seed, found, mesh.crashes, len(mesh.acknowledged), len(mesh.losses), mesh.trace())


async def own_context(tasks: asyncio.TaskGroup, act: Coroutine[Any, Any, None]) -> None:
    """Do something of one agent in a task of its own: what it starts runs on that agent's clock."""
    await tasks.create_task(act)


def path(mesh: WholeMesh, origin: str) -> str:
    """A random path from `origin`."""
    names = [origin]
    while len(names) < 4:
        onward = sorted({end for ends in mesh.links if names[-1] in ends for end in ends} - set(names))
        if not onward or (len(names) > 1 and mesh.random.random() < 0.3):
            break
        names.append(mesh.random.choice(onward))
    return ".".join(names)


def expected(text: str, *, lost: bool) -> bool:
    """Whether a schedule gives a reason for what was logged as an error."""
    return "no new jobs are taken" in text or (lost and any(word in text for word in ("lost what", "two outcomes")))


class Errors(logging.Handler):
    """What agents log as an error: an alarm, a broken invariant. Nothing here gives them a reason for either."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"log: {record.getMessage()}")


def played(seeds: range) -> list[Result]:
    log = logging.getLogger("hopboard")
    log.propagate = False
    results = []
    for seed in seeds:
        errors = Errors()
        log.addHandler(errors)
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            result = runner.run(live(seed))
        log.removeHandler(errors)
        said = [text for text in errors.texts if not expected(text, lost=bool(result.losses))]
        results.append(result._replace(violations=(*result.violations, *said)))
    return results


def test_whole_agents_keep_every_job(totals: Totals) -> None:
    end = FIRST + SCHEDULES
    results = [
        result
        for batch in spread(played, [range(first, min(first + CHUNK, end)) for first in range(FIRST, end, CHUNK)])
        for result in batch
    ]
    failed = [result for result in results if result.violations]
    totals.add(
        "whole",
        schedules=len(results),
        crashes=sum(result.crashes for result in results),
        losses=sum(result.losses for result in results),
        jobs=sum(result.jobs for result in results),
        violations=sum(len(result.violations) for result in failed),
    )
    assert not failed, failed[:5]
    assert sum(result.jobs for result in results) > 3 * len(results)


def test_the_same_seed_gives_the_same_trace() -> None:
    """24: what stores hold in the end, and what callers were told, follows from the seed."""
    assert [one.trace for one in played(range(6))] == [one.trace for one in played(range(6))]


def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that says durable before it is: some schedule loses what was acknowledged, about one in twenty-five."""
    good = LoopWriter.commit

    def commit(writer: LoopWriter, batch: Batch, done: Callable[[BaseException | None], None]) -> None:
        asyncio.get_running_loop().call_soon(lambda: None if writer.dead else done(None))
        good(writer, batch, lambda error: None)

    monkeypatch.setattr(LoopWriter, "commit", commit)
    assert any(played(range(seed, seed + 1))[0].violations for seed in range(50, 150))
