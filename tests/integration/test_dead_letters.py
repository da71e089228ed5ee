"""A job that kills its agent: found out, listed where it was put, and put again once it is mended (rule R8)."""

from __future__ import annotations

import pytest

from tests.integration.mesh_process import Mesh, in_mesh, run_mesh

pytestmark = pytest.mark.slow

DEADLY = """
from __future__ import annotations

import os
import signal
from pathlib import Path

from agents import Agent
from grammar import UserIdentifier

agent = Agent()


@agent.handler
async def add_user(user: UserIdentifier) -> str:
    if user.username == "poison" and not Path(__file__).with_name("mended").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return f"added {user}"
"""


@in_mesh(60)
async def test_a_job_that_kills_its_agent_becomes_a_dead_letter_and_is_put_again(mesh: Mesh) -> None:
    portal = mesh.make("portal", "portal")
    # One handler at a time: it is alone from the first restart on.
    cluster = mesh.make("cluster", "instance", handlers=DEADLY, limits="handlers = 1")
    await mesh.line(portal, cluster)
    (poison,) = await portal.put(["portal.cluster add_user poison.proj.org"])
    (other,) = await portal.put(["portal.cluster add_user fred.proj.org"])
    deaths = 0
    while deaths < 3:
        assert await cluster.ended() == -9
        deaths += 1
        await cluster.start()
    poisoned, done = await portal.finished([poison, other])
    assert (poisoned["state"], poisoned["error"]["kind"]) == ("error", "poisoned")
    assert "effect is not known" in poisoned["error"]["message"]
    assert done["state"] == "complete", "the others get on"

    code, listed, _ = await run_mesh("-C", portal.home, "dead", cwd=mesh.root)
    assert code == 0
    assert [line.split()[0] for line in listed.splitlines()] == [poisoned["short"]]
    assert "poisoned" in listed
    (cluster.home / "mended").touch()
    code, put, remarks = await run_mesh("-C", portal.home, "retry", poisoned["short"], cwd=mesh.root)
    assert code == 0
    short = put.split()[0]
    assert f"mesh -C {portal.home} watch {short}" in remarks or "complete" in put
    (again,) = await portal.finished([short])
    assert (again["state"], again["parent"]) == ("complete", poison)
    code, listed, _ = await run_mesh("-C", portal.home, "dead", "--json", cwd=mesh.root)
    assert (code, listed) == (0, "")
