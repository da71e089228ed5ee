"""`mesh.toml`: an agent's configuration, read into frozen models and written so that people can go on
editing it.

Holds no secret; it is private all the same, since it says who may do what. Unknown keys are refused with
the nearest known one, so that a mistyped `max_byte` is found at once and not when the disk is full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tomli_w
from pydantic import AfterValidator, BeforeValidator, Field

from grammar.errors import MeshError
from grammar.names import parse_name
from invitations.addresses import parse_listen, parse_url
from invitations.card import Kind
from invitations.documents import Document, parse_document, read_document
from invitations.errors import ConfigError
from invitations.files import read_private, write_private
from invitations.fingerprint import fingerprint_text, parse_fingerprint

DEFAULT_ZONE: Final = "default"

_HEAD: Final = "# Configuration of one Hopboard agent. Times in seconds (_s), sizes in bytes (_bytes).\n\n"
_ORIGIN_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.*?")
_KEYWORD_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_*?")

LimitsCheck = Callable[[Mapping[str, int | float]], object]
"""Given the table `[limits]`; raises a MeshError for a name or value it does not take. The limits belong to
a floor
above this one, which passes its own check in."""


def _name(text: str) -> str:
    return parse_name(text)


def _zone(text: str) -> str:
    return parse_name(text, what="zone")


def _listen(text: str) -> str:
    parse_listen(text)
    return text


def _fingerprint(text: str) -> str:
    return fingerprint_text(parse_fingerprint(text))


def _origin(text: str) -> str:
    if not text or not set(text) <= _ORIGIN_CHARACTERS:
        raise ValueError("expected an agent name, a fingerprint, or a pattern of these with * and ?")
    return text


def _instruction(text: str) -> str:
    if not text or not set(text) <= _KEYWORD_CHARACTERS:
        raise ValueError("expected a keyword, or a pattern of one with * and ?")
    return text


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("expected a number")
    return value


Name = Annotated[str, AfterValidator(_name)]
Zone = Annotated[str, AfterValidator(_zone)]


class AgentSection(Document):
    """`[agent]`: who this is and where it listens."""

    name: Name
    kind: Kind = "custom"
    zone: Zone = DEFAULT_ZONE
    listen: Annotated[str, AfterValidator(_listen)] | None = None
    """`host:port`; an agent without it opens no port."""
    url: Annotated[str, AfterValidator(parse_url)] | None = None
    """The address as seen from outside, where that is another than `listen`; goes into invitations."""


class Rule(Document):
    """One line of `[[access.allow]]` or `[[access.block]]`."""

    origin: Annotated[str, AfterValidator(_origin)]
    """An agent's name, a fingerprint, or a pattern with `*` and `?`."""
    instruction: Annotated[str, AfterValidator(_instruction)] = "*"
    """A keyword, or a pattern with `*` and `?`."""
    zone: Zone | None = None
    """The zone it holds in; None for all."""


class AccessSection(Document):
    """`[access]`: whom to believe and what to let through. A block beats every allow, whatever the order."""

    portals: dict[Name, Annotated[str, AfterValidator(_fingerprint)]] = Field(default_factory=dict)
    """Portal name to the fingerprint of the agent that may speak for it."""
    allow: Annotated[tuple[Rule, ...], Field(strict=False)] = ()
    block: Annotated[tuple[Rule, ...], Field(strict=False)] = ()


class StoreSection(Document):
    """`[store]`: how much is kept."""

    keep_jobs: Annotated[int, Field(ge=0)] = 10_000
    """Finished jobs kept for people to look at, after the delivery rules need them no more."""
    max_bytes: Annotated[int, Field(ge=1_048_576)] = 4 * 1024**3
    """Size of the store above which new jobs are refused."""


class LogSection(Document):
    """`[log]`: what is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(Document):
    """The whole of `mesh.toml`."""

    version: Literal[1]
    agent: AgentSection
    limits: dict[str, Annotated[int | float, BeforeValidator(_number)]] = Field(default_factory=dict)
    access: AccessSection = AccessSection()
    store: StoreSection = StoreSection()
    log: LogSection = LogSection()


def load_config(path: Path, *, check_limits: LimitsCheck | None = None) -> Config:
    """Read a configuration.

    Args:
        path: usually `mesh.toml` in the agent's folder.
        check_limits: judges the table `[limits]`.

    Raises:
        ConfigError: missing, not TOML (line and column), an unknown key (the nearest known one), or a bad
            value.
    """
    config = read_document(
        path,
        Config,
        what="a configuration",
        error=ConfigError,
        marker=None,
        missing="make one with `mesh init NAME`, or name the agent's folder with -C",
    )
    if check_limits is not None:
        try:
            check_limits(config.limits)
        except MeshError as error:
            raise ConfigError(f"{path}: [limits]: {error.message}", path=path, key="limits", fix=error.fix) from error
    return config


def save_config(path: Path, config: Config) -> None:
    """Write a whole configuration, in place of any earlier one; what equals its default is left out.

    Raises:
        FileError: it cannot be written; the earlier file still stands.
    """
    document: dict[str, Any] = {"version": config.version}
    for section, value in config.model_dump(exclude_none=True, exclude_defaults=True).items():
        if value:
            document[section] = value
    # Kind and zone are written even where they are the default: they are what a reader looks for first.
    document["agent"] = {
        "name": config.agent.name,
        "kind": config.agent.kind,
        "zone": config.agent.zone,
    } | config.agent.model_dump(exclude_none=True)
    write_private(path, _HEAD + tomli_w.dumps(document))


def set_listen(path: Path, listen: str) -> Config:
    """Put `listen = "..."` into `[agent]` of the file, leaving every other line, comments included, as it is.

    A first `invite` picks a port and keeps it; that is no reason to lose what an operator has written.

    Args:
        path: a configuration that loads.
        listen: `host:port`.

    Returns:
        The configuration as it now stands.

    Raises:
        ConfigError: the file does not load; it is unchanged.
        AddressError: `listen` is no such text; the file is unchanged.
        FileError: the file cannot be written; it is unchanged.
    """
    parse_listen(listen)
    config = load_config(path)
    wanted = config.model_copy(update={"agent": config.agent.model_copy(update={"listen": listen})})
    text = _with_listen(read_private(path), listen)
    try:
        edited = parse_document(text, Config, what="a configuration", error=ConfigError, marker=None, path=path)
    except ConfigError:
        edited = None
    if edited == wanted:
        write_private(path, text)
    else:
        # An unusual layout, such as an inline table: right without the comments beats wrong with them.
        save_config(path, wanted)
    return wanted


def _with_listen(text: str, listen: str) -> str:
    """The text with the line put after the header `[agent]`, in place of any other of that table."""
    lines: list[str] = []
    table = ""
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if bare.startswith("["):
            table = bare.partition("#")[0].strip()
        if table == "[agent]" and bare.partition("=")[0].strip() == "listen":
            continue
        lines.append(line if line.endswith("\n") else line + "\n")
        if bare.startswith("[") and table == "[agent]":
            lines.append(f'listen = "{listen}"\n')
    return "".join(lines)
