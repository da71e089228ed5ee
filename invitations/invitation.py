"""Invitations: the one-time file by which two agents become peers.

It holds everything the invited side needs to dial and to know whom it reached (the inviter's card and
URLs), a secret that only the two know, and for whom it is meant. The inviter signs all of it but the
signature, as a domain tag and the msgpack array of `_signed_bytes`; so a file changed on its way is
refused, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgpack
import tomli_w
from pydantic import Field

from grammar.errors import MeshError
from grammar.names import parse_name
from invitations.addresses import parse_range, parse_url
from invitations.card import Card, moment, parse_kind
from invitations.documents import Base64Bytes, Document, Key, Texts, parse_document, read_document, to_base64
from invitations.errors import CardError, InvitationError
from invitations.files import write_private
from invitations.identity import Identity, verify

ID_BYTES: Final = 16
SECRET_BYTES: Final = 32
LIFE_S: Final = 24 * 3600
MAX_LIFE_S: Final = 7 * 24 * 3600
MAX_URLS: Final = 8
MAX_RANGES: Final = 32

_DOMAIN: Final = b"hopboard/1/invitation\0"
_VERSION: Final = 1
_ASK_AGAIN: Final = "ask the inviter for a new one: `mesh invite PEER`"


@dataclass(frozen=True, slots=True)
class Invitation:
    """One invitation: from `make_invitation` or `load_invitation`, legal and signed by its card's key."""

    id: bytes
    """16 bytes; names the invitation in the handshake, and is worth nothing without the secret."""
    secret: bytes = field(repr=False)
    """32 bytes; the pre-shared key of the first handshake."""
    card: Card
    """The inviter."""
    urls: tuple[str, ...]
    """Where the inviter listens, `ws://` or `wss://`, in the order in which to try."""
    name: str
    """Whom it is for: the name the joiner must have."""
    kind: str | None
    """The kind the joiner must have; None for any."""
    zone: str
    ranges: tuple[str, ...]
    """CIDR ranges the joiner must come from; empty for anywhere."""
    not_before: int
    not_after: int
    """Unix seconds, both inclusive."""
    signature: bytes

    def to_toml(self) -> str:
        """The text of the invitation file. It holds the secret."""
        until = _utc(self.not_after)
        head = (
            f'# An invitation of "{self.card.name}": "{self.name}" may join it in zone "{self.zone}", once, '
            f"until {until:%Y-%m-%d %H:%M} UTC.\n"
            "# Whoever holds this file can take that place: hand it over in private, delete it after use.\n"
            f'# In the folder of "{self.name}":  mesh join {self.name}.invite.toml\n\n'
        )
        document: dict[str, object] = {
            "hopboard": "invitation",
            "version": _VERSION,
            "name": self.name,
            "zone": self.zone,
            "not_before": _utc(self.not_before),
            "not_after": until,
            "urls": list(self.urls),
            "ranges": list(self.ranges),
            "id": to_base64(self.id),
            "secret": to_base64(self.secret),
            "card": self.card.text,
            "signature": to_base64(self.signature),
        }
        if self.kind is not None:
            document["kind"] = self.kind
        return head + tomli_w.dumps(document)

    def save(self, path: Path) -> None:
        """Write the file with mode 0600, whole or not at all.

        Raises:
            FileError: it exists already (an invitation is never overwritten) or cannot be written.
        """
        write_private(path, self.to_toml(), replace=False)


def make_invitation(
    identity: Identity,
    card: Card,
    *,
    urls: tuple[str, ...],
    name: str,
    zone: str,
    now: float,
    random: Callable[[int], bytes],
    kind: str | None = None,
    ranges: tuple[str, ...] = (),
    life_s: int = LIFE_S,
) -> Invitation:
    """A new invitation, signed.

    Args:
        identity: the inviter.
        card: the inviter's card, made with that identity and valid as long as the invitation.
        urls: where the inviter can be dialled, 1 to 8.
        name: the name of the agent invited.
        zone: the zone of the link; one of the card's.
        now: Unix seconds; the invitation holds from here on.
        random: gives that many unpredictable bytes; id and secret are drawn from it.
        kind: the kind the joiner must have; None for any.
        ranges: CIDR ranges it must come from, at most 32; empty for anywhere.
        life_s: seconds it holds, a week at most.

    Raises:
        InvitationError: a limit is passed, or the card does not fit.
        MeshError: a name, kind, URL or range is not legal; says which.
    """
    parse_name(name)
    parse_name(zone, what="zone")
    if kind is not None:
        parse_kind(kind)
    start = int(now)
    unsigned = Invitation(
        id=random(ID_BYTES),
        secret=random(SECRET_BYTES),
        card=card,
        urls=tuple(parse_url(url) for url in urls),
        name=name,
        kind=kind,
        zone=zone,
        ranges=tuple(parse_range(text) for text in ranges),
        not_before=start,
        not_after=start + life_s,
        signature=b"",
    )
    if card.public_key != identity.public_key:
        raise InvitationError("the card is not that of the inviter", fix="make a card with the inviter's identity")
    _check(unsigned)
    return replace(unsigned, signature=identity.sign(_signed_bytes(unsigned)))


