"""`mesh grammar`: the vocabulary without any agent."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.shell import Shell


def test_the_table_lists_every_instruction(tmp_path: Path) -> None:
    done = Shell(tmp_path).mesh("grammar")
    assert (done.code, len(done.lines)) == (0, 65)
    assert any(line.startswith("add_user <user>") for line in done.lines)


def test_one_instruction_is_explained(tmp_path: Path) -> None:
    done = Shell(tmp_path).mesh("grammar", "add_user")
    assert (done.code, "for example fred.proj.org" in done.out) == (0, True)
    assert Shell(tmp_path).mesh("grammar", "add_user", "--json").record["result"] == "UserMapping"


def test_an_unknown_one_is_answered_with_the_nearest(tmp_path: Path) -> None:
    done = Shell(tmp_path).mesh("grammar", "ad_user")
    assert (done.code, 'did you mean "add_user"?' in done.err) == (2, True)
