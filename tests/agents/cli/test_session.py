from __future__ import annotations

from pathlib import Path

import pytest

from agents.calls import NoAgent
from agents.cli.session import Session, run
from agents.settings import make_home


def test_the_next_command_names_the_folder_that_was_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert Session(Path("a b"), True).command("watch", "7f3a") == "mesh -C 'a b' watch 7f3a"
    Session(Path(), False).hint("jobs")
    assert capsys.readouterr().err == "next: mesh jobs\n"


def test_reading_falls_back_on_the_folder(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        Session(tmp_path, True).read("peers", "peers")
    make_home(tmp_path / "new", "new")
    assert Session(tmp_path / "new", True).read("peers", "peers") == []


def test_a_verbs_coroutine() -> None:
    async def work() -> int:
        return 5

    assert run(work()) == 5
