"""Award details: JSON both ways, and how an update changes them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from grammar.awards import AwardDetails, Link, MembershipControl, Note, ProjectTemplate
from grammar.errors import GrammarError

FULL = {
    "name": "My  project",
    "template": "gpu-cluster",
    "key": "k",
    "description": "spaces   inside",
    "members": {"b@x.org": "member", "a@x.org": "lead"},
    "start_date": "2026-1-5",
    "end_date": "2026-12-31",
    "allocation": "1000 node hours",
    "breakdown": {"gpu": "5 GPUHR"},
    "award": {"id": "EP/1", "url": "https://example.com/a b"},
    "notes": [{"timestamp": "2026-01-01T00:00:00+01:00", "author": "jane", "text": "hello"}],
    "earliest_approve": "2026-01-01T00:00:00Z",
    "membership_control": "members_only",
    "allowed_domains": ["*.x.org", "x.org"],
    "unknown": [1, 2],
}


def test_json_both_ways() -> None:
    details = AwardDetails.parse(json.dumps(FULL))
    assert details.start_date == date(2026, 1, 5)
    assert details.allocation == "1000 NHR"
    assert details.notes[0].timestamp == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert details.control is MembershipControl.MEMBERS_ONLY
    assert list(details.members or {}) == ["a@x.org", "b@x.org"]
    text = str(details)
    again = AwardDetails.parse(text)
    assert again == details
    assert str(again) == text
    assert hash(again) == hash(details)
    assert json.loads(text)["unknown"] == [1, 2]
    assert json.loads(text)["notes"][0]["timestamp"] == "2025-12-31T23:00:00Z"


def test_everything_may_be_absent() -> None:
    assert str(AwardDetails.parse("{}")) == "{}"
    assert AwardDetails.parse('{"name": null, "members": null}') == AwardDetails()
    assert AwardDetails().control is MembershipControl.OPEN
    assert AwardDetails(start_date=date(2026, 1, 5)).start_date == date(2026, 1, 5)


@pytest.mark.parametrize(
    "member",
    [
        '"name": 3',
        '"template": "a b"',
        '"start_date": "2026-02-30"',
        '"start_date": 20260101',
        '"allocation": "many"',
        '"award": {"url": "javascript:alert(1)"}',
        '"award": {"url": "no address"}',
        '"notes": [{"author": "x", "text": "y"}]',
        '"notes": [{"timestamp": "2026-01-01T00:00:00", "author": "x", "text": "y"}]',
        '"earliest_approve": 5',
        '"earliest_approve": "soon"',
        '"earliest_approve": "0001-01-01T00:00:00+23:00"',
        '"membership_control": "closed"',
        '"allowed_domains": ["a_b.com"]',
        '"members": ["a@x.org"]',
    ],
)
def test_refused(member: str) -> None:
    with pytest.raises(GrammarError) as caught:
        AwardDetails.parse(f"{{{member}}}")
    assert "AwardDetails" in caught.value.message


def test_an_empty_address_is_none() -> None:
    assert Link.parse('{"url": ""}').url is None


def test_merge() -> None:
    early = Note.parse('{"timestamp": "2026-01-01T00:00:00Z", "author": "a", "text": "1"}')
    late = Note.parse('{"timestamp": "2026-01-02T00:00:00Z", "author": "a", "text": "2"}')
    first = AwardDetails.parse(
        '{"name": "old", "breakdown": {"a": "1", "b": "1"}, "members": {"a@x.org": "lead"}, '
        '"allowed_domains": ["x.org"], "template": "gpu"}'
    ).model_copy(update={"notes": (late,)})
    second = AwardDetails.parse(
        '{"name": "new", "breakdown": {"b": "2"}, "members": {"b@y.org": "lead"}, '
        '"allowed_domains": ["y.org", "x.org"]}'
    ).model_copy(update={"notes": (early, late)})
    merged = first.merge(second)
    assert merged.name == "new"
    assert merged.template == "gpu"
    assert merged.breakdown == {"a": "1", "b": "2"}
    assert merged.members == {"b@y.org": "lead"}
    assert merged.notes == (early, late)
    assert merged.allowed_domains == ("x.org", "y.org")
    assert AwardDetails.parse(str(merged)) == merged
    assert first.merge(AwardDetails()) == first
    assert AwardDetails().merge(first) == first


def test_a_template_cannot_change() -> None:
    gpu, cpu = (AwardDetails(template=ProjectTemplate.parse(name)) for name in ("gpu", "cpu"))
    assert gpu.merge(gpu) == gpu
    with pytest.raises(GrammarError):
        gpu.merge(cpu)


def test_members_are_all_added_or_none() -> None:
    details = AwardDetails.parse('{"allowed_domains": ["*.x.org", "fred@y.org"], "members": {"a@b.x.org": "lead"}}')
    more = details.with_members({" fred@y.org ": " member "})
    assert more.members == {"a@b.x.org": "lead", "fred@y.org": "member"}
    assert details.with_members({"fred@y.org": "member"}, replace=True).members == {"fred@y.org": "member"}
    assert more.without_member("a@b.x.org").members == {"fred@y.org": "member"}
    assert AwardDetails().without_member("x").members is None
    for bad in ({"jane@y.org": "member"}, {"fred@y.org": " "}, {"fred": "member"}):
        with pytest.raises(GrammarError):
            details.with_members({"c@d.x.org": "member"} | bad)
    assert details.is_domain_allowed("a.x.org")
    assert not details.is_domain_allowed("y.org")
    assert not AwardDetails(allowed_domains=()).is_email_allowed("a@x.org")
    assert AwardDetails().is_email_allowed("a@x.org")


def test_control() -> None:
    assert MembershipControl.OPEN.members_may_change
    assert MembershipControl.ROLES_ONLY.roles_may_change
    assert not MembershipControl.LOCKED.roles_may_change
    assert not MembershipControl.ROLES_ONLY.members_may_change


@pytest.mark.parametrize("text", ["gpu-cluster", "a_1", "Größe", "物理"])
def test_template(text: str) -> None:
    assert ProjectTemplate.parse(f" {text} ") == text


@pytest.mark.parametrize(("text", "column"), [("", 1), ("a b", 2), ("a.b", 2), ("a/b", 2)])
def test_template_refused(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        ProjectTemplate.parse(text)
    assert caught.value.column == column
