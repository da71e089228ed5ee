"""The verbs on jobs at one agent: put, retry, and room to put."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.client import Client
from agents.errors import AgentError
from agents.handle import JobHandle
from agents.views import JobView
from grammar.errors import GrammarError, MeshError
from mesh.effects import Batch
from mesh.errors import Busy, CorruptRow, PutRefused
from mesh.storage.memory import MemoryStore
from mesh.storage.sqlite import SqliteStore
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh

WORK = "portal.cluster work"


@asynccontextmanager
async def two(folder: Path, more: str = "") -> AsyncIterator[tuple[Mesh, Agent, Agent]]:
    async with memory_mesh(folder) as mesh:
        portal, cluster = mesh.agent("portal", more=more), mesh.agent("cluster")

        @cluster.handler
        async def work(name: str) -> str:
            return name

        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        yield mesh, portal, cluster


@in_loop
async def test_what_is_known_to_be_wrong_is_refused_and_not_stored(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, _cluster):
        for command in ("", "portal.cluster", "portal.nobody work x", "portal.cluster add_user x", "x y z"):
            with pytest.raises((GrammarError, PutRefused)) as refused:
                await portal.put(command)
            assert refused.value.message
        assert await portal.jobs(live=None) == []


@in_loop
async def test_an_agent_that_fails_in_the_midst_of_a_put_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path) as (_, portal, _cluster):
        stepping = portal.running.stepping
        make_room = stepping.make_room

        def fail() -> None:
            make_room()
            stepping.fail(ValueError("a broken invariant"))

        monkeypatch.setattr(stepping, "make_room", fail)
        with pytest.raises(AgentError, match="has stopped"):
            await portal.put(f"{WORK} x")
        monkeypatch.undo()


async def to_the_end(views: AsyncIterator[JobView]) -> None:
    async for _ in views:
        pass


@in_loop
async def test_whoever_waits_for_a_job_is_told_that_it_is_lost(tmp_path: Path) -> None:
    """Its row is found damaged when it is to be sent: nobody else has heard of it, and nobody will."""
    file = tmp_path / "portal" / "store.sqlite"
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = mesh.agent("portal", store=SqliteStore(file)), mesh.agent("cluster")
        await portal.start()
        await cluster.start()
        await mesh.join(portal, cluster)
        mesh.network.cut("portal", "cluster")
        ids = [(await portal.put(f"portal.cluster.nobody work {n}")).id for n in "cd"]
        await portal.stop()
        portal = mesh.another("portal", store=SqliteStore(file))
        await portal.start()
        async with Client(tmp_path / "portal") as client:
            watch = portal.running.watching.of(bytes.fromhex(ids[0]))
            handle = JobHandle(portal.running.jobs, watch, "", fresh=True)
            views = [handle.watch(), (await client.job(ids[0])).watch()]
            assert [(await anext(one)).state for one in views] == ["pending", "pending"]
            waiting = [asyncio.ensure_future(one) for one in (handle.result(), *map(to_the_end, views))]
            with closing(sqlite3.connect(file)) as store, store:
                store.execute("UPDATE jobs SET facts = substr(facts, 2) WHERE id = ?", (handle.job_id,))
            mesh.network.mend("portal", "cluster")
            await portal.wait_for_peer("cluster")
            await asyncio.wait(waiting)
            for task in waiting:
                with pytest.raises(CorruptRow, match="had not left this agent") as lost:
                    task.result()
                assert (lost.value.code, lost.value.fix) == ("MESH-E342", "put it again")
            with pytest.raises(CorruptRow):
                await handle.wait()
            assert (await (await portal.job(ids[1])).wait(5)).state == "rejected", "the other one went on"


@in_loop
async def test_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    """As an argument of a command line may be."""
    async with two(tmp_path) as (_, portal, _cluster):
        with pytest.raises(MeshError):
            await portal.put(f"{WORK} \udcff")
        assert not portal.running.failure.done()
        assert await (await portal.put(f"{WORK} x")).result(5) == "x"


@in_loop
async def test_the_same_key_is_the_same_job(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, _cluster):
        one, two_, other = await asyncio.gather(
            portal.put(f"{WORK} x", key="k"), portal.put(f"{WORK} x", key="k"), portal.put(f"{WORK} x", key="l")
        )
        assert one.id == two_.id != other.id
        assert len(await portal.jobs(live=None)) == 2


@in_loop
async def test_many_are_put_at_once_each_with_its_own_answer(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, _cluster):
        jobs = portal.running.jobs
        wishes = [jobs.wish(f"{WORK} a"), jobs.wish("portal.nobody work b"), jobs.wish(f"{WORK} c")]
        first, second, third = await jobs.put_all(wishes)
        assert isinstance(second, PutRefused)
        assert isinstance(first, bytes)
        assert isinstance(third, bytes)
        assert await jobs.handle(third).result(5) == "c"


@in_loop
async def test_when_there_is_no_room_it_says_so_or_waits(tmp_path: Path) -> None:
    async with two(tmp_path, "[limits]\nwaiting_jobs = 2\n") as (mesh, portal, _cluster):
        mesh.network.cut("portal", "cluster")
        kept = [await portal.put(f"{WORK} n{n}") for n in range(2)]
        with pytest.raises(Busy):
            await portal.put(f"{WORK} more")
        patient = asyncio.create_task(portal.put(f"{WORK} patient", wait_for_room=True))
        jobs = portal.running.jobs
        many = asyncio.create_task(jobs.put_all([jobs.wish(f"{WORK} m{n}") for n in range(6)], wait_for_room=True))
        await jobs._stepping.settled()
        assert not patient.done()
        assert not many.done()
        mesh.network.mend("portal", "cluster")
        assert await (await patient).result(10) == "patient"
        answers = await many
        assert [await jobs.handle(one).result(10) for one in answers if isinstance(one, bytes)] == [
            f"m{n}" for n in range(6)
        ]
        assert [await handle.result(10) for handle in kept] == ["n0", "n1"]


@in_loop
async def test_a_caller_who_goes_away_disturbs_nobody(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, _cluster):
        leaving = asyncio.create_task(portal.put(f"{WORK} left"))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await (await portal.put(f"{WORK} stayed")).result(5) == "stayed"
        assert [view.instruction for view in await portal.jobs(live=None)][1] == "work left", "it was put all the same"


@in_loop
async def test_a_job_that_failed_is_put_again_once(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, cluster):
        rights: list[str] = []

        @cluster.handler
        async def mend(name: str) -> str:
            if not rights:
                raise cluster.Refused("not yet")
            return f"mended {name}"

        await cluster.stop()
        await cluster.start()
        await portal.wait_for_peer("cluster")
        job = await portal.put("portal.cluster mend it", life_s=77, circle="ring", context="deep")
        assert (await job.wait(5)).state == "error"
        assert [view.id for view in await portal.dead()] == [job.id]
        rights.append("now")
        again = await job.retry()
        assert again.id != job.id
        assert await again.result(5) == "mended it"
        view = await again.view()
        assert view.parent == job.id
        assert (view.instruction, view.path) == ("mend it", ("portal", "cluster"))
        assert round(view.expires - view.created) == 77
        assert (await portal.retry(job.short)).id == again.id, "asked twice, put once"
        assert await portal.dead() == []
        with pytest.raises(PutRefused, match="is complete"):
            await again.retry()


class Held(MemoryStore):
    """A store whose commits wait while the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def apply(self, batches: Sequence[Batch]) -> None:
        assert self.gate.wait(10)
        super().apply(batches)


