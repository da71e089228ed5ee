from __future__ import annotations

from pathlib import Path

from agents.calls import CallFailed
from tests.agents.cli.typed import type_at
from tests.agents.doors import COMMAND, in_loop, two_agents


@in_loop
async def test_stopping_jobs(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        held = await house.portal.put("portal.cluster hold it")
        await house.held.wait()
        assert held.short in (await type_at(house.home, "cancel", held.short)).out
        assert (await held.wait(10)).state == "cancelled"
        assert (await type_at(house.home, "cancel", held.short, "--json")).records[0]["state"] == "cancelled"
        deleted = await type_at(house.home, "delete", held.short)
        assert deleted.out == f"deleted {held.short}, which was cancelled\n"
        assert await house.portal.jobs(live=None) == []


@in_loop
async def test_only_where_it_was_put(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        done = await house.portal.put(COMMAND)
        await done.wait(10)
        other = await type_at(house.home, "delete", "ffffffff", "--json")
        assert isinstance(other.error, CallFailed)
        assert other.error.code == "MESH-E410"
