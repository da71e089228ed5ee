from __future__ import annotations

from pathlib import Path

from agents.cli.looking import STATES
from mesh.lifecycle import State
from tests.agents.cli.typed import type_at
from tests.agents.doors import COMMAND, in_loop, two_agents


def test_the_states_that_can_be_asked_for() -> None:
    assert {*STATES} == {str(state) for state in State} - {"deleted"}


@in_loop
async def test_looking_at_jobs(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        assert "no live jobs" in (await type_at(house.home, "jobs")).err
        done = await house.portal.put(COMMAND)
        await done.wait(10)
        failed = await house.portal.put("portal.cluster remove_user jane.admin.org")
        await failed.wait(10)
        held = await house.portal.put("portal.cluster hold it")
        await house.held.wait()

        assert [one["id"] for one in (await type_at(house.home, "jobs", "--json")).records] == [held.id]
        every = (await type_at(house.home, "jobs", "--all", "--json")).records
        assert [one["id"] for one in every] == [held.id, failed.id, done.id]
        some = await type_at(house.home, "jobs", "--state", "error", "--state", "complete")
        assert [line.split()[0] for line in some.out.splitlines()] == [failed.short, done.short]

        shown = (await type_at(house.home, "job", failed.short)).out
        assert "failed: You are not allowed" in shown
        assert (await type_at(house.home, "job", done.id, "--json")).records[0]["result"] == "account created"
        assert "mesh -C" in (await type_at(house.home, "job", held.short)).err

        house.release.set()
        watched = await type_at(house.home, "watch", held.short)
        assert (watched.value, watched.out.split()[4]) == (0, "complete")
        assert (await type_at(house.home, "watch", failed.short)).value == 1
        assert (await type_at(house.home, "watch", done.short, "--json")).records[-1]["state"] == "complete"
