"""Notifications: something happened to a user, a project or an award, told along a path and not stored.

user_added fred.proj.org
portal.cluster project_blocked proj.org
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, Self

from grammar.destination import Destination
from grammar.errors import GrammarError
from grammar.identifiers import ProjectIdentifier, UserIdentifier
from grammar.names import nearest
from grammar.values import Value, check_size

EVENTS: Final[Mapping[str, type[UserIdentifier] | type[ProjectIdentifier]]] = MappingProxyType(
    {f"user_{what}": UserIdentifier for what in ("added", "removed", "changed", "blocked", "unblocked")}
    | {f"project_{what}": ProjectIdentifier for what in ("added", "removed", "changed", "blocked", "unblocked")}
    | {f"award_{what}": ProjectIdentifier for what in ("added", "removed", "changed", "accepted", "rejected")}
)
"""The fifteen events, each with the type of what it is about."""


@dataclass(frozen=True, slots=True, eq=False)
class Notification(Value):
    """An event and its subject, with the path it is told along where one is given."""

    EXAMPLE: ClassVar[str] = "user_added fred.proj.org"

    event: str
    subject: UserIdentifier | ProjectIdentifier
    destination: Destination | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `event subject`, or `path event subject`; raises GrammarError."""
        check_size(text, "notification")
        start = len(text) - len(text.lstrip())
        first, _, rest = text[start:].partition(" ")
        destination = None
        if "." in first:
            try:
                destination = Destination.parse(first)
            except GrammarError as error:
                raise error.within(text, start) from None
            start = len(text) - len(rest.lstrip())
            first, _, rest = text[start:].partition(" ")
        kind = EVENTS.get(first.strip())
        if kind is None:
            event = first.strip()
            raise GrammarError(
                f'"{event[:40]}" is no event' if event else "the event is missing",
                text=text,
                column=start + 1,
                expected="an event such as user_added",
                nearest=nearest(event, EVENTS),
            )
        try:
            return cls(first.strip(), kind.parse(rest), destination)
        except GrammarError as error:
            raise error.within(text, len(text) - len(rest.lstrip())) from None

    @property
    def portal(self) -> str:
        """The portal of the subject."""
        return self.subject.portal

    def __str__(self) -> str:
        told = f"{self.event} {self.subject}"
        return f"{self.destination} {told}" if self.destination else told

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Notification, str)):
            return str(self) == str(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))
