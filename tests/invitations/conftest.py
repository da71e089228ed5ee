"""Agents with seeded keys, for all tests of this floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from invitations.card import Card, make_card
from invitations.identity import Identity
from invitations.invitation import Invitation, make_invitation

NOW = 1_800_000_000


@dataclass(frozen=True)
class Party:
    """An agent as far as this floor knows it."""

    identity: Identity
    card: Card

    def invite(self, name: str, **options: object) -> Invitation:
        settings: dict[str, object] = {
            "urls": ("ws://127.0.0.1:7000",),
            "zone": self.card.zones[0],
            "now": NOW,
            "random": Random(f"{self.card.name} invites {name}").randbytes,
        }
        return make_invitation(self.identity, self.card, name=name, **(settings | options))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def party() -> Callable[..., Party]:
    """Makes an agent whose keys depend on its name and `seed` only."""

    def make(
        name: str,
        *,
        kind: str = "instance",
        zones: tuple[str, ...] = ("lab",),
        seed: int = 0,
        serial: int = 1,
        now: int = NOW,
    ) -> Party:
        identity = Identity.generate(Random(f"{name} {seed}").randbytes)
        return Party(identity, make_card(identity, name=name, kind=kind, zones=zones, serial=serial, now=now))

    return make


@pytest.fixture(scope="session")
def now() -> int:
    return NOW
