from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from agents.cli.program import mesh
from tests.agents.cli.typed import type_now


def test_a_command() -> None:
    typed = type_now("parse", "portal.cluster  add_user fred.proj.org", "--json")
    assert typed.value == 0
    assert typed.records[0]["value"]["keyword"] == "add_user"
    human = type_now("parse", "portal.cluster add_user fred.proj.org")
    assert human.out.splitlines()[0] == "portal.cluster add_user fred.proj.org"


@pytest.mark.parametrize(
    ("kind", "text", "name", "value"),
    [
        ("user", "fred.proj.org", "portal", "org"),
        ("usage", "10 hours", "seconds", 36_000),
        ("storage_size", "1GB", "bytes", 2**30),
        ("destination", "a.b.c", "agents", ["a", "b", "c"]),
    ],
)
def test_other_kinds(kind: str, text: str, name: str, value: object) -> None:
    typed = type_now("parse", "--kind", kind, "--json", text)
    assert typed.records[0]["value"][name] == value


def test_the_day_it_is_told_from() -> None:
    typed = type_now("parse", "--kind", "date_range", "--today", "2026-02-28", "--json", "this_month")
    assert typed.records[0]["value"]["start"] == "2026-02-01"


def test_what_means_nothing() -> None:
    typed = type_now("parse", "portal add_user", "--json")
    assert typed.value == 2
    assert typed.records[0]["ok"] is False
    assert "^" in type_now("parse", "portal add_user").err


def test_many_texts() -> None:
    done = CliRunner().invoke(mesh, ["parse", "--kind", "user", "--json", "-"], input=b"a.b.c\nno\n\xff\xfe\n")
    assert [json.loads(line)["ok"] for line in done.stdout.splitlines()] == [True, False, False]


def stream(given: bytes, kind: str = "user") -> list[dict[str, object]]:
    done = CliRunner().invoke(mesh, ["parse", "--kind", kind, "--json", "-"], input=given)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_line_has_one_answer() -> None:
    assert [one["ok"] for one in stream(b"a.b.c\n\n \na.b.c\r\n\r\na.b.c")] == [True, False, False, True, False, True]
    assert stream(b"") == []
    assert stream(b"\n", "destinations")[0]["canonical"] == "[]"
    assert len(stream("a.b\u2028c.d\x0be\x0cf\x1cg\x85h\n".encode("utf-8"))) == 1


def test_a_line_that_is_not_utf_8() -> None:
    answers = stream("a.é".encode() + b"\xff.c\n\xed\xa0\x80.b.c\n" + "é.b.c\n".encode())
    assert answers[0] == {"ok": False, "error": "the text is not UTF-8", "column": 4}
    assert answers[1] == {"ok": False, "error": "the text is not UTF-8", "column": 1}
    assert answers[2]["canonical"] == "é.b.c"


def test_a_very_long_line_is_one_text_too() -> None:
    answers = stream(b"x" * 65_536 * 3 + b".b.c\na.b.c\n" + b"[" * 65_536 + b"\n" + b"y" * 65_535 + b"\nx.y.z")
    assert [one["ok"] for one in answers] == [False, True, False, False, True]
    too_long = {"ok": False, "error": "the user identifier is longer than 4096 characters", "column": 4097}
    assert answers[0] == too_long
    assert stream(b"x" + "é".encode() * 65_536) == [too_long]
    assert stream(b"\xff" * 65_536 * 2, "destinations")[0]["ok"] is False
