"""A whole agent: starting, failing and stopping it, with callers and handlers in flight."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.agent import Agent
from agents.context import Context
from agents.errors import AgentError
from agents.stepping import Stepping
from grammar.errors import MeshError
from mesh.effects import Batch
from mesh.errors import DiskFull, StoreError
from mesh.room import Room
from mesh.storage.memory import MemoryStore
from mesh.storage.sqlite import SqliteStore
from mesh.storage.writer import LOOK
from mesh.transport.errors import ListenFailed
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh

WORK = "portal.cluster work"


class Failing(MemoryStore):
    """A store whose disk breaks when the test says so."""

    broken = False

    def apply(self, batches: Sequence[Batch]) -> None:
        if self.broken:
            raise StoreError("the disk broke", fix="another disk")
        super().apply(batches)


async def outcome(waiting: asyncio.Task[Any]) -> object:
    """What a task gave or raised; None if it still waits after a moment."""
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    if not done:
        waiting.cancel()
        return None
    return waiting.exception() or waiting.result()


@pytest.mark.parametrize("keep", ["memory", "sqlite"])
@in_loop
async def test_a_stop_takes_handlers_away_and_they_run_again(tmp_path: Path, keep: str) -> None:
    def store() -> MemoryStore | SqliteStore:
        return MemoryStore() if keep == "memory" else SqliteStore(tmp_path / "cluster" / "store.sqlite")

    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        kept = store() if keep == "memory" else None
        cluster = mesh.agent("cluster", store=kept or store())
        runs, release = asyncio.Event(), asyncio.Event()
        attempts: list[int] = []

        async def work(context: Context) -> str:
            attempts.append(context.attempt)
            runs.set()
            await release.wait()
            return "done"

        cluster.handler(work)
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        job = await portal.put(WORK)
        await runs.wait()
        await cluster.stop()
        release.set()
        again = mesh.another("cluster", store=kept or store())
        again.handler(work)
        await again.start()
        assert await job.result(10) == "done"
        assert len(attempts) == 2
        assert (await job.wait()).error is None


@in_loop
async def test_what_is_not_idempotent_ends_as_interrupted_at_a_stop(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        runs = asyncio.Event()

        @cluster.handler(idempotent=False)
        async def work() -> None:
            runs.set()
            await asyncio.get_running_loop().create_future()

        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        job = await portal.put(WORK)
        await runs.wait()
        await cluster.stop()
        await cluster.start()
        view = await job.wait(10)
        assert view.error is not None
        assert (view.state, view.error.kind) == ("error", "interrupted")
        assert "effect is not known" in view.error.message


@in_loop
async def test_a_handler_that_ends_while_it_is_stopped_has_its_say(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        runs = asyncio.Event()

        @cluster.handler
        async def work() -> str:
            runs.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                return "finished in haste"
            return ""

        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        job = await portal.put(WORK)
        await runs.wait()
        await cluster.stop()
        await cluster.start()
        assert await job.result(10) == "finished in haste"


@in_loop
async def test_jobs_wait_for_an_agent_that_is_down(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")

        @cluster.handler
        async def work(name: str) -> str:
            return name

        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        await cluster.stop()
        ids = [(await portal.put(f"{WORK} n{n}")).id for n in range(10)]
        await portal.stop()
        await portal.start()
        await cluster.start()
        handles = [await portal.job(one) for one in ids]
        assert [await handle.result(10) for handle in handles] == [f"n{n}" for n in range(10)]


async def broken(mesh: Mesh) -> tuple[Agent, asyncio.Task[Any], asyncio.Task[Any]]:
    """An agent whose store breaks while one caller waits for a job, and another for an answer."""
    store = Failing()
    portal, cluster = mesh.agent("portal", store=store), mesh.agent("cluster")

    @cluster.handler
    async def work() -> None:
        await asyncio.get_running_loop().create_future()

    await portal.start()
    await cluster.start()
    await mesh.join(portal, cluster)
    job = await portal.put(WORK)
    waiting = asyncio.create_task(job.wait())
    await portal.running.stepping.settled()
    store.broken = True
    putting = asyncio.create_task(portal.put(WORK))
    async with asyncio.timeout(5):
        await asyncio.shield(portal.running.failure)
    return portal, waiting, putting


@in_loop
async def test_a_broken_store_stops_the_agent_and_tells_all_who_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, waiting, putting = await broken(mesh)
        assert isinstance(portal.running.failure.result(), StoreError)
        for caller in (waiting, putting):
            assert isinstance(await outcome(caller), AgentError)
        assert [record.exc_info for record in caplog.records if record.levelno == logging.CRITICAL] == [None], (
            "a broken disk is no bug: no traceback"
        )
        status, _, body = portal.running._readyz()
        assert (status, "failed" in body) == (503, True)
        assert portal.running._healthz()[0] == 200


@pytest.mark.parametrize("verb", ["put", "invite", "cancel"])
@in_loop
async def test_who_comes_after_the_failure_is_told_too(tmp_path: Path, verb: str) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, waiting, putting = await broken(mesh)
        await asyncio.wait([waiting, putting])
        assert isinstance(waiting.exception(), AgentError)
        assert isinstance(putting.exception(), AgentError)
        asked: asyncio.Task[Any]
        if verb == "put":
            asked = asyncio.create_task(portal.put(WORK))
        elif verb == "invite":
            asked = asyncio.create_task(portal.invite("third", urls=("ws://portal",)))
        else:
            asked = asyncio.create_task(portal.running.jobs.cancel_job(bytes(26)))
        assert isinstance(await outcome(asked), MeshError)


@in_loop
async def test_a_broken_agent_can_still_be_stopped(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, waiting, putting = await broken(mesh)
        async with asyncio.timeout(5):
            await portal.stop()
        await asyncio.wait([waiting, putting])
        assert isinstance(waiting.exception(), AgentError)
        assert isinstance(putting.exception(), AgentError)


@in_loop
async def test_a_bug_in_the_engine_stops_the_agent_with_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal")
        await portal.start()

        def bug(now_ms: int) -> Any:
            raise AssertionError("an invariant")

        portal.running.engine.end_step = bug  # type: ignore[method-assign]
        portal.running.stepping.poke()
        async with asyncio.timeout(5):
            error = await asyncio.shield(portal.running.failure)
        assert isinstance(error, AssertionError)
        (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
        assert record.exc_info is not None


@in_loop
async def test_a_port_that_is_taken_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Stepping] = []

    def make(*arguments: Any) -> Stepping:
        made.append(Stepping(*arguments))
        return made[-1]

    monkeypatch.setattr("agents.running.Stepping", make)
    async with memory_mesh(tmp_path) as mesh:
        store = SqliteStore(tmp_path / "portal" / "store.sqlite")
        portal = mesh.agent("portal", store=store)

        async def nobody(_: object) -> None: ...

        listener = await mesh.network.host("portal").listen("", 0, nobody)
        with pytest.raises(ListenFailed):
            await portal.start()
        timer = made[0]._timer
        assert timer is not None
        assert timer.cancelled(), "it would ring in a minute, for an agent that is not there"
        await listener.close()
        # The store is closed, so its lock is free.
        again = mesh.another("portal", store=SqliteStore(tmp_path / "portal" / "store.sqlite"))
        await again.start()
        assert again.running.peering.address == "memory://portal"


class Filling(MemoryStore):
    """A store that says of its room what the test says."""

    said = Room.ENOUGH

    def room(self) -> Room:
        return self.said


@in_loop
async def test_without_room_puts_are_refused_and_come_through_once_there_is_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_mesh(tmp_path) as mesh:
        store = Filling()
        portal = mesh.agent("portal", store=store, more="[limits]\nroom_s = 0.01")
        await portal.start()
        await portal.invite("cluster", urls=("ws://portal",))
        assert portal.running._readyz()[0] == 200
        store.said = Room.DISK_FULL

        async def put_until_it_is_seen() -> None:
            for _ in range(LOOK + 1):
                await portal.put(WORK)

        with pytest.raises(DiskFull, match="disk_full"):
            await put_until_it_is_seen()
        assert portal.running._readyz() == (503, "application/json", '{"status":"disk_full"}')
        waiting = asyncio.create_task(portal.put(WORK, wait_for_room=True))
        assert await outcome(asyncio.ensure_future(asyncio.shield(waiting))) is None
        store.said = Room.ENOUGH
        assert (await (await waiting).view()).state == "pending"
        assert portal.running._readyz()[0] == 200
        said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert [line for line in said if "ALARM" in line or "room again" in line] == [
            'ALARM: the disk of agent "portal" is full (disk_full): no new jobs are taken until there is room, '
            "only what ends others",
            "there is room again: new jobs are taken",
        ]


@pytest.mark.parametrize("where", ["refusal", "failure", "progress"])
@in_loop
async def test_text_that_is_no_utf_8_does_not_stop_the_agent(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the name of a file may be that a handler could not open."""
    # What is logged holds such text too, and a report that goes from one test process to another cannot.
    monkeypatch.setattr(logging.getLogger("hopboard.jobs"), "disabled", True)
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal"), mesh.agent("cluster")
        bad = "no such file: \udcff"

        @cluster.handler
        async def work(context: Context) -> str:
            if where == "refusal":
                raise cluster.Refused(bad)
            if where == "failure":
                raise FileNotFoundError(bad)
            await context.progress(0.5, bad)
            return "done"

        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        job = await portal.put(WORK)
        try:
            view = await job.wait(0.5)
        finally:
            gc.collect()  # a handler's task that died unseen complains now, not while the next test runs
        assert not cluster.running.failure.done()
        assert view.state == ("complete" if where == "progress" else "error")
