"""The rules for accepting a link, pure: rows in, rows out.

The accepting side asks twice. `greet`, after the first handshake message, says which pre-shared key the
dialler must know; it changes nothing, since that message can be replayed. `admit`, after the dialler's
first encrypted frame, which proves that key, checks who it says it is and gives the rows to commit, in ONE
transaction, before anything is answered. Before the commit the rows go into the book (`keep`), so that the
next frame of anyone else meets them.

    invitation open --admit--> used, its secret moved to the one peer it pinned --confirm--> secret gone

While the secret is kept, the pinned key, and no other, may pair again with it: its side may have lost our
answer. Each pairing gives a new pair key, so a pairing begun before another was admitted is refused
(`superseded`); else a frame that was late on a dead connection could replace the pair key that the dialler
has kept from a newer one.

The dialling side is in `joining`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from invitations.addresses import address_allowed
from invitations.card import Card, moment
from invitations.fingerprint import fingerprint_text
from invitations.peers import InvitationRow, PeerBook, PeerRow, pairing_id
from invitations.recognition import check_card, check_claim, identity_changed, recognise
from invitations.refusal import Refused, told, unseen

_INVITE: Final = "if it should be let in, invite it: `mesh invite PEER`, then `mesh join FILE` at its side"


@dataclass(frozen=True, slots=True)
class Greeted:
    """A dialler that may go on: what its key and first message claim, to be proved with `psk`.

    `peer` is its row unless this is a first pairing; `invitation` is the open one of a first pairing, else
    None.
    """

    psk: bytes = field(repr=False)
    peer: PeerRow | None
    invitation: InvitationRow | None
    pairing: bool
    """True if `psk` is an invitation's secret, so that this handshake makes a pair key."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Rows to keep and to commit, in one transaction, before the dialler is answered."""

    peer: PeerRow
    invitation: InvitationRow | None


def greet(book: PeerBook, link_public: bytes, named: bytes | None, source: str, now: float) -> Greeted:
    """Stage 1: who may go on after the first handshake message. Changes nothing.

    Args:
        book: the peers and invitations of this agent.
        link_public: the dialler's static X25519 key.
        named: the 16 bytes by which the dialler named the pre-shared key (`psk_for`): an invitation's id,
            or the pairing id of a pair key; None is enough where only one pair key is possible.
        source: the address it comes from.
        now: Unix seconds.

    Raises:
        Refused: with `tell` False.
    """
    rows = book.with_link(link_public)
    for row in rows:
        if row.state == "revoked":
            raise unseen("revoked", f'the key of "{row.name}" ({fingerprint_text(row.fingerprint)}) is revoked')
    known = [row for row in rows if row.pair_key is not None and named in {None, pairing_id(row.pair_key)}]
    if len(known) == 1 and known[0].pair_key is not None:
        _check_source(known[0].name, known[0].ranges, source)
        return Greeted(known[0].pair_key, known[0], None, pairing=False)
    if named is None:
        raise unseen("unknown_key", "a key that is of no one peer here, without an invitation", fix=_INVITE)
    for row in rows:
        if row.secret is not None and row.invitation_id == named:
            _check_source(row.name, row.ranges, source)
            return Greeted(row.secret, row, None, pairing=True)
    return _greet_invited(book, rows, named, source, now)


def _greet_invited(book: PeerBook, rows: tuple[PeerRow, ...], named: bytes, source: str, now: float) -> Greeted:
    invitation = book.invitation(named)
    if invitation is None:
        if rows:
            raise unseen(
                "other_pair_key",
                f'"{rows[0].name}" names a pair key that this agent does not have: '
                "the store of one of the two was restored",
                fix=f"`mesh invite {rows[0].name}`, then `mesh join FILE` at its side",
            )
        raise unseen("invitation_unknown", "an unknown key with an unknown invitation or pair key", fix=_INVITE)
    _check_source(invitation.name, invitation.ranges, source)
    whose = f'the invitation for "{invitation.name}"'
    match invitation.state:
        case "revoked":
            raise unseen("invitation_revoked", f"{whose} was revoked")
        case "used" if any(row.invitation_id == named for row in rows):
            raise unseen(
                "invitation_used",
                f"{whose} comes again from the key it pinned, which has used its pair key since: "
                "its store was lost or restored",
            )
        case "used":
            raise unseen(
                "invitation_used",
                f"{whose} was used, and now another key brings it: somebody has a copy of the file",
                fix=f"ask who tried; if the peer in place is the wrong one, `mesh revoke {invitation.name}`",
                alarm=True,
                invitation=invitation.failed(),
            )
    match moment(now, invitation.not_before, invitation.not_after):
        case "before":
            raise unseen("invitation_not_yet", f"{whose} is not valid yet", fix="check the clocks of both machines")
        case "after":
            raise unseen("invitation_expired", f"{whose} has expired")
        case "within":
            assert invitation.secret is not None, "an open invitation has its secret"
            return Greeted(invitation.secret, None, invitation, pairing=True)