@in_loop
async def test_an_end_that_was_told_ahead_of_its_commit_is_told_to_everybody(tmp_path: Path) -> None:
    """The first caller is told, and goes; whoever asks next is told the same, though nothing is committed yet."""
    async with memory_mesh(tmp_path) as mesh:
        held = Held()
        portal, hop, cluster = mesh.agent("portal"), mesh.agent("hop", store=held), mesh.agent("cluster")

        @cluster.handler
        async def work(name: str) -> str:
            if name == "second":
                held.gate.clear()
            return name

        for agent in (portal, hop, cluster):
            await agent.start()
        await mesh.join(portal, hop)
        await mesh.join(hop, cluster)
        # The first job makes the cluster's card known on the way up.
        assert await (await portal.put("portal.hop.cluster work first")).result(5) == "first"

        try:
            job = await portal.put("portal.hop.cluster work second")
            assert await job.result(5) == "second"
            job_id = job.job_id
            del job
            gc.collect()
            assert portal.running.watching.find(job_id) is None
            assert not held.gate.is_set()
            held_here = portal.running.engine.ledger.find(job_id)
            assert held_here is not None
            assert held_here.live, "the record did not come yet"
            view = await portal.running.lookup.view(job_id)
            assert (view.state, view.result) == ("complete", "second")
            assert [one.state for one in await portal.jobs(live=None)] == ["complete", "complete"]
        finally:
            held.gate.set()


@in_loop
async def test_an_end_that_only_this_agent_knows_of_is_shown_once_it_is_durable(tmp_path: Path) -> None:
    """A crash before the commit would take it back: the job would go on, and end otherwise."""
    async with memory_mesh(tmp_path) as mesh:
        held = Held()
        portal = mesh.agent("portal", store=held)
        await portal.start()
        await portal.invite("cluster")
        job = await portal.put(f"{WORK} x")
        held.gate.clear()
        cancel = asyncio.create_task(job.cancel())
        jobs = portal.running.lookup
        while (shown := jobs.look(job.job_id)) is not None and shown.live:
            await asyncio.sleep(0)
        look = asyncio.create_task(jobs.view(job.job_id))
        page = asyncio.create_task(portal.jobs(live=None))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not cancel.done()
        assert not look.done()
        assert not page.done()
        assert not jobs.is_durable(job.job_id)
        held.gate.set()
        assert (await look).state == "cancelled"
        assert [one.state for one in await page] == ["cancelled"]
        await cancel
        assert jobs.is_durable(job.job_id)
