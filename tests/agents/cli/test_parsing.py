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
