"""What a handle tells of its job, to callers who ask early, late, or twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents import handle
from agents.agent import Agent
from agents.context import Context
from agents.errors import AgentError, JobFailed, NotKnownYet
from agents.longtext import read_long
from agents.views import JobView
from grammar.errors import MeshError
from grammar.identifiers import UserIdentifier
from mesh.errors import NotOurJob
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh

ADD = "portal.cluster add_user fred.proj.org"
HOLD = "portal.cluster hold fred"


@dataclass
class Two:
    mesh: Mesh
    portal: Agent
    cluster: Agent
    held: asyncio.Event
    release: asyncio.Event


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[Two]:
    """A portal and its cluster; `hold` runs until `release` is set."""
    async with memory_mesh(folder) as mesh:
        portal, cluster = mesh.agent("portal", kind="portal"), mesh.agent("cluster")
        held, release = asyncio.Event(), asyncio.Event()

        @cluster.handler
        async def add_user(user: UserIdentifier) -> UserIdentifier:
            return user

        @cluster.handler
        async def remove_user(user: UserIdentifier) -> None:
            raise cluster.Refused("not today")

        @cluster.handler
        async def hold(name: str, context: Context) -> str:
            await context.progress(0.5, "half")
            held.set()
            await release.wait()
            return name

        @cluster.handler
        async def long(size: int) -> str:
            return "x" * size

        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        yield Two(mesh, portal, cluster, held, release)


@in_loop
async def test_a_result_is_a_typed_value(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(ADD)
        assert await job.result() == UserIdentifier.parse("fred.proj.org")
        view = await job.wait()
        assert (view.state, view.result, view.result_type) == ("complete", "fred.proj.org", "UserIdentifier")
        assert (view.id, view.short, view.path) == (job.id, job.short, ("portal", "cluster"))
        assert (await job.view()).state == "complete"
        assert job.short in repr(job)


@in_loop
async def test_a_failure_says_who_and_why(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put("portal.cluster remove_user fred.proj.org")
        for _ in range(2):
            with pytest.raises(JobFailed, match="not today") as failed:
                await job.result()
            assert (failed.value.kind, failed.value.agent, failed.value.job) == ("failed", "cluster", job.id)
        view = await job.wait()
        assert view.state == "error"
        assert view.error is not None
        assert view.error.message == "not today"


@in_loop
async def test_patience_is_the_callers_and_the_job_goes_on(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(HOLD)
        await at.held.wait()
        with pytest.raises(NotKnownYet, match=f"job {job.short} is not over after 0.01 s") as early:
            await job.result(0.01)
        assert "mesh watch" in early.value.fix
        with pytest.raises(NotKnownYet):
            await job.wait(0.01)
        at.release.set()
        assert await job.result() == "fred"


@in_loop
async def test_many_may_wait_and_one_may_give_up(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(HOLD)
        waiting = [asyncio.create_task(job.result()) for _ in range(3)]
        await at.held.wait()
        waiting[1].cancel()
        at.release.set()
        await asyncio.wait(waiting)
        assert waiting[1].cancelled()
        assert [waiting[0].result(), waiting[2].result()] == ["fred", "fred"]


@in_loop
async def test_a_watch_ends_with_the_job(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(HOLD)
        views: list[JobView] = []
        async for view in job.watch():
            views.append(view)
            if view.message == "half":
                at.release.set()
        states = [view.state for view in views]
        assert states[-1] == "complete"
        assert all(view.live for view in views[:-1])
        assert [view.version for view in views] == sorted({view.version for view in views})
        assert [view.state async for view in job.watch()] == ["complete"], "who comes late gets the last view"


@in_loop
async def test_a_running_job_can_be_cancelled(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(HOLD)
        await at.held.wait()
        await job.cancel()
        with pytest.raises(JobFailed, match="cancelled while it ran") as failed:
            await job.result()
        assert failed.value.kind == "cancelled"
        assert (await job.wait()).state == "cancelled"


@in_loop
async def test_only_the_origin_may_cancel_or_delete(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(HOLD)
        await at.held.wait()
        there = await at.cluster.job(job.id)
        with pytest.raises(NotOurJob):
            await there.cancel()
        with pytest.raises(NotOurJob):
            await there.delete()
        at.release.set()
        assert await job.result() == "fred"


@in_loop
async def test_a_deleted_job_is_forgotten(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(ADD)
        await job.result()
        await job.delete()
        assert (await job.view()).state == "deleted"
        assert await at.portal.jobs(live=None) == []


@in_loop
async def test_who_waits_for_a_job_that_is_deleted_is_told(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(HOLD)
        await at.held.wait()
        waiting = asyncio.create_task(job.wait(5))
        result = asyncio.create_task(job.result(5))
        watching = asyncio.create_task(last(job.watch()))
        await asyncio.sleep(0)
        await job.delete()
        assert (await waiting).state == "deleted"
        with pytest.raises(JobFailed) as failed:
            await result
        assert failed.value.kind == "deleted"
        async with asyncio.timeout(5):
            view = await watching
        assert view is not None
        assert view.state == "deleted"


async def last(views: AsyncIterator[JobView]) -> JobView | None:
    found = [view async for view in views]
    return found[-1] if found else None


@in_loop
async def test_who_comes_after_the_end_is_answered_at_once(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(ADD)
        await job.wait(5)
        known = job.id
        await at.cluster.stop()
        await at.portal.stop()
        await at.portal.start()
        assert (await (await at.portal.job(known)).wait(0.3)).state == "complete"


@in_loop
async def test_the_same_key_is_the_same_job_even_when_it_is_over(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(ADD, key="k")
        await job.wait(5)
        first = job.id
        await at.cluster.stop()
        await at.portal.stop()
        await at.portal.start()
        again = await at.portal.put(ADD, key="k")
        assert again.id == first
        assert await again.result(0.3) == UserIdentifier.parse("fred.proj.org")


@in_loop
async def test_a_stop_tells_those_who_wait(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(HOLD)
        await at.held.wait()
        waiting = asyncio.create_task(job.wait())
        await asyncio.sleep(0)
        await at.portal.stop()
        with pytest.raises(AgentError, match="goes on when it is started again"):
            await waiting


@in_loop
async def test_a_stop_tells_those_who_follow(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        job = await at.portal.put(HOLD)
        await at.held.wait()
        first = asyncio.Event()

        async def follow() -> None:
            async for _ in job.watch():
                first.set()

        following = asyncio.create_task(follow())
        await first.wait()
        await at.portal.stop()
        try:
            async with asyncio.timeout(0.3):
                with pytest.raises(MeshError):
                    await asyncio.shield(following)
        finally:
            following.cancel()


@in_loop
async def test_a_large_result_is_read_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []

    def noted(text: bytes) -> object:
        threads.append(threading.current_thread() is threading.main_thread())
        return read_long(text)

    monkeypatch.setattr(handle, "read_long", noted)
    async with two(tmp_path) as at:
        assert await (await at.portal.put("portal.cluster long 100000")).result() == "x" * 100_000
        assert await (await at.portal.put("portal.cluster long 10")).result() == "x" * 10
    assert threads == [False]
