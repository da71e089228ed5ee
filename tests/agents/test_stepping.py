"""One step for what arrives in a turn, one commit for it, effects in order; and what a failure stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.stepping import INPUTS, Stepping
from mesh.effects import Answer, Batch, ById, Early, Effects
from tests.agents.doors import in_loop


class Engine:
    """Collects inputs; each step says them as its replies. `dry` steps have nothing to commit."""

    def __init__(self) -> None:
        self.step = 0
        self.inputs: list[Any] = []
        self.dry = False
        self.queries: list[ById] = []
        self.told: list[Any] = []
        self.ahead: dict[int, list[bytes]] = {}
        self.done: list[int] = []
        self.deadline: int | None = None
        self.broken: Exception | None = None

    def end_step(self, now_ms: int) -> Effects:
        if self.broken is not None:
            raise self.broken
        self.step += 1
        effects = Effects(step=self.step)
        effects.replies, self.inputs = self.inputs, []
        effects.queries, self.queries = self.queries, []  # type: ignore[assignment]
        if not self.dry:
            effects.batch.cards.append((b"", b""))
        return effects

    def early(self) -> Early | None:
        told, self.told = self.told, []
        ahead, self.ahead = self.ahead, {}
        return Early(told, ahead) if told or ahead else None

    def ask(self) -> None:
        self.queries.append(ById((b"id",)))

    def committed(self, step: int) -> None:
        self.done.append(step)

    def answer(self, answer: Answer, now_ms: int) -> None:
        self.inputs.append(answer)

    def next_deadline_ms(self) -> int | None:
        return self.deadline

    def tick(self, now_ms: int) -> None:
        self.deadline = None
        self.inputs.append("tick")


@dataclass
class Writer:
    """Keeps commits until the test lets them go."""

    commits: list[tuple[Batch, Callable[[BaseException | None], None]]] = field(default_factory=list)
    reads: list[tuple[ById, Callable[[Any], None]]] = field(default_factory=list)
    durable: int = 0
    """How many of the oldest commits are done, and the loop was not told yet."""

    def commit(self, batch: Batch, done: Callable[[BaseException | None], None]) -> None:
        self.commits.append((batch, done))

    def read(self, query: ById, done: Callable[[Any], None]) -> None:
        self.reads.append((query, done))

    def deliver(self) -> None:
        for _ in range(self.durable):
            self.finish()
        self.durable = 0

    def finish(self, error: BaseException | None = None) -> None:
        """The oldest commit comes back."""
        self.commits.pop(0)[1](error)


@dataclass
class Outlet:
    out: list[Any] = field(default_factory=list)
    ahead: list[Any] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    on_told: Callable[[], None] = bool
    flushed: int = 0
    """How much of `out` was there when everything was written."""

    def at_once(self, early: Early) -> None:
        self.ahead += early.told
        self.ahead += early.ahead
        if early.told:
            self.on_told()

    def after_commit(self, effects: Effects) -> None:
        self.out.append(list(effects.replies))

    def flush(self) -> None:
        self.flushed = len(self.out)

    def failed(self, error: BaseException) -> None:
        self.failures.append(error)


class Bench:
    def __init__(self) -> None:
        self.engine, self.writer, self.outlet = Engine(), Writer(), Outlet()
        self.now_ms = 1_000
        self.stepping = Stepping(self.engine, self.writer, self.outlet, lambda: self.now_ms)  # type: ignore[arg-type]

    def put(self, *inputs: Any) -> None:
        for one in inputs:
            self.stepping.feed(lambda _, one=one: self.engine.inputs.append(one))  # type: ignore[misc]

    async def turn(self) -> None:
        """Let everything that waits in this turn of the loop happen."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@in_loop
async def test_what_arrives_in_one_turn_is_one_step_and_one_commit() -> None:
    bench = Bench()
    bench.put(1, 2)
    bench.stepping.poke()
    bench.put(3)
    assert bench.stepping.steps == 0
    await bench.turn()
    assert bench.stepping.steps == 1
    assert len(bench.writer.commits) == 1
    assert bench.outlet.out == [], "nothing goes out before the commit"
    bench.writer.finish()
    assert bench.outlet.out == [[1, 2, 3]]
    assert bench.engine.done == [1]


@in_loop
async def test_what_became_durable_is_carried_out_before_the_next_input_of_a_long_turn() -> None:
    bench = Bench()
    bench.put("a")
    await bench.turn()
    bench.writer.durable = 1
    bench.put("b")
    assert bench.outlet.out == [["a"]], "without a turn of the loop in between"
    assert bench.outlet.flushed == 1
    await bench.turn()
    bench.writer.finish()
    assert bench.outlet.out == [["a"], ["b"]]
    assert bench.outlet.flushed == 2


