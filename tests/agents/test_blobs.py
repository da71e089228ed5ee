"""Payloads and large results as a program meets them: `payload=`, `context.payload()`, `job.result()`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.agent import Agent
from agents.blobs import STAGED, payload_of
from agents.client import Client
from agents.context import Context
from agents.errors import AgentError, BytesLost, JobFailed
from mesh.effects import Batch
from mesh.errors import TooLarge
from mesh.limits import Limits
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh

SIZE = 300_000
DATA = bytes(range(256)) * (SIZE // 256)


async def joined(mesh: Mesh) -> tuple[Agent, Agent]:
    """A portal, and a cluster that measures payloads, gives long answers and counts what it was given."""
    portal, cluster = mesh.agent("portal"), mesh.agent("cluster")

    @cluster.handler
    async def measure(context: Context) -> int | None:
        payload = await context.payload()
        return None if payload is None else len(payload)

    @cluster.handler
    async def echo(context: Context) -> str:
        return (await context.payload() or b"").decode("latin-1")

    @cluster.handler
    async def long(size: int) -> str:
        return "x" * size

    @cluster.handler
    async def rows(count: int) -> list[int]:
        return list(range(count))

    @cluster.handler
    async def pass_on(context: Context) -> int:
        child = await context.put("cluster.portal take", payload=DATA)
        return int(await child.result())

    @portal.handler
    async def take(context: Context) -> int:
        return len(await context.payload() or b"")

    await portal.start()
    await cluster.start()
    await mesh.join(portal, cluster)
    return portal, cluster


@in_loop
async def test_a_large_result_is_stored_in_short_commits_before_its_outcome(tmp_path: Path) -> None:
    """A small job of the same agent waits for one part of it at the most."""
    slice_bytes = 4_096
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = await joined(mesh)
        committed: list[tuple[int, int]] = []
        commit = cluster.running._writer.commit

        def noted(batch: Batch, done: Any) -> None:
            if batch.slices:
                committed.append((len(batch.slices), len(batch.rows)))
            commit(batch, done)

        cluster.running._writer.commit = noted  # type: ignore[method-assign]
        cluster.running.engine.ledger.limits = replace(Limits(), slice_bytes=slice_bytes)
        size = (2 * STAGED + 3) * slice_bytes - 2
        job = await portal.put(f"portal.cluster long {size}")
        assert await job.result() == "x" * size
        assert [slices for slices, _ in committed] == [STAGED, STAGED, 3]
        assert [rows for _, rows in committed[:2]] == [0, 0]


@in_loop
async def test_a_payload_reaches_the_handler(tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(DATA)
    async with memory_mesh(tmp_path) as mesh:
        portal, _ = await joined(mesh)
        for payload, length in ((DATA, len(DATA)), (file, len(DATA)), (str(file), len(DATA)), (b"", 0), (None, None)):
            job = await portal.put("portal.cluster measure", payload=payload)
            assert await job.result() == length
            assert (await job.view()).payload_bytes == length


@in_loop
async def test_bytes_come_back_as_they_went(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, _ = await joined(mesh)
        job = await portal.put("portal.cluster echo", payload=DATA)
        assert (await job.result()).encode("latin-1") == DATA


@in_loop
async def test_a_large_result_has_its_type_and_is_in_no_view(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster = await joined(mesh)
        job = await portal.put("portal.cluster rows 100000")
        assert await job.result() == list(range(100_000))
        view = await job.view()
        assert (view.state, view.result, view.result_type) == ("complete", None, "list[int]")
        assert view.result_bytes == len(str(list(range(100_000))).replace(" ", ""))
        (listed,) = await portal.jobs(live=None)
        assert listed.result is None
        small = await portal.put("portal.cluster long 10")
        assert (await small.wait()).result_bytes is None
        at_cluster = await cluster.job(job.id)
        with pytest.raises(BytesLost, match="result of the job is not here"):
            await at_cluster.result()


@in_loop
async def test_a_result_above_the_limit_fails_the_job(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, _ = await joined(mesh)
        job = await portal.put("portal.cluster long 4194303")
        with pytest.raises(JobFailed, match="a result of 4194305 bytes, at most 4194304 are taken") as failed:
            await job.result()
        assert failed.value.kind == "failed"
        assert len(await (await portal.put("portal.cluster long 4194302")).result()) == 4_194_302


@in_loop
async def test_a_payload_above_the_limit_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    file = tmp_path / "payload"
    with file.open("wb") as opened:
        opened.truncate(1 << 33)
    async with memory_mesh(tmp_path) as mesh:
        portal, _ = await joined(mesh)
        for payload in (bytes(4_194_305), file):
            with pytest.raises(TooLarge, match="4194305 bytes, at most 4194304") as refused:
                await portal.put("portal.cluster measure", payload=payload)
            assert refused.value.fix
        assert await portal.jobs(live=None) == []


@in_loop
async def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be read: No such file") as missing:
        await payload_of(tmp_path / "nothing", Limits())
    assert "ls -l" in missing.value.fix
    with pytest.raises(AgentError, match="Is a directory"):
        await payload_of(tmp_path, Limits())


@in_loop
async def test_a_child_may_have_a_payload(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, _ = await joined(mesh)
        assert await (await portal.put("portal.cluster pass_on")).result() == len(DATA)


@in_loop
async def test_a_client_of_another_process_has_the_same_verbs(tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(DATA * 3)
    async with memory_mesh(tmp_path) as mesh:
        portal, _ = await joined(mesh)
        async with Client(portal.settings().home) as client:
            for payload, length in ((DATA * 3, 3 * len(DATA)), (file, 3 * len(DATA)), (b"", 0), (None, None)):
                job = await client.put("portal.cluster measure", payload=payload)
                assert await job.result() == length
            echoed = await client.put("portal.cluster echo", payload=DATA * 4)
            assert (await echoed.result()).encode("latin-1") == DATA * 4
            assert (await echoed.view()).result is None
            assert await (await client.put("portal.cluster long 5")).result() == "xxxxx"
            with pytest.raises(TooLarge):
                await client.put("portal.cluster measure", payload=bytes(5_000_000))
            assert await (await client.put("portal.cluster measure")).result() is None


@in_loop
async def test_the_same_key_with_another_payload_is_refused(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, _ = await joined(mesh)
        wishes: dict[str, Any] = {"key": "k", "payload": b"one"}
        first = await portal.put("portal.cluster measure", **wishes)
        assert (await portal.put("portal.cluster measure", **wishes)).id == first.id
        with pytest.raises(Exception, match="was used for another job"):
            await portal.put("portal.cluster measure", key="k", payload=b"two")
