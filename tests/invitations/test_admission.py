from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from invitations.admission import Admitted, Greeted, admit, confirm, greet, unproved
from invitations.card import SKEW_S, Card, make_card
from invitations.identity import Identity
from invitations.invitation import LIFE_S, Invitation, make_invitation
from invitations.joining import join, paired, psk_for
from invitations.peers import InvitationRow, PeerBook, PeerRow, pairing_id
from invitations.refusal import Refused

Parties = Callable[..., Any]
HERE = "10.0.0.7"
NOW = 1_800_000_000


@dataclass
class Scene:
    """A portal that has invited a cluster from 10/8."""

    party: Parties
    invitation: Invitation
    book: PeerBook

    def greet(self, agent: Any, named: bytes | None = None, source: str = HERE, now: float = NOW) -> Greeted:
        return greet(self.book, agent.identity.link_public, named, source, now)

    def invited(self, agent: Any) -> Greeted:
        return self.greet(agent, self.invitation.id)

    def admit(
        self,
        agent: Any,
        greeted: Greeted,
        *,
        zone: str = "lab",
        pair_key: bytes = b"k" * 32,
        card: Card | None = None,
        now: float = NOW,
    ) -> Admitted:
        link_public = agent.identity.link_public
        rows = admit(self.book, greeted, card or agent.card, zone, link_public=link_public, pair_key=pair_key, now=now)
        self.book.keep(rows.peer)
        if rows.invitation is not None:
            self.book.keep_invitation(rows.invitation)
        return rows

    def paired(self, agent: Any, pair_key: bytes = b"k" * 32) -> PeerRow:
        return self.admit(agent, self.invited(agent), pair_key=pair_key).peer

    def invite(self, name: str, **options: Any) -> Invitation:
        options = {"random": Random(f"again {name} {sorted(options)}").randbytes} | options
        made = self.party("portal", kind="portal", zones=("lab", "field")).invite(name, **options)
        self.book.keep_invitation(InvitationRow.opened(made))
        assert isinstance(made, Invitation)
        return made


@pytest.fixture
def scene(party: Parties) -> Scene:
    portal = party("portal", kind="portal", zones=("lab", "field"))
    invitation = portal.invite("cluster", kind="instance", ranges=("10.0.0.0/8",))
    return Scene(party, invitation, PeerBook(invitations=[InvitationRow.opened(invitation)]))


@pytest.fixture
def cluster(party: Parties) -> Any:
    return party("cluster")


