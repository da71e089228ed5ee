from __future__ import annotations

from pathlib import Path

from agents.calls import CallFailed
from tests.agents.cli.typed import type_at
from tests.agents.doors import COMMAND, in_loop, two_agents

FAILS = "portal.cluster remove_user jane.admin.org"


@in_loop
async def test_dead_letters_are_listed_and_put_again(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        none = await type_at(house.home, "dead")
        assert (none.out, "no dead letters" in none.err) == ("", True)
        done = await house.portal.put(COMMAND)
        failed = [await house.portal.put(FAILS) for _ in range(2)]
        for handle in (done, *failed):
            await handle.wait(10)
        dead = await type_at(house.home, "dead")
        assert [line.split()[0] for line in dead.out.splitlines()] == [failed[1].short, failed[0].short]
        assert "not allowed" in dead.out
        assert "remove_user jane.admin.org" in dead.out
        assert "mesh -C" in dead.err
        records = (await type_at(house.home, "dead", "--json")).records
        assert [one["id"] for one in records] == [failed[1].id, failed[0].id]

        again = await type_at(house.home, "retry", failed[0].short, failed[1].id, "--json", "--life", "99")
        assert again.value == 0
        assert [one["parent"] for one in again.records] == [failed[0].id, failed[1].id]
        assert [round(one["expires"] - one["created"]) for one in again.records] == [99, 99]
        twice = await type_at(house.home, "retry", failed[0].short, "--json")
        assert twice.records[0]["id"] == again.records[0]["id"], "put once"
        for one in again.records:
            await (await house.portal.job(one["id"])).wait(10)
        left = (await type_at(house.home, "dead", "--json")).records
        assert {one["parent"] for one in left} == {failed[0].id, failed[1].id}, "the new ones failed too"
        shown = await type_at(house.home, "job", again.records[0]["short"])
        assert f"parent       {failed[0].id}" in shown.out


@in_loop
async def test_dead_letters_are_listed_though_the_agent_is_down(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        failed, again = await house.portal.put(FAILS), await house.portal.put(FAILS)
        await failed.wait(10)
        await again.wait(10)
        last = await again.retry()
        await last.wait(10)
    records = (await type_at(tmp_path / "portal", "dead", "--json")).records
    assert [one["id"] for one in records] == [last.id, failed.id]
    down = await type_at(tmp_path / "portal", "retry", failed.short)
    assert isinstance(down.error, CallFailed)
    assert down.error.code == "MESH-E503"


@in_loop
async def test_what_cannot_be_put_again_is_said_and_the_rest_is_put(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        done, failed = await house.portal.put(COMMAND), await house.portal.put(FAILS)
        held = await house.portal.put("portal.cluster hold it")
        await done.wait(10)
        await failed.wait(10)
        mixed = await type_at(house.home, "retry", done.short, "ffffffff", held.short, failed.short)
        assert mixed.value == 2
        assert len(mixed.out.splitlines()) == 1
        assert mixed.err.count("error MESH-E400") == 2
        assert f"job {held.short} is not over" in mixed.err
        assert "error MESH-E410" in mixed.err
        there = await type_at(tmp_path / "cluster", "retry", failed.short)
        assert there.value == 4
        assert "MESH-E411" in there.err
        house.release.set()
