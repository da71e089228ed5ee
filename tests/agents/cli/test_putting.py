from __future__ import annotations

from pathlib import Path

import click
import pytest

from agents.calls import CallFailed
from tests.agents.cli.typed import type_at, type_now
from tests.agents.doors import COMMAND, in_loop, two_agents


@in_loop
async def test_put_and_submit(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        done = await type_at(house.home, "put", *COMMAND.split(" "))
        assert (done.value, done.error) == (0, None)
        assert 'complete  "account created"' in done.out
        failed = await type_at(house.home, "put", "--json", "portal.cluster remove_user jane.admin.org")
        assert (failed.value, failed.records[0]["state"]) == (1, "error")
        submitted = await type_at(house.home, "submit", COMMAND, "--key", "k")
        assert (await type_at(house.home, "submit", COMMAND, "--key", "k", "--json")).records[0]["id"] == (
            submitted.out.strip()
        )


@in_loop
async def test_patience(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        late = await type_at(house.home, "put", "portal.cluster hold it", "--timeout", "0.1")
        assert late.value == 5
        assert "watch" in late.err
        house.release.set()


def test_what_is_no_command(tmp_path: Path) -> None:
    assert isinstance(type_now("put", "-", "--key", "k").error, click.UsageError)
    for words in (("put", "a.b", "say", "\udcff"), ("submit", "\udcff")):
        error = type_now(*words, home=tmp_path).error
        assert isinstance(error, CallFailed)
        assert error.code == "MESH-E100"


@pytest.mark.parametrize("life", ["0", "-1", "soon"])
def test_a_life_is_a_time(life: str) -> None:
    assert isinstance(type_now("put", COMMAND, "--life", life).error, click.UsageError)