def refused(do: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        do()
    error = caught.value
    assert error.fix
    assert error.message.startswith("link refused: ")
    return error


# Stage 1


def test_an_invited_stranger_is_asked_for_the_secret(scene: Scene, cluster: Any) -> None:
    greeted = scene.invited(cluster)
    assert (greeted.psk, greeted.peer, greeted.pairing) == (scene.invitation.secret, None, True)
    assert repr(scene.invitation.secret) not in repr(greeted)
    assert scene.book.peers == ()


def test_a_peer_is_asked_for_its_pair_key(scene: Scene, cluster: Any) -> None:
    row = scene.paired(cluster)
    for named in (None, pairing_id(b"k" * 32)):
        greeted = scene.greet(cluster, named)
        assert (greeted.psk, greeted.peer, greeted.pairing) == (b"k" * 32, row, False)


def test_strangers(scene: Scene, cluster: Any) -> None:
    assert refused(lambda: scene.greet(cluster)).reason == "unknown_key"
    assert refused(lambda: scene.greet(cluster, b"x" * 16)).reason == "invitation_unknown"
    scene.paired(cluster)
    assert refused(lambda: scene.greet(cluster, b"x" * 16)).reason == "other_pair_key"


def test_time_and_place(scene: Scene, cluster: Any) -> None:
    named = scene.invitation.id
    assert refused(lambda: scene.greet(cluster, named, now=NOW + LIFE_S + 1)).reason == "invitation_expired"
    assert refused(lambda: scene.greet(cluster, named, now=NOW - SKEW_S - 1)).reason == "invitation_not_yet"
    for source in ("192.168.0.1", "::1", "memory", ""):
        assert refused(lambda source=source: scene.greet(cluster, named, source)).reason == "address"  # type: ignore[misc]
    scene.paired(cluster)
    for again in (None, named):
        assert refused(lambda again=again: scene.greet(cluster, again, "192.168.0.1")).reason == "address"  # type: ignore[misc]


def test_a_used_invitation_is_worthless_to_another_key(scene: Scene, cluster: Any, party: Parties) -> None:
    scene.paired(cluster)
    thief = party("cluster", seed=1)
    error = refused(lambda: scene.invited(thief))
    assert (error.reason, error.tell, error.alarm) == ("invitation_used", False, True)
    assert error.invitation is not None
    assert (error.invitation.failures, error.invitation.state) == (1, "used")
    scene.book.keep_invitation(error.invitation)
    again = refused(lambda: scene.invited(thief)).invitation
    assert again is not None
    assert again.failures == 2


def test_the_same_key_may_retry_until_the_pair_key_was_used(scene: Scene, cluster: Any) -> None:
    scene.paired(cluster)
    late = NOW + 10 * LIFE_S
    greeted = scene.greet(cluster, scene.invitation.id, now=late)
    assert (greeted.psk, greeted.pairing) == (scene.invitation.secret, True)
    row = scene.admit(cluster, greeted, pair_key=b"K" * 32, now=late).peer
    assert (row.pair_key, row.secret) == (b"K" * 32, scene.invitation.secret)
    confirmed = scene.admit(cluster, scene.greet(cluster, pairing_id(b"K" * 32))).peer
    assert (confirmed.pair_key, confirmed.secret) == (b"K" * 32, None)
    error = refused(lambda: scene.invited(cluster))
    assert (error.reason, error.alarm, error.invitation) == ("invitation_used", False, None)


def test_revoked_invitations_and_keys(scene: Scene, cluster: Any) -> None:
    row = scene.paired(cluster)
    scene.book.keep_invitation(scene.book.revoked_invitation(scene.invite("platform").id))
    platform = scene.party("platform")
    named = scene.book.invitations[-1].id
    assert refused(lambda: scene.greet(platform, named)).reason == "invitation_revoked"
    for revoked in scene.book.revoked(row.fingerprint):
        scene.book.keep(revoked)
    for named_ in (None, pairing_id(b"k" * 32), scene.invitation.id, scene.invite("cluster").id):
        assert refused(lambda named_=named_: scene.greet(cluster, named_)).reason == "revoked"  # type: ignore[misc]


def test_before_authentication_nothing_may_be_told(scene: Scene, cluster: Any) -> None:
    for do in (
        lambda: scene.greet(cluster),
        lambda: scene.greet(cluster, b"x" * 16),
        lambda: scene.greet(cluster, scene.invitation.id, "192.168.0.1"),
        lambda: scene.greet(cluster, scene.invitation.id, now=NOW + LIFE_S + 1),
    ):
        error = refused(do)
        assert error.tell is False
        assert error.invitation is None


def test_two_zones_have_two_pair_keys(scene: Scene, party: Parties) -> None:
    cluster = party("cluster", zones=("lab", "field"))
    scene.paired(cluster)
    second = scene.invite("cluster", zone="field")
    scene.admit(cluster, scene.greet(cluster, second.id), zone="field", pair_key=b"f" * 32)
    assert scene.greet(cluster, pairing_id(b"k" * 32)).psk == b"k" * 32
    assert scene.greet(cluster, pairing_id(b"f" * 32)).psk == b"f" * 32
    assert refused(lambda: scene.greet(cluster)).reason == "unknown_key"
    greeted = scene.greet(cluster, pairing_id(b"f" * 32))
    assert refused(lambda: scene.admit(cluster, greeted, zone="lab")).reason == "wrong_zone"


def test_a_wrong_secret_is_counted_and_closes_nothing(scene: Scene, cluster: Any) -> None:
    greeted = scene.invited(cluster)
    failed = unproved(scene.book, greeted)
    assert failed is not None
    assert (failed.failures, failed.state) == (1, "open")
    scene.book.keep_invitation(failed)
    assert scene.admit(cluster, greeted).invitation == replace(
        failed, state="used", used_by=cluster.identity.fingerprint, secret=None
    )
    assert unproved(scene.book, scene.greet(cluster)) is None
    assert unproved(PeerBook(), greeted) is None


# Stage 2


def test_accepting_burns_the_secret_and_pins_the_key(scene: Scene, cluster: Any) -> None:
    rows = scene.admit(cluster, scene.invited(cluster))
    assert rows.invitation is not None
    assert (rows.invitation.state, rows.invitation.secret) == ("used", None)
    assert rows.invitation.used_by == rows.peer.fingerprint == cluster.identity.fingerprint
    peer = rows.peer
    assert (peer.name, peer.kind, peer.zone, peer.card) == ("cluster", "instance", "lab", cluster.card.data)
    assert (peer.link_public, peer.pair_key) == (cluster.identity.link_public, b"k" * 32)
    assert (peer.urls, peer.ranges, peer.state) == ((), ("10.0.0.0/8",), "pinned")
    assert (peer.invitation_id, peer.secret) == (scene.invitation.id, scene.invitation.secret)


def test_a_link_that_changes_nothing_gives_the_row_itself(scene: Scene, cluster: Any) -> None:
    scene.paired(cluster)
    once = scene.admit(cluster, scene.greet(cluster)).peer
    twice = scene.admit(cluster, scene.greet(cluster))
    assert twice.peer is once is scene.book.peer(*once.key)
    assert twice.invitation is None
    assert confirm(once) is once


@pytest.mark.parametrize(
    ("changes", "zone", "reason"),
    [
        ({"name": "platform"}, "lab", "wrong_name"),
        ({"kind": "platform"}, "lab", "wrong_kind"),
        ({"zones": ("field",)}, "field", "wrong_zone"),
        ({"zones": ("field",)}, "lab", "wrong_zone"),
        ({"zones": ("lab", "field")}, "field", "wrong_zone"),
        ({"now": NOW - 400 * 86_400}, "lab", "card_expired"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_an_agent_that_is_not_as_invited(
    scene: Scene, cluster: Any, changes: dict[str, Any], zone: str, reason: str, known: bool
) -> None:
    if known:
        scene.paired(cluster)
    fields = {"name": "cluster", "kind": "instance", "zones": ("lab",), "serial": 2, "now": NOW} | changes
    card = make_card(cluster.identity, **fields)
    before = scene.book.peers, scene.book.invitations
    greeted = scene.greet(cluster) if known else scene.invited(cluster)
    error = refused(lambda: scene.admit(cluster, greeted, zone=zone, card=card))
    assert (error.reason, error.tell, error.invitation) == (reason, True, None)
    assert (scene.book.peers, scene.book.invitations) == before


@pytest.mark.parametrize("known", [False, True])
def test_a_card_of_another_link_key(scene: Scene, cluster: Any, known: bool) -> None:
    if known:
        scene.paired(cluster)
    greeted = scene.greet(cluster) if known else scene.invited(cluster)
    mixed = Identity(cluster.identity.private_bytes()[:32], b"l" * 32)
    card = make_card(mixed, name="cluster", kind="instance", zones=("lab",), serial=2, now=NOW)
    assert refused(lambda: scene.admit(cluster, greeted, card=card)).reason == "card_mismatch"


def test_a_known_link_key_with_another_identity(scene: Scene, cluster: Any) -> None:
    scene.paired(cluster)
    other = Identity(b"o" * 32, cluster.identity.link_key)
    card = make_card(other, name="cluster", kind="instance", zones=("lab",), serial=2, now=NOW)
    for greeted in (scene.greet(cluster), scene.invited(cluster), scene.greet(cluster, scene.invite("cluster").id)):
        error = refused(lambda greeted=greeted: scene.admit(cluster, greeted, card=card))  # type: ignore[misc]
        assert (error.reason, error.alarm) == ("identity_changed", True)


def test_a_name_that_is_taken(scene: Scene, cluster: Any, party: Parties) -> None:
    scene.paired(cluster)
    second = party("cluster", seed=1)
    greeted = scene.greet(second, scene.invite("cluster").id)
    error = refused(lambda: scene.admit(second, greeted))
    assert error.reason == "name_taken"
    assert "mesh revoke cluster" in error.fix
    for row in scene.book.revoked(cluster.identity.fingerprint):
        scene.book.keep(row)
    assert scene.admit(second, greeted).peer.fingerprint == second.identity.fingerprint


def test_one_identity_has_one_name_in_a_zone(scene: Scene, cluster: Any) -> None:
    scene.paired(cluster)
    greeted = scene.greet(cluster, scene.invite("platform").id)
    card = make_card(cluster.identity, name="platform", kind="instance", zones=("lab",), serial=2, now=NOW)
    error = refused(lambda: scene.admit(cluster, greeted, card=card))
    assert error.reason == "wrong_name"
    assert error.fix == 'invite it as "cluster"'


def test_a_lost_pairing_is_made_anew_by_another_invitation(scene: Scene, cluster: Any) -> None:
    scene.paired(cluster)
    scene.admit(cluster, scene.greet(cluster))
    again = scene.invite("cluster")
    row = scene.admit(cluster, scene.greet(cluster, again.id), pair_key=b"n" * 32).peer
    assert (row.pair_key, row.invitation_id, row.secret) == (b"n" * 32, again.id, again.secret)
    assert scene.book.peers == (row,)


def test_a_revoked_identity_does_not_come_back_with_a_new_link_key(scene: Scene, cluster: Any) -> None:
    scene.paired(cluster)
    for row in scene.book.revoked(cluster.identity.fingerprint):
        scene.book.keep(row)
    fresh = replace(cluster, identity=Identity(cluster.identity.private_bytes()[:32], b"l" * 32))
    card = make_card(fresh.identity, name="cluster", kind="instance", zones=("lab",), serial=2, now=NOW)
    greeted = scene.greet(fresh, scene.invite("cluster").id)
    assert refused(lambda: scene.admit(fresh, greeted, card=card)).reason == "revoked"


def test_what_happens_between_the_stages_counts(scene: Scene, cluster: Any, party: Parties) -> None:
    thief = party("cluster", seed=1)
    early, early_thief = scene.invited(cluster), scene.invited(thief)
    scene.paired(cluster)
    error = refused(lambda: scene.admit(thief, early_thief))
    assert (error.reason, error.tell, error.alarm) == ("invitation_used", True, True)
    assert error.invitation is not None
    assert error.invitation.failures == 1
    assert refused(lambda: scene.admit(cluster, early)).reason == "superseded"
    retry, link = scene.invited(cluster), scene.greet(cluster)
    scene.admit(cluster, scene.invited(cluster), pair_key=b"K" * 32)
    assert refused(lambda: scene.admit(cluster, retry)).reason == "superseded"
    assert refused(lambda: scene.admit(cluster, link)).reason == "superseded"
    retry, link = scene.invited(cluster), scene.greet(cluster)
    scene.admit(cluster, link)
    assert refused(lambda: scene.admit(cluster, retry)).reason == "superseded"
    for row in scene.book.revoked(cluster.identity.fingerprint):
        scene.book.keep(row)
    assert refused(lambda: scene.admit(cluster, link)).reason == "revoked"


def test_an_invitation_revoked_between_the_stages(scene: Scene, cluster: Any) -> None:
    greeted = scene.invited(cluster)
    scene.book.keep_invitation(scene.book.revoked_invitation(scene.invitation.id))
    assert refused(lambda: scene.admit(cluster, greeted)).reason == "invitation_revoked"


# One key at most, whatever happens when


@dataclass
class Dialler:
    """Somebody with a copy of the invitation file, and what its disk holds."""

    identity: Identity
    card: Card
    row: PeerRow
    dialling: Connection | None = None


@dataclass(eq=False)
class Connection:
    """A connection whose frames may still arrive after the dialler has given it up."""

    dialler: Dialler
    greeted: Greeted
    pair_key: bytes
    admitted: bool = False


class OneKeyAtMost(RuleBasedStateMachine):
    """Two holders of one invitation dial, give up, crash and retry against an inviter that crashes too.

    The inviter's book holds what it has admitted; its disk what it has committed; only after a commit is anything
    answered. An invitation pins one key, and: whoever was pinned is never locked out by a crash of either side.
    """

    @initialize()
    def start(self) -> None:
        self.random = Random(5).randbytes
        inviter = Identity.generate(self.random)
        card = make_card(inviter, name="portal", kind="portal", zones=("lab",), serial=1, now=NOW)
        self.invitation = make_invitation(
            inviter, card, urls=("ws://h:1",), name="cluster", zone="lab", now=NOW, random=self.random
        )
        self.durable_peers: dict[tuple[bytes, str], PeerRow] = {}
        self.durable_invitation = InvitationRow.opened(self.invitation)
        self.ever_durable: set[bytes] = set()
        self.ever_answered: set[bytes] = set()
        self.connections: list[Connection] = []
        self.uncommitted: list[Admitted] = []
        self.book = PeerBook(invitations=[self.durable_invitation])
        self.diallers = [self._dialler() for _ in range(2)]

    def _dialler(self) -> Dialler:
        identity = Identity.generate(self.random)
        card = make_card(identity, name="cluster", kind="instance", zones=("lab",), serial=1, now=NOW)
        row = join(PeerBook(), self.invitation, identity, name="cluster", kind="instance", zones=("lab",), now=NOW)
        return Dialler(identity, card, row)

    @rule(who=st.integers(0, 1))
    def dial(self, who: int) -> None:
        """Dials; a connection it was waiting on is given up, though its frames may be on their way."""
        dialler = self.diallers[who]
        psk, named = psk_for(dialler.row)
        try:
            greeted = greet(self.book, dialler.identity.link_public, named, HERE, NOW)
        except Refused:
            dialler.dialling = None
            return
        if greeted.psk == psk:
            dialler.dialling = Connection(dialler, greeted, self.random(32))
            self.connections.append(dialler.dialling)

    @rule(which=st.integers(0, 3))
    def first_frame_arrives(self, which: int) -> None:
        waiting = [connection for connection in self.connections if not connection.admitted]
        if not waiting:
            return
        connection = waiting[which % len(waiting)]
        dialler = connection.dialler
        try:
            rows = admit(
                self.book,
                connection.greeted,
                dialler.card,
                "lab",
                link_public=dialler.identity.link_public,
                pair_key=connection.pair_key,
                now=NOW,
            )
        except Refused as error:
            self.connections.remove(connection)
            if error.invitation is not None:
                self.book.keep_invitation(error.invitation)
            return
        connection.admitted = True
        self.book.keep(rows.peer)
        if rows.invitation is not None:
            self.book.keep_invitation(rows.invitation)
        self.uncommitted.append(rows)

    @rule(heard=st.booleans())
    def commit_and_answer(self, heard: bool) -> None:
        for rows in self.uncommitted:
            self.durable_peers[rows.peer.key] = rows.peer
            self.durable_invitation = rows.invitation or self.durable_invitation
        self.uncommitted.clear()
        for connection in [connection for connection in self.connections if connection.admitted]:
            self.connections.remove(connection)
            dialler = connection.dialler
            self.ever_answered.add(dialler.identity.fingerprint)
            if not connection.greeted.pairing:
                assert all(row.secret is None for row in self.durable_peers.values()), "the pair key was used"
            if heard and dialler.dialling is connection and connection.greeted.pairing:
                dialler.row = paired(dialler.row, connection.pair_key)

    @rule()
    def inviter_crashes(self) -> None:
        self.uncommitted.clear()
        self.connections.clear()
        self.book = PeerBook(self.durable_peers.values(), [self.durable_invitation])

    @invariant()
    def one_key(self) -> None:
        self.ever_durable |= {row.fingerprint for row in self.durable_peers.values()}
        assert len(self.ever_durable) <= 1
        assert len(self.book.peers) <= 1
        assert self.ever_answered <= self.ever_durable

    @invariant()
    def the_secret_lives_in_one_place(self) -> None:
        for book in (self.book, PeerBook(self.durable_peers.values(), [self.durable_invitation])):
            holders: list[PeerRow | InvitationRow] = [*book.peers, *book.invitations]
            assert sum(row.secret is not None for row in holders) <= 1

    @invariant()
    def whoever_was_pinned_gets_in(self) -> None:
        book = PeerBook(self.durable_peers.values(), [self.durable_invitation])
        for dialler in self.diallers:
            if dialler.identity.fingerprint in self.ever_durable:
                psk, named = psk_for(dialler.row)
                assert greet(book, dialler.identity.link_public, named, HERE, NOW).psk == psk


OneKeyAtMost.TestCase.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
TestOneKeyAtMost = OneKeyAtMost.TestCase
