from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitations.errors import PeerError
from invitations.peers import InvitationRow, PeerBook, PeerRow, pairing_id

NAMES = st.sampled_from(["a", "b", "c"])
BYTES = st.binary(min_size=1, max_size=32)


def peer(**changes: Any) -> PeerRow:
    row = PeerRow(
        fingerprint=b"f" * 20,
        zone="lab",
        name="cluster",
        kind="instance",
        card=b"card",
        link_public=b"l" * 32,
        pair_key=b"PAIRCANARY",
        invitation_id=b"i" * 16,
        secret=b"SECRETCANARY",
        urls=("ws://h:1",),
        ranges=("10.0.0.0/8",),
        state="pinned",
    )
    return replace(row, **changes)


def invitation(**changes: Any) -> InvitationRow:
    row = InvitationRow(
        id=b"i" * 16,
        secret=b"SECRETCANARY",
        name="cluster",
        kind=None,
        zone="lab",
        ranges=(),
        not_before=1,
        not_after=2,
        used_by=None,
        failures=0,
        state="open",
    )
    return replace(row, **changes)


@given(
    st.builds(
        PeerRow,
        fingerprint=BYTES,
        zone=NAMES,
        name=NAMES,
        kind=NAMES,
        card=BYTES,
        link_public=BYTES,
        pair_key=st.none() | BYTES,
        invitation_id=st.none() | BYTES,
        secret=st.none() | BYTES,
        urls=st.tuples() | st.tuples(NAMES),
        ranges=st.tuples() | st.tuples(NAMES, NAMES),
        state=st.sampled_from(["pinned", "revoked"]),
    )
)
def test_peer_record_round_trip(row: PeerRow) -> None:
    assert PeerRow.from_record(row.to_record()) == row
    assert PeerRow.from_record(msgpack.unpackb(msgpack.packb(row.to_record()))) == row


@given(
    st.builds(
        InvitationRow,
        id=BYTES,
        secret=st.none() | BYTES,
        name=NAMES,
        kind=st.none() | NAMES,
        zone=NAMES,
        ranges=st.tuples() | st.tuples(NAMES),
        not_before=st.integers(0, 2**40),
        not_after=st.integers(0, 2**40),
        used_by=st.none() | BYTES,
        failures=st.integers(0, 9),
        state=st.sampled_from(["open", "used", "revoked"]),
    )
)
def test_invitation_record_round_trip(row: InvitationRow) -> None:
    assert InvitationRow.from_record(msgpack.unpackb(msgpack.packb(row.to_record()))) == row


@pytest.mark.parametrize("row", [peer(), invitation()])
def test_a_record_of_another_shape_is_refused(row: PeerRow | InvitationRow) -> None:
    record = row.to_record()
    for i, value in enumerate(record):
        if value is not None:
            with pytest.raises(PeerError, match="cannot read"):
                type(row).from_record([*record[:i], object(), *record[i + 1 :]])
    for strange in ([], record[:-1], [*record, 1], [2, *record[1:]], [*record[:-1], "lost"]):
        with pytest.raises(PeerError):
            type(row).from_record(strange)


@pytest.mark.parametrize("row", [peer(), invitation()])
def test_secrets_are_not_shown(row: PeerRow | InvitationRow) -> None:
    assert "CANARY" not in repr(row)
    assert "CANARY" not in repr([row])


def test_an_invitation_row_begins_open_and_burns(party: Callable[..., Any]) -> None:
    made = party("portal").invite("cluster", kind="instance", ranges=("10.0.0.0/8",))
    row = InvitationRow.opened(made)
    assert (row.id, row.secret, row.name, row.kind) == (made.id, made.secret, "cluster", "instance")
    assert (row.zone, row.ranges, row.state, row.failures) == ("lab", ("10.0.0.0/8",), "open", 0)
    assert (row.not_before, row.not_after) == (made.not_before, made.not_after)
    burned = row.burned(b"f")
    assert (burned.state, burned.secret, burned.used_by) == ("used", None, b"f")
    assert replace(row.failed(), failures=0) == row


