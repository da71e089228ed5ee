from __future__ import annotations

from pathlib import Path

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


def test_nobody_yet(tmp_path: Path) -> None:
    make_home(tmp_path / "new", "new")
    for verb in ("peers", "trust"):
        typed = type_now(verb, home=tmp_path / "new")
        assert typed.out == ""
        assert "invite PEER" in typed.err
        assert type_now(verb, "--json", home=tmp_path / "new").out == ""