def unproved(book: PeerBook, greeted: Greeted) -> InvitationRow | None:
    """What to keep when a greeted dialler's first frame does not open: it named an invitation without its
    secret.

    Returns:
        The invitation with one more failure counted, or None if no open invitation was named.
    """
    if greeted.invitation is None:
        return None
    current = book.invitation(greeted.invitation.id)
    return None if current is None else current.failed()


def admit(
    book: PeerBook,
    greeted: Greeted,
    card: Card,
    zone: str,
    *,
    link_public: bytes,
    pair_key: bytes,
    now: float,
) -> Admitted:
    """Stage 2: who the dialler is, once its first frame has opened.

    Args:
        book: as it is now, which may be later than at `greet`.
        greeted: what `greet` gave for this connection.
        card: the card in the frame (parsed, so its signature holds).
        zone: the zone in the frame.
        link_public: the static key of this handshake.
        pair_key: the pair key this handshake would make; kept only if it is a pairing.
        now: Unix seconds.

    Returns:
        The rows to `keep` and to commit in one transaction before answering. For a link made with the pair
        key that may be the row as it stands (`Admitted.peer is book.peer(...)`): nothing to commit then.

    Raises:
        Refused: with `tell` True; nothing has changed, and an open invitation stays open.
    """
    if greeted.peer is not None:
        row = _unchanged(book, greeted, greeted.peer)
        known = recognise(row, card, zone, link_public=link_public, now=now)
        return Admitted(replace(known, pair_key=pair_key) if greeted.pairing else confirm(known), None)
    assert greeted.invitation is not None, "a greeted dialler is a peer or invited"
    return _admit_invited(book, greeted.invitation, card, zone, link_public=link_public, pair_key=pair_key, now=now)


def _unchanged(book: PeerBook, greeted: Greeted, then: PeerRow) -> PeerRow:
    row = book.peer(*then.key)
    if row is None or row.state == "revoked":
        raise told("revoked", f'"{then.name}" was revoked meanwhile')
    if row.pair_key != then.pair_key or (greeted.pairing and row.secret != then.secret):
        raise _superseded(then.name)
    return row


def _admit_invited(
    book: PeerBook,
    then: InvitationRow,
    card: Card,
    zone: str,
    *,
    link_public: bytes,
    pair_key: bytes,
    now: float,
) -> Admitted:
    invitation = book.invitation(then.id)
    if invitation is None or invitation.state == "revoked":
        raise told("invitation_revoked", f'the invitation for "{then.name}" was revoked meanwhile')
    fp = card.fingerprint
    if invitation.state == "used":
        if invitation.used_by == fp:
            raise _superseded(then.name)
        raise told(
            "invitation_used",
            f'the invitation for "{then.name}" was used meanwhile by another key, '
            f"and {fingerprint_text(fp)} brings it too: somebody has a copy of the file",
            fix=f"ask who tried; if the peer in place is the wrong one, `mesh revoke {then.name}`",
            alarm=True,
            invitation=invitation.failed(),
        )
    check_card(card, zone, link_public, now)
    check_claim(card, zone, invitation, "is invited as")
    if any(row.state == "revoked" for row in book.of(fp)):
        raise told("revoked", f'the identity {fingerprint_text(fp)} of "{card.name}" is revoked')
    if any(row.fingerprint != fp for row in book.with_link(link_public)):
        raise identity_changed(card.name)
    holder = book.named(card.name, zone)
    if holder is not None and holder.fingerprint != fp:
        raise told(
            "name_taken",
            f'the name "{card.name}" in zone "{zone}" belongs to another key ({fingerprint_text(holder.fingerprint)})',
            fix=f"if that agent is gone, `mesh revoke {card.name}` and join again; else choose another name",
        )
    earlier = book.peer(fp, zone)
    if earlier is not None and earlier.name != card.name:
        raise told(
            "wrong_name",
            f'this identity is the peer "{earlier.name}" in zone "{zone}" already, not "{card.name}"',
            fix=f'invite it as "{earlier.name}"',
        )
    peer = PeerRow(
        fingerprint=fp,
        zone=zone,
        name=card.name,
        kind=card.kind,
        card=card.data,
        link_public=link_public,
        pair_key=pair_key,
        invitation_id=invitation.id,
        secret=invitation.secret,
        urls=(),
        ranges=invitation.ranges,
        state="pinned",
    )
    return Admitted(peer, invitation.burned(fp))


def confirm(peer: PeerRow) -> PeerRow:
    """The row once a link was made with its pair key: both sides have that, so the secret goes for good."""
    return peer if peer.secret is None else replace(peer, secret=None)


def _check_source(name: str, ranges: tuple[str, ...], source: str) -> None:
    if not address_allowed(source, ranges):
        raise unseen(
            "address",
            f'"{name}" comes from {source}, outside its range ({", ".join(ranges)})',
            fix=f"if it has moved, invite it anew: `mesh invite {name} --from RANGE`",
        )


def _superseded(name: str) -> Refused:
    return told("superseded", f'"{name}" has paired again meanwhile', fix="nothing to do: it dials again by itself")
