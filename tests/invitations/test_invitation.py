from __future__ import annotations

import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grammar.errors import GrammarError, MeshError
from invitations.card import SKEW_S
from invitations.documents import to_base64
from invitations.errors import AddressError, CardError, FileError, InvitationError
from invitations.invitation import (
    LIFE_S,
    MAX_LIFE_S,
    Invitation,
    _signed_bytes,
    load_invitation,
    make_invitation,
    parse_invitation,
)

Parties = Callable[..., Any]


@pytest.fixture
def invitation(party: Parties) -> Invitation:
    made = party("portal", kind="portal").invite("cluster", kind="instance", ranges=("10.0.0.0/8", "2001:db8::/32"))
    assert isinstance(made, Invitation)
    return made


def test_holds_what_is_needed_for_a_day(invitation: Invitation, now: int) -> None:
    assert len(invitation.id) == 16
    assert len(invitation.secret) == 32
    assert (invitation.not_before, invitation.not_after) == (now, now + LIFE_S)
    assert invitation.card.name == "portal"


def test_file_round_trip(invitation: Invitation, tmp_path: Path, now: int) -> None:
    path = tmp_path / "cluster.invite.toml"
    invitation.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_invitation(path, now) == invitation
    path.chmod(0o644)  # a copy that came by another way is still an invitation
    assert load_invitation(path, now) == invitation
    with pytest.raises(FileError, match="exists already"):
        invitation.save(path)


def test_without_kind_and_ranges(party: Parties, now: int) -> None:
    made = party("portal").invite("cluster")
    assert parse_invitation(made.to_toml(), now) == made
    assert made.kind is None
    assert "kind" not in made.to_toml()


def test_its_secret_is_in_the_file_only(invitation: Invitation) -> None:
    secret = to_base64(invitation.secret)
    assert invitation.to_toml().count(secret) == 1
    assert secret not in repr(invitation)
    assert repr(invitation.secret) not in repr(invitation)


def test_every_changed_line_is_noticed(invitation: Invitation, now: int) -> None:
    changes = {
        "name": '"platform"',
        "kind": '"platform"',
        "zone": '"field"',
        "not_before": "2027-01-15T07:59:59Z",
        "not_after": "2027-01-21T08:00:00Z",
        "urls": '["ws://127.0.0.1:7001"]',
        "ranges": "[]",
        "id": f'"{to_base64(bytes(16))}"',
        "secret": f'"{to_base64(bytes(32))}"',
        "signature": f'"{to_base64(bytes(64))}"',
    }
    text = invitation.to_toml()
    for key, value in changes.items():
        changed, count = re.subn(rf"(?m)^{key} = (\[\n(?:.*\n)*?\]|.*)$", f"{key} = {value}", text)
        assert count == 1, key
        with pytest.raises(InvitationError, match="changed after it was made"):
            parse_invitation(changed, now)
    without_kind = re.sub(r"(?m)^kind = .*\n", "", text)
    with pytest.raises(InvitationError, match="changed after it was made"):
        parse_invitation(without_kind, now)


def test_another_inviters_card_is_noticed(party: Parties, invitation: Invitation, now: int) -> None:
    other = replace(invitation, card=party("portal", kind="portal", seed=1).card)
    with pytest.raises(InvitationError, match="signature does not hold"):
        parse_invitation(other.to_toml(), now)
    with pytest.raises(InvitationError, match="card that cannot be used"):
        parse_invitation(invitation.to_toml().replace('card = "ks', 'card = "kt'), now)


def test_time(invitation: Invitation, now: int) -> None:
    text = invitation.to_toml()
    for good in (now - SKEW_S, now, now + LIFE_S):
        assert parse_invitation(text, good) == invitation
    with pytest.raises(InvitationError, match="expired at 2027-01-16 08:00:00 UTC") as caught:
        parse_invitation(text, now + LIFE_S + 1)
    assert "mesh invite" in caught.value.fix
    with pytest.raises(InvitationError, match="not valid before 2027-01-15 08:00:00 UTC") as caught:
        parse_invitation(text, now - SKEW_S - 1)
    assert "clock" in caught.value.fix


