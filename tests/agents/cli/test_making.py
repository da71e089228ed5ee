from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agents.cli.serving import agent_of
from grammar.errors import MeshError
from tests.agents.cli.typed import type_now


def test_a_folder_is_made(tmp_path: Path) -> None:
    typed = type_now("init", "cluster", "--kind", "instance", "--zone", "lab", "--example", home=tmp_path / "here")
    assert typed.error is None
    assert "handlers.py" in typed.out
    assert stat.S_IMODE((tmp_path / "here" / "identity.toml").stat().st_mode) == 0o600
    agent = agent_of(tmp_path / "here" / "handlers.py")
    assert "cluster" not in repr(agent), "its name is that of the folder"


def test_nothing_is_made_over(tmp_path: Path) -> None:
    type_now("init", "cluster", home=tmp_path)
    before = (tmp_path / "identity.toml").read_bytes()
    assert isinstance(type_now("init", "cluster", home=tmp_path).error, MeshError)
    assert (tmp_path / "identity.toml").read_bytes() == before


@pytest.mark.parametrize(
    "words", [("NO",), ("x", "--kind", "y"), ("x", "--zone", "Z"), ("x", "--listen", "y"), ("x", "--listen", "h:99999")]
)
def test_what_cannot_be_makes_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert isinstance(type_now("init", *words, home=tmp_path / "new").error, MeshError)
    assert not (tmp_path / "new").exists()
