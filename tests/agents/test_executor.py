"""However a handler ends, one ending is reported, and it says no more than the origin may know."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agents import executor as module
from agents.context import Context, Ended, Envelope
from agents.errors import Refused
from agents.executor import Executor
from agents.handlers import Handlers
from agents.longtext import PIECE, written
from grammar.identifiers import UserIdentifier
from grammar.instruction import Instruction
from grammar.openportal import VOCABULARY
from mesh.blobs import Blob, name_blob
from mesh.ending import Ending
from mesh.lifecycle import State
from mesh.limits import Limits
from tests.agents.doors import in_loop

JOB = bytes(26)


@dataclass
class Bench:
    """An executor, and what it reported: (job, ending)."""

    handlers: Handlers = field(default_factory=lambda: Handlers(VOCABULARY))
    reports: list[tuple[bytes, Ending | None]] = field(default_factory=list)
    stored: list[tuple[bytes, Blob]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reported = asyncio.Event()

    def executor(self, limits: Limits | None = None) -> Executor:
        return Executor(self.handlers, limits or Limits(), self._report, self._store)

    async def _store(self, job_id: bytes, blob: Blob) -> None:
        self.stored.append((job_id, blob))

    def _report(self, job_id: bytes, ending: Ending | None) -> None:
        self.reports.append((job_id, ending))
        self.reported.set()

    def add(self, function: Callable[..., Awaitable[Any]]) -> None:
        self.handlers.add(function, keyword="work", right="write", read_only=False, idempotent=True)

    def work(self, text: str = "work") -> tuple[bytes, Instruction, Callable[[], Context]]:
        return JOB, self.handlers.vocabulary.parse(text), lambda: self.context(text)

    def context(self, text: str = "work") -> Context:
        return Context(
            job_id=JOB,
            id=JOB.hex(),
            attempt=1,
            path=("portal", "cluster"),
            instruction=self.handlers.vocabulary.parse(text),
            origin=bytes(20),
            zone="default",
            circle="",
            context="",
            expires=0.0,
            _desk=None,  # type: ignore[arg-type]
        )

    async def ending(
        self, function: Callable[..., Awaitable[Any]], text: str = "work", limits: Limits | None = None
    ) -> Ending:
        """How a job ends that `function` does."""
        self.add(function)
        self.executor(limits).start(*self.work(text))
        await self.reported.wait()
        ((job_id, ending),) = self.reports
        assert job_id == JOB
        assert ending is not None
        return ending


@pytest.mark.parametrize(
    ("value", "result_type", "result"),
    [
        ("account created", "str", '"account created"'),
        (None, None, None),
        (7, "int", "7"),
        (UserIdentifier.parse("fred.proj.org"), "UserIdentifier", '"fred.proj.org"'),
    ],
)
@in_loop
async def test_what_a_handler_returns_is_the_result(value: object, result_type: str | None, result: str | None) -> None:
    async def work() -> Any:
        return value

    ending = await Bench().ending(work)
    assert ending.state is State.COMPLETE
    assert (ending.result_type, ending.result) in ((result_type, result), ("None", "null"))
    assert not ending.unknown_effect
    assert ending.error is None


@in_loop
async def test_a_refusal_reaches_the_origin_word_by_word() -> None:
    async def work() -> None:
        raise Refused('You are not allowed to remove "fred": ask \u2603')

    ending = await Bench().ending(work)
    assert ending == Ending(State.ERROR, error=("failed", 'You are not allowed to remove "fred": ask \u2603'))


@in_loop
async def test_a_refusal_without_words_still_says_something() -> None:
    async def work() -> None:
        raise Refused

    assert (await Bench().ending(work)).error == ("failed", "the handler refused")


@in_loop
async def test_a_long_message_is_cut() -> None:
    async def work() -> None:
        raise Refused("x" * 10_000)

    assert (await Bench().ending(work)).error == ("failed", "x" * module.MESSAGE)


@in_loop
async def test_a_traceback_goes_to_the_log_and_not_to_the_origin(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise KeyError("no such account")

    with caplog.at_level(logging.ERROR, "hopboard.jobs"):
        ending = await Bench().ending(work)
    assert ending == Ending(State.ERROR, error=("failed", "KeyError: 'no such account'"))
    (record,) = caplog.records
    assert record.exc_info is not None, "the log has the traceback"
    assert record.job == JOB.hex()  # type: ignore[attr-defined]


@in_loop
async def test_a_handler_that_takes_too_long_is_stopped_and_its_effect_is_unknown() -> None:
    undone = False

    async def work() -> None:
        nonlocal undone
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            undone = True

    ending = await Bench().ending(work, limits=Limits(run_s=0.01))
    assert ending.state is State.ERROR
    assert ending.error == ("timeout", "the handler was stopped after 0.01 s")
    assert ending.unknown_effect
    assert undone, "the handler could clean up"


@in_loop
async def test_a_timeout_of_the_handlers_own_is_a_failure_like_any_other() -> None:
    async def work() -> None:
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()

    ending = await Bench().ending(work)
    assert ending.error is not None
    assert ending.error[0] == "failed"
    assert not ending.unknown_effect


@in_loop
async def test_a_cancelled_handler_ends_as_cancelled() -> None:
    bench = Bench()
    runs = asyncio.Event()

    async def work() -> None:
        runs.set()
        await asyncio.get_running_loop().create_future()

    bench.add(work)
    executor = bench.executor()
    executor.start(*bench.work())
    await runs.wait()
    executor.stop(JOB)
    executor.stop(bytes(25) + b"x")
    await bench.reported.wait()
    assert bench.reports == [(JOB, Ending(State.CANCELLED))]


@in_loop
async def test_a_handler_may_finish_although_it_was_cancelled() -> None:
    bench = Bench()
    runs = asyncio.Event()

    async def work() -> str:
        try:
            runs.set()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            pass
        return "done all the same"

    bench.add(work)
    executor = bench.executor()
    executor.start(*bench.work())
    await runs.wait()
    executor.stop(JOB)
    await bench.reported.wait()
    assert bench.reports == [(JOB, Ending(State.COMPLETE, "str", '"done all the same"'))]


@in_loop
async def test_a_job_cancelled_before_its_first_step_is_reported_too() -> None:
    """Start and stop may come out of one group of commits, in one turn of the loop."""
    bench = Bench()

    async def work() -> None:
        raise AssertionError("never run")

    bench.add(work)
    executor = bench.executor()
    executor.start(*bench.work())
    executor.stop(JOB)
    await executor.close()
    assert [job_id for job_id, _ in bench.reports] == [JOB]


@in_loop
async def test_a_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    """A handler that waits for a task of its own which was cancelled: the origin asked for no such thing."""

    async def work() -> None:
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    ending = await Bench().ending(work)
    assert ending.state is State.ERROR


@pytest.mark.parametrize(
    "value",
    [object(), math.nan, {"a": {1, 2}}, "lone \udcff surrogate"],
    ids=lambda value: type(value).__name__,
)
@in_loop
async def test_what_cannot_be_a_result_is_a_failure(value: object) -> None:
    async def work() -> Any:
        return value

    ending = await Bench().ending(work)
    assert ending.state is State.ERROR
    assert ending.error is not None
    assert ending.error[0] == "failed"


@in_loop
async def test_a_result_is_measured_in_bytes() -> None:
    async def work() -> str:
        return "\u2603" * 4

    limits = Limits(result_bytes=10, blob_bytes=13)
    ending = await Bench().ending(work, limits=limits)
    assert ending.error == ("failed", "the handler returned a result of 14 bytes, at most 13 are taken")
    assert (await Bench().ending(work, limits=Limits(result_bytes=14))).result == '"\u2603\u2603\u2603\u2603"'


@in_loop
async def test_a_result_too_large_for_a_fact_is_a_blob() -> None:
    async def work() -> str:
        return "\u2603" * 4

    ending = await Bench().ending(work, limits=Limits(result_bytes=13))
    assert (ending.state, ending.result_type) == (State.COMPLETE, "str")
    assert ending.result == name_blob('"\u2603\u2603\u2603\u2603"'.encode())


@in_loop
async def test_a_large_result_is_stored_before_the_end_is_told() -> None:
    """The commit of its Outcome, behind which small jobs wait, then has no bytes in it."""
    bench = Bench()
    told: list[int] = []

    async def work() -> str:
        return "x" * 20

    async def store(job_id: bytes, blob: Blob) -> None:
        told.append(len(bench.reports))
        bench.stored.append((job_id, blob))

    bench._store = store  # type: ignore[method-assign]
    ending = await bench.ending(work, limits=Limits(result_bytes=13))
    assert isinstance(ending.result, Blob)
    assert (told, bench.stored) == ([0], [(JOB, ending.result)])


@in_loop
async def test_a_long_result_is_written_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []

    def noted(data: Any) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return written(data)

    monkeypatch.setattr(module, "written", noted)

    async def short() -> str:
        return "x"

    async def long() -> list[str]:
        return ["x" * (PIECE + 1)]

    assert (await Bench().ending(short)).result == '"x"'
    assert (await Bench().ending(long)).result == name_blob(written(["x" * (PIECE + 1)]))
    assert threads == [True, False]


@in_loop
async def test_a_clean_stop_takes_handlers_away_without_an_ending() -> None:
    bench = Bench()
    runs = asyncio.Event()

    async def work() -> None:
        runs.set()
        await asyncio.get_running_loop().create_future()

    bench.add(work)
    executor = bench.executor()
    executor.start(*bench.work())
    await runs.wait()
    await executor.close()
    assert bench.reports == [(JOB, None)]


@in_loop
async def test_a_handler_that_ends_while_it_is_taken_away_keeps_its_ending() -> None:
    bench = Bench()
    runs = asyncio.Event()

    async def work() -> str:
        try:
            runs.set()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise Refused("in the middle of it") from None
        return ""

    bench.add(work)
    executor = bench.executor()
    executor.start(*bench.work())
    await runs.wait()
    await executor.close()
    assert bench.reports == [(JOB, Ending(State.ERROR, error=("failed", "in the middle of it")))]


@in_loop
async def test_a_deaf_handler_does_not_hold_up_a_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.01)
    bench = Bench()
    runs, release = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        runs.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    bench.add(work)
    executor = bench.executor()
    executor.start(*bench.work())
    await runs.wait()
    await executor.close()
    assert bench.reports == []
    assert "does not stop" in caplog.text
    release.set()
    await bench.reported.wait()


async def generic(bench: Bench, ended: Callable[[Envelope], object]) -> Ending:
    async def take(envelope: Envelope) -> Ended:
        return ended(envelope)  # type: ignore[return-value]

    bench.handlers.add(take, keyword=None, right="write", read_only=False, idempotent=True)
    bench.executor().start(*bench.work("add_user fred.proj.org"))
    await bench.reported.wait()
    ((_, ending),) = bench.reports
    assert ending is not None
    return ending


@in_loop
async def test_a_generic_handler_gets_an_envelope() -> None:
    seen: list[Envelope] = []

    def ended(envelope: Envelope) -> Ended:
        seen.append(envelope)
        return envelope.job.completed("opened")

    assert await generic(Bench(), ended) == Ending(State.COMPLETE, "str", '"opened"')
    (envelope,) = seen
    assert (envelope.sender, envelope.recipient) == ("portal", "cluster")
    assert envelope.job.instruction.keyword == "add_user"
    assert (envelope.job.path, envelope.job.attempt) == (("portal", "cluster"), 1)


@in_loop
async def test_a_generic_handler_may_say_no() -> None:
    ending = await generic(Bench(), lambda envelope: envelope.job.errored("not today"))
    assert ending == Ending(State.ERROR, error=("failed", "not today"))


@in_loop
async def test_a_generic_handler_that_returns_a_bare_value_is_told_what_to_return() -> None:
    ending = await generic(Bench(), lambda _: "opened")
    assert ending.error is not None
    assert "job.completed" in ending.error[1]
