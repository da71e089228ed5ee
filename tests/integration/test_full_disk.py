"""A real full disk under a real agent: a small file system, filled up while jobs are under way (rule R10)."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.calls import CallFailed
from tests.integration.mesh_process import Mesh, run_mesh

pytestmark = pytest.mark.slow

SLOW = """
from __future__ import annotations

import asyncio

from agents import Agent
from grammar import UserIdentifier

agent = Agent()


@agent.handler
async def add_user(user: UserIdentifier) -> str:
    print("start", flush=True)
    await asyncio.sleep(0.5)
    return f"added {user}"
"""
"""A handlers.py that writes nothing to the disk."""
LIMITS = "ballast_bytes = 524_288\nroom_s = 0.2"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take every free byte of the disk."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1_048_576, 4_096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    disk = os.statvfs(folder)
    assert disk.f_bavail == 0
    return filler


def test_an_agent_on_a_full_disk_ends_its_jobs_and_takes_new_ones_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    """`cluster` lives on the small disk, between `portal` and `store`: origin, hop and destination at once."""
    asyncio.run(_full_disk(small_disk, tmp_path))


async def _full_disk(small: Path, root: Path) -> None:
    async with Mesh(root) as mesh, asyncio.timeout(60):
        portal = mesh.make("portal", "portal")
        cluster = mesh.make("cluster", "instance", handlers=SLOW, limits=LIMITS, folder="small/cluster")
        store = mesh.make("store", "filesystem", handlers=SLOW)
        await mesh.line(portal, cluster, store)

        ends_there = await portal.put([f"portal.cluster add_user a{n}.proj.org" for n in range(60)])
        passes = await portal.put([f"portal.cluster.store add_user b{n}.proj.org" for n in range(60)])
        begins = await cluster.put([f"cluster.store add_user c{n}.proj.net" for n in range(60)])
        await cluster.out.matching("^start", 1)
        await store.out.matching("^start", 1)
        filler = fill(small)
        deleted = begins.pop()
        code, _, _ = await run_mesh("-C", cluster.home, "delete", deleted, cwd=root)
        assert code == 0, "a delete is taken"
        await cluster.log.matching("disk_full", 1)

        for job in await portal.finished([*ends_there, *passes]) + await cluster.finished(begins):
            assert job["state"] == "complete", job
        code, _, remarks = await run_mesh(
            *("-C", cluster.home, "put", "cluster.store", "add_user", "d.proj.net"), cwd=root
        )
        assert code == 3
        assert "MESH-E406" in remarks
        assert "disk_full" in remarks
        assert "fix: free space" in remarks
        with pytest.raises((AssertionError, CallFailed)):
            await cluster.put(["cluster.store add_user e.proj.net"])

        (waits,) = await portal.put(["portal.cluster add_user f.proj.org"])
        async with await portal.calls() as calls:
            (peer,) = await calls.request("peers")
            assert (peer["credit"], peer["waiting"]) == (0, 1)
            assert "disk_full" in peer["credit_reason"]
        _, _, remarks = await run_mesh("-C", portal.home, "peers", cwd=root)
        assert "cluster takes no jobs: the disk" in remarks
        _, _, remarks = await run_mesh("-C", cluster.home, "peers", cwd=root)
        assert "no jobs are taken from portal: the disk" in remarks

        filler.unlink()
        await cluster.log.matching("there is room again", 1)
        assert [job["state"] for job in await portal.finished([waits])] == ["complete"]
        (again,) = await cluster.put(["cluster.store add_user g.proj.net"])
        assert [job["state"] for job in await cluster.finished([again])] == ["complete"]
        assert (cluster.home / "store.sqlite.ballast").stat().st_size == 524_288, "the ballast stands again"

        await cluster.kill()
        await cluster.start()
        states = {job["id"]: job["state"] for job in await cluster.jobs()}
        assert deleted not in states
        assert {states[one] for one in [*ends_there, *passes, *begins, again]} == {"complete"}
