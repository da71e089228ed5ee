"""What `mesh parse --kind` answers."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from grammar.errors import GrammarError
from grammar.kinds import KINDS, parse_kind

TODAY = date(2026, 11, 22)


@pytest.mark.parametrize(
    ("kind", "text", "canonical", "value"),
    [
        ("user", "fred.proj.org", "fred.proj.org", {"user": "fred", "project": "proj", "portal": "org"}),
        ("project", " a . b ", "a.b", {"project": "a", "portal": "b"}),
        ("portal", "org", "org", {"portal": "org"}),
        (
            "user_mapping",
            "f.p.o:fred:grp",
            "f.p.o:fred:grp",
            {"user": "f", "project": "p", "portal": "o", "local_user": "fred", "local_group": "grp"},
        ),
        ("project_mapping", "p.o:grp", "p.o:grp", {"project": "p", "portal": "o", "local_group": "grp"}),
        ("destination", "a.b.c", "a.b.c", {"agents": ["a", "b", "c"]}),
        (
            "destinations",
            "[a.b,c.d]",
            "[a.b, c.d]",
            {"destinations": ["a.b", "c.d"], "agents": [["a", "b"], ["c", "d"]]},
        ),
        ("date", "2026-1-5", "2026-01-05", {"date": "2026-01-05"}),
        (
            "date_range",
            "last_week",
            "2026-11-09:2026-11-15",
            {"start": "2026-11-09", "end": "2026-11-15", "days": 7},
        ),
        ("usage", "10 hours", "10 hours", {"seconds": 36_000}),
        ("storage_size", "1500GB", "1500GB", {"bytes": 1_610_612_736_000}),
        ("quota_limit", "unlimited", "unlimited", {"limit_bytes": None}),
        ("quota", "1KB used 5 B", "1KB used 5B", {"limit_bytes": 1024, "used_bytes": 5}),
        ("quota", "unlimited", "unlimited", {"limit_bytes": None, "used_bytes": None}),
        ("allocation", "2.5 gpu hours", "2.5 GPUHR", {"amount": 2.5, "units": "GPUHR"}),
        ("allocation", "none", "No allocation", {"amount": None, "units": None}),
        ("template", "gpu-1", "gpu-1", {"template": "gpu-1"}),
        ("domain_pattern", "*.x.org", "*.x.org", {"pattern": "*.x.org", "is_email": False}),
        ("notification", "user_added f.p.o", "user_added f.p.o", {"event": "user_added", "subject": "f.p.o"}),
        (
            "notification",
            "a.b award_added p.o",
            "a.b award_added p.o",
            {"event": "award_added", "subject": "p.o", "agents": ["a", "b"]},
        ),
        (
            "instruction",
            "set_limit p.o 10 hours",
            "set_limit p.o 10 hours",
            {"keyword": "set_limit", "arguments": ["p.o", "10 hours"]},
        ),
        (
            "instruction",
            "get_usage_report p.o today",
            "get_usage_report p.o 2026-11-22:2026-11-22",
            {"keyword": "get_usage_report", "arguments": ["p.o", "2026-11-22:2026-11-22"]},
        ),
        (
            "command",
            "a.b add_user fred.proj.org",
            "a.b add_user fred.proj.org",
            {"agents": ["a", "b"], "keyword": "add_user", "arguments": ["fred.proj.org"]},
        ),
    ],
)
def test_what_it_means(kind: str, text: str, canonical: str, value: dict[str, Any]) -> None:
    answer = parse_kind(kind, text, today=TODAY)
    assert answer == {"ok": True, "canonical": canonical, "value": value}
    assert parse_kind(kind, canonical) == answer
    json.dumps(answer)


def test_a_word_without_today() -> None:
    assert parse_kind("date_range", "This_Week") == {
        "ok": True,
        "canonical": "this_week",
        "value": {"start": None, "end": None, "days": None, "word": "this_week"},
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "\ud800", "a\x00", "x" * 5000])
def test_why_not(kind: str, text: str) -> None:
    answer = parse_kind(kind, text)
    if answer["ok"]:
        assert kind == "destinations"
    else:
        assert set(answer) == {"ok", "error", "column"}
        assert 1 <= answer["column"] <= len(text) + 1


def test_the_nearest_keyword_is_named() -> None:
    answer = parse_kind("instruction", "ad_user fred.proj.org")
    assert answer["column"] == 1
    assert 'did you mean "add_user"?' in answer["error"]
    for text, column in (("ADD_USER fred.proj.org", 1), ("add-user fred.proj.org", 4), (" add_users\tx", 11)):
        answer = parse_kind("instruction", text)
        assert answer["column"] == column
        assert 'did you mean "add_user"?' in answer["error"]
    assert parse_kind("instruction", "ad_user x", lenient=True)["value"] == {"keyword": "ad_user", "arguments": ["x"]}


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(GrammarError) as caught:
        parse_kind("usr", "x")
    assert caught.value.nearest == "user"
