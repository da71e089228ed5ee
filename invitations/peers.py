"""The book of peers: the rows a store keeps about whom this agent may talk to, and an index of them in
memory.

Rows are values; methods that change one return a new row, and nothing here does I/O. Whoever holds the book
puts a new row into it with `keep` in the same step in which the row is handed to the store, and sends
nothing that relies on the row before the store has committed it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from grammar.names import nearest
from invitations.errors import PeerError
from invitations.fingerprint import fingerprint_text
from invitations.invitation import Invitation

PeerState = Literal["pinned", "revoked"]
InvitationState = Literal["open", "used", "revoked"]

_RECORD_VERSION: Final = 1
_PAIRING_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One peer in one zone, its key pinned.

    `secret` is set from the pairing until the pair key was first used; a revoked row has neither secret nor
    pair key. On the side that was invited `urls` is not empty: that side dials, always.
    """

    fingerprint: bytes
    zone: str
    name: str
    kind: str
    card: bytes
    """The newest card seen, exact bytes."""
    link_public: bytes
    pair_key: bytes | None = field(repr=False)
    """32 bytes, the pre-shared key of handshakes after the first; None on the invited side until paired."""
    invitation_id: bytes | None
    secret: bytes | None = field(repr=False)
    urls: tuple[str, ...]
    ranges: tuple[str, ...]
    state: PeerState

    @property
    def key(self) -> tuple[bytes, str]:
        """(fingerprint, zone): what the row, its board and its link are kept under."""
        return self.fingerprint, self.zone

    def to_record(self) -> list[Any]:
        """The row as a flat list of str, int, bytes, None and lists of str. It holds the secrets."""
        return [
            _RECORD_VERSION,
            self.fingerprint,
            self.zone,
            self.name,
            self.kind,
            self.card,
            self.link_public,
            self.pair_key,
            self.invitation_id,
            self.secret,
            list(self.urls),
            list(self.ranges),
            self.state,
        ]

    @classmethod
    def from_record(cls, record: Sequence[Any]) -> PeerRow:
        """The row that `to_record` gave.

        Raises:
            PeerError: another shape; the store was written by a newer version or is damaged.
        """
        match record:
            case [
                1,
                bytes(fp),
                str(zone),
                str(name),
                str(kind),
                bytes(card),
                bytes(link_public),
                bytes() | None as pair_key,
                bytes() | None as invitation_id,
                bytes() | None as secret,
                [*urls],
                [*ranges],
                "pinned" | "revoked" as state,
            ]:
                places = tuple(urls), tuple(ranges)
                return cls(fp, zone, name, kind, card, link_public, pair_key, invitation_id, secret, *places, state)
        raise _strange("peer")


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """One invitation that this agent has made. Once used or revoked it holds no secret."""

    id: bytes
    secret: bytes | None = field(repr=False)
    name: str
    kind: str | None
    zone: str
    ranges: tuple[str, ...]
    not_before: int
    not_after: int
    used_by: bytes | None
    """Fingerprint of the one identity it pinned."""
    failures: int
    """Tries by others than whom it pinned, or with a wrong secret; for the operator to see, nothing else."""
    state: InvitationState

    @classmethod
    def opened(cls, invitation: Invitation) -> InvitationRow:
        """The row of an invitation just made."""
        return cls(
            id=invitation.id,
            secret=invitation.secret,
            name=invitation.name,
            kind=invitation.kind,
            zone=invitation.zone,
            ranges=invitation.ranges,
            not_before=invitation.not_before,
            not_after=invitation.not_after,
            used_by=None,
            failures=0,
            state="open",
        )

    def burned(self, fp: bytes) -> InvitationRow:
        """Used by the identity `fp`, its secret gone."""
        return replace(self, secret=None, used_by=fp, state="used")

    def failed(self) -> InvitationRow:
        """With one more failure counted. Nothing else changes: no stranger may close an invitation."""
        return replace(self, failures=self.failures + 1)

    def to_record(self) -> list[Any]:
        """The row as a flat list of str, int, bytes, None and a list of str. It holds the secret."""
        return [
            _RECORD_VERSION,
            self.id,
            self.secret,
            self.name,
            self.kind,
            self.zone,
            list(self.ranges),
            self.not_before,
            self.not_after,
            self.used_by,
            self.failures,
            self.state,
        ]

    @classmethod
    def from_record(cls, record: Sequence[Any]) -> InvitationRow:
        """The row that `to_record` gave.

        Raises:
            PeerError: another shape; the store was written by a newer version or is damaged.
        """
        match record:
            case [
                1,
                bytes(id_),
                bytes() | None as secret,
                str(name),
                str() | None as kind,
                str(zone),
                [*ranges],
                int(not_before),
                int(not_after),
                bytes() | None as used_by,
                int(failures),
                "open" | "used" | "revoked" as state,
            ]:
                times = not_before, not_after
                return cls(id_, secret, name, kind, zone, tuple(ranges), *times, used_by, failures, state)
        raise _strange("invitation")


def pairing_id(pair_key: bytes) -> bytes:
    """16 bytes that name a pair key without telling it, as an invitation's id names its secret.

    One agent may be a peer in several zones under one link key, each with a pair key of its own; the
    dialler names in its first message which one it is about to use.
    """
    return hashlib.blake2b(pair_key, digest_size=_PAIRING_ID_BYTES, person=b"hopboard/pairing").digest()