def test_files_that_are_no_invitation(tmp_path: Path, now: int, party: Parties) -> None:
    cases: dict[str, str | bytes] = {
        "is not TOML": "not toml at all",
        "does not say hopboard": "[agent]\nname = 'x'\n",
        "not a text file": b"\x89PNG\xff",
        "is missing": 'hopboard = "invitation"\nversion = 1\n',
        'unknown key "nmae"': party("portal").invite("cluster").to_toml().replace("name =", "nmae ="),
        "bad value": party("portal").invite("cluster").to_toml().replace("name = ", "name = 1 #"),
    }
    path = tmp_path / "file"
    for message, content in cases.items():
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(InvitationError, match=message) as caught:
            load_invitation(path, now)
        assert caught.value.fix
        assert str(path) in caught.value.message
    with pytest.raises(InvitationError, match="does not exist") as caught:
        load_invitation(tmp_path / "none", now)
    assert "mesh invite" in caught.value.fix


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"urls": ()}, InvitationError, "1 to 8 URLs"),
        ({"urls": ("ws://h:1",) * 9}, InvitationError, "1 to 8 URLs"),
        ({"urls": ("http://h:1",)}, AddressError, "websocket"),
        ({"zone": "field"}, InvitationError, 'not in zone "field"'),
        ({"zone": "Lab"}, GrammarError, "zone"),
        ({"kind": "instanse"}, CardError, "no kind"),
        ({"ranges": ("10.0.0.1/8",)}, AddressError, "inside a range"),
        ({"ranges": ("10.0.0.0/8",) * 33}, InvitationError, "at most 32"),
        ({"life_s": 0}, InvitationError, "seconds"),
        ({"life_s": MAX_LIFE_S + 1}, InvitationError, "seconds"),
        ({"now": 1_800_000_000 - 10}, InvitationError, "last as long"),
        ({"now": 1_800_000_000 + 365 * 86_400}, InvitationError, "last as long"),
    ],
)
def test_illegal_invitations_are_not_made(
    party: Parties, options: dict[str, object], error: type[MeshError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        party("portal").invite("cluster", **options)
    assert caught.value.fix or getattr(caught.value, "expected", "")


def test_an_agent_does_not_invite_its_own_name_nor_with_anothers_card(party: Parties, now: int) -> None:
    with pytest.raises(InvitationError, match="own name"):
        party("portal").invite("portal")
    with pytest.raises(GrammarError):
        party("portal").invite("Cluster")
    with pytest.raises(InvitationError, match="not that of the inviter"):
        make_invitation(
            party("portal").identity,
            party("portal", seed=1).card,
            urls=("ws://h:1",),
            name="cluster",
            zone="lab",
            now=now,
            random=bytes,
        )


def test_a_signed_invitation_is_still_judged(party: Parties, invitation: Invitation, now: int) -> None:
    """The inviter's word is no licence: what it signs beyond the limits is refused at the joiner."""
    identity = party("portal", kind="portal").identity
    for change in (
        {"urls": ("http://h",)},
        {"name": "A"},
        {"kind": "A"},
        {"ranges": ("x",)},
        {"zone": "field"},
    ):
        bad = replace(invitation, **change)  # type: ignore[arg-type]
        bad = replace(bad, signature=identity.sign(_signed_bytes(bad)))
        with pytest.raises(InvitationError, match="cannot be used"):
            parse_invitation(bad.to_toml(), now)


def test_a_time_without_zone_is_utc(invitation: Invitation, now: int) -> None:
    text = re.sub(r"(?m)^(not_\w+ = \S+?)(?:Z|\+00:00)$", r"\1", invitation.to_toml().replace(" 08:", "T08:"))
    assert text != invitation.to_toml()
    assert parse_invitation(text, now) == invitation


@given(st.integers(0, 1500), st.text(max_size=3), st.integers(0, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_an_edited_file_is_refused_or_says_the_same(
    invitation: Invitation, now: int, at: int, insert: str, cut: int
) -> None:
    text = invitation.to_toml()
    with suppress(InvitationError):
        assert parse_invitation(text[:at] + insert + text[at + cut :], now) == invitation
