from __future__ import annotations

import sys

import click
import pytest

from agents.calls import CallFailed
from agents.cli import program
from agents.cli.program import VERBS, main, mesh
from mesh.errors import Denied
from tests.agents.cli.typed import type_now


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_says_what_its_row_says_or_more(verb: str) -> None:
    command = mesh.get_command(click.Context(mesh), verb)
    assert command is not None
    assert command.name == verb
    assert command.help
    assert type_now(verb, "--help").out.startswith("Usage: ")


def test_the_list_of_verbs_loads_none_of_them() -> None:
    out = type_now("--help").out
    assert all(told in " ".join(out.split()) for _, told in VERBS.values())
    assert "5 not known yet" in " ".join(out.split())


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["mesh", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (("job",), "Missing argument"),
        (("jbo",), 'did you mean "job"?'),
        (("jobs", "--stat", "x"), "--state"),
        (("jobs", "--state", "asleep"), "asleep"),
        (("put", "a.b", "c", "-5"), "after --"),
    ):
        assert call(monkeypatch, *words) == 2
        err = capsys.readouterr().err
        assert err.startswith("error MESH-E001: ")
        assert said in err
    assert call(monkeypatch, "jobs", "--json", "--nonsense") == 2
    captured = capsys.readouterr()
    assert captured.err == ""
    assert '"code":"MESH-E001"' in captured.out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Denied("no", fix="ask"), 4, "error MESH-E405: no\nfix: ask\n"),
        (CallFailed("gone", code="MESH-E504", exit_code=3), 3, "error MESH-E504: gone\n"),
        (FileNotFoundError(2, "No such file", "x"), 2, "error MESH-E002: "),
        (RuntimeError("broken"), 2, "error MESH-E599: this is a bug: RuntimeError: broken\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.exceptions.Abort(), 130, ""),
        (click.exceptions.Exit(7), 7, ""),
    ],
)
def test_errors_become_lines_and_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    def failing(**_: object) -> int:
        raise error

    monkeypatch.setattr(program, "mesh", failing)
    assert call(monkeypatch, "jobs") == code
    assert capsys.readouterr().err.startswith(said)


def test_a_bug_shows_where_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(**_: object) -> int:
        raise RuntimeError("broken")

    monkeypatch.setattr(program, "mesh", failing)
    monkeypatch.setattr(sys, "argv", ["mesh", "jobs"])
    monkeypatch.setenv("MESH_DEBUG", "1")
    with pytest.raises(RuntimeError):
        main()
