from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from invitations.card import make_card
from invitations.peers import PeerRow
from invitations.recognition import recognise
from invitations.refusal import Refused

Parties = Callable[..., Any]


def row_of(agent: Any) -> PeerRow:
    return PeerRow(
        fingerprint=agent.identity.fingerprint,
        zone="lab",
        name=agent.card.name,
        kind=agent.card.kind,
        card=agent.card.data,
        link_public=agent.identity.link_public,
        pair_key=b"k" * 32,
        invitation_id=None,
        secret=None,
        urls=(),
        ranges=(),
        state="pinned",
    )


def test_an_unchanged_peer_is_the_same_row(party: Parties, now: int) -> None:
    agent = party("cluster")
    row = row_of(agent)
    assert recognise(row, agent.card, "lab", link_public=row.link_public, now=now) is row


def test_a_newer_card_is_kept_and_an_older_one_is_not(party: Parties, now: int) -> None:
    newer, older = party("cluster", serial=2), party("cluster", serial=1)
    row = row_of(older)
    known = recognise(row, newer.card, "lab", link_public=row.link_public, now=now)
    assert known == replace(row, card=newer.card.data)
    assert recognise(known, older.card, "lab", link_public=row.link_public, now=now) is known
    twin = party("cluster", serial=2, zones=("lab", "field"))
    assert recognise(known, twin.card, "lab", link_public=row.link_public, now=now) is known


@pytest.mark.parametrize(
    ("changes", "zone", "reason"),
    [
        ({"name": "clustre"}, "lab", "wrong_name"),
        ({"kind": "platform"}, "lab", "wrong_kind"),
        ({"zones": ("field",)}, "field", "wrong_zone"),
        ({"zones": ("field",)}, "lab", "wrong_zone"),
        ({"now": 1_800_000_000 - 366 * 86_400}, "lab", "card_expired"),
        ({"now": 1_800_000_000 + 86_400}, "lab", "card_expired"),
    ],
)
def test_claims_that_differ(party: Parties, now: int, changes: dict[str, Any], zone: str, reason: str) -> None:
    agent = party("cluster")
    fields = {"name": "cluster", "kind": "instance", "zones": ("lab",), "serial": 2, "now": now} | changes
    card = make_card(agent.identity, **fields)
    row = row_of(agent)
    with pytest.raises(Refused) as caught:
        recognise(row, card, zone, link_public=row.link_public, now=now)
    assert (caught.value.reason, caught.value.tell, caught.value.alarm) == (reason, True, False)
    assert caught.value.fix


def test_another_link_key_than_that_of_the_handshake(party: Parties, now: int) -> None:
    agent = party("cluster")
    with pytest.raises(Refused) as caught:
        recognise(row_of(agent), agent.card, "lab", link_public=bytes(32), now=now)
    assert caught.value.reason == "card_mismatch"


def test_another_identity_is_an_alarm(party: Parties, now: int) -> None:
    agent, other = party("cluster"), party("cluster", seed=1)
    row = row_of(agent)
    with pytest.raises(Refused) as caught:
        recognise(row, other.card, "lab", link_public=row.link_public, now=now)
    assert (caught.value.reason, caught.value.alarm) == ("identity_changed", True)
    assert "mesh revoke cluster" in caught.value.fix
