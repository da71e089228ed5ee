"""Reports of storage: the quotas of a project and its users at one moment, with earlier moments kept by day.

The report itself is the newest snapshot; `daily_reports` holds the newest one of each earlier day. Reports
are values: each operation gives a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Self

from pydantic import Field

from grammar.awards import Day, Time
from grammar.dates import DateRange
from grammar.documents import Document
from grammar.errors import GrammarError
from grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from grammar.quotas import Quota, Volume
from grammar.usage_reports import remapped


class StorageSnapshot(Document):
    """The quotas of a project and its users at one moment, which is in UTC."""

    project: ProjectIdentifier
    generated_at: Time
    project_quotas: dict[Volume, Quota] = Field(default_factory=dict)
    user_quotas: dict[UserIdentifier, dict[Volume, Quota]] = Field(default_factory=dict)

    @property
    def day(self) -> date:
        """The day of the snapshot, in UTC."""
        return self.generated_at.date()

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing about any quota."""
        return not self.project_quotas and not self.user_quotas

    def moved(self, project: ProjectIdentifier) -> Self:
        """The same of another project: its users move with it."""
        quotas = {_moved(user, project): of_user for user, of_user in self.user_quotas.items()}
        return self.model_copy(update={"project": project, "user_quotas": quotas})


class ProjectStorageReport(StorageSnapshot):
    """What one project stores; `users` gives the local account of each user."""

    users: dict[UserIdentifier, str] = Field(default_factory=dict)
    daily_reports: dict[Day, StorageSnapshot] = Field(default_factory=dict)

    @property
    def portal(self) -> str:
        """The portal of the project."""
        return self.project.portal

    @property
    def snapshot(self) -> StorageSnapshot:
        """The newest snapshot, without the history."""
        return StorageSnapshot(
            project=self.project,
            generated_at=self.generated_at,
            project_quotas=self.project_quotas,
            user_quotas=self.user_quotas,
        )

    def snapshots(self) -> Iterator[StorageSnapshot]:
        """Every snapshot, the oldest first."""
        for day in sorted(self.daily_reports):
            yield self.daily_reports[day]
        yield self.snapshot

    def with_mappings(self, mappings: Iterable[UserMapping]) -> Self:
        """The report with more users known."""
        users = self.users | {mapping.user: mapping.local_user for mapping in mappings}
        return self.model_copy(update={"users": users})

    def filter(self, span: DateRange) -> Self:
        """The newest snapshot as it is, and of the history the days of a range."""
        kept = {day: snapshot for day, snapshot in self.daily_reports.items() if day in span}
        return self.model_copy(update={"daily_reports": kept})

    def __add__(self, other: ProjectStorageReport) -> ProjectStorageReport:
        """Both together: the newer one leads, and of each earlier day the newest snapshot is kept.

        Raises:
            GrammarError: the reports are of two projects.
        """
        if self.project != other.project:
            raise GrammarError(f"the reports are of two projects, {self.project} and {other.project}")
        newer, older = (self, other) if self.generated_at >= other.generated_at else (other, self)
        history = dict(newer.daily_reports)
        for day, snapshot in (*older.daily_reports.items(), (older.day, older.snapshot)):
            known = history.get(day)
            if known is None or snapshot.generated_at > known.generated_at:
                history[day] = snapshot
        history.pop(newer.day, None)
        users = dict(older.users | newer.users)
        return newer.model_copy(update={"daily_reports": history, "users": users})

    def remap_project(self, project: ProjectIdentifier) -> Self:
        """The same under another project: its users, and the history, move with it."""
        users = {_moved(user, project): account for user, account in self.users.items()}
        history = {day: snapshot.moved(project) for day, snapshot in self.daily_reports.items()}
        return self.moved(project).model_copy(update={"users": users, "daily_reports": history})

    def remap_portal(self, portal: PortalIdentifier) -> Self:
        """The same under another portal."""
        return self.remap_project(ProjectIdentifier.parse(f"{self.project.project}.{portal}"))

    def remap_users(self, accounts: Mapping[UserIdentifier, str]) -> Self:
        """The same with other account names for some users.

        Raises GrammarError when two would get one name.
        """
        return self.model_copy(update={"users": remapped(self.users, accounts)})


class StorageReport(Document):
    """What the projects of one portal store."""

    portal: PortalIdentifier
    reports: dict[ProjectIdentifier, ProjectStorageReport] = Field(default_factory=dict)

    def with_report(self, report: ProjectStorageReport) -> Self:
        """The report with one project in it; raises GrammarError for a project of another portal."""
        if report.portal != self.portal:
            raise GrammarError(f"{report.project} is not a project of {self.portal}", text=report.project)
        return self.model_copy(update={"reports": self.reports | {report.project: report}})

    def filter(self, span: DateRange) -> Self:
        """Each project's newest snapshot, and of the history the days of a range."""
        reports = {project: report.filter(span) for project, report in self.reports.items()}
        return self.model_copy(update={"reports": reports})

    def __add__(self, other: StorageReport) -> StorageReport:
        """Both together; raises GrammarError for reports of two portals."""
        if self.portal != other.portal:
            raise GrammarError(f"the reports are of two portals, {self.portal} and {other.portal}")
        reports = dict(self.reports)
        for project, report in other.reports.items():
            reports[project] = reports[project] + report if project in reports else report
        return self.model_copy(update={"reports": reports})

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
        reports = {project: report.remap_users(accounts) for project, report in self.reports.items()}
        return self.model_copy(update={"reports": reports})


def _moved(user: UserIdentifier, project: ProjectIdentifier) -> UserIdentifier:
    return UserIdentifier.parse(f"{user.username}.{project}")
