"""Reports of usage: of a project in one day, of a project over days, of all projects of a portal.

Usage is filed under local account names; a project's report knows which user each one is. Reports are values:
each operation gives a new one. Sums are exact, and a sum that is too large for a `Usage` is an error, not a
wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Final, Self, TypeVar

from pydantic import Field

from grammar.awards import Day
from grammar.dates import DateRange
from grammar.documents import Document
from grammar.errors import GrammarError
from grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from grammar.quantities import Usage

_Amount = TypeVar("_Amount", Usage, int)

UNATTRIBUTED: Final = "unknown"
"""The account under which usage is filed that belongs to nobody known."""


class DailyUsageReport(Document):
    """What one project used in one day.

    Args:
        reports: usage by local account.
        components: the same for each component of it (cpu, gpu, ...), in physical units.
        user_job_counts: jobs by local account; `num_jobs` is their number, also where the accounts are not
            known.
        user_wait_seconds: seconds that jobs waited, by local account; `total_wait_seconds` is their sum.
        is_complete: whether the day is over and all of it is in here.
    """

    reports: dict[str, Usage] = Field(default_factory=dict)
    components: dict[str, dict[str, Usage]] = Field(default_factory=dict)
    user_job_counts: dict[str, int] = Field(default_factory=dict)
    user_wait_seconds: dict[str, int] = Field(default_factory=dict)
    num_jobs: int = 0
    total_wait_seconds: int = 0
    is_complete: bool = False

    @property
    def total(self) -> Usage:
        """The usage of all accounts."""
        return _total(self.reports.values())

    @property
    def average_wait_seconds(self) -> int:
        """Whole seconds that a job waited on average; 0 without jobs."""
        return self.total_wait_seconds // self.num_jobs if self.num_jobs else 0

    def usage(self, account: str) -> Usage:
        """The usage of one account."""
        return self.reports.get(account, Usage())

    def with_usage(self, account: str, usage: Usage, component: str | None = None) -> Self:
        """More usage of an account; of one component of it when that is named."""
        if component is None:
            return self.model_copy(update={"reports": _added(self.reports, {account: usage})})
        one = _added(self.components.get(component, {}), {account: usage})
        return self.model_copy(update={"components": self.components | {component: one}})

    def with_jobs(self, account: str, count: int, wait_seconds: int = 0) -> Self:
        """More jobs of an account, and the seconds they waited altogether."""
        return self.model_copy(
            update={
                "user_job_counts": _counted(self.user_job_counts, {account: count}),
                "user_wait_seconds": _counted(self.user_wait_seconds, {account: wait_seconds}),
                "num_jobs": self.num_jobs + count,
                "total_wait_seconds": self.total_wait_seconds + wait_seconds,
            }
        )

    def __add__(self, other: DailyUsageReport) -> DailyUsageReport:
        """Both together; a sum is never complete, since it is no longer the report of one source."""
        names = dict.fromkeys((*self.components, *other.components))
        return DailyUsageReport(
            reports=_added(self.reports, other.reports),
            components={name: _added(self.components.get(name, {}), other.components.get(name, {})) for name in names},
            user_job_counts=_counted(self.user_job_counts, other.user_job_counts),
            user_wait_seconds=_counted(self.user_wait_seconds, other.user_wait_seconds),
            num_jobs=self.num_jobs + other.num_jobs,
            total_wait_seconds=self.total_wait_seconds + other.total_wait_seconds,
        )

    def __mul__(self, factor: float) -> Self:
        """All usage, components too, times a factor; jobs and waits are counts and stay."""
        return self._scaled(lambda usage: usage * factor)

    def __truediv__(self, divisor: float) -> Self:
        """All usage divided; by 0 it is none."""
        return self._scaled(lambda usage: usage / divisor)

    def scale_total(self, factor: float) -> Self:
        """The usage times a factor, but not its components, which are in physical units."""
        return self.model_copy(update={"reports": {name: usage * factor for name, usage in self.reports.items()}})

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same under other account names; accounts that get one name are added up."""
        return self.model_copy(
            update={
                "reports": _renamed(self.reports, names, _added),
                "components": {name: _renamed(one, names, _added) for name, one in self.components.items()},
                "user_job_counts": _renamed(self.user_job_counts, names, _counted),
                "user_wait_seconds": _renamed(self.user_wait_seconds, names, _counted),
            }
        )

    def _scaled(self, scale: Callable[[Usage], Usage]) -> Self:
        return self.model_copy(
            update={
                "reports": {name: scale(usage) for name, usage in self.reports.items()},
                "components": {
                    component: {name: scale(usage) for name, usage in one.items()}
                    for component, one in self.components.items()
                },
            }
        )