@in_loop
async def test_steps_go_on_while_commits_run_and_effects_come_out_in_order() -> None:
    bench = Bench()
    bench.put("a")
    await bench.turn()
    bench.put("b")
    await bench.turn()
    bench.engine.dry = True
    bench.put("c")
    await bench.turn()
    assert (bench.stepping.steps, len(bench.writer.commits)) == (3, 2)
    bench.writer.finish()
    assert bench.outlet.out == [["a"]], "a step without a commit waits for those before it"
    bench.writer.finish()
    assert bench.outlet.out == [["a"], ["b"], ["c"]]
    bench.put("d")
    await bench.turn()
    assert bench.outlet.out[-1] == ["d"], "nothing to wait for"
    assert bench.engine.done == [1, 2, 3]


@in_loop
async def test_a_put_that_follows_an_end_shares_its_step() -> None:
    bench = Bench()
    caller: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bench.outlet.on_told = lambda: caller.set_result(None)

    async def call() -> None:
        await caller
        bench.put("next")

    calling = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    bench.engine.told = ["outcome"]
    bench.stepping.poke()
    await bench.turn()
    assert calling.done()
    assert (bench.stepping.steps, len(bench.writer.commits)) == (1, 1)
    bench.writer.finish()
    assert bench.outlet.out == [["next"]]
    assert bench.outlet.ahead == ["outcome"], "told once"


@in_loop
async def test_an_end_that_nothing_follows_waits_one_turn() -> None:
    bench = Bench()
    bench.engine.told = ["outcome"]
    bench.stepping.poke()
    await asyncio.sleep(0)
    assert (bench.outlet.ahead, bench.stepping.steps) == (["outcome"], 0)
    await asyncio.sleep(0)
    assert (bench.outlet.ahead, bench.stepping.steps) == (["outcome"], 1)


@in_loop
async def test_ends_that_come_one_after_the_other_do_not_put_a_step_off_for_ever() -> None:
    bench = Bench()
    for number in range(3):
        bench.engine.told = [number]
        bench.stepping.poke()
        await asyncio.sleep(0)
    assert (bench.outlet.ahead, bench.stepping.steps) == ([0, 1, 2], 1)


@in_loop
async def test_a_step_that_others_wait_for_is_not_put_off() -> None:
    bench = Bench()
    bench.put("request", "request")
    bench.engine.told = ["outcome"]
    bench.stepping.poke()
    await asyncio.sleep(0)
    assert (bench.outlet.ahead, bench.stepping.steps) == (["outcome"], 1)


@in_loop
async def test_what_goes_to_the_next_agent_at_once_puts_no_step_off() -> None:
    bench = Bench()
    bench.engine.ahead = {7: [b"outcome"]}
    bench.stepping.poke()
    await asyncio.sleep(0)
    assert (bench.outlet.ahead, bench.stepping.steps) == ([7], 1)


@in_loop
async def test_a_full_step_carries_out_what_is_early_before_it_ends() -> None:
    bench = Bench()
    bench.engine.told = ["outcome"]
    bench.stepping.poke(INPUTS)
    bench.stepping.make_room()
    assert (bench.outlet.ahead, bench.stepping.steps) == (["outcome"], 1)


@in_loop
async def test_what_is_early_and_breaks_stops_the_agent() -> None:
    bench = Bench()
    bench.engine.told = ["outcome"]

    def broken() -> None:
        raise RuntimeError("a bug")

    bench.outlet.on_told = broken
    bench.stepping.poke()
    await bench.turn()
    assert [str(error) for error in bench.outlet.failures] == ["a bug"]
    assert bench.stepping.failed


@in_loop
async def test_what_is_put_off_is_not_handed_over_after_a_failure() -> None:
    bench = Bench()
    bench.engine.told = ["outcome"]
    bench.stepping.poke()
    await asyncio.sleep(0)
    bench.stepping.fail(OSError("no disk"))
    await bench.turn()
    assert (bench.outlet.ahead, bench.writer.commits) == (["outcome"], [])


@in_loop
async def test_what_is_told_ahead_does_not_wait_for_the_commit() -> None:
    bench = Bench()
    bench.engine.told = ["outcome"]
    bench.put("a")
    await bench.turn()
    assert (bench.outlet.ahead, bench.outlet.out) == (["outcome"], [])


