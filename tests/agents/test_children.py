"""Jobs that handlers put: who waits for one holds no slot, and a child belongs to its parent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.context import Context
from agents.errors import JobFailed, NotKnownYet
from mesh.errors import PutRefused
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh

ONE_SLOT = "[limits]\nhandlers = 1\n"


async def three(mesh: Mesh) -> tuple[Agent, Agent, Agent]:
    """portal - cluster (one slot) - node, without handlers yet and not started."""
    return mesh.agent("portal"), mesh.agent("cluster", more=ONE_SLOT), mesh.agent("node")


async def joined(mesh: Mesh, portal: Agent, cluster: Agent, node: Agent) -> None:
    for agent in (portal, cluster, node):
        await agent.start()
    await mesh.join(portal, cluster)
    await mesh.join(cluster, node)


@in_loop
async def test_a_handler_that_waits_for_a_child_holds_no_slot(tmp_path: Path) -> None:
    """The child comes back for the parent's only slot: with the slot held they would wait for each other."""
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster, node = await three(mesh)

        @cluster.handler
        async def lead(context: Context) -> str:
            child = await context.put("cluster.node relay")
            return f"lead {await child.result()}"

        @node.handler
        async def relay(context: Context) -> str:
            child = await context.put("node.cluster leaf")
            return f"relay {await child.result()}"

        @cluster.handler
        async def leaf() -> str:
            return "leaf"

        await joined(mesh, portal, cluster, node)
        job = await portal.put("portal.cluster lead")
        assert await job.result(5) == "lead relay leaf"


@in_loop
async def test_as_long_as_it_waits_for_any_child_it_holds_no_slot(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster, node = await three(mesh)
        first_is_over = asyncio.Event()

        @cluster.handler
        async def lead(context: Context) -> str:
            async def first() -> None:
                await (await context.put("cluster.node quick")).result()
                first_is_over.set()

            async def second() -> str:
                found: str = await (await context.put("cluster.node relay")).result()
                return found

            return (await asyncio.gather(first(), second()))[1]

        @node.handler
        async def quick() -> None: ...

        @node.handler
        async def relay(context: Context) -> str:
            await first_is_over.wait()
            child = await context.put("node.cluster leaf")
            found: str = await child.result()
            return found

        @cluster.handler
        async def leaf() -> str:
            return "leaf"

        await joined(mesh, portal, cluster, node)
        job = await portal.put("portal.cluster lead")
        assert await job.result(1) == "leaf"


@in_loop
async def test_one_slot_is_one_handler_at_a_time(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster, node = await three(mesh)
        at_work = most = 0

        @cluster.handler
        async def work() -> None:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0)
            at_work -= 1

        await joined(mesh, portal, cluster, node)
        for job in [await portal.put("portal.cluster work") for _ in range(5)]:
            await job.result(5)
        assert most == 1


@in_loop
async def test_a_child_is_put_once_however_often_the_parent_runs(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster, node = await three(mesh)
        children: list[str] = []
        runs: list[str] = []
        waits, go = asyncio.Event(), asyncio.Event()

        @cluster.handler
        async def lead(context: Context) -> str:
            child = await context.put("cluster.node work")
            other = await context.put("cluster.node work", key="other")
            assert child.id != other.id
            children.append(child.id)
            waits.set()
            await go.wait()
            await other.result()
            found: str = await child.result()
            return found

        @node.handler
        async def work(context: Context) -> str:
            runs.append(context.id)
            return f"attempt {context.attempt}"

        await joined(mesh, portal, cluster, node)
        job = await portal.put("portal.cluster lead")
        await waits.wait()
        await cluster.stop()
        go.set()
        await cluster.start()
        assert await job.result(5) == "attempt 1"
        assert children == [children[0]] * 2
        assert len(runs) == 2


@in_loop
async def test_a_child_that_fails_fails_its_parent_unless_it_is_caught(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster, node = await three(mesh)

        @cluster.handler
        async def lead(context: Context, catch: bool) -> str:
            child = await context.put("cluster.node work")
            if catch:
                return (await child.wait()).state
            found: str = await child.result()
            return found

        @node.handler
        async def work() -> str:
            raise node.Refused("no disk left")

        await joined(mesh, portal, cluster, node)
        assert await (await portal.put("portal.cluster lead true")).result(5) == "error"
        with pytest.raises(JobFailed, match="no disk left"):
            await (await portal.put("portal.cluster lead false")).result(5)


@in_loop
async def test_patience_with_a_child_ends_and_the_slot_is_taken_back(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster, node = await three(mesh)

        @cluster.handler
        async def lead(context: Context) -> str:
            child = await context.put("cluster.node work")
            try:
                await child.wait(0.01)
            except NotKnownYet:
                return "gave up"
            return ""

        @node.handler
        async def work() -> None:
            await asyncio.get_running_loop().create_future()

        await joined(mesh, portal, cluster, node)
        assert await (await portal.put("portal.cluster lead")).result(5) == "gave up"
        assert cluster.running.engine.destination.running == {}


@in_loop
async def test_a_child_starts_at_the_agent_that_puts_it(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster, node = await three(mesh)

        @cluster.handler
        async def lead(context: Context) -> str:
            with pytest.raises(PutRefused):
                await context.put("portal.cluster lead")
            return "refused"

        await joined(mesh, portal, cluster, node)
        assert await (await portal.put("portal.cluster lead")).result(5) == "refused"
