"""The steps of inviting and accepting, without any agent running."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.errors import AgentError
from agents.pairing import Wish, accept, card_of, invite, keep_address, url_of, zones_of
from agents.settings import Settings, load_settings, make_home
from grammar.errors import MeshError
from invitations.errors import InvitationError, PeerError
from invitations.peers import InvitationRow, PeerBook

LISTEN = "127.0.0.1:7000"


@pytest.fixture
def portal(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "portal", "portal", kind="portal", listen=LISTEN)


def given(portal: Settings, path: Path, wish: Wish) -> InvitationRow:
    invitation, row = invite(portal, PeerBook(), wish, LISTEN, time.time())
    invitation.save(path)
    return row


def test_an_address_is_picked_once_and_kept(tmp_path: Path) -> None:
    made = make_home(tmp_path, "portal")
    listen = keep_address(made)
    again = load_settings(tmp_path)
    assert again.config.agent.listen == listen
    assert keep_address(again) == listen


@pytest.mark.parametrize(
    ("listen", "url"), [("127.0.0.1:7000", "ws://127.0.0.1:7000"), ("[::1]:7000", "ws://[::1]:7000")]
)
def test_the_url_is_that_of_the_address(portal: Settings, listen: str, url: str) -> None:
    assert url_of(portal, listen) == url


@pytest.mark.parametrize("listen", ["0.0.0.0:7000", "[::]:7000"])
def test_an_address_that_stands_for_all_needs_a_url(portal: Settings, listen: str) -> None:
    with pytest.raises(AgentError, match="every address") as refused:
        url_of(portal, listen)
    assert "--url" in refused.value.fix
    told = replace(
        portal,
        config=portal.config.model_copy(update={"agent": portal.config.agent.model_copy(update={"url": "ws://x"})}),
    )
    assert url_of(told, listen) == "ws://x"


def test_an_accepted_invitation_names_whom_to_dial(portal: Settings, tmp_path: Path) -> None:
    cluster = make_home(tmp_path / "cluster", "cluster")
    row = given(portal, tmp_path / "file", Wish("cluster"))
    peer = accept(cluster, PeerBook(), tmp_path / "file", time.time())
    assert (peer.name, peer.urls, peer.fingerprint) == (
        "portal",
        ("ws://127.0.0.1:7000",),
        portal.identity.fingerprint,
    )
    assert (peer.secret, peer.invitation_id) == (row.secret, row.id)
    assert peer.secret is not None
    assert peer.secret.hex() not in repr(peer) + repr(row)
    assert repr(peer.secret) not in repr(peer) + repr(row)


@pytest.mark.parametrize(
    ("wish", "key"),
    [(Wish("bridge"), "name"), (Wish("cluster", kind="bridge"), "kind"), (Wish("cluster", zone="other"), "zone")],
)
def test_an_invitation_for_another_is_not_accepted(portal: Settings, tmp_path: Path, wish: Wish, key: str) -> None:
    cluster = make_home(tmp_path / "cluster", "cluster")
    given(portal, tmp_path / "file", wish)
    with pytest.raises(InvitationError, match=key):
        accept(cluster, PeerBook(), tmp_path / "file", time.time())


def test_an_invitation_has_its_time(portal: Settings, tmp_path: Path) -> None:
    cluster = make_home(tmp_path / "cluster", "cluster")
    given(portal, tmp_path / "file", Wish("cluster"))
    for now in (time.time() - 3600, time.time() + 8 * 86_400):
        with pytest.raises(MeshError):
            accept(cluster, PeerBook(), tmp_path / "file", now)


def test_a_peer_in_place_is_not_invited_again(portal: Settings, tmp_path: Path) -> None:
    cluster = make_home(tmp_path / "cluster", "cluster")
    given(portal, tmp_path / "file", Wish("cluster"))
    row = accept(cluster, PeerBook(), tmp_path / "file", time.time())
    linked = replace(row, name="cluster", pair_key=bytes(32), secret=None)
    with pytest.raises(PeerError, match="already") as refused:
        invite(portal, PeerBook([linked]), Wish("cluster"), LISTEN, time.time())
    assert "mesh revoke cluster" in refused.value.fix
    # Its answer may have been lost: until its pair key was used it may be invited again.
    invite(portal, PeerBook([replace(linked, secret=bytes(32))]), Wish("cluster"), LISTEN, time.time())


def test_a_card_covers_every_zone_the_agent_is_in(portal: Settings, tmp_path: Path) -> None:
    row = given(portal, tmp_path / "file", Wish("cluster", zone="lab"))
    book = PeerBook((), [row])
    assert zones_of(portal, book) == ("default", "lab")
    assert zones_of(portal, book, "other") == ("default", "lab", "other")
    assert card_of(portal, book, time.time()).zones == ("default", "lab")
    assert zones_of(portal, PeerBook((), [replace(row, state="revoked")])) == ("default",)
