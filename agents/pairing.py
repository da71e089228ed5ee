"""Writing an invitation and accepting one: the same steps whether the agent runs or not.

What is returned still has to be committed (`Engine.expect`, `Engine.pair`) before it counts; the invitation file is
written by the caller, after that commit.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.doorway import CONFIG
from agents.errors import AgentError
from agents.settings import Settings
from grammar.names import parse_name
from invitations.addresses import parse_listen
from invitations.card import Card
from invitations.config import set_listen
from invitations.errors import PeerError
from invitations.invitation import Invitation, load_invitation, make_invitation
from invitations.joining import join
from invitations.peers import InvitationRow, PeerBook, PeerRow

PORTS: Final = range(20_000, 30_000)
"""Where an agent's own port is picked from: below those that systems lend to outgoing connections (from 32768 on Linux,
from 49152 by RFC 6335), one of which could be in use by the time that the agent starts again."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks of `invite`: for whom, and from where the invited agent reaches us."""

    name: str
    kind: str | None = None
    zone: str | None = None
    urls: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()


def zones_of(settings: Settings, book: PeerBook, *more: str) -> tuple[str, ...]:
    """Every zone this agent is in: its own, those of its peers and of its open invitations."""
    zones = {settings.zone, *more}
    zones.update(peer.zone for peer in book.peers if peer.state == "pinned")
    zones.update(invitation.zone for invitation in book.invitations if invitation.state != "revoked")
    return tuple(sorted(zones))


def card_of(settings: Settings, book: PeerBook, now: float, *more: str) -> Card:
    """This agent's card as of now."""
    return settings.card(zones_of(settings, book, *more), now)


def free_address() -> str:
    """`127.0.0.1:PORT` with a port that is free now, and not one of those lent to whoever dials out.

    Raises:
        AgentError: none of a hundred ports that were tried is free.
    """
    for _ in range(100):
        address = ("127.0.0.1", secrets.choice(PORTS))
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe, suppress(OSError):
            probe.bind(address)
            return f"{address[0]}:{address[1]}"
    raise AgentError(
        f"no free port was found between {PORTS[0]} and {PORTS[-1]}",
        fix="say in [agent] of mesh.toml which address to listen on: listen = '127.0.0.1:PORT'",
    )


def keep_address(settings: Settings) -> str:
    """The address this agent listens on, chosen and written to `mesh.toml` if it has none."""
    listen = settings.config.agent.listen
    if listen is None:
        listen = free_address()
        set_listen(settings.home / CONFIG, listen)
    return listen


def url_of(settings: Settings, listen: str) -> str:
    """How others dial `listen`: the configured URL, else the address itself.

    Raises:
        AgentError: it listens on every address, so nobody can know which one is meant.
    """
    if settings.config.agent.url is not None:
        return settings.config.agent.url
    host, port = parse_listen(listen)
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is refused here
        raise AgentError(
            f"this agent listens on every address of the machine ({listen})",
            fix="say which one the other agent reaches: --url ws://HOST:PORT",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"ws://{shown}:{port}"


def invite(settings: Settings, book: PeerBook, wish: Wish, listen: str, now: float) -> tuple[Invitation, InvitationRow]:
    """Make an invitation for `wish`.

    Raises:
        PeerError: there is a peer of that name in that zone already.
        InvitationError, GrammarError, AddressError: a value is not legal.
    """
    parse_name(wish.name)
    zone = wish.zone or settings.zone
    known = book.named(wish.name, zone)
    if known is not None and known.pair_key is not None and known.secret is None:
        raise PeerError(
            f'"{wish.name}" is a peer in zone "{zone}" already',
            fix=f"if its folder was lost, `mesh revoke {wish.name}` first",
        )
    invitation = make_invitation(
        settings.identity,
        card_of(settings, book, now - 1, zone),
        urls=wish.urls or (url_of(settings, listen),),
        name=wish.name,
        zone=zone,
        now=now,
        random=os.urandom,
        kind=wish.kind,
        ranges=wish.ranges,
    )
    return invitation, InvitationRow.opened(invitation)


def accept(settings: Settings, book: PeerBook, path: Path, now: float) -> PeerRow:
    """Read an invitation file and make the row of the agent that wrote it.

    Raises:
        InvitationError: it is none, or not for this agent, or not now.
        PeerError: another key holds the inviter's name.
    """
    invitation = load_invitation(path, now)
    own: Sequence[str] = zones_of(settings, book)
    row = join(book, invitation, settings.identity, name=settings.name, kind=settings.kind, zones=tuple(own), now=now)
    book.check(row)
    return row
