from __future__ import annotations

from pathlib import Path

import click

from agents.calls import CallFailed
from agents.settings import make_home
from tests.agents.cli.typed import type_at, type_now
from tests.agents.doors import in_loop, two_agents


@in_loop
async def test_peers_and_whom_to_believe(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        (peer,) = (await type_at(house.home, "peers", "--json")).records
        assert (peer["name"], peer["kind"], peer["state"]) == ("cluster", "instance", "up")
        assert "cluster" in (await type_at(house.home, "peers")).out
        (row,) = (await type_at(house.home, "trust", "--json")).records
        assert (row["what"], row["fingerprint"]) == ("peer", peer["fingerprint"])
        assert "an invitation" in (await type_at(house.home, "trust")).out


@in_loop
async def test_settling_whom_to_believe(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        (peer,) = (await type_at(house.home, "trust", "--json")).records
        key = peer["fingerprint"]
        settled = (await type_at(house.home, "trust", "cluster.account", "--key", key, "--json")).records
        assert [(row["what"], row["name"], row["fingerprint"]) for row in settled[1:]] == [
            ("agent", "cluster.account", key)
        ]
        forgotten = (await type_at(house.home, "trust", "cluster.account", "--forget", "--json")).records
        assert forgotten == [peer]
        for words in (("cluster", "--forget"), ("cluster.account", "--key", "x"), ("NO.NAME", "--forget")):
            error = (await type_at(house.home, "trust", *words)).error
            assert isinstance(error, CallFailed)
            assert error.exit_code == 2
        for words in (("--forget",), ("cluster.account",), ("cluster.account", "--forget", "--key", key)):
            assert isinstance((await type_at(house.home, "trust", *words)).error, click.UsageError)


@in_loop
async def test_a_peer_is_made_a_stranger(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        assert "revoked" in (await type_at(house.home, "revoke", "cluster")).out
        assert not [p for p in (await type_at(house.home, "peers", "--json")).records if p["state"] == "up"]
        error = (await type_at(house.home, "revoke", "clusta")).error
        assert isinstance(error, CallFailed)


def test_nobody_yet(tmp_path: Path) -> None:
    make_home(tmp_path / "new", "new")
    for verb in ("peers", "trust"):
        typed = type_now(verb, home=tmp_path / "new")
        assert typed.out == ""
        assert "invite PEER" in typed.err
        assert type_now(verb, "--json", home=tmp_path / "new").out == ""
