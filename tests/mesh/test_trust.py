"""Who is believed: cards, pins on first sight, and the check of a fact's signer."""

from __future__ import annotations

import pytest

from mesh.facts import VERSION, Cancel, Fact, Kind
from mesh.trust import BAD_PROOF, IDENTITY_CHANGED, NO_CARD, Trust
from tests.mesh.pair import ZONE, card_of, identity_of, signed

JOB = b"j" * 26


def cancel(signer: str, *, key: str | None = None) -> Fact:
    """A fact that names the agent `signer`, signed by the key of `key`."""
    return signed(key or signer, Kind.CANCEL, Cancel(VERSION, JOB, identity_of(signer).fingerprint, 5))


def fp(name: str) -> bytes:
    return identity_of(name).fingerprint


def trust(*names: str) -> Trust:
    return Trust([(fp(name), card_of(name).data) for name in names])


def test_a_new_card_is_learned_once() -> None:
    book = Trust()
    card = card_of("far")
    assert book.learn(card.data) == card
    assert book.learn(card.data) is None
    assert book.cards == {card.fingerprint: card}


def test_a_later_card_takes_the_place_of_an_earlier_one() -> None:
    book = Trust()
    book.learn(card_of("far", serial=2).data)
    assert book.learn(card_of("far", serial=1).data) is None
    newer = card_of("far", serial=3, zones=(ZONE, "other"))
    assert book.learn(newer.data) == newer
    assert book.cards[newer.fingerprint].zones == (ZONE, "other")


def test_no_card_is_learned_from_nonsense() -> None:
    book = Trust()
    data = card_of("far").data
    assert book.learn(b"") is None
    assert book.learn(data[:-1] + bytes([data[-1] ^ 1])) is None
    assert not book.cards


def test_what_a_store_kept_is_known_again() -> None:
    book = Trust([(fp("far"), card_of("far").data)], [(ZONE, "b.far", fp("far"))], [(ZONE, "org", fp("a"))])
    assert book.cards[fp("far")].name == "far"
    assert book.pins == {(ZONE, "b.far"): fp("far")}
    assert book.portals == {(ZONE, "org"): fp("a")}


def test_a_neighbour_is_believed_by_its_pinned_key() -> None:
    assert trust("b").doubt(cancel("b"), fp("b"), ZONE, "b", fp("b")) is None


def test_a_neighbour_with_another_key_is_not() -> None:
    assert trust("b").doubt(cancel("b"), fp("b"), ZONE, "b", fp("other")) == IDENTITY_CHANGED


def test_a_far_agent_is_believed_on_first_sight_and_pinned() -> None:
    book = trust("far")
    assert book.doubt(cancel("far"), fp("far"), ZONE, "b.far", fp("b")) is None
    assert book.pin(ZONE, "b.far", fp("far"))
    assert not book.pin(ZONE, "b.far", fp("impostor"))
    assert book.pins == {(ZONE, "b.far"): fp("far")}


def test_a_neighbour_needs_no_pin() -> None:
    book = Trust()
    assert not book.pin(ZONE, "b", fp("b"))
    assert not book.pins


def test_a_far_agent_with_another_key_is_refused_once_it_is_pinned() -> None:
    book = Trust([(fp("x"), card_of("far", key="x").data)], [(ZONE, "b.far", fp("far"))])
    assert book.doubt(cancel("x"), fp("x"), ZONE, "b.far", None) == IDENTITY_CHANGED
    # The same name down another route, or in another zone, is another agent.
    assert book.doubt(cancel("x"), fp("x"), ZONE, "c.far", None) is None


def test_a_signer_without_a_card_cannot_be_checked() -> None:
    assert Trust().doubt(cancel("far"), fp("far"), ZONE, "b.far", None) == NO_CARD


@pytest.mark.parametrize(("zone", "route"), [(ZONE, "b.other"), ("elsewhere", "b.far"), (ZONE, "far.other")])
def test_a_card_of_another_name_or_zone_does_not_do(zone: str, route: str) -> None:
    assert trust("far").doubt(cancel("far"), fp("far"), zone, route, None) == IDENTITY_CHANGED


def test_a_proof_by_another_key_does_not_hold() -> None:
    assert trust("far").doubt(cancel("far", key="b"), fp("far"), ZONE, "b.far", None) == BAD_PROOF


def test_an_operator_says_whom_to_believe() -> None:
    book = Trust([], [(ZONE, "b.far", fp("far"))])
    book.repin(ZONE, "b.far", fp("new far"))
    assert book.pins == {(ZONE, "b.far"): fp("new far")}
    book.repin(ZONE, "b.far", b"")
    assert book.pins == {}
    book.repin(ZONE, "b.far", b"")
    assert book.pin(ZONE, "b.far", fp("new far"))


def test_a_pin_that_was_forgotten_is_none_after_a_restart() -> None:
    assert Trust([], [(ZONE, "b.far", b"")]).pins == {}
