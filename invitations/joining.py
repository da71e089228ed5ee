"""The invited side, which dials: its row of the inviter, and what it keeps of the first handshake.

`join` makes the row, `psk_for` names the key of the next handshake, `recognition.recognise` checks the
answer, `paired` keeps the pair key. A link closed before authentication is `refusal.unexplained`.
"""

from __future__ import annotations

from dataclasses import replace

from invitations.card import moment
from invitations.errors import InvitationError, PeerError
from invitations.fingerprint import fingerprint_text
from invitations.identity import Identity
from invitations.invitation import Invitation
from invitations.peers import PeerBook, PeerRow, pairing_id


def join(
    book: PeerBook,
    invitation: Invitation,
    identity: Identity,
    *,
    name: str,
    kind: str,
    zones: tuple[str, ...],
    now: float,
) -> PeerRow:
    """The invited side: the row of the inviter, to keep, to store and to dial.

    Args:
        book: this agent's book; joining twice with one file gives the row as it stands.
        invitation: as `load_invitation` gave it.
        identity: this agent's own.
        name: this agent's name.
        kind: this agent's kind.
        zones: the zones this agent may be in.
        now: Unix seconds.

    Raises:
        InvitationError: it is this agent's own, or for another name, kind or zone, or out of its time.
        PeerError: another key holds the inviter's name, or the inviter's key is revoked here. Nothing has
            changed.
    """
    inviter = invitation.card
    if inviter.public_key == identity.public_key:
        raise InvitationError(
            "this invitation was made by this very agent",
            fix=f'take it to the agent "{invitation.name}" and join there',
        )
    for what, wanted, own in (("name", invitation.name, (name,)), ("zone", invitation.zone, zones)):
        if wanted not in own:
            raise InvitationError(
                f'the invitation is for {what} "{wanted}", and this agent has {what} "{", ".join(own)}"',
                key=what,
                fix=f"join in the folder of the agent it is for, or ask for one for {what} {own[0]}",
            )
    if invitation.kind not in {None, kind}:
        raise InvitationError(
            f'the invitation is for an agent of kind "{invitation.kind}", and this one is of kind "{kind}"',
            key="kind",
            fix=f"ask for one with --kind {kind}",
        )
    if any(row.state == "revoked" for row in book.of(inviter.fingerprint)):
        raise PeerError(
            f'the key of "{inviter.name}" ({fingerprint_text(inviter.fingerprint)}) is revoked here',
            fix=f'"{inviter.name}" needs a new identity (`mesh init` in a new folder) and invites with that',
        )
    existing = book.peer(inviter.fingerprint, invitation.zone)
    if existing is not None and existing.state == "pinned" and existing.invitation_id == invitation.id:
        return existing
    if moment(now, invitation.not_before, invitation.not_after) != "within":
        raise InvitationError("the invitation is out of its time", fix=f"ask {inviter.name} for a new one")
    row = PeerRow(
        fingerprint=inviter.fingerprint,
        zone=invitation.zone,
        name=inviter.name,
        kind=inviter.kind,
        card=inviter.data,
        link_public=inviter.link_public,
        pair_key=None,
        invitation_id=invitation.id,
        secret=invitation.secret,
        urls=invitation.urls,
        ranges=(),
        state="pinned",
    )
    book.check(row)
    return row


def psk_for(peer: PeerRow) -> tuple[bytes, bytes]:
    """The pre-shared key of the next handshake with `peer`, and the 16 bytes that name it in message 1."""
    if peer.pair_key is not None:
        return peer.pair_key, pairing_id(peer.pair_key)
    assert peer.secret is not None, "a pinned peer has a pair key or an invitation's secret"
    assert peer.invitation_id is not None, "a secret has the id of its invitation"
    return peer.secret, peer.invitation_id


def paired(peer: PeerRow, pair_key: bytes) -> PeerRow:
    """The invited side's row once the first handshake was answered: store it before the next dial."""
    return replace(peer, pair_key=pair_key, secret=None)
