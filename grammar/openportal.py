"""The vocabulary of OpenPortal, so that whoever runs it today can move: 64 instructions under 67 keywords.

Each instruction is a row of a table. All parameters are given by position, as there; GRAMMAR.md lists each
text that means something else here, and why.
"""

from __future__ import annotations

from typing import Any, Final

from grammar.arguments import argument_type
from grammar.awards import AwardDetails
from grammar.dates import DateRange
from grammar.destination import Destination, Destinations
from grammar.identifiers import PortalIdentifier, ProjectIdentifier, ProjectMapping, UserIdentifier, UserMapping
from grammar.instruction import INSTRUCTION, Declaration
from grammar.parameters import REQUIRED, Form, Parameter
from grammar.quantities import Usage
from grammar.quotas import Quota, QuotaLimit, Volume
from grammar.storage_reports import ProjectStorageReport, StorageReport
from grammar.usage_reports import ProjectUsageReport, UsageReport
from grammar.vocabulary import Vocabulary


def _parameter(name: str, kind: type, *, default: object = REQUIRED, rest: bool = False) -> Parameter:
    return Parameter(name, argument_type(kind), default, rest=rest, form=Form.POSITION)


_TO: Final = _parameter("destination", Destination)
_INNER: Final = Parameter("instruction", INSTRUCTION, rest=True, form=Form.POSITION)
_PORTAL: Final = _parameter("portal", PortalIdentifier)
_PROJECT: Final = _parameter("project", ProjectIdentifier)
_USER: Final = _parameter("user", UserIdentifier)
_PROJECT_MAPPING: Final = _parameter("mapping", ProjectMapping)
_USER_MAPPING: Final = _parameter("mapping", UserMapping)
_ANY_PORTAL: Final = _parameter("portal", PortalIdentifier, rest=True)
_ANY_PROJECT: Final = _parameter("project", ProjectIdentifier, rest=True)
_ANY_USER: Final = _parameter("user", UserIdentifier, rest=True)
_ANY_PROJECT_MAPPING: Final = _parameter("mapping", ProjectMapping, rest=True)
_ANY_USER_MAPPING: Final = _parameter("mapping", UserMapping, rest=True)
_DETAILS: Final = _parameter("details", AwardDetails, rest=True)
_PATH: Final = _parameter("path", str, rest=True)
_LIMIT: Final = _parameter("limit", Usage, rest=True)
_VOLUME: Final = _parameter("volume", Volume)
_QUOTA: Final = _parameter("limit", QuotaLimit, rest=True)
_WEEK: Final = _parameter("range", DateRange, default=DateRange(None, None, "this_week"))
_DAY: Final = _parameter("range", DateRange, default=DateRange(None, None, "today"))
_OFFERINGS: Final = _parameter("offerings", Destinations, rest=True)

_EXAMPLES: Final = (
    (_DETAILS.name, '{"name":"My project","template":"gpu-cluster","allocation":"1000 NHR"}'),
    (_PATH.name, "/home/proj/fred smith"),
    (_INNER.name, "add_user fred.proj.org"),
    (_QUOTA.name, "1500GB"),
)
_CHANGES: Final = ("add", "remove", "block", "unblock", "create", "update", "set", "clear", "sync", "submit")


def _example(keyword: str, parameters: tuple[Parameter, ...]) -> str:
    words = [keyword]
    for parameter in parameters:
        if parameter is _LIMIT:
            words.append(Usage.EXAMPLE)
        else:
            words.append(dict(_EXAMPLES).get(parameter.name) or parameter.type.annotation.EXAMPLE)
    return " ".join(words)


def _row(keyword: str, parameters: tuple[Parameter, ...], result: Any, help: str, *aliases: str) -> Declaration:
    changes = keyword.partition("_")[0] in _CHANGES
    return Declaration(
        keyword,
        parameters,
        result,
        help,
        _example(keyword, parameters),
        "write" if changes else "read",
        read_only=not changes,
        aliases=aliases,
    )


def _quota_rows(kind: str, subject: Parameter, whose: str) -> tuple[Declaration, ...]:
    quotas = dict[Volume, Quota]
    return (
        _row(f"get_{kind}_quota", (subject, _VOLUME), Quota, f"The quota of {whose} on a volume."),
        _row(f"set_{kind}_quota", (subject, _VOLUME, _QUOTA), Quota, f"Sets the quota of {whose} on a volume."),
        _row(f"clear_{kind}_quota", (subject, _VOLUME), None, f"Takes the quota of {whose} on a volume away."),
        _row(f"get_{kind}_quotas", (subject,), quotas, f"The quotas of {whose} on every volume."),
    )


