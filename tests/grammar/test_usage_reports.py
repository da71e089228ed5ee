"""Arithmetic of usage reports."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.dates import DateRange
from grammar.errors import GrammarError
from grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from grammar.quantities import Usage
from grammar.results import decode, encode
from grammar.usage_reports import DailyUsageReport, ProjectUsageReport, UsageReport, combine

PROJECT = ProjectIdentifier.parse("proj.org")
FRED = UserIdentifier.parse("fred.proj.org")
JANE = UserIdentifier.parse("jane.proj.org")
MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)
ACCOUNTS = st.sampled_from(["fred01", "jane01", "unknown"])
DAILY = st.builds(
    DailyUsageReport,
    reports=st.dictionaries(ACCOUNTS, st.integers(0, 10**9).map(Usage)),
    components=st.dictionaries(
        st.sampled_from(["cpu", "gpu"]), st.dictionaries(ACCOUNTS, st.integers(0, 10**9).map(Usage))
    ),
    num_jobs=st.integers(0, 100),
)


def day(fred: int, jane: int = 0) -> DailyUsageReport:
    report = DailyUsageReport().with_usage("fred01", Usage(fred)).with_jobs("fred01", 2, 30)
    report = report.with_usage("fred01", Usage(fred * 4), component="gpu")
    return report.with_usage("jane01", Usage(jane)) if jane else report


def project() -> ProjectUsageReport:
    mappings = [UserMapping.parse(f"{FRED}:fred01:grp"), UserMapping.parse(f"{JANE}:jane01:grp")]
    report = ProjectUsageReport(project=PROJECT).with_mappings(mappings)
    return report.with_day(MONDAY, day(60, 30)).with_day(TUESDAY, day(10))


def test_daily() -> None:
    report = day(60, 30)
    assert report.total == Usage(90)
    assert report.usage("nobody") == Usage(0)
    assert (report.num_jobs, report.average_wait_seconds) == (2, 15)
    assert DailyUsageReport().average_wait_seconds == 0
    twice = report.model_copy(update={"is_complete": True}) + report
    assert twice.total == Usage(180)
    assert (twice.num_jobs, twice.total_wait_seconds, twice.is_complete) == (4, 60, False)
    assert twice.components["gpu"]["fred01"] == Usage(480)
    assert (report * 2).components["gpu"]["fred01"] == Usage(480)
    assert (report / 2).total == Usage(45)
    assert (report / 0).total == Usage(0)
    assert report.scale_total(0.5).usage("fred01") == Usage(30)
    assert report.scale_total(0.5).components == report.components


@given(DAILY, DAILY)
def test_sums_agree_whatever_the_order(first: DailyUsageReport, second: DailyUsageReport) -> None:
    assert (first + second).total == first.total + second.total == (second + first).total
    assert (first + second).num_jobs == first.num_jobs + second.num_jobs


@given(DAILY)
def test_json_both_ways(report: DailyUsageReport) -> None:
    assert DailyUsageReport.parse(str(report)) == report


def test_project_report() -> None:
    report = project()
    assert report.total == Usage(100)
    assert report.usage(FRED) == Usage(70)
    assert report.usage(UserIdentifier.parse("x.proj.org")) == Usage(0)
    assert (report.num_jobs, report.portal, report.is_complete) == (4, "org", False)
    assert report.unattributed == Usage(0)
    assert report.with_day(MONDAY, DailyUsageReport().with_usage("ghost", Usage(5))).unattributed == Usage(5)
    assert report.filter(DateRange.parse("2026-01-05")).total == Usage(90)
    assert (report + report).total == Usage(200)
    assert (report * 3).total == Usage(300)
    assert (report / 2).total == Usage(50)
    assert report.scale_total(2).total == Usage(200)
    assert combine([report, report, report]).total == Usage(300)
    with pytest.raises(GrammarError):
        combine([])
    with pytest.raises(GrammarError):
        report.with_mappings([UserMapping.parse("a.other.org:a:g")])


def test_remap() -> None:
    report = project()
    moved = report.remap_portal(PortalIdentifier.parse("new"))
    assert (moved.project, moved.portal) == ("proj.new", "new")
    assert moved.usage(UserIdentifier.parse("fred.proj.new")) == Usage(70)
    renamed = report.remap_users({FRED: "f2"})
    assert renamed.users == {FRED: "f2", JANE: "jane01"}
    assert renamed.usage(FRED) == Usage(70)
    assert renamed.reports[MONDAY].components["gpu"] == {"f2": Usage(240)}
    with pytest.raises(GrammarError):
        report.remap_users({FRED: "jane01"})
    with pytest.raises(GrammarError):
        report + moved


def test_portal_report() -> None:
    report = UsageReport(portal=PortalIdentifier.parse("org")).with_report(project())
    assert (report.total, report.num_jobs, report.is_complete) == (Usage(100), 4, False)
    assert (report + report).total == Usage(200)
    assert (report * 2).total == Usage(200)
    assert (report / 2).total == Usage(50)
    assert report.scale_total(3).total == Usage(300)
    assert report.filter(DateRange.parse("2026-01-06")).total == Usage(10)
    assert report.remap_portal(PortalIdentifier.parse("new")).total == Usage(100)
    other = ProjectIdentifier.parse("other.org")
    assert list(report.remap_project(PROJECT, other).reports) == [other]
    assert report.remap_project(other, PROJECT) is report
    assert report.remap_users({FRED: "f2"}).reports[PROJECT].users[FRED] == "f2"
    both = report.with_report(project().remap_project(other))
    with pytest.raises(GrammarError):
        both.remap_project(PROJECT, other)
    with pytest.raises(GrammarError):
        report.with_report(project().remap_portal(PortalIdentifier.parse("new")))
    with pytest.raises(GrammarError):
        report + report.remap_portal(PortalIdentifier.parse("new"))
    assert (both + report).total == Usage(300)


def test_a_report_is_a_result() -> None:
    for report in (project(), UsageReport(portal=PortalIdentifier.parse("org")).with_report(project())):
        name, data = encode(report)
        assert decode(name, data) == report
        assert type(report).parse(str(report)) == report


def test_reports_of_the_reference_system_are_read() -> None:
    one_day = '{"reports": {"f": {"seconds": 60}}, "num_jobs": 1, "is_complete": true}'
    text = f'{{"project": "proj.org", "reports": {{"2026-01-05": {one_day}}}, "users": {{"fred.proj.org": "f"}}}}'
    report = ProjectUsageReport.parse(text)
    assert report.usage(FRED) == Usage(60)
    assert report.is_complete
