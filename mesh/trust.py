"""Who is believed: cards, pins, and the check of every fact's signer (PROTOCOL.md 6).

Neighbours are pinned by their invitation. Any other agent is named by its route from here; on first sight its card,
vouched for by the neighbour that passed it on, is pinned per (zone, route). From then on another key under that route
is refused as `identity_changed` until an operator says whom to believe.

`Trust` remembers and decides; what it pins anew it returns, so that the step can make it durable.
"""

from __future__ import annotations

from collections.abc import Iterable

from invitations.card import Card
from invitations.errors import CardError
from invitations.identity import verify
from mesh.facts import Fact
from mesh.proof import Verifier

NO_CARD = "no_card"
IDENTITY_CHANGED = "identity_changed"
BAD_PROOF = "bad_proof"


class Trust:
    """The cards and pins of one agent.

    Attributes:
        cards: fingerprint -> card.
        pins: (zone, route) -> fingerprint.
        portals: (zone, portal) -> fingerprint of the origin that speaks for it, as first used here.
    """

    __slots__ = ("cards", "pins", "portals", "verifier")

    def __init__(
        self,
        cards: Iterable[tuple[bytes, bytes]] = (),
        pins: Iterable[tuple[str, str, bytes]] = (),
        portals: Iterable[tuple[str, str, bytes]] = (),
    ) -> None:
        self.cards = {fingerprint: Card.parse(data) for fingerprint, data in cards}
        self.pins = {(zone, route): fingerprint for zone, route, fingerprint in pins if fingerprint}
        self.portals = {(zone, portal): fingerprint for zone, portal, fingerprint in portals}
        self.verifier = Verifier(verify)

    def learn(self, data: bytes) -> Card | None:
        """Keep a card that a neighbour passed on.

        Returns:
            The card if it is new here (to be made durable), None if it was known or is no valid card.
        """
        try:
            card = Card.parse(data)
        except CardError:
            return None
        known = self.cards.get(card.fingerprint)
        if known is not None and known.serial >= card.serial:
            return None
        self.cards[card.fingerprint] = card
        return card

    def doubt(self, fact: Fact, signer: bytes, zone: str, route: str, neighbour: bytes | None) -> str | None:
        """Check who signed `fact`.

        Args:
            signer: the fingerprint that the fact names.
            zone, route: where the agent that ought to have signed it is, seen from here.
            neighbour: the pinned fingerprint of the first agent of the route, if it is known.

        Returns:
            None when the fact is to be believed, else the reason of the refusal.
        """
        if "." not in route:
            expected = neighbour
        else:
            expected = self.pins.get((zone, route))
        if expected is not None and expected != signer:
            return IDENTITY_CHANGED
        card = self.cards.get(signer)
        if card is None:
            return NO_CARD
        if card.name != route.rpartition(".")[2] or zone not in card.zones:
            return IDENTITY_CHANGED
        if not self.verifier.holds(fact.digest(), fact.proof, card.public_key):
            return BAD_PROOF
        return None

    def repin(self, zone: str, route: str, fingerprint: bytes) -> None:
        """Pin another key by an operator's word, or none."""
        if fingerprint:
            self.pins[zone, route] = fingerprint
        else:
            self.pins.pop((zone, route), None)

    def pin(self, zone: str, route: str, fingerprint: bytes) -> bool:
        """Pin the agent at `route` on first sight; says whether that is new."""
        if "." not in route or (zone, route) in self.pins:
            return False
        self.pins[zone, route] = fingerprint
        return True
