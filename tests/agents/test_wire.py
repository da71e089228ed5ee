from __future__ import annotations

from pathlib import Path

import pytest

from agents.calls import CallFailed, Calls, NoAgent
from agents.wire import Wire, fresh_key
from tests.agents.doors import in_loop, two_agents


@in_loop
async def test_what_broke_is_done_again_on_a_new_connection(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        told: list[str] = []
        wire = Wire(house.home, lambda: told.append("lost"))
        used: list[Calls] = []

        async def act(calls: Calls) -> str:
            used.append(calls)
            if len(used) == 1:
                await house.reopen()
            name: str = (await calls.request("info"))["name"]
            return name

        assert await wire.repeat(act) == "portal"
        assert len(used) == 2
        assert told == ["lost"]
        await wire.close()


@in_loop
async def test_a_refusal_is_not_repeated(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        wire = Wire(house.home)
        with pytest.raises(CallFailed, match="no job"):
            await wire.repeat(lambda calls: calls.request("job", id="zz"))
        await wire.close()


@in_loop
async def test_an_agent_that_was_never_there_is_not_waited_for(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    with pytest.raises(NoAgent):
        await wire.calls()
    await wire.close()


def test_keys_are_different_and_legal() -> None:
    keys = [fresh_key() for _ in range(1000)]
    assert len(set(keys)) == 1000
    assert {len(key) for key in keys} == {28}
