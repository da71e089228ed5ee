"""Looking jobs up at one agent: by id, by what people type, in lists, and the dead letters."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from mesh.effects import Batch
from mesh.errors import NoSuchJob
from mesh.storage.memory import MemoryStore
from mesh.storage.sqlite import SqliteStore
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import memory_mesh
from tests.agents.test_jobs import WORK, two


@in_loop
async def test_a_job_is_found_by_what_people_type(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, _cluster):
        handles = [await portal.put(f"{WORK} n{n}") for n in range(20)]
        for handle in handles:
            for text in (handle.id, handle.short, handle.short.upper(), f" {handle.short}7"[:-1]):
                assert (await portal.job(text)).id == handle.id
        for text in ("zebra", "-"):
            with pytest.raises(NoSuchJob):
                await portal.job(text)
        with pytest.raises(NoSuchJob):
            await portal.running.lookup.view(bytes(26))


@in_loop
async def test_one_of_several_is_never_taken_for_the_only_one(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, _cluster):
        firsts = [(await portal.put(f"{WORK} n{n}")).short[0] for n in range(80)]
        for first in sorted({first for first in firsts if firsts.count(first) > 1}):
            with pytest.raises(NoSuchJob, match=f'several jobs start with "{first}"'):
                await portal.job(first)


@in_loop
async def test_jobs_are_listed_newest_first_and_by_state(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, cluster):
        done = [await portal.put(f"{WORK} n{n}") for n in range(3)]
        for handle in done:
            await handle.wait(5)
        await cluster.stop()
        live = [await portal.put(f"{WORK} m{n}") for n in range(2)]
        ids = [handle.id for handle in [*done, *live]][::-1]
        assert [view.id for view in await portal.jobs(live=None)] == ids
        assert [view.id for view in await portal.jobs()] == ids[:2]
        assert [view.id for view in await portal.jobs(live=False)] == ids[2:]
        assert [view.id for view in await portal.jobs(live=None, states=["complete"], limit=2)] == ids[2:4]
        assert await portal.jobs(states=["rejected"]) == []
        with pytest.raises(ValueError):
            await portal.jobs(states=["no state"])


@in_loop
async def test_pages_follow_each_other(tmp_path: Path) -> None:
    async with two(tmp_path) as (_, portal, _cluster):
        handles = [await portal.put(f"{WORK} n{n}") for n in range(5)]
        found: list[str] = []
        after = 0
        while True:
            views, after, _ = await portal.running.lookup.page(live=None, after=after, limit=2)
            found += [view.id for view in views]
            if not after:
                break
        assert found == [handle.id for handle in handles][::-1]


@in_loop
async def test_dead_letters_are_jobs_of_our_own_that_failed(tmp_path: Path) -> None:
    async with two(tmp_path) as (mesh, portal, cluster):
        failed = await portal.put("portal.cluster.nobody work x")
        done = await portal.put(f"{WORK} x")
        theirs = await cluster.put("cluster.portal.nobody work y")
        for handle in (failed, done, theirs):
            await handle.wait(5)
        mesh.network.cut("portal", "cluster")
        # What is put before the cut is noticed has gone out, and only its destination may say that it expired.
        await portal.running.peering.until(lambda: not any(board.open for board in portal.running.engine.boards))
        expired = await portal.put(f"{WORK} z", life_s=0.01)
        stopped = await portal.put(f"{WORK} s")
        waits = await portal.put(f"{WORK} w")
        await stopped.cancel()
        await expired.wait(5)
        assert [view.id for view in await portal.dead()] == [expired.id, failed.id]
        assert [view.id for view in await cluster.dead()] == [theirs.id]
        await failed.delete()
        assert [view.id for view in await portal.dead()] == [expired.id], "what is deleted is gone"
        assert (await waits.view()).live


@in_loop
async def test_a_damaged_row_is_left_out_and_fetched_from_the_neighbours(tmp_path: Path) -> None:
    async with two(tmp_path) as (mesh, _, cluster):
        third = mesh.agent("third", store=SqliteStore(tmp_path / "third" / "store.sqlite"))
        await third.start()
        await mesh.join(cluster, third)
        handles = [await third.put(f"third.cluster work n{n}") for n in range(5)]
        for handle in handles:
            await handle.wait(5)
        await third.stop()
        with closing(sqlite3.connect(tmp_path / "third" / "store.sqlite")) as store, store:
            store.execute("UPDATE jobs SET facts = substr(facts, 2) WHERE id = ?", (handles[2].job_id,))
        third = mesh.another("third", store=SqliteStore(tmp_path / "third" / "store.sqlite"))
        await third.start()
        await third.wait_for_peer("cluster")
        lookup, watch = third.running.lookup, third.running.watching.of(handles[2].job_id)
        page = await lookup.page(live=None)
        assert [view.id for view in page.views] == [handles[n].id for n in (4, 3, 1, 0)]
        ((job_id, error),) = page.damaged
        assert job_id == handles[2].job_id
        assert handles[2].short in error.message
        # Asking for it was enough: the neighbour was asked, and its copy, which may be here by now, is as good.
        assert [view for view in await third.jobs(live=None) if view.id != handles[2].id] == page.views
        await watch.end()
        assert await (await third.job(handles[2].id)).result(5) == "n2"
        assert not (await lookup.page(live=None)).damaged


@in_loop
async def test_long_lists_hold_up_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that does not come to its end, and a put that is durable meanwhile."""
    listing, going = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        listing.set()
        assert going.wait(20)
        return []

    monkeypatch.setattr("mesh.storage.reader.SqliteReader.list_jobs", slow)
    async with memory_mesh(tmp_path) as mesh:
        portal = mesh.agent("portal", store=SqliteStore(tmp_path / "portal" / "store.sqlite"))
        await portal.start()
        await portal.invite("cluster", urls=("ws://portal",))
        listed = asyncio.create_task(portal.jobs())
        await asyncio.to_thread(listing.wait, 20)
        try:
            job = await portal.put("portal.cluster work x")
            assert (await job.view()).state == "pending"
            assert not listed.done()
        finally:
            going.set()
        assert await listed == []


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