def load_invitation(path: Path, now: float) -> Invitation:
    """Read an invitation file that may be used now.

    Args:
        path: the file.
        now: Unix seconds.

    Raises:
        InvitationError: missing, not TOML, no invitation, changed since it was signed, not yet valid, or
            expired.
    """
    file = read_document(
        path,
        InvitationFile,
        what="an invitation",
        error=InvitationError,
        marker="invitation",
        missing="check the file name; the inviter makes one with `mesh invite PEER`",
    )
    return _usable(file, str(path), now, path)


def parse_invitation(text: str, now: float) -> Invitation:
    """`load_invitation` for a text at hand."""
    file = parse_document(text, InvitationFile, what="an invitation", error=InvitationError, marker="invitation")
    return _usable(file, "the text", now, None)


class InvitationFile(Document):
    """The shape of an invitation file."""

    hopboard: Literal["invitation"]
    version: Literal[1]
    name: str
    kind: str | None = None
    zone: str
    not_before: datetime
    not_after: datetime
    urls: Texts
    ranges: Texts
    id: Annotated[Base64Bytes, Field(min_length=ID_BYTES, max_length=ID_BYTES)]
    secret: Key
    card: Base64Bytes
    signature: Base64Bytes


def _usable(file: InvitationFile, place: str, now: float, path: Path | None) -> Invitation:
    def refuse(cause: str, fix: str = _ASK_AGAIN) -> InvitationError:
        return InvitationError(f"{place} {cause}", path=path, fix=fix)

    try:
        card = Card.parse(file.card)
    except CardError as error:
        raise refuse(f"holds a card that cannot be used ({error.message})") from None
    invitation = Invitation(
        id=file.id,
        secret=file.secret,
        card=card,
        urls=file.urls,
        name=file.name,
        kind=file.kind,
        zone=file.zone,
        ranges=file.ranges,
        not_before=_seconds(file.not_before),
        not_after=_seconds(file.not_after),
        signature=file.signature,
    )
    if not verify(card.public_key, _signed_bytes(invitation), invitation.signature):
        raise refuse(
            "was changed after it was made: its signature does not hold",
            "get the file again, unedited, or a new one",
        )
    try:
        _check(invitation)
    except MeshError as error:
        raise refuse(f"cannot be used: {error.message}") from None
    match moment(now, invitation.not_before, invitation.not_after):
        case "before":
            start = f"{_utc(invitation.not_before):%Y-%m-%d %H:%M:%S} UTC"
            raise refuse(f"is not valid before {start}", "check the clock of this machine, or wait until then")
        case "after":
            raise refuse(f"expired at {_utc(invitation.not_after):%Y-%m-%d %H:%M:%S} UTC")
        case "within":
            return invitation


def _check(invitation: Invitation) -> None:
    """What makes an invitation legal, apart from signature and time; asked by inviter and joiner alike."""
    parse_name(invitation.name)
    parse_name(invitation.zone, what="zone")
    if invitation.kind is not None:
        parse_name(invitation.kind, what="kind")
    for url in invitation.urls:
        parse_url(url)
    for text in invitation.ranges:
        parse_range(text)
    card = invitation.card
    if not 1 <= len(invitation.urls) <= MAX_URLS:
        raise InvitationError(
            f"an invitation needs 1 to {MAX_URLS} URLs, this has {len(invitation.urls)}",
            fix="give the address that the invited agent can reach: --url ws://HOST:PORT",
        )
    if len(invitation.ranges) > MAX_RANGES:
        raise InvitationError(f"an invitation has at most {MAX_RANGES} address ranges", fix="use wider ranges")
    if not 0 <= invitation.not_before < invitation.not_after <= invitation.not_before + MAX_LIFE_S:
        raise InvitationError(
            f"an invitation holds for 1 to {MAX_LIFE_S} seconds",
            fix="choose a shorter life, and invite again later",
        )
    if invitation.zone not in card.zones:
        raise InvitationError(
            f'"{card.name}" is not in zone "{invitation.zone}"', fix=f"its zones: {', '.join(card.zones)}"
        )
    if invitation.name == card.name:
        raise InvitationError(
            f'"{card.name}" cannot invite an agent of its own name', fix="name the agent that is to join"
        )
    if not card.valid_from <= invitation.not_before or not invitation.not_after <= card.valid_to:
        raise InvitationError("the inviter's card does not last as long as the invitation", fix="renew the card")


def _signed_bytes(invitation: Invitation) -> bytes:
    fields = [
        _VERSION,
        invitation.id,
        invitation.secret,
        invitation.card.data,
        list(invitation.urls),
        invitation.name,
        invitation.kind,
        invitation.zone,
        list(invitation.ranges),
        invitation.not_before,
        invitation.not_after,
    ]
    return _DOMAIN + bytes(msgpack.packb(fields))


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _seconds(moment_in_file: datetime) -> int:
    """Unix seconds of a TOML date-time; without an offset it is taken as UTC, and the signature judges."""
    if moment_in_file.tzinfo is None:
        moment_in_file = moment_in_file.replace(tzinfo=UTC)
    return int(moment_in_file.timestamp())