def test_finds_rows_by_each_key() -> None:
    one, other = peer(), peer(zone="field")
    book = PeerBook([one, other], [invitation()])
    assert book.peer(one.fingerprint, "lab") is one
    assert book.named("cluster", "field") is other
    assert book.with_link(one.link_public) == book.of(one.fingerprint) == book.peers == (one, other)
    assert book.invitation(b"i" * 16) == invitation()
    assert book.invitations == (invitation(),)
    assert book.peer(b"x", "lab") is book.named("x", "lab") is book.invitation(b"x") is None
    assert book.with_link(b"x") == book.of(b"x") == ()


def test_a_name_has_one_key_in_a_zone() -> None:
    book = PeerBook([peer()])
    second = peer(fingerprint=b"g" * 20, link_public=b"m" * 32)
    with pytest.raises(PeerError, match="belongs to another key") as caught:
        book.keep(second)
    assert "mesh revoke cluster" in caught.value.fix
    assert book.peers == (peer(),)
    assert book.with_link(second.link_public) == ()
    book.keep(replace(second, zone="field"))
    for row in book.revoked(peer().fingerprint):
        book.keep(row)
    book.keep(second)
    assert book.named("cluster", "lab") is second


def test_a_kept_row_takes_the_place_of_the_earlier_one() -> None:
    book = PeerBook([peer()])
    later = peer(name="renamed", link_public=b"n" * 32)
    book.keep(later)
    assert book.peers == (later,)
    assert book.with_link(peer().link_public) == ()
    assert book.with_link(later.link_public) == (later,)
    assert book.named("cluster", "lab") is None


def test_revoking_takes_every_zone_and_every_secret() -> None:
    book = PeerBook([peer(), peer(zone="field"), peer(fingerprint=b"g" * 20, name="other", link_public=b"o")])
    rows = book.revoked(peer().fingerprint)
    assert [(row.zone, row.state, row.pair_key, row.secret) for row in rows] == [
        ("lab", "revoked", None, None),
        ("field", "revoked", None, None),
    ]
    assert book.peers[0].state == "pinned"
    for row in rows:
        book.keep(row)
    assert book.revoked(peer().fingerprint) == ()
    assert [row.name for row in book.peers if row.state == "pinned"] == ["other"]


def test_finds_whom_a_person_means() -> None:
    book = PeerBook([peer(), peer(zone="field")])
    assert len(book.find("cluster")) == 2
    assert book.find("cluster", "field") == (peer(zone="field"),)
    with pytest.raises(PeerError) as caught:
        book.find("clustre")
    assert caught.value.fix == 'did you mean "cluster"?'
    with pytest.raises(PeerError, match='in zone "sea"') as caught:
        book.find("cluster", "sea")
    assert "mesh peers" in caught.value.fix


def test_revoking_an_invitation() -> None:
    book = PeerBook(invitations=[invitation()])
    revoked = book.revoked_invitation(b"i" * 16)
    assert (revoked.state, revoked.secret) == ("revoked", None)
    with pytest.raises(PeerError, match="no such invitation"):
        book.revoked_invitation(b"x")
    book.keep_invitation(invitation().burned(b"f"))
    with pytest.raises(PeerError, match="was used") as caught:
        book.revoked_invitation(b"i" * 16)
    assert caught.value.fix == "`mesh revoke cluster`"


def test_a_pairing_id_tells_nothing_of_the_key() -> None:
    assert len(pairing_id(b"k" * 32)) == 16
    assert pairing_id(b"k" * 32) != pairing_id(b"l" * 32)


@given(st.lists(st.tuples(BYTES, NAMES, NAMES, BYTES, st.booleans()), max_size=12))
def test_the_indexes_agree_with_the_rows(changes: list[tuple[bytes, str, str, bytes, bool]]) -> None:
    book = PeerBook()
    for fp, zone, name, link, revoked in changes:
        row = peer(fingerprint=fp, zone=zone, name=name, link_public=link, state="revoked" if revoked else "pinned")
        try:
            book.keep(row)
        except PeerError:
            assert book.named(name, zone) is not None
    for row in book.peers:
        assert row in book.with_link(row.link_public)
        assert (book.named(row.name, row.zone) is row) == (row.state == "pinned")
    assert PeerBook(book.peers).peers == book.peers