VOCABULARY: Final = Vocabulary(
    (
        _row("submit", (_TO, _INNER), object, "Asks a portal to put an instruction along a path of its own."),
        # projects and their awards
        _row("create_project", (_PROJECT, _DETAILS), ProjectMapping, "Creates a project.", "create_award"),
        _row("update_project", (_PROJECT, _DETAILS), ProjectMapping, "Updates a project.", "update_award"),
        _row("get_project", (_ANY_PROJECT,), AwardDetails, "The details of a project."),
        _row("get_projects", (_ANY_PORTAL,), list[ProjectMapping], "The projects of a portal."),
        _row("get_award", (_ANY_PROJECT,), AwardDetails, "The award details of a project."),
        _row("get_awards", (_ANY_PORTAL,), list[AwardDetails], "The awards of a portal.", "list_awards"),
        _row("add_project", (_ANY_PROJECT,), ProjectMapping, "Adds a project."),
        _row("remove_project", (_ANY_PROJECT,), ProjectMapping, "Removes a project."),
        _row("block_project", (_ANY_PROJECT,), list[UserMapping], "Blocks every user of a project."),
        _row("unblock_project", (_ANY_PROJECT,), list[UserMapping], "Unblocks every user of a project."),
        _row("is_existing_project", (_ANY_PROJECT,), bool, "Whether a project exists."),
        _row("is_blocked_project", (_ANY_PROJECT,), bool, "Whether every user of a project is blocked."),
        _row("get_project_mapping", (_ANY_PROJECT,), ProjectMapping, "The local group of a project."),
        _row("get_project_dirs", (_ANY_PROJECT,), list[str], "The directories of a project."),
        _row("get_users", (_ANY_PROJECT,), list[UserMapping], "The users in a project."),
        # users
        _row("add_user", (_ANY_USER,), UserMapping, "Adds a user."),
        _row("remove_user", (_ANY_USER,), UserMapping, "Removes a user."),
        _row("block_user", (_ANY_USER,), UserMapping, "Keeps a user from logging in."),
        _row("unblock_user", (_ANY_USER,), UserMapping, "Lets a blocked user log in again."),
        _row("is_protected_user", (_ANY_USER,), bool, "Whether a user is none that may be managed."),
        _row("is_existing_user", (_ANY_USER,), bool, "Whether a user exists."),
        _row("is_blocked_user", (_ANY_USER,), bool, "Whether a user is blocked."),
        _row("get_user_mapping", (_ANY_USER,), UserMapping, "The local account of a user."),
        _row("get_home_dir", (_ANY_USER,), str, "The home directory of a user."),
        _row("get_user_dirs", (_ANY_USER,), list[str], "The directories of a user."),
        _row("update_homedir", (_USER, _PATH), str, "Sets the home directory of a user."),
        # what an instance tells its account and filesystem agents
        _row("add_local_user", (_ANY_USER_MAPPING,), None, "Adds a local account."),
        _row("remove_local_user", (_ANY_USER_MAPPING,), None, "Removes a local account."),
        _row("add_local_project", (_ANY_PROJECT_MAPPING,), None, "Adds a local group."),
        _row("remove_local_project", (_ANY_PROJECT_MAPPING,), None, "Removes a local group."),
        _row("get_local_home_dir", (_ANY_USER_MAPPING,), str, "The home directory of a local account."),
        _row("get_local_user_dirs", (_ANY_USER_MAPPING,), list[str], "The directories of a local account."),
        _row("get_local_project_dirs", (_ANY_PROJECT_MAPPING,), list[str], "The directories of a local group."),
        # reports
        _row("get_usage_report", (_PROJECT, _WEEK), ProjectUsageReport, "What a project used."),
        _row("get_usage_reports", (_PORTAL, _WEEK), UsageReport, "What the projects of a portal used."),
        _row("get_local_usage_report", (_PROJECT_MAPPING, _WEEK), ProjectUsageReport, "What a local group used."),
        _row("get_storage_report", (_PROJECT, _DAY), ProjectStorageReport, "What a project stores."),
        _row("get_storage_reports", (_PORTAL, _DAY), StorageReport, "What the projects of a portal store."),
        _row("get_local_storage_report", (_PROJECT_MAPPING, _DAY), ProjectStorageReport, "What a local group stores."),
        # limits and quotas
        _row("set_limit", (_PROJECT, _LIMIT), Usage, "Sets how much a project may use."),
        _row("get_limit", (_PROJECT,), Usage, "How much a project may use."),
        _row("set_local_limit", (_PROJECT_MAPPING, _LIMIT), Usage, "Sets how much a local group may use."),
        _row("get_local_limit", (_PROJECT_MAPPING,), Usage, "How much a local group may use."),
        *_quota_rows("project", _PROJECT, "a project"),
        *_quota_rows("user", _USER, "a user"),
        *_quota_rows("local_project", _PROJECT_MAPPING, "a local group"),
        *_quota_rows("local_user", _USER_MAPPING, "a local account"),
        # what an agent offers to other portals
        _row("sync_offerings", (_OFFERINGS,), Destinations, "Makes the offerings of an agent these and no others."),
        _row("add_offerings", (_OFFERINGS,), Destinations, "Adds offerings."),
        _row("remove_offerings", (_OFFERINGS,), Destinations, "Removes offerings."),
        _row("get_offerings", (), Destinations, "The offerings of an agent."),
    )
)
"""The instructions of OpenPortal."""