class ProjectUsageReport(Document):
    """What one project used, day by day; `users` gives the local account of each user."""

    project: ProjectIdentifier
    reports: dict[Day, DailyUsageReport] = Field(default_factory=dict)
    users: dict[UserIdentifier, str] = Field(default_factory=dict)

    @property
    def portal(self) -> str:
        """The portal of the project."""
        return self.project.portal

    @property
    def total(self) -> Usage:
        """The usage of all days."""
        return _total(report.total for report in self.reports.values())

    @property
    def num_jobs(self) -> int:
        """The jobs of all days."""
        return sum(report.num_jobs for report in self.reports.values())

    @property
    def is_complete(self) -> bool:
        """Whether every day in it is complete."""
        return all(report.is_complete for report in self.reports.values())

    def usage(self, user: UserIdentifier) -> Usage:
        """The usage of one user in all days."""
        account = self.users.get(user)
        return Usage() if account is None else _total(report.usage(account) for report in self.reports.values())

    @property
    def unattributed(self) -> Usage:
        """The usage of accounts that stand for no known user."""
        known = set(self.users.values())
        return _total(
            usage
            for report in self.reports.values()
            for account, usage in report.reports.items()
            if account not in known
        )

    def with_day(self, day: date, report: DailyUsageReport) -> Self:
        """The report with one day in it, in the place of what was there for it."""
        return self.model_copy(update={"reports": self.reports | {day: report}})

    def with_mappings(self, mappings: Iterable[UserMapping]) -> Self:
        """The report with more users known; raises GrammarError for a user of another project."""
        users = dict(self.users)
        for mapping in mappings:
            if mapping.user.project_identifier != self.project:
                raise GrammarError(f"{mapping.user} is not in {self.project}", text=mapping)
            users[mapping.user] = mapping.local_user
        return self.model_copy(update={"users": users})

    def filter(self, span: DateRange) -> Self:
        """The days of a range alone."""
        return self.model_copy(update={"reports": {day: one for day, one in self.reports.items() if day in span}})

    def __add__(self, other: ProjectUsageReport) -> ProjectUsageReport:
        """Both together; raises GrammarError for reports of two projects."""
        if self.project != other.project:
            raise GrammarError(f"the reports are of two projects, {self.project} and {other.project}")
        reports = dict(self.reports)
        for day, report in other.reports.items():
            reports[day] = reports[day] + report if day in reports else report
        return self.model_copy(update={"reports": reports, "users": dict(self.users | other.users)})

    def __mul__(self, factor: float) -> Self:
        """Every day times a factor."""
        return self._each(lambda report: report * factor)

    def __truediv__(self, divisor: float) -> Self:
        """Every day divided; by 0 it is no usage."""
        return self._each(lambda report: report / divisor)

    def scale_total(self, factor: float) -> Self:
        """The usage times a factor, but not its components."""
        return self._each(lambda report: report.scale_total(factor))

    def remap_project(self, project: ProjectIdentifier) -> Self:
        """The same under another project: its users move with it."""
        users = {UserIdentifier.parse(f"{user.username}.{project}"): account for user, account in self.users.items()}
        return self.model_copy(update={"project": project, "users": users})

    def remap_portal(self, portal: PortalIdentifier) -> Self:
        """The same under another portal."""
        return self.remap_project(ProjectIdentifier.parse(f"{self.project.project}.{portal}"))

    def remap_users(self, accounts: Mapping[UserIdentifier, str]) -> Self:
        """The same with other account names for some users.

        Raises GrammarError when two would get one name.
        """
        users = remapped(self.users, accounts)
        names = {account: users[user] for user, account in self.users.items()}
        return self._each(lambda report: report.renamed(names)).model_copy(update={"users": users})

    def _each(self, change: Callable[[DailyUsageReport], DailyUsageReport]) -> Self:
        return self.model_copy(update={"reports": {day: change(report) for day, report in self.reports.items()}})


