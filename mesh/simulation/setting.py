"""What all agents of a simulated mesh share: the world they live in, and how they know each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from invitations.card import Card
from invitations.peers import InvitationRow, PeerRow
from mesh.limits import Limits
from mesh.proof import Verifier
from mesh.simulation.history import History
from mesh.simulation.wires import Wires
from mesh.simulation.world import START_MS, Faults, World

SKEW_MS: Final = 60_000
"""How far a clock may be off (PROTOCOL.md 13)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all agents of a run share.

    Attributes:
        world, wires, history: where they live, and who writes it down.
        faults, limits: how badly the world behaves, and what the agents accept.
        verifier: a proof holds or does not, whoever looks: one memory of verified roots saves most of the time.
    """

    world: World
    wires: Wires
    history: History
    faults: Faults
    limits: Limits
    verifier: Verifier


def peer_row_of(card: Card, zone: str) -> PeerRow:
    """The row of a peer book under which an agent of a simulated mesh is pinned in a zone."""
    return PeerRow(
        fingerprint=card.fingerprint,
        zone=zone,
        name=card.name,
        kind=card.kind,
        card=card.data,
        link_public=card.link_public,
        pair_key=None,
        invitation_id=None,
        secret=None,
        urls=(),
        ranges=(),
        state="pinned",
    )


def invitation_of(name: str, zone: str) -> InvitationRow:
    """The row of an invitation that was written for an agent, and that it has not used yet."""
    return InvitationRow(
        id=f"{zone}/{name}".encode(),
        secret=None,
        name=name,
        kind="custom",
        zone=zone,
        ranges=(),
        not_before=START_MS // 1000,
        not_after=START_MS // 1000 + 86_400,
        used_by=None,
        failures=0,
        state="open",
    )
