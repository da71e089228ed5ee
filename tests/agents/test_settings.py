"""An agent's folder: made once, read with suspicion."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.agent import Agent
from agents.errors import AgentError
from agents.settings import default_home, load_settings, make_home
from grammar.errors import MeshError
from invitations.errors import ConfigError, IdentityError
from invitations.fingerprint import fingerprint_text
from mesh.limits import Limits


def test_a_new_folder_holds_an_agent(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "portal"
    made = make_home(home, "portal", kind="portal", zone="lab", listen="127.0.0.1:7000")
    assert (made.name, made.kind, made.zone, made.config.agent.listen) == ("portal", "portal", "lab", "127.0.0.1:7000")
    assert home.stat().st_mode & 0o777 == 0o700
    for name in ("mesh.toml", "identity.toml"):
        assert (home / name).stat().st_mode & 0o777 == 0o600
    read = load_settings(home)
    assert read.identity.fingerprint == made.identity.fingerprint
    assert (read.limits, read.portals, read.allow, read.block) == (Limits(), {}, (), ())
    assert (read.store_path, read.socket_path) == (home / "store.sqlite", home / "mesh.sock")


def test_two_agents_have_two_keys(tmp_path: Path) -> None:
    one, two = make_home(tmp_path / "one", "one"), make_home(tmp_path / "two", "two")
    assert one.identity.fingerprint != two.identity.fingerprint


def test_an_empty_folder_says_how_to_make_one(tmp_path: Path) -> None:
    for home in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(AgentError, match="there is no agent in") as missing:
            load_settings(home)
        assert "mesh init" in missing.value.fix
        assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("left", ["mesh.toml", "identity.toml"])
def test_an_agent_is_never_overwritten(tmp_path: Path, left: str) -> None:
    make_home(tmp_path, "portal")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name == left}
    for path in tmp_path.iterdir():
        if path.name != left:
            path.unlink()
    with pytest.raises(AgentError, match="already"):
        make_home(tmp_path, "portal")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("No Name", {}),
        ("portal", {"kind": "?"}),
        ("portal", {"zone": "a b"}),
        ("portal", {"listen": "7000"}),
        ("", {}),
    ],
)
def test_values_that_are_not_legal_make_nothing(tmp_path: Path, name: str, settings: dict[str, str]) -> None:
    with pytest.raises(MeshError):
        make_home(tmp_path / "home", name, **settings)
    assert not (tmp_path / "home").exists()


def test_a_place_that_is_no_folder_is_an_error_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshError):
        make_home(tmp_path / "file", "portal")


def test_keys_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    make_home(tmp_path, "portal")
    (tmp_path / "identity.toml").chmod(0o644)
    with pytest.raises(MeshError, match=r"identity\.toml") as open_:
        load_settings(tmp_path)
    assert "chmod" in open_.value.fix


def test_a_missing_or_damaged_identity_is_named(tmp_path: Path) -> None:
    make_home(tmp_path, "portal")
    (tmp_path / "identity.toml").write_text("nothing of the kind")
    with pytest.raises(IdentityError, match=r"identity\.toml"):
        load_settings(tmp_path)
    (tmp_path / "identity.toml").unlink()
    with pytest.raises(MeshError, match=r"identity\.toml"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("[limits]\nrun = 3\n", "run", "run_s"),
        ("[limits]\nrun_s = 0\n", "run_s", ""),
        ("[agnt]\n", "agnt", "agent"),
        ("[[access.allow]]\norigin = 3\n", "origin", ""),
        ("nonsense", "mesh.toml", ""),
    ],
)
def test_a_mistake_in_the_configuration_is_named(tmp_path: Path, text: str, message: str, fix: str) -> None:
    make_home(tmp_path, "portal")
    with (tmp_path / "mesh.toml").open("a") as file:
        file.write("\n" + text)
    with pytest.raises(ConfigError) as refused:
        load_settings(tmp_path)
    assert message in refused.value.message
    assert fix in refused.value.fix


def test_limits_and_access_are_read(tmp_path: Path) -> None:
    made = make_home(tmp_path, "portal")
    key = made.identity.fingerprint

    with (tmp_path / "mesh.toml").open("a") as file:
        file.write(
            f'\n[limits]\nrun_s = 5\n[access.portals]\nmain = "{fingerprint_text(key)}"\n'
            '[[access.block]]\norigin = "fred"\ninstruction = "remove_*"\n'
        )
    read = load_settings(tmp_path)
    assert read.limits.run_s == 5
    assert read.portals == {"main": key}
    (block,) = read.block
    assert (block.origin, block.instruction, block.zone) == ("fred", "remove_*", None)


def test_the_folder_that_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_home() == Path()
    monkeypatch.setenv("MESH_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.setenv("MESH_HOME", "")
    assert default_home() == Path()


def test_the_serial_of_cards_rises_with_time(tmp_path: Path) -> None:
    made = make_home(tmp_path, "portal")
    assert made.card(("default",), 1e9).serial < made.card(("default",), 1e9 + 0.01).serial


def test_constructing_an_agent_touches_nothing(tmp_path: Path) -> None:
    agent = Agent("portal", home=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AgentError):
        agent.settings()
