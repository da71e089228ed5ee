"""An agent's folder: where everything of it lives.

    mesh.toml       configuration         identity.toml   keys (0600)
    store.sqlite    boards, jobs, peers   mesh.sock       the local door (0600), while it runs
    handlers.py     what it does (optional)

`Settings` is what was read; nothing is opened or locked by reading it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.doorway import CONFIG, SOCKET
from agents.errors import AgentError
from grammar.names import parse_name
from invitations.addresses import parse_listen
from invitations.card import Card, make_card, parse_kind
from invitations.config import DEFAULT_ZONE, AgentSection, Config, load_config, save_config
from invitations.fingerprint import parse_fingerprint
from invitations.identity import Identity, load_identity, save_identity
from mesh.access import Rule
from mesh.limits import Limits

IDENTITY: Final = "identity.toml"
STORE: Final = "store.sqlite"
HANDLERS: Final = "handlers.py"


@dataclass(frozen=True, slots=True)
class Settings:
    """One agent's folder, read."""

    home: Path
    config: Config
    identity: Identity
    limits: Limits

    @property
    def name(self) -> str:
        return self.config.agent.name

    @property
    def kind(self) -> str:
        return self.config.agent.kind

    @property
    def zone(self) -> str:
        """The zone that is meant where none is named."""
        return self.config.agent.zone

    @property
    def store_path(self) -> Path:
        return self.home / STORE

    @property
    def socket_path(self) -> Path:
        return self.home / SOCKET

    @property
    def portals(self) -> Mapping[str, bytes]:
        """Portal name -> fingerprint, as `[access.portals]` names it."""
        return {name: parse_fingerprint(text) for name, text in self.config.access.portals.items()}

    @property
    def allow(self) -> tuple[Rule, ...]:
        return tuple(Rule(rule.origin, rule.instruction, rule.zone) for rule in self.config.access.allow)

    @property
    def block(self) -> tuple[Rule, ...]:
        return tuple(Rule(rule.origin, rule.instruction, rule.zone) for rule in self.config.access.block)

    def card(self, zones: tuple[str, ...], now: float) -> Card:
        """A card for `zones`, valid from `now` (Unix seconds); its serial rises with time."""
        return make_card(self.identity, name=self.name, kind=self.kind, zones=zones, serial=int(now * 1000), now=now)


def default_home() -> Path:
    """The folder that is meant where none is named: `MESH_HOME`, else the current one."""
    return Path(os.environ.get("MESH_HOME") or ".")


def load_settings(home: Path) -> Settings:
    """Read an agent's folder.

    Raises:
        AgentError: there is no agent in it.
        ConfigError, IdentityError: a file is damaged or says what cannot be; both name file, key and fix.
    """
    if not (home / CONFIG).exists():
        raise AgentError(
            f"there is no agent in {home}: it has no {CONFIG}",
            fix="make one with `mesh init NAME`, or name its folder: `mesh -C DIR ...`",
        )
    limits = Limits()
    config = load_config(home / CONFIG, check_limits=limits.with_settings)
    identity = load_identity(home / IDENTITY)
    return Settings(home, config, identity, limits.with_settings(config.limits))


def make_home(
    home: Path, name: str, *, kind: str = "custom", zone: str = DEFAULT_ZONE, listen: str | None = None
) -> Settings:
    """Make an agent's folder with a fresh identity.

    Raises:
        AgentError: there is an agent already, or the folder cannot be made; nothing was changed.
        GrammarError, CardError, AddressError: a value is not legal; nothing was made.
        FileError: a file cannot be written.
    """
    if (home / CONFIG).exists() or (home / IDENTITY).exists():
        raise AgentError(
            f"there is an agent in {home} already", fix="choose another name or folder; nothing was changed"
        )
    parse_name(name)
    parse_name(zone, what="zone")
    parse_kind(kind)
    if listen is not None:
        parse_listen(listen)
    section = AgentSection(name=name, kind=kind, zone=zone, listen=listen)  # type: ignore[arg-type]
    config = Config(version=1, agent=section)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AgentError(
            f"cannot make the folder {home}: {error.strerror}", fix="name a place that can be written: -C DIR"
        ) from error
    save_identity(home / IDENTITY, Identity.generate(os.urandom))
    save_config(home / CONFIG, config)
    return load_settings(home)