@in_loop
async def test_settled_waits_for_everything_given_so_far() -> None:
    bench = Bench()
    bench.put("a")
    waiting = asyncio.create_task(bench.stepping.settled())
    await bench.turn()
    assert not waiting.done()
    bench.writer.finish()
    await bench.turn()
    while bench.writer.commits:
        bench.writer.finish()
    await waiting
    assert bench.outlet.out[0] == ["a"]


@in_loop
async def test_who_gives_up_waiting_disturbs_nobody() -> None:
    bench = Bench()
    bench.put("a")
    first = asyncio.create_task(bench.stepping.settled())
    second = asyncio.create_task(bench.stepping.settled())
    await bench.turn()
    first.cancel()
    await bench.turn()
    while bench.writer.commits:
        bench.writer.finish()
    await second
    assert bench.outlet.failures == []


@in_loop
async def test_a_query_is_asked_after_the_commit_and_its_answer_is_an_input() -> None:
    bench = Bench()
    bench.engine.queries = [ById((bytes(26),))]
    bench.put("a")
    await bench.turn()
    assert bench.writer.reads == []
    bench.writer.finish()
    ((query, answered),) = bench.writer.reads
    answered(Answer(query, [], None))
    await bench.turn()
    bench.writer.finish()
    assert bench.outlet.out[1] == [Answer(query, [], None)]


@in_loop
async def test_the_timer_rings_at_the_engines_deadline() -> None:
    bench = Bench()
    bench.engine.dry = True
    bench.engine.deadline = 1_000 + 3_600_000
    bench.put("a")
    await bench.turn()
    bench.engine.deadline = 1_005
    bench.put("b")
    await bench.turn()
    ticked = asyncio.Event()
    tick = bench.engine.tick

    def ring(now_ms: int) -> None:
        tick(now_ms)
        ticked.set()

    bench.engine.tick = ring  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        await ticked.wait()
    await bench.turn()
    assert ["tick"] in bench.outlet.out


@pytest.mark.parametrize("where", ["input", "step", "commit", "read"])
@in_loop
async def test_a_failure_stops_everything_and_is_told_once(where: str) -> None:
    bench = Bench()
    error = RuntimeError("broken")

    def broken(_: int) -> None:
        raise error

    if where == "input":
        bench.stepping.feed(broken)
    elif where == "step":
        bench.engine.broken = error
        bench.put("a")
        await bench.turn()
    elif where == "commit":
        bench.put("a")
        await bench.turn()
        bench.writer.finish(error)
    else:
        bench.engine.dry = True
        bench.engine.queries = [ById((bytes(26),))]
        bench.put("a")
        await bench.turn()
        bench.writer.reads[0][1](error)
    assert bench.outlet.failures == [error]
    steps, out = bench.stepping.steps, list(bench.outlet.out)
    bench.put("later")
    bench.stepping.poke()
    bench.stepping.fail(ValueError("again"))
    await bench.turn()
    assert bench.outlet.failures == [error]
    assert (bench.stepping.steps, bench.outlet.out) == (steps, out)


@in_loop
async def test_a_failed_commit_releases_none_of_the_effects_after_it() -> None:
    bench = Bench()
    bench.put("a")
    await bench.turn()
    bench.put("b")
    await bench.turn()
    error = OSError("no disk")
    bench.writer.finish(error)
    bench.writer.finish(error)
    assert bench.outlet.out == []
    assert bench.outlet.failures == [error]


@pytest.mark.parametrize("when", ["before", "after"])
@in_loop
async def test_who_waits_when_it_fails_is_told(when: str) -> None:
    """Else a put or an invite, and the stop of the agent itself, wait for ever."""
    bench = Bench()
    bench.put("a")
    waiting = asyncio.create_task(bench.stepping.settled())
    if when == "before":
        await bench.turn()
    bench.stepping.fail(RuntimeError("broken"))
    await bench.turn()
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    waiting.cancel()
    assert done == {waiting}
    assert waiting.exception() is not None


@in_loop
async def test_closing_carries_out_what_was_given_first() -> None:
    bench = Bench()
    bench.engine.deadline = 10_000_000
    bench.put("a")
    closing = asyncio.create_task(bench.stepping.close())
    await bench.turn()
    while bench.writer.commits:
        bench.writer.finish()
    await closing
    assert bench.outlet.out[0] == ["a"]
    steps = bench.stepping.steps
    bench.put("late")
    await bench.turn()
    assert bench.stepping.steps == steps
