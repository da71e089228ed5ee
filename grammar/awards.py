"""What a portal says about a project: the award behind it, its members, dates, allocation and rules.

Every member of `AwardDetails` may be absent, so that one type serves to create, to describe and to update: an
update carries what it changes, and `merge` says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, FailFast, Field, PlainSerializer, ValidationError
from pydantic_core import Url

from grammar.dates import parse_date
from grammar.documents import Document
from grammar.domains import DomainPattern, check_email
from grammar.errors import GrammarError
from grammar.identifiers import Text
from grammar.quantities import Allocation
from grammar.values import fault, normalise


class ProjectTemplate(Text):
    """The kind of project that a portal makes: letters and digits of any script, `-` and `_`."""

    __slots__ = ()

    EXAMPLE: ClassVar[str] = "gpu-cluster"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a template's name; raises GrammarError."""
        name = normalise(text, "template")
        if not name:
            raise GrammarError("the template is empty", text=text, expected=f"a name such as {cls.EXAMPLE}")
        for position, character in enumerate(name):
            if not (character.isalnum() or character in "-_"):
                message = f'the template has "{character}" in it'
                raise fault(message, text, position + 1, "letters, digits, '-' and '_'")
        return str.__new__(cls, name)


class MembershipControl(Enum):
    """What the receiving portal may change about the members of a project."""

    OPEN = "open"
    MEMBERS_ONLY = "members_only"
    ROLES_ONLY = "roles_only"
    LOCKED = "locked"

    @property
    def members_may_change(self) -> bool:
        """Whether members may be added and removed."""
        return self in {MembershipControl.OPEN, MembershipControl.MEMBERS_ONLY}

    @property
    def roles_may_change(self) -> bool:
        """Whether the role of a member may be changed."""
        return self in {MembershipControl.OPEN, MembershipControl.ROLES_ONLY}


def _time(value: object) -> datetime:
    """A moment with its offset from UTC, as RFC 3339 writes it; a bare number is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise GrammarError("this is not a time", text=str(value), expected="2026-01-31T12:00:00Z") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise GrammarError("a time needs its offset from UTC", expected="2026-01-31T12:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise GrammarError("the time leaves the years 1 to 9999", expected="2026-01-31T12:00:00Z") from None


def _date(value: object) -> date:
    if type(value) is date:
        return value
    if isinstance(value, str):
        return parse_date(value)
    raise GrammarError("a date is written as text", expected="2026-01-31")


def _url(value: object) -> object:
    """A web address, kept as written; only http and https, since pages show it as a link."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and Url(value).scheme in {"http", "https"}:
            return value
    except ValidationError:
        pass
    raise GrammarError("this is not a web address", text=str(value), expected="https://example.com/")


def _sorted(value: object) -> object:
    return dict(sorted(value.items())) if isinstance(value, dict) and all(isinstance(k, str) for k in value) else value


Time = Annotated[
    datetime,
    BeforeValidator(_time),
    PlainSerializer(lambda time: time.isoformat().replace("+00:00", "Z"), return_type=str),
]
"""A moment in UTC."""

Day = Annotated[date, BeforeValidator(_date)]
"""A date, read as `parse_date` reads one."""

Texts = Annotated[dict[str, str], BeforeValidator(_sorted)]
"""Texts by name, in the order of their names."""


class Link(Document):
    """A reference to something elsewhere: an identifier for people, and a web address."""

    id: str | None = None
    url: Annotated[str | None, BeforeValidator(_url)] = None


class Note(Document):
    """A message that was added to an award."""

    timestamp: Time
    author: str
    text: str


class AwardDetails(Document):
    """The details of an award, and of the project it is for.

    `allowed_domains` says whose addresses may be members: None is anybody, an empty list is nobody.
    """

    model_config = ConfigDict(title="AwardDetails")

    name: str | None = None
    template: ProjectTemplate | None = None
    key: str | None = None
    description: str | None = None
    members: Texts | None = None
    start_date: Day | None = None
    end_date: Day | None = None
    allocation: Allocation | None = None
    breakdown: Texts = Field(default_factory=dict)
    award: Link | None = None
    call: Link | None = None
    project_link: Link | None = None
    renewal: Link | None = None
    notes: Annotated[tuple[Note, ...], FailFast()] = ()
    earliest_approve: Time | None = None
    membership_control: MembershipControl | None = None
    allowed_domains: Annotated[tuple[DomainPattern, ...] | None, FailFast()] = None

    def merge(self, update: AwardDetails) -> AwardDetails:
        """These details as an update leaves them.

        What the update does not name stays. Breakdown, notes (in order of time) and allowed domains are
        joined; the members are replaced as a whole, and so is everything else.

        Raises:
            GrammarError: both name a template, and not the same one; a project cannot change its kind.
        """
        if self.template and update.template and self.template != update.template:
            message = f'the project is a "{self.template}" and cannot become a "{update.template}"'
            raise GrammarError(message, fix="leave the template out of the update")
        changes = {name: value for name, value in update if value is not None}
        changes["breakdown"] = self.breakdown | update.breakdown
        added = tuple(note for note in update.notes if note not in self.notes)
        changes["notes"] = tuple(sorted(self.notes + added, key=lambda note: note.timestamp))
        if self.allowed_domains is not None and update.allowed_domains is not None:
            changes["allowed_domains"] = tuple(dict.fromkeys(self.allowed_domains + update.allowed_domains))
        return self.model_copy(update=changes)

    def is_email_allowed(self, address: str) -> bool:
        """Whether somebody with this e-mail address may be a member."""
        domains = self.allowed_domains
        return domains is None or any(pattern.matches_email(address) for pattern in domains)

    def is_domain_allowed(self, domain: str) -> bool:
        """Whether everybody of this domain may be a member."""
        domains = self.allowed_domains
        return domains is None or any(pattern.matches(domain) for pattern in domains)

    def with_members(self, members: Mapping[str, str], *, replace: bool = False) -> AwardDetails:
        """The details with more members, or with these alone when `replace`; all of them or none.

        Args:
            members: e-mail address to role.

        Raises:
            GrammarError: an address is none, is not allowed, or has no role.
        """
        checked = {}
        for address, role in ((address.strip(), role.strip()) for address, role in members.items()):
            if not role:
                raise GrammarError(f"{address} has no role", expected="a role such as member")
            if not self.is_email_allowed(check_email(address)):
                message = f"{address} is not in the domains that this project allows"
                raise GrammarError(message, text=address, expected=", ".join(self.allowed_domains or ()))
            checked[address] = role
        kept = {} if replace else dict(self.members or {})
        return self.model_copy(update={"members": dict(sorted((kept | checked).items())) or None})

    def without_member(self, address: str) -> AwardDetails:
        """The details without one member."""
        members = {known: role for known, role in (self.members or {}).items() if known != address.strip()}
        return self.model_copy(update={"members": members if self.members is not None else None})

    @property
    def control(self) -> MembershipControl:
        """What the receiving portal may change: everything, unless the award says otherwise."""
        return self.membership_control or MembershipControl.OPEN


ProjectDetails = AwardDetails
"""The name that `get_project` and its neighbours know the details by."""
