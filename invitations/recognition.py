"""Whether an agent whose link key is proved is still the one that was pinned, or is the one that was invited.

Asked by both sides of a link, with the card and zone of the other's first encrypted frame.
"""

from __future__ import annotations

import hmac
from dataclasses import replace

from invitations.card import Card
from invitations.peers import InvitationRow, PeerRow
from invitations.refusal import Reason, Refused, told


def recognise(peer: PeerRow, card: Card, zone: str, *, link_public: bytes, now: float) -> PeerRow:
    """Whether the agent that has proved `peer`'s link key is still that peer; asked by both sides of a link.

    Args:
        peer: the row, pinned.
        card: the card it has sent (parsed).
        zone: the zone it has sent.
        link_public: the static key of the handshake.
        now: Unix seconds.

    Returns:
        The row, with the card if that is a newer one; the same object if nothing changes.

    Raises:
        Refused: with `tell` True.
    """
    if card.fingerprint != peer.fingerprint:
        raise identity_changed(peer.name)
    check_card(card, zone, link_public, now)
    check_claim(card, zone, peer, "is pinned as")
    if card.data == peer.card or card.serial <= Card.parse(peer.card).serial:
        return peer
    return replace(peer, card=card.data)


def check_card(card: Card, zone: str, link_public: bytes, now: float) -> None:
    """Refuse a card of another link key, out of its time, or without the zone of the link."""
    if not hmac.compare_digest(card.link_public, link_public):
        raise told(
            "card_mismatch",
            f'the card of "{card.name}" names another link key than the one of this handshake',
            fix=f'restart "{card.name}", so that it makes a new card',
        )
    if card.moment(now) != "within":
        raise told(
            "card_expired",
            f'the card of "{card.name}" is not valid now',
            fix="check the clocks of both machines; a restart renews a card",
        )
    if zone not in card.zones:
        raise told(
            "wrong_zone",
            f'"{card.name}" asks for zone "{zone}", which is not on its card ({", ".join(card.zones)})',
            fix=f'set the zone in the mesh.toml of "{card.name}"',
        )


def check_claim(card: Card, zone: str, wanted: PeerRow | InvitationRow, as_what: str) -> None:
    """Refuse another name, zone or kind than `wanted` says; `as_what` is the verb of the message."""
    claims: tuple[tuple[Reason, str, str, str | None], ...] = (
        ("wrong_name", "name", card.name, wanted.name),
        ("wrong_zone", "zone", zone, wanted.zone),
        ("wrong_kind", "kind", card.kind, wanted.kind),
    )
    for reason, what, claimed, expected in claims:
        if expected is not None and claimed != expected:
            raise told(
                reason,
                f'the agent that {as_what} {what} "{expected}" says it has {what} "{claimed}"',
                fix=f'set {what} = "{expected}" in its mesh.toml, or invite it anew with {what} {claimed}',
            )


def identity_changed(name: str) -> Refused:
    """The refusal of an identity that is not the one pinned with its link key."""
    return told(
        "identity_changed",
        f'"{name}" comes with another identity than the one pinned with its link key',
        fix=f"if it was set up anew: `mesh revoke {name}`, then invite it again",
        alarm=True,
    )
