"""Who and what an instruction is about: portals, projects, users, and their local names on a system.

    org                         a portal
    proj.org                    a project that the portal looks after
    fred.proj.org               a user in that project
    proj.org:proj_group         a project mapping: the group that stands for it on one system
    fred.proj.org:fred:proj_group   a user mapping: the account and group that stand for it

Each is a `str` that carries its parts: equal to its text, with the same hash and order, so it is found in a
dictionary, packed and compared without being converted. Case is kept and letters of any script are taken, in
NFC.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final, NoReturn, Self, TypeVar, get_args

from pydantic import BaseModel

from grammar.errors import GrammarError
from grammar.values import Value, check_size, fault, normalise


class Text(Value, str):
    """A value that is its own canonical text; the parts are set once, by `parse`."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str.__repr__(self)})"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return type(self).parse, (str(self),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


_set = object.__setattr__
_Owner = TypeVar("_Owner", bound=Value)


class PortalIdentifier(Text):
    """The name of a portal: no space and no dot in it."""

    __slots__ = ()

    EXAMPLE: ClassVar[str] = "org"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `org`; raises GrammarError."""
        portal = normalise(text, "portal")
        if not portal:
            raise GrammarError("the portal is empty", text=text, expected=f"a portal such as {cls.EXAMPLE}")
        for position, character in enumerate(portal):
            if character in " .":
                shown = "a space" if character == " " else "a dot"
                message = f"the portal has {shown} in it"
                raise fault(message, text, position + 1, "a name without spaces and dots")
        return str.__new__(cls, portal)

    @property
    def portal(self) -> str:
        """The name itself, so that every identifier answers to `portal`."""
        return str(self)


class ProjectIdentifier(Text):
    """A project and the portal that looks after it: `proj.org`."""

    __slots__ = ("portal", "project")

    EXAMPLE: ClassVar[str] = "proj.org"
    project: str
    portal: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `proj.org`; raises GrammarError."""
        project, portal = _parts(text, ("project", "portal"), cls.EXAMPLE)
        self = str.__new__(cls, f"{project}.{portal}")
        _set(self, "project", project)
        _set(self, "portal", portal)
        return self


class UserIdentifier(Text):
    """A user in a project of a portal: `fred.proj.org`."""

    __slots__ = ("portal", "project", "username")

    EXAMPLE: ClassVar[str] = "fred.proj.org"
    username: str
    project: str
    portal: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `fred.proj.org`; raises GrammarError."""
        username, project, portal = _parts(text, ("user", "project", "portal"), cls.EXAMPLE)
        self = str.__new__(cls, f"{username}.{project}.{portal}")
        _set(self, "username", username)
        _set(self, "project", project)
        _set(self, "portal", portal)
        return self

    @property
    def user(self) -> str:
        """Another word for `username`, the one used in JSON."""
        return self.username

    @property
    def project_identifier(self) -> ProjectIdentifier:
        """The project this user is in."""
        return ProjectIdentifier.parse(f"{self.project}.{self.portal}")


class ProjectMapping(Text):
    """The group that stands for a project on one system: `proj.org:proj_group`."""

    __slots__ = ("local_group", "project")

    EXAMPLE: ClassVar[str] = "proj.org:proj_group"
    project: ProjectIdentifier
    local_group: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `proj.org:proj_group`; raises GrammarError."""
        fields, starts = _fields(text, 2, cls.EXAMPLE)
        project = _owner(ProjectIdentifier, fields[0], text)
        local_group = _local(fields[1], "local group", text, starts[1])
        self = str.__new__(cls, f"{project}:{local_group}")
        _set(self, "project", project)
        _set(self, "local_group", local_group)
        return self

    @property
    def portal(self) -> str:
        """The portal of the project."""
        return self.project.portal


class UserMapping(Text):
    """The account and group that stand for a user on one system: `fred.proj.org:fred:proj_group`."""

    __slots__ = ("local_group", "local_user", "user")

    EXAMPLE: ClassVar[str] = "fred.proj.org:fred:proj_group"
    user: UserIdentifier
    local_user: str
    local_group: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `fred.proj.org:fred:proj_group`; raises GrammarError."""
        fields, starts = _fields(text, 3, cls.EXAMPLE)
        user = _owner(UserIdentifier, fields[0], text)
        local_user = _local(fields[1], "local user", text, starts[1])
        local_group = _local(fields[2], "local group", text, starts[2])
        self = str.__new__(cls, f"{user}:{local_user}:{local_group}")
        _set(self, "user", user)
        _set(self, "local_user", local_user)
        _set(self, "local_group", local_group)
        return self

    @property
    def portal(self) -> str:
        """The portal of the user."""
        return self.user.portal

    @property
    def project_mapping(self) -> ProjectMapping:
        """The mapping of the user's project: the same group."""
        return ProjectMapping.parse(f"{self.user.project_identifier}:{self.local_group}")


Identifier = PortalIdentifier | ProjectIdentifier | UserIdentifier | ProjectMapping | UserMapping
_IDENTIFIERS: Final = get_args(Identifier)


def portal_of(value: object) -> str | None:
    """The portal that a value belongs to, or None when it belongs to none (the ownership rule asks this)."""
    return value.portal if isinstance(value, Identifier) else None


def portals_of(value: object) -> tuple[str, ...]:
    """Every portal named anywhere in a value, in order, each once; lists, dicts and models are looked into.

    An instruction may name more than one (a user moved from project to project); the ownership rule holds for
    all.
    """
    return tuple(dict.fromkeys(_portals(value)))


def _portals(value: object) -> Iterable[str]:
    if isinstance(value, _IDENTIFIERS):
        yield value.portal
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _portals(getattr(value, name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _portals(key)
            yield from _portals(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _portals(item)


def _parts(text: str, names: tuple[str, ...], example: str) -> list[str]:
    parts = text.split(".")
    if len(parts) == len(names) and text.isascii() and text.isprintable() and " " not in text and all(parts):
        check_size(text, "identifier")
        return parts
    whole = normalise(text, f"{names[0]} identifier")
    parts = whole.split(".")
    if len(parts) != len(names):
        wanted = ".".join(names)
        if len(parts) > len(names):
            column = len(".".join(parts[: len(names)])) + 1
            message = f"the {names[0]} identifier has {len(parts)} parts, not {len(names)}"
        else:
            column = len(whole) + 1
            message = (
                f"the {names[0]} identifier has no {names[len(parts)]} part" if whole else "the identifier is empty"
            )
        raise fault(message, text, column, f"{wanted}, for example {example}")
    stripped = [part.strip() for part in parts]
    for index, part in enumerate(stripped):
        if not part:
            column = len(".".join(parts[:index])) + (2 if index else 1)
            raise fault(f"the {names[index]} part is empty", text, column, f"for example {example}")
    return stripped


def _fields(text: str, count: int, example: str) -> tuple[list[str], list[int]]:
    """The colon-separated fields and the offset of each; a colon inside a user's name cannot be mapped."""
    fields = text.split(":", count)
    if len(fields) != count:
        column = len(text) + 1 if len(fields) < count else len(text) - len(fields[-1])
        message = f"a mapping has {count - 1} colon{'s' if count > 2 else ''}"
        raise GrammarError(message, text=text, column=column, expected=f"for example {example}")
    starts = [0]
    for field in fields[:-1]:
        starts.append(starts[-1] + len(field) + 1)
    return fields, starts


def _owner(kind: type[_Owner], field: str, text: str) -> _Owner:
    try:
        return kind.parse(field)
    except GrammarError as error:
        raise error.within(text, 0) from None


def _local(field: str, what: str, text: str, offset: int) -> str:
    """A name on one system; it may not be a path or look like one, since it often becomes part of one."""
    name = normalise(field, what)
    if not name:
        message, expected = f"the {what} is empty", "a name"
    elif name[0] in "./" or name[-1] in "./":
        message, expected = f"the {what} starts or ends with a dot or a slash", "a plain name"
    else:
        return name
    raise GrammarError(message, text=text, column=offset + 1, expected=expected)