class UsageReport(Document):
    """What the projects of one portal used."""

    portal: PortalIdentifier
    reports: dict[ProjectIdentifier, ProjectUsageReport] = Field(default_factory=dict)

    @property
    def total(self) -> Usage:
        """The usage of all projects."""
        return _total(report.total for report in self.reports.values())

    @property
    def num_jobs(self) -> int:
        """The jobs of all projects."""
        return sum(report.num_jobs for report in self.reports.values())

    @property
    def is_complete(self) -> bool:
        """Whether the report of every project is complete."""
        return all(report.is_complete for report in self.reports.values())

    def with_report(self, report: ProjectUsageReport) -> Self:
        """The report with one project in it; raises GrammarError for a project of another portal."""
        if report.portal != self.portal:
            raise GrammarError(f"{report.project} is not a project of {self.portal}", text=report.project)
        return self.model_copy(update={"reports": self.reports | {report.project: report}})

    def filter(self, span: DateRange) -> Self:
        """The days of a range alone."""
        return self._each(lambda report: report.filter(span))

    def __add__(self, other: UsageReport) -> UsageReport:
        """Both together; raises GrammarError for reports of two portals."""
        if self.portal != other.portal:
            raise GrammarError(f"the reports are of two portals, {self.portal} and {other.portal}")
        reports = dict(self.reports)
        for project, report in other.reports.items():
            reports[project] = reports[project] + report if project in reports else report
        return self.model_copy(update={"reports": reports})

    def __mul__(self, factor: float) -> Self:
        """Every project times a factor."""
        return self._each(lambda report: report * factor)

    def __truediv__(self, divisor: float) -> Self:
        """Every project divided; by 0 it is no usage."""
        return self._each(lambda report: report / divisor)

    def scale_total(self, factor: float) -> Self:
        """The usage times a factor, but not its components."""
        return self._each(lambda report: report.scale_total(factor))

    def remap_portal(self, portal: PortalIdentifier) -> Self:
        """The same under another portal: its projects and their users move with it."""
        reports = (report.remap_portal(portal) for report in self.reports.values())
        return self.model_copy(update={"portal": portal, "reports": {report.project: report for report in reports}})

    def remap_project(self, old: ProjectIdentifier, new: ProjectIdentifier) -> Self:
        """The same with one project under another name; raises GrammarError when that is taken."""
        if old not in self.reports or old == new:
            return self
        if new in self.reports:
            raise GrammarError(f"there is a report of {new} already", text=new)
        kept = {project: report for project, report in self.reports.items() if project != old}
        return self.model_copy(update={"reports": kept}).with_report(self.reports[old].remap_project(new))

    def remap_users(self, accounts: Mapping[UserIdentifier, str]) -> Self:
        """The same with other account names for some users.

        Raises GrammarError when two would get one name.
        """
        return self._each(lambda report: report.remap_users(accounts))

    def _each(self, change: Callable[[ProjectUsageReport], ProjectUsageReport]) -> Self:
        reports = {project: change(report) for project, report in self.reports.items()}
        return self.model_copy(update={"reports": reports})


def combine(reports: Iterable[ProjectUsageReport]) -> ProjectUsageReport:
    """The sum of reports of one project; raises GrammarError for none, or for reports of two projects."""
    combined: ProjectUsageReport | None = None
    for report in reports:
        combined = report if combined is None else combined + report
    if combined is None:
        raise GrammarError("there are no reports to combine")
    return combined


def remapped(users: Mapping[UserIdentifier, str], accounts: Mapping[UserIdentifier, str]) -> dict[UserIdentifier, str]:
    """The account of each user after some got another; raises GrammarError when two users would share one."""
    result: dict[UserIdentifier, str] = {}
    owners: dict[str, UserIdentifier] = {}
    for user, account in users.items():
        result[user] = accounts.get(user, account)
        other = owners.setdefault(result[user], user)
        if other != user:
            raise GrammarError(f'{other} and {user} would both be "{result[user]}"', text=user)
    return result


def _total(usages: Iterable[Usage]) -> Usage:
    return Usage(sum(usage.seconds for usage in usages))


def _added(first: Mapping[str, Usage], second: Mapping[str, Usage]) -> dict[str, Usage]:
    result = dict(first)
    for name, usage in second.items():
        result[name] = result.get(name, Usage()) + usage
    return result


def _counted(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    result = dict(first)
    for name, count in second.items():
        result[name] = result.get(name, 0) + count
    return result


def _renamed(
    values: Mapping[str, _Amount],
    names: Mapping[str, str],
    add: Callable[[Mapping[str, _Amount], Mapping[str, _Amount]], dict[str, _Amount]],
) -> dict[str, _Amount]:
    result: dict[str, _Amount] = {}
    for name, value in values.items():
        result = add(result, {names.get(name, name): value})
    return result
