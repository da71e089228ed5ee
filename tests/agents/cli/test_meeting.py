from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agents.calls import CallFailed
from agents.settings import make_home
from tests.agents.cli.typed import type_at, type_now
from tests.agents.doors import in_loop, two_agents


@in_loop
async def test_while_the_agent_runs(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        file = tmp_path / "third.toml"
        made = await type_at(house.home, "invite", "third", "--output", str(file))
        assert str(file) in made.out
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "secret" not in made.out + made.err
        again = await type_at(house.home, "invite", "third", "--output", str(file))
        assert isinstance(again.error, CallFailed)
        shown = (await type_at(house.home, "invite", "fourth", "--output", f"{file}2", "--json")).records[0]
        assert shown["file"] == f"{file}2"
        assert "text" not in shown


def test_while_it_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_home(tmp_path / "portal", "portal")
    make_home(tmp_path / "cluster", "cluster")
    assert type_now("invite", "cluster", home=tmp_path / "portal").error is None
    joined = type_now("join", "cluster.invite.toml", home=tmp_path / "cluster")
    assert (joined.value, joined.error) == (0, None)
    assert joined.err.endswith("cluster run\n")
    record = type_now("join", "cluster.invite.toml", "--json", home=tmp_path / "cluster").records[0]
    assert (record["name"], record["running"]) == ("portal", False)


def test_a_place_that_is_none(tmp_path: Path) -> None:
    make_home(tmp_path / "portal", "portal")
    error = type_now("invite", "x", "--output", str(tmp_path / "no" / "file"), home=tmp_path / "portal").error
    assert isinstance(error, CallFailed)
    assert type_now("peers", "--json", home=tmp_path / "portal").out == ""
