from __future__ import annotations

import pytest

from agents.cli.showing import (
    DENIED,
    LIVE,
    LiveLine,
    clean,
    exit_code_of,
    is_over,
    job_line,
    remark,
    say,
    say_error,
    say_json,
    seconds,
    table,
    taken,
)
from mesh import lifecycle

JOB = {
    **{"short": "7f3a91c2", "path": ["portal", "cluster"], "state": "complete", "result": "account created"},
    **{"error": None, "created": 1.0, "changed": 1.004, "message": None, "fraction": None, "overdue": False},
    "result_bytes": None,
}


def failed(kind: str, state: str = "error") -> dict[str, object]:
    error = {"kind": kind, "message": "no\x1b[2J", "agent": "cluster", "fix": ""}
    return JOB | {"state": state, "result": None, "error": error}


def test_the_live_states_are_those_of_the_mesh() -> None:
    assert {str(state) for state in lifecycle.LIVE} == LIVE


def test_a_job_on_a_line() -> None:
    assert job_line(JOB) == '7f3a91c2  portal > cluster  complete  "account created"  4 ms'
    assert taken(JOB) == "4 ms"
    running = JOB | {"state": "running", "fraction": 0.5, "message": "creating home", "overdue": True}
    assert job_line(running) == "7f3a91c2  portal > cluster  running  50%  creating home  overdue"
    assert job_line(failed("failed")).endswith("error  failed: no\\x1b[2J (cluster)  4 ms")
    assert job_line(failed("cancelled", "cancelled")).endswith("cancelled  no\\x1b[2J (cluster)  4 ms")


def test_exit_codes() -> None:
    assert exit_code_of(JOB) == 0
    assert exit_code_of(failed("failed")) == exit_code_of(failed("no_route", "rejected")) == 1
    assert {exit_code_of(failed(kind)) for kind in DENIED} == {4}
    assert exit_code_of(JOB | {"state": "running"}) == 5
    assert not is_over(JOB | {"state": "blocked"})


def test_nothing_moves_the_cursor() -> None:
    assert clean("a\tb\n\x1b[2J☃\u202e") == "a\\tb\\n\\x1b[2J☃\\u202e"


@pytest.mark.parametrize(
    ("span", "text"),
    [(0, "0 ms"), (0.004, "4 ms"), (3.24, "3.2 s"), (300, "5 min"), (7200, "2 h"), (3 * 86400, "3 d")],
)
def test_spans_of_time(span: float, text: str) -> None:
    assert seconds(span) == text


def test_tables() -> None:
    assert table(("a", "bb"), [("long", "x")]) == ["a     bb", "long  x"]


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    fault = {"code": "MESH-E100", "message": "no", "fix": "so", "pointer": "abc\n ^", "expected": "x"}
    say_error(fault, as_json=False)
    assert capsys.readouterr().err == "error MESH-E100: no\n  abc\n   ^\nexpected: x\nfix: so\n"
    say_error(fault, as_json=True)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith('{"error":{"code":"MESH-E100"')


def test_answers_and_remarks_go_apart(capsys: pytest.CaptureFixture[str]) -> None:
    say("answer")
    say_json({"a": 1})
    remark("beside")
    captured = capsys.readouterr()
    assert captured.out == 'answer\n{"a":1}\n'
    assert captured.err == "beside\n"


def test_a_live_line_is_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    line = LiveLine()
    line.show("x")
    line.clear()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    line = LiveLine()
    line.show("x" * 500)
    line.clear()
    assert capsys.readouterr().err.startswith("\r\x1b[2Kxxx")
    LiveLine(wanted=False).show("x")
    assert capsys.readouterr().err == ""
