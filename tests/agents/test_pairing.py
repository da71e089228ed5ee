"""The steps of inviting and accepting, without any agent running."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.errors import AgentError
from agents.pairing import PORTS, Wish, accept, card_of, free_address, invite, keep_address, url_of, zones_of
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


def test_a_picked_port_is_not_one_that_is_lent_to_whoever_dials_out() -> None:
    # 2,000 kills of agents met one whose port a connection of another process had taken while it was down.
    lent = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert PORTS.stop <= lent
    assert int(free_address().rsplit(":", 1)[1]) in PORTS


def test_no_free_port_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("agents.pairing.PORTS", range(port, port + 1))
        with pytest.raises(AgentError) as caught:
            free_address()
    assert "mesh.toml" in str(caught.value.fix)


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
