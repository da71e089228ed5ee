"""What one text means, in plain JSON: the answer of `mesh parse --kind KIND --json TEXT`.

Each kind is a row: how it is read, and which plain parts it has. Pure, and quick enough for thousands of
lines a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Final

from grammar.awards import ProjectTemplate
from grammar.command import Command
from grammar.dates import DateRange, parse_date
from grammar.destination import Destination, Destinations
from grammar.domains import DomainPattern
from grammar.errors import GrammarError
from grammar.identifiers import PortalIdentifier, ProjectIdentifier, ProjectMapping, UserIdentifier, UserMapping
from grammar.instruction import Instruction
from grammar.names import nearest
from grammar.notifications import Notification
from grammar.openportal import VOCABULARY
from grammar.quantities import Allocation, StorageSize, Usage
from grammar.quotas import Quota, QuotaLimit
from grammar.vocabulary import Vocabulary

Parts = dict[str, Any]


def _user(user: UserIdentifier) -> Parts:
    return {"user": user.username, "project": user.project, "portal": user.portal}


def _project(project: ProjectIdentifier) -> Parts:
    return {"project": project.project, "portal": project.portal}


def _user_mapping(mapping: UserMapping) -> Parts:
    return _user(mapping.user) | {"local_user": mapping.local_user, "local_group": mapping.local_group}


def _destinations(offered: Destinations) -> Parts:
    paths = offered.destinations
    return {"destinations": [str(path) for path in paths], "agents": [list(path.agents) for path in paths]}


def _date_range(span: DateRange) -> Parts:
    if span.start is None or span.end is None:
        return {"start": None, "end": None, "days": None, "word": span.word}
    return {"start": span.start.isoformat(), "end": span.end.isoformat(), "days": span.day_count}


def _quota(quota: Quota) -> Parts:
    return _limit(quota.limit) | {"used_bytes": None if quota.used is None else quota.used.bytes}


def _limit(limit: QuotaLimit) -> Parts:
    return {"limit_bytes": None if limit.size is None else limit.size.bytes}


def _allocation(allocation: Allocation) -> Parts:
    amount = allocation.amount
    if amount is None:
        return {"amount": None, "units": None}
    return {"amount": int(amount) if amount == int(amount) else float(amount), "units": allocation.units}


def _instruction(instruction: Instruction) -> Parts:
    return {"keyword": instruction.keyword, "arguments": instruction.texts}


def _command(command: Command) -> Parts:
    return {"agents": list(command.destination.agents)} | _instruction(command.instruction)


def _notification(notification: Notification) -> Parts:
    path = notification.destination
    told = {"event": notification.event, "subject": str(notification.subject)}
    return told if path is None else told | {"agents": list(path.agents)}


_KINDS: Final[Mapping[str, tuple[Callable[[str], Any], Callable[[Any], Parts]]]] = MappingProxyType(
    {
        "user": (UserIdentifier.parse, _user),
        "project": (ProjectIdentifier.parse, _project),
        "portal": (PortalIdentifier.parse, lambda portal: {"portal": str(portal)}),
        "user_mapping": (UserMapping.parse, _user_mapping),
        "project_mapping": (
            ProjectMapping.parse,
            lambda mapping: _project(mapping.project) | {"local_group": mapping.local_group},
        ),
        "destination": (Destination.parse, lambda path: {"agents": list(path.agents)}),
        "destinations": (Destinations.parse, _destinations),
        "date": (parse_date, lambda day: {"date": day.isoformat()}),
        "date_range": (DateRange.parse, _date_range),
        "usage": (Usage.parse, lambda usage: {"seconds": usage.seconds}),
        "storage_size": (StorageSize.parse, lambda size: {"bytes": size.bytes}),
        "quota_limit": (QuotaLimit.parse, _limit),
        "quota": (Quota.parse, _quota),
        "allocation": (Allocation.parse, _allocation),
        "template": (ProjectTemplate.parse, lambda template: {"template": str(template)}),
        "domain_pattern": (
            DomainPattern.parse,
            lambda pattern: {"pattern": str(pattern), "is_email": pattern.is_email},
        ),
        "notification": (Notification.parse, _notification),
    }
)

KINDS: Final = (*_KINDS, "instruction", "command")
"""The kinds of text that can be asked about."""


def parse_kind(
    kind: str,
    text: str,
    *,
    today: date | None = None,
    vocabulary: Vocabulary = VOCABULARY,
    lenient: bool = False,
) -> Parts:
    """What a text means, or why it means nothing.

    Args:
        kind: one of `KINDS`.
        text: the text.
        today: resolves words such as `this_week`; without it they stay words.
        vocabulary: types the arguments of an instruction.
        lenient: take an instruction that the vocabulary lacks.

    Returns:
        `{"ok": True, "canonical": text, "value": parts}`, or `{"ok": False, "error": sentence, "column": N}`.

    Raises:
        GrammarError: there is no such kind.
    """
    if kind not in KINDS:
        message = f'"{kind[:40]}" is no kind of text'
        raise GrammarError(message, text=kind, expected=", ".join(KINDS), nearest=nearest(kind, KINDS))
    try:
        value, parts = _read(kind, text, today, vocabulary, lenient)
    except GrammarError as error:
        sentence = f"{error.message}; expected {error.expected}" if error.expected else error.message
        if error.nearest:
            sentence += f" ({error.fix})"
        return {"ok": False, "error": sentence, "column": error.column}
    return {"ok": True, "canonical": str(value), "value": parts}


def _read(kind: str, text: str, today: date | None, vocabulary: Vocabulary, lenient: bool) -> tuple[object, Parts]:
    if kind == "instruction":
        instruction = vocabulary.read(text, lenient=lenient)
        instruction = instruction if today is None else instruction.resolved(today)
        return instruction, _instruction(instruction)
    if kind == "command":
        command = Command.parse(text, vocabulary, lenient=lenient)
        command = command if today is None else command.resolved(today)
        return command, _command(command)
    if kind == "date_range":
        span = DateRange.parse(text, today=today)
        return span, _date_range(span)
    parse, parts = _KINDS[kind]
    value = parse(text)
    return value, parts(value)
