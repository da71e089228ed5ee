from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.errors import GrammarError
from invitations.card import (
    KINDS,
    MAX_CARD_BYTES,
    MAX_LIFE_S,
    SKEW_S,
    Card,
    load_card,
    make_card,
    moment,
    parse_kind,
)
from invitations.errors import CardError, FileError
from invitations.identity import Identity

IDENTITY = Identity.generate(Random(7).randbytes)
NOW = 1_800_000_000


def card(**changes: object) -> Card:
    fields: dict[str, object] = {
        "name": "cluster",
        "kind": "instance",
        "zones": ("lab",),
        "serial": 3,
        "now": NOW,
    }
    return make_card(IDENTITY, **(fields | changes))  # type: ignore[arg-type]


def signed(body: bytes) -> bytes:
    """A card as somebody with a key but without our limits would sign it."""
    return bytes(msgpack.packb([body, IDENTITY.sign(b"hopboard/1/card\0" + body)]))


def fields() -> list[object]:
    return list(msgpack.unpackb(msgpack.unpackb(card().data)[0]))


def test_says_what_was_put_in() -> None:
    made = card(zones=("lab", "field"))
    assert (made.name, made.kind, made.zones, made.serial) == ("cluster", "instance", ("lab", "field"), 3)
    assert (made.public_key, made.link_public) == (IDENTITY.public_key, IDENTITY.link_public)
    assert made.fingerprint == IDENTITY.fingerprint
    assert (made.valid_from, made.valid_to) == (NOW, NOW + 365 * 86_400)


def test_is_carried_as_exact_bytes() -> None:
    made = card()
    assert Card.parse(made.data) == made
    assert Card.parse(made.data).data is made.data
    assert Card.from_text(made.text) == made
    assert make_card(IDENTITY, name="cluster", kind="instance", zones=("lab",), serial=3, now=NOW) == made


def test_every_truncation_and_every_flipped_bit_is_refused() -> None:
    data = card().data
    for length in range(len(data)):
        with pytest.raises(CardError):
            Card.parse(data[:length])
    for i in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        with pytest.raises(CardError):
            Card.parse(bytes(flipped))
    with pytest.raises(CardError):
        Card.parse(data + b"\0")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CardError):
        Card.parse(data)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(), st.lists))
def test_any_signed_value_is_refused(value: object) -> None:
    with suppress(OverflowError), pytest.raises(CardError):
        Card.parse(signed(msgpack.packb(value)))


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, 0),
        (0, True),
        (0, 2),
        (1, "Cluster"),
        (1, ""),
        (1, b"cluster"),
        (2, "no kind"),
        (3, []),
        (3, ["lab", "lab"]),
        (3, ["lab", 1]),
        (3, [f"z{i}" for i in range(9)]),
        (3, ["UP"]),
        (4, bytes(31)),
        (5, bytes(33)),
        (6, -1),
        (6, True),
        (6, 2**63),
        (6, 1.0),
        (7, -1),
        (7, NOW + 366 * 86_400),
        (8, NOW),
        (8, NOW + MAX_LIFE_S + 1),
    ],
)
def test_limits_hold_against_a_signer_without_them(index: int, value: object) -> None:
    changed = fields()
    changed[index] = value
    with pytest.raises(CardError) as caught:
        Card.parse(signed(msgpack.packb(changed)))
    assert caught.value.fix


def test_only_the_one_encoding_is_taken() -> None:
    body = msgpack.packb(fields())
    assert Card.parse(signed(body)) == card()
    serial = body.index(b"\x03\xce")
    for longer in (b"\xcc\x03", b"\xcd\x00\x03", b"\xd0\x03"):
        with pytest.raises(CardError, match="one encoding"):
            Card.parse(signed(body[:serial] + longer + body[serial + 1 :]))
    outer = signed(body)
    assert outer[0] == 0x92
    with pytest.raises(CardError, match="one encoding"):
        Card.parse(b"\xdc\x00\x02" + outer[1:])


def test_a_large_card_is_refused_unread() -> None:
    with pytest.raises(CardError, match="larger"):
        Card.parse(b"\xc4" * (MAX_CARD_BYTES + 1))
    largest = card(name="n" * 63, zones=tuple(str(i) * 63 for i in range(8)), serial=2**63 - 1)
    assert len(largest.data) <= MAX_CARD_BYTES


def test_a_kind_from_the_future_passes_but_is_not_made_here() -> None:
    changed = fields()
    changed[2] = "oracle"
    assert Card.parse(signed(msgpack.packb(changed))).kind == "oracle"
    with pytest.raises(CardError) as caught:
        card(kind="protal")
    assert caught.value.nearest == "portal"
    with pytest.raises(CardError, match="no kind"):
        parse_kind("oracle")
    assert all(parse_kind(kind) == kind for kind in KINDS)


def test_a_version_from_the_future_says_so() -> None:
    with pytest.raises(CardError) as caught:
        Card.parse(signed(msgpack.packb([2, "anything"])))
    assert "upgrade" in caught.value.fix


def test_illegal_cards_are_not_made() -> None:
    with pytest.raises(GrammarError):
        card(name="Cluster")
    with pytest.raises(GrammarError):
        card(zones=("Lab",))
    with pytest.raises(CardError, match="year"):
        card(life_s=MAX_LIFE_S + 1)


def test_time_is_exact_at_the_end_and_patient_at_the_start() -> None:
    made = card(life_s=100)
    assert made.moment(NOW - SKEW_S) == "within"
    assert made.moment(NOW - SKEW_S - 0.1) == "before"
    assert made.moment(NOW + 100) == "within"
    assert made.moment(NOW + 100.1) == "after"
    assert moment(5, 0, 10) == "within"


@pytest.mark.parametrize("text", ["", "!", "AAAA", "AA="])
def test_text_that_is_no_card(text: str) -> None:
    with pytest.raises(CardError):
        Card.from_text(text)


def test_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "cluster.card.toml"
    card().save(path)
    assert load_card(path) == card()
    with pytest.raises(FileError, match="exists already"):
        card().save(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "cluster"', 'name = "portal"'),
        ('kind = "instance"', 'kind = "portal"'),
        ('"lab"', '"field"'),
        ('words = "', 'words = "babab '),
        ('fingerprint = "', 'fingerprint = "a'),
        ('card = "', 'card = "A'),
        ('card = "ks', 'card = "kt'),
        ('"card"\n', '"invitation"\n'),
    ],
)
def test_a_file_that_shows_one_thing_and_signs_another_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "cluster.card.toml"
    card().save(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(CardError) as caught:
        load_card(path)
    assert str(path) in caught.value.message
    assert caught.value.fix