class PeerBook:
    """An index of rows. Holds at most one row per (fingerprint, zone), and per (name, zone) one that is not
    revoked.

    Args:
        peers: rows as the store has them.
        invitations: rows as the store has them.
    """

    __slots__ = ("_by_link", "_by_name", "_invitations", "_peers")

    def __init__(self, peers: Iterable[PeerRow] = (), invitations: Iterable[InvitationRow] = ()) -> None:
        self._peers: dict[tuple[bytes, str], PeerRow] = {}
        self._by_name: dict[tuple[str, str], PeerRow] = {}
        self._by_link: dict[bytes, dict[tuple[bytes, str], PeerRow]] = {}
        self._invitations: dict[bytes, InvitationRow] = {}
        for row in peers:
            self.keep(row)
        for invitation in invitations:
            self.keep_invitation(invitation)

    @property
    def peers(self) -> tuple[PeerRow, ...]:
        """All rows, revoked ones too."""
        return tuple(self._peers.values())

    @property
    def invitations(self) -> tuple[InvitationRow, ...]:
        """All invitations that this agent made and still remembers."""
        return tuple(self._invitations.values())

    def peer(self, fp: bytes, zone: str) -> PeerRow | None:
        """The row of the identity `fp` in `zone`, pinned or revoked."""
        return self._peers.get((fp, zone))

    def named(self, name: str, zone: str) -> PeerRow | None:
        """The pinned peer of that name in that zone."""
        return self._by_name.get((name, zone))

    def with_link(self, link_public: bytes) -> tuple[PeerRow, ...]:
        """The rows whose link key is `link_public`, pinned or revoked."""
        return tuple(self._by_link.get(link_public, {}).values())

    def of(self, fp: bytes) -> tuple[PeerRow, ...]:
        """The rows of the identity `fp` in all zones, pinned or revoked."""
        return tuple(row for row in self._peers.values() if row.fingerprint == fp)

    def invitation(self, id_: bytes) -> InvitationRow | None:
        """The invitation of that id, in any state."""
        return self._invitations.get(id_)

    def check(self, row: PeerRow) -> None:
        """Whether `keep` would take `row`.

        Raises:
            PeerError: another key holds that name in that zone, and is not revoked.
        """
        holder = self._by_name.get((row.name, row.zone))
        if row.state == "pinned" and holder is not None and holder.fingerprint != row.fingerprint:
            raise PeerError(
                f'the name "{row.name}" in zone "{row.zone}" belongs to another key '
                f"({fingerprint_text(holder.fingerprint)})",
                fix=f"if that agent is gone, `mesh revoke {row.name}`; else give the new one another name",
            )

    def keep(self, row: PeerRow) -> None:
        """Put `row` in, in place of the one under the same key.

        Raises:
            PeerError: as `check`; the book is unchanged.
        """
        self.check(row)
        earlier = self._peers.get(row.key)
        if earlier is not None:
            self._unindex(earlier)
        self._peers[row.key] = row
        self._by_link.setdefault(row.link_public, {})[row.key] = row
        if row.state == "pinned":
            self._by_name[row.name, row.zone] = row

    def keep_invitation(self, row: InvitationRow) -> None:
        """Put `row` in, in place of the one under the same id."""
        self._invitations[row.id] = row

    def find(self, name: str, zone: str | None = None) -> tuple[PeerRow, ...]:
        """The pinned peers that a person means by `name`, in one zone or in all; one at least.

        Raises:
            PeerError: there is none; with the nearest name there is.
        """
        found = tuple(row for (known, where), row in self._by_name.items() if known == name and zone in {None, where})
        if found:
            return found
        close = nearest(name, sorted({known for known, where in self._by_name if zone in {None, where}}))
        place = "" if zone is None else f' in zone "{zone}"'
        fix = f'did you mean "{close}"?' if close else "see `mesh peers` for those there are"
        raise PeerError(f'there is no peer called "{name}"{place}', fix=fix)

    def revoked(self, fp: bytes) -> tuple[PeerRow, ...]:
        """New rows, for the store and then `keep`, by which the identity `fp` is revoked.

        It is a key that is revoked, not a place: a key that cannot be trusted in one zone cannot in another.
        """
        return tuple(
            replace(row, pair_key=None, secret=None, state="revoked") for row in self.of(fp) if row.state == "pinned"
        )

    def revoked_invitation(self, id_: bytes) -> InvitationRow:
        """A new row, for the store and then `keep_invitation`, by which the invitation can no longer be used.

        Raises:
            PeerError: unknown, or used already: what it pinned is a peer now, and a peer is revoked by name.
        """
        row = self._invitations.get(id_)
        if row is None:
            raise PeerError("there is no such invitation", fix="see `mesh peers` for those there are")
        if row.state == "used":
            raise PeerError(f'the invitation for "{row.name}" was used', fix=f"`mesh revoke {row.name}`")
        return replace(row, secret=None, state="revoked")

    def _unindex(self, row: PeerRow) -> None:
        linked = self._by_link[row.link_public]
        del linked[row.key]
        if not linked:
            del self._by_link[row.link_public]
        if self._by_name.get((row.name, row.zone)) is row:
            del self._by_name[row.name, row.zone]


def _strange(what: str) -> PeerError:
    return PeerError(
        f"the store holds a {what} that this version cannot read",
        fix="start the newer version that wrote it, or restore the store from a backup",
    )
