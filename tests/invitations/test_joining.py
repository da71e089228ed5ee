from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from invitations.errors import InvitationError, PeerError
from invitations.invitation import LIFE_S
from invitations.joining import join, paired, psk_for
from invitations.peers import PeerBook, PeerRow, pairing_id

Parties = Callable[..., Any]


@pytest.fixture
def joined(party: Parties, now: int) -> Callable[..., PeerRow]:
    def do(book: PeerBook | None = None, *, options: dict[str, Any] | None = None, **changes: Any) -> PeerRow:
        invitation = party("portal", kind="portal").invite("cluster", **(options or {}))
        fields = {"name": "cluster", "kind": "instance", "zones": ("lab",), "now": now} | changes
        identity = fields.pop("identity", party("cluster").identity)
        return join(book or PeerBook(), invitation, identity, **fields)

    return do


def test_the_row_dials_the_inviter_with_the_secret(party: Parties, joined: Callable[..., PeerRow]) -> None:
    portal = party("portal", kind="portal")
    invitation = portal.invite("cluster")
    row = joined()
    assert (row.fingerprint, row.link_public) == (portal.identity.fingerprint, portal.identity.link_public)
    assert (row.name, row.kind, row.zone, row.card) == ("portal", "portal", "lab", portal.card.data)
    assert (row.urls, row.ranges, row.state, row.pair_key) == (invitation.urls, (), "pinned", None)
    assert psk_for(row) == (invitation.secret, invitation.id)


def test_afterwards_with_the_pair_key(joined: Callable[..., PeerRow]) -> None:
    row = paired(joined(), b"k" * 32)
    assert psk_for(row) == (b"k" * 32, pairing_id(b"k" * 32))
    assert row.secret is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "platform"}, 'for name "cluster", and this agent has name "platform"'),
        ({"zones": ("field", "sea")}, 'for zone "lab", and this agent has zone "field, sea"'),
        ({"kind": "platform", "options": {"kind": "instance"}}, 'of kind "instance", and this one'),
        ({"now": 1_800_000_000 + LIFE_S + 1}, "out of its time"),
    ],
)
def test_invitations_for_somebody_else(joined: Callable[..., PeerRow], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvitationError, match=message) as caught:
        joined(**changes)
    assert caught.value.fix


def test_its_own_invitation(party: Parties, joined: Callable[..., PeerRow]) -> None:
    with pytest.raises(InvitationError, match="this very agent"):
        joined(identity=party("portal", kind="portal").identity)


def test_joining_twice_changes_nothing(joined: Callable[..., PeerRow], now: int) -> None:
    row = paired(joined(), b"k" * 32)
    book = PeerBook([row])
    assert joined(book) is row
    assert joined(book, now=now + LIFE_S + 1) is row


def test_a_new_invitation_replaces_a_lost_pairing(party: Parties, joined: Callable[..., PeerRow], now: int) -> None:
    row = paired(replace(joined(), invitation_id=b"earlier"), b"k" * 32)
    again = joined(PeerBook([row]))
    assert again.pair_key is None
    assert again.key == row.key


def test_another_key_under_the_inviters_name(party: Parties, joined: Callable[..., PeerRow]) -> None:
    holder = replace(joined(), fingerprint=b"x" * 20, invitation_id=b"earlier")
    with pytest.raises(PeerError, match="belongs to another key"):
        joined(PeerBook([holder]))


def test_an_inviter_that_is_revoked_here(joined: Callable[..., PeerRow]) -> None:
    row = joined()
    for zone in ("lab", "field"):
        with pytest.raises(PeerError, match="revoked here"):
            joined(PeerBook([replace(row, zone=zone, secret=None, state="revoked")]))
