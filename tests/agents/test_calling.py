"""Calls: one future from the put of a job to its result, however it ends, and whoever else watches."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.errors import AgentError, JobFailed, NotKnownYet
from grammar.errors import GrammarError
from grammar.identifiers import UserIdentifier
from mesh.errors import Busy, PutRefused, UnknownPeer
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh

HOLD = "portal.cluster hold fred"


@dataclass
class Two:
    mesh: Mesh
    portal: Agent
    cluster: Agent
    held: asyncio.Event
    release: asyncio.Event

    @property
    def kept(self) -> int:
        """Calls that the portal keeps for callers who may have gone."""
        return len(self.portal.running.watching._held)


@asynccontextmanager
async def two(folder: Path, more: str = "") -> AsyncIterator[Two]:
    """A portal and its cluster; `hold` runs until `release` is set."""
    async with memory_mesh(folder) as mesh:
        portal, cluster = mesh.agent("portal", kind="portal", more=more), mesh.agent("cluster")
        held, release = asyncio.Event(), asyncio.Event()

        @cluster.handler
        async def add_user(user: UserIdentifier) -> UserIdentifier:
            return user

        @cluster.handler
        async def remove_user(user: UserIdentifier) -> None:
            raise cluster.Refused("not today")

        @cluster.handler
        async def hold(name: str) -> str:
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
async def test_a_call_gives_the_typed_result_of_a_job_like_any_other(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        called = at.portal.call("portal.cluster add_user fred.proj.org")
        assert await called == UserIdentifier.parse("fred.proj.org")
        (view,) = await at.portal.jobs(live=None)
        assert (view.instruction, view.state) == ("add_user fred.proj.org", "complete")
        assert not at.kept


@in_loop
async def test_many_calls_are_gathered(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        calls = [at.portal.call(f"portal.cluster add_user u{n}.proj.org") for n in range(700)]
        assert [str(value) for value in await asyncio.gather(*calls)] == [f"u{n}.proj.org" for n in range(700)]
        assert not at.kept


@in_loop
async def test_a_result_that_is_no_part_of_the_outcome_is_fetched(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        assert await at.portal.call("portal.cluster long 100000") == "x" * 100_000


@in_loop
async def test_a_job_that_fails_fails_its_call_and_names_itself(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        with pytest.raises(JobFailed, match="not today") as failed:
            await at.portal.call("portal.cluster remove_user fred.proj.org")
        assert (failed.value.kind, failed.value.agent) == ("failed", "cluster")
        assert (await (await at.portal.job(failed.value.job)).view()).state == "error"


@in_loop
async def test_a_job_that_nobody_runs_fails_its_call(tmp_path: Path) -> None:
    """It ends without an Outcome: a hop refused it."""
    async with two(tmp_path) as at:
        with pytest.raises(JobFailed) as failed:
            await at.portal.call("portal.cluster.nobody add_user fred.proj.org")
        assert failed.value.kind == "no_route"
        assert not at.kept


@in_loop
async def test_what_is_known_to_be_wrong_is_said_where_the_result_would_be(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        wrong = [at.portal.call(text) for text in ("portal.cluster", "portal.nobody hold x", "other.cluster hold x")]
        found = await asyncio.gather(*wrong, return_exceptions=True)
        assert [type(one) for one in found] == [GrammarError, UnknownPeer, PutRefused]
        assert await at.portal.jobs(live=None) == []


@in_loop
async def test_patience_that_ends_leaves_the_job_alone(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        with pytest.raises(NotKnownYet, match="is not over after") as impatient:
            await at.portal.call(HOLD, timeout=0.05)
        assert "it goes on" in impatient.value.fix
        (view,) = await at.portal.jobs()
        at.release.set()
        assert await (await at.portal.job(view.id)).result(5) == "fred"


@in_loop
async def test_a_cancelled_call_leaves_the_job_alone(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        called, early = at.portal.call(HOLD), at.portal.call("portal.cluster hold early")
        early.cancel()
        await at.held.wait()
        called.cancel()
        at.release.set()
        for view in await at.portal.jobs(live=None):
            assert (await (await at.portal.job(view.id)).wait(5)).state == "complete"
        assert called.cancelled()
        assert early.cancelled()
        assert not at.kept


@in_loop
async def test_others_follow_and_await_a_job_that_was_called(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        called = at.portal.call(HOLD)
        await at.held.wait()
        (view,) = await at.portal.jobs()
        handle = await at.portal.job(view.id)
        views = (await at.portal.job(view.id)).watch()
        assert (await anext(views)).live
        waiting = asyncio.ensure_future(handle.result())
        await asyncio.sleep(0)
        at.release.set()
        assert [await called, await waiting] == ["fred", "fred"]
        del called, handle
        gc.collect()
        assert [view.state async for view in views][-1] == "complete"


@in_loop
async def test_a_call_of_a_job_that_somebody_saw_before_it_was_durable(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        called = at.portal.call("portal.cluster add_user fred.proj.org")
        (job_id,) = at.portal.running.engine.ledger.dirty
        seen = asyncio.ensure_future(at.portal.running.jobs.handle(job_id).result())
        await asyncio.sleep(0)
        assert str(await called) == str(await seen) == "fred.proj.org"


@in_loop
async def test_the_stop_of_the_agent_ends_its_calls(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        jobs = at.portal.running.jobs
        called = at.portal.call(HOLD)
        await at.held.wait()
        await at.portal.stop()
        with pytest.raises(AgentError, match="the job goes on"):
            await called
        assert not jobs._watching._held


@in_loop
async def test_a_key_is_the_same_job_for_calls_too(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        calls = [at.portal.call("portal.cluster add_user fred.proj.org", key="k") for _ in range(2)]
        assert [str(value) for value in await asyncio.gather(*calls)] == ["fred.proj.org"] * 2
        assert len(await at.portal.jobs(live=None)) == 1
        # It is over by now.
        assert str(await at.portal.call("portal.cluster add_user fred.proj.org", key="k")) == "fred.proj.org"


@in_loop
async def test_a_call_may_wait_for_room(tmp_path: Path) -> None:
    async with two(tmp_path, more="[limits]\nwaiting_jobs = 1\n") as at:
        at.mesh.network.cut("portal", "cluster")
        first = await at.portal.put("portal.cluster hold first")
        with pytest.raises(Busy):
            await at.portal.call("portal.cluster hold refused")
        patient = at.portal.call("portal.cluster hold patient", wait_for_room=True)
        at.release.set()
        at.mesh.network.mend("portal", "cluster")
        assert await asyncio.gather(first.result(), patient) == ["first", "patient"]
