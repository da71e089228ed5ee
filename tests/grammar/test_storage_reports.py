"""Storage reports: the newest snapshot leads, the history keeps one a day."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from grammar.dates import DateRange
from grammar.errors import GrammarError
from grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from grammar.quotas import Quota, Volume
from grammar.results import decode, encode
from grammar.storage_reports import ProjectStorageReport, StorageReport

PROJECT = ProjectIdentifier.parse("proj.org")
FRED = UserIdentifier.parse("fred.proj.org")
HOME = Volume.parse("home")


def report(day: int, hour: int = 12, used: str = "1GB") -> ProjectStorageReport:
    return ProjectStorageReport(
        project=PROJECT,
        generated_at=datetime(2026, 1, day, hour, tzinfo=UTC),
        project_quotas={HOME: Quota.parse(f"10GB used {used}")},
        user_quotas={FRED: {HOME: Quota.parse("1GB")}},
        users={FRED: "fred01"},
    )


def test_sum_keeps_the_newest_of_each_day() -> None:
    total = report(5) + report(7) + report(6) + report(6, 13, "2GB") + report(7, 1)
    assert total.generated_at.day == 7
    assert sorted(day.day for day in total.daily_reports) == [5, 6]
    assert total.daily_reports[report(6).day].project_quotas[HOME] == "10GB used 2GB"
    assert [snapshot.day.day for snapshot in total.snapshots()] == [5, 6, 7]
    assert total.filter(DateRange.parse("2026-01-06")).daily_reports.keys() == {report(6).day}
    assert not total.is_empty


def test_sum_does_not_depend_on_order() -> None:
    reports = [report(5), report(6), report(6, 13), report(7)]
    forward, backward = reports[0], reports[-1]
    for one, other in zip(reports[1:], reports[-2::-1], strict=True):
        forward, backward = forward + one, backward + other
    assert forward == backward


def test_remap() -> None:
    total = report(5) + report(6)
    moved = total.remap_portal(PortalIdentifier.parse("new"))
    fred = UserIdentifier.parse("fred.proj.new")
    assert moved.users == {fred: "fred01"}
    assert list(moved.user_quotas) == [fred]
    assert list(moved.daily_reports[report(5).day].user_quotas) == [fred]
    assert total.remap_users({FRED: "f2"}).users == {FRED: "f2"}
    both = total.with_mappings([UserMapping.parse("jane.proj.org:jane01:g")])
    with pytest.raises(GrammarError):
        both.remap_users({FRED: "jane01"})
    with pytest.raises(GrammarError):
        total + moved


def test_portal_report() -> None:
    whole = StorageReport(portal=PortalIdentifier.parse("org")).with_report(report(5) + report(6))
    assert (whole + StorageReport(portal=whole.portal).with_report(report(7))).reports[PROJECT].generated_at.day == 7
    assert not whole.filter(DateRange.parse("2025-01-01")).reports[PROJECT].daily_reports
    moved = whole.remap_portal(PortalIdentifier.parse("new"))
    assert list(moved.reports) == ["proj.new"]
    other = ProjectIdentifier.parse("other.org")
    assert list(whole.remap_project(PROJECT, other).reports) == [other]
    assert whole.remap_project(other, PROJECT) is whole
    assert whole.remap_users({FRED: "f2"}).reports[PROJECT].users == {FRED: "f2"}
    with pytest.raises(GrammarError):
        whole.with_report(report(5)).with_report(report(5).remap_project(other)).remap_project(other, PROJECT)
    with pytest.raises(GrammarError):
        whole.with_report(moved.reports[ProjectIdentifier.parse("proj.new")])
    with pytest.raises(GrammarError):
        whole + moved


def test_a_report_is_a_result() -> None:
    total = report(5) + report(6)
    for value in (total, total.snapshot, StorageReport(portal=PortalIdentifier.parse("org")).with_report(total)):
        name, data = encode(value)
        assert decode(name, data) == value
        assert type(value).parse(str(value)) == value
