from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agents.answers import Unreachable, error_of, view_of_record
from agents.calls import CallFailed
from agents.client import Client
from agents.errors import AgentError, JobFailed, NotKnownYet
from agents.settings import make_home
from grammar.errors import GrammarError, UnknownInstruction
from mesh.errors import Busy, Denied, NoSuchJob, NotOurJob, UnknownPeer
from tests.agents.doors import COMMAND, in_loop, two_agents


@in_loop
async def test_a_job_put_by_a_client(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        job = await client.put(COMMAND)
        assert await job.result(10) == "account created"
        view = await job.view()
        assert view == await (await house.portal.job(job.id)).view()
        assert view_of_record(view.to_json()) == view
        assert job.job_id.hex() == job.id
        assert job.short in repr(job)
        assert (await client.job(job.short)).id == job.id
        assert [one.id for one in await client.jobs(live=None)] == [job.id]
        assert await client.jobs() == []
        assert await client.wait_for_peer("cluster") == "cluster"
        assert [peer["name"] for peer in await client.peers()] == ["cluster"]


@in_loop
async def test_a_call_is_a_put_and_its_result(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        assert await client.call(COMMAND, timeout=10) == "account created"
        with pytest.raises(JobFailed, match="not allowed"):
            await client.call("portal.cluster remove_user jane.admin.org", key="k")


@in_loop
async def test_a_job_that_fails_raises(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        job = await client.put("portal.cluster remove_user jane.admin.org")
        with pytest.raises(JobFailed, match="not allowed") as caught:
            await job.result(10)
        assert (caught.value.kind, caught.value.agent, caught.value.job) == ("failed", "cluster", job.id)


@in_loop
async def test_patience_is_the_callers(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        job = await client.put("portal.cluster hold it")
        with pytest.raises(NotKnownYet):
            await job.wait(0.01)
        house.release.set()
        assert await job.result(10) == "it"
        with pytest.raises(NotKnownYet):
            await client.wait_for_peer("nobody", timeout=0.01)


@in_loop
async def test_watching_a_job(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        job = await client.put("portal.cluster hold it")
        states = []
        async for view in job.watch():
            states.append(view.state)
            if view.state == "running":
                house.release.set()
        assert states[-1] == "complete"
        assert "running" in states


@in_loop
async def test_cancel_and_delete(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        job = await client.put("portal.cluster hold it")
        await house.held.wait()
        await job.cancel()
        assert (await job.wait(10)).state == "cancelled"
        await job.delete()
        assert await client.jobs(live=None) == []
    async with two_agents(tmp_path / "again") as house:
        put = await house.portal.put(COMMAND)
        await put.wait(10)


@in_loop
async def test_refusals_are_the_errors_of_an_agent(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        with pytest.raises(UnknownPeer) as caught:
            await client.put("portal.clusta add_user fred.proj.org")
        assert "cluster" in caught.value.fix
        with pytest.raises(GrammarError) as wrong:
            await client.put("portal.cluster add_user fred")
        assert wrong.value.column > 1
        with pytest.raises(NoSuchJob):
            await client.job("ffffffff")


@in_loop
async def test_an_invitation_through_a_client(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        text = await client.invite("third", kind="account")
        assert 'name = "third"' in text
        file = tmp_path / "third.toml"
        file.write_text(text)
        with pytest.raises(AgentError):
            await client.join(file)


@in_loop
async def test_an_agent_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no agent"):
        async with Client(tmp_path):
            pass
    make_home(tmp_path / "portal", "portal")
    with pytest.raises(Unreachable, match="not running"):
        async with Client(tmp_path / "portal"):
            pass


@in_loop
async def test_an_agent_started_again_is_gone_on_with(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, Client(house.home) as client:
        job = await client.put("portal.cluster hold it")
        waiting = asyncio.get_running_loop().create_task(job.result(20))
        await house.held.wait()
        await house.reopen()
        house.release.set()
        assert await waiting == "it"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("MESH-E401", UnknownPeer),
        ("MESH-E403", Busy),
        ("MESH-E405", Denied),
        ("MESH-E411", NotOurJob),
        ("MESH-E101", UnknownInstruction),
        ("MESH-E503", Unreachable),
        ("MESH-E999", AgentError),
    ],
)
def test_codes_become_errors(code: str, kind: type[Exception]) -> None:
    error = error_of(CallFailed("cause", code=code, fix="fix"))
    assert type(error) is kind
    assert error.fix == "fix"
    assert "cause" in str(error)
