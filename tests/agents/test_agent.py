"""The public face: made without touching anything, opened on a folder, checked against it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.errors import AgentError, AlreadyRunning, HandlerError, Refused
from mesh.storage.sqlite import SqliteStore
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import memory_mesh


@in_loop
async def test_a_name_or_kind_that_differs_from_the_folders_is_an_error(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        mesh.agent("portal", kind="portal")
        home = tmp_path / "portal"
        with pytest.raises(AgentError, match='is of name "portal", and the program says "cluster"'):
            await Agent("cluster", home=home).start()
        with pytest.raises(AgentError, match='is of kind "portal"'):
            await Agent("portal", kind="instance", home=home).start()
        assert Agent("portal", kind="portal", home=home).settings().name == "portal"
        assert not (home / "store.sqlite").exists()


@in_loop
async def test_an_agent_without_a_name_takes_the_folders(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        agent = mesh.agent("portal", kind="portal")
        assert "portal" in repr(agent), "until then it is called by its folder"
        async with agent:
            assert (agent.name, agent.kind) == ("portal", "portal")
            assert "running" in repr(agent)
            with pytest.raises(AgentError, match="runs already"):
                await agent.start()
        assert "running" not in repr(agent)


@in_loop
async def test_verbs_of_an_agent_that_does_not_run_say_so(tmp_path: Path) -> None:
    agent = Agent("portal", home=tmp_path)
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: agent.put("portal.cluster work"),
        agent.jobs,
        lambda: agent.job("x"),
        lambda: agent.invite("cluster"),
    ]
    for verb in verbs:
        with pytest.raises(AgentError, match="does not run") as refused:
            await verb()
        assert "async with" in refused.value.fix
    await agent.stop()


@in_loop
async def test_one_folder_is_run_by_one_agent(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        path = tmp_path / "portal" / "store.sqlite"
        first = mesh.agent("portal", store=SqliteStore(path))
        second = mesh.another("portal", store=SqliteStore(path))
        await first.start()
        with pytest.raises(AlreadyRunning, match=r'agent "portal" in .* runs already') as locked:
            await second.start()
        assert "agents.client" in locked.value.fix
        await first.stop()
        await mesh.another("portal", store=SqliteStore(path)).start()


def test_a_handler_stays_a_function() -> None:
    agent = Agent("cluster")

    @agent.handler
    async def one() -> str:
        return ""

    @agent.handler(keyword="two", read_only=True)
    async def other() -> str:
        return ""

    assert (one.__name__, other.__name__) == ("one", "other")
    with pytest.raises(HandlerError):
        agent.handler(one)
    assert agent.Refused is Refused
