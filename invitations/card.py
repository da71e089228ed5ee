"""Cards: what an agent says about itself in public, signed by its identity key.

A card is carried as the exact bytes that were made once (`Card.data`); nobody re-encodes it. Those bytes
are a msgpack array of two binaries, the body and its Ed25519 signature; the body is the msgpack array

    [1, name, kind, [zone, ...], identity public key, link public key, serial, valid from, valid to]

with times in Unix seconds. There is one encoding of a card only: any other is refused, so equal cards are
equal bytes. Of two cards of one agent the one with the higher serial is the newer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import msgpack
import tomli_w

from grammar.errors import GrammarError
from grammar.names import nearest, parse_name
from invitations.documents import Base64Bytes, Document, from_base64, read_document, to_base64
from invitations.errors import CardError
from invitations.files import write_private
from invitations.fingerprint import fingerprint, fingerprint_text, fingerprint_words
from invitations.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, verify

Kind = Literal["portal", "provider", "platform", "instance", "bridge", "account", "filesystem", "scheduler", "custom"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)

MAX_CARD_BYTES: Final = 1024
MAX_ZONES: Final = 8
MAX_LIFE_S: Final = 366 * 86_400
LIFE_S: Final = 365 * 86_400
SKEW_S: Final = 120
"""Clocks within a minute of true time differ by two at most: nothing is called not yet valid within that."""

_DOMAIN: Final = b"hopboard/1/card\0"
_VERSION: Final = 1
_MAX_NUMBER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Card:
    """A verified card: an instance made by `Card.parse` has a good signature and is within all limits.

    Whether it is valid *now* is `moment`'s question, since a card is also shown and compared after its time.
    """

    data: bytes
    """The exact bytes; what is stored, sent and compared."""
    name: str
    kind: str
    """A legal name, not always one of `KINDS`: a card passes through agents older than its kind."""
    zones: tuple[str, ...]
    public_key: bytes
    link_public: bytes
    serial: int
    valid_from: int
    valid_to: int

    @classmethod
    def parse(cls, data: bytes) -> Card:
        """Read a card from its bytes.

        Raises:
            CardError: malformed, over a limit, not in the one encoding, or the signature does not hold.
        """
        if len(data) > MAX_CARD_BYTES:
            raise _bad(f"it is larger than {MAX_CARD_BYTES} bytes")
        match _unpacked(data):
            case [bytes(body), bytes(signature)]:
                card = cls._from_body(data, body)
            case _:
                raise _bad("it is not a body and a signature")
        if msgpack.packb([body, signature]) != data:
            raise _bad("it is not in the one encoding of a card")
        if len(signature) != SIGNATURE_BYTES or not verify(card.public_key, _DOMAIN + body, signature):
            raise _bad("its signature does not hold")
        return card

    @classmethod
    def _from_body(cls, data: bytes, body: bytes) -> Card:
        match _unpacked(body):
            case [int(version), *_] if version > _VERSION:
                raise CardError(f"the card has version {version}", fix="a newer Hopboard made it: upgrade this one")
            case [
                int(),
                str(name),
                str(kind),
                [*zones],
                bytes(public_key),
                bytes(link_public),
                int(serial),
                int(valid_from),
                int(valid_to),
            ]:
                named = tuple(zone for zone in zones if isinstance(zone, str))
                card = cls(data, name, kind, named, public_key, link_public, serial, valid_from, valid_to)
            case _:
                raise _bad("its fields are not those of a card")
        _check_limits(card)
        # One comparison settles what is left: a zone that is no text, a boolean, version 0, long forms.
        if _body(card) != body:
            raise _bad("it is not in the one encoding of a card")
        return card

    @classmethod
    def from_text(cls, text: str) -> Card:
        """Read a card from its text form (`Card.text`).

        Raises:
            CardError: as `parse`, or not base64.
        """
        try:
            data = from_base64(text)
        except ValueError:
            raise _bad("it is not URL-safe base64") from None
        return cls.parse(data)

    @property
    def text(self) -> str:
        """The bytes as one word of URL-safe base64, for TOML."""
        return to_base64(self.data)

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint (20 bytes) of the identity key."""
        return fingerprint(self.public_key)

    def moment(self, now: float) -> Moment:
        """Where `now` (Unix seconds) lies in the card's time."""
        return moment(now, self.valid_from, self.valid_to)

    def save(self, path: Path) -> None:
        """Write the card as a file that another operator can import with `mesh trust`.

        Raises:
            FileError: the file exists or cannot be written.
        """
        head = f'# The public card of "{self.name}". Compare the words by voice before you trust it.\n\n'
        document = {
            "hopboard": "card",
            "version": 1,
            "name": self.name,
            "kind": self.kind,
            "zones": list(self.zones),
            "fingerprint": fingerprint_text(self.fingerprint),
            "words": fingerprint_words(self.fingerprint),
            "card": self.text,
        }
        write_private(path, head + tomli_w.dumps(document), replace=False)


Moment = Literal["before", "within", "after"]


def moment(now: float, start: int, end: int) -> Moment:
    """Where `now` lies in the span from `start` to `end` (all Unix seconds; both ends belong to it).

    The start is taken `SKEW_S` early, since the clock that wrote it may be ahead of ours; the end is exact.
    """
    if now < start - SKEW_S:
        return "before"
    return "after" if now > end else "within"


def make_card(
    identity: Identity,
    *,
    name: str,
    kind: str,
    zones: tuple[str, ...],
    serial: int,
    now: float,
    life_s: int = LIFE_S,
) -> Card:
    """A new card, signed.

    Args:
        identity: whose card it is; gives both public keys and the signature.
        name: the agent's name.
        kind: one of `KINDS`.
        zones: the zones it belongs to, 1 to 8, each once.
        serial: higher than that of any card of this identity before.
        now: Unix seconds; the card is valid from here on.
        life_s: seconds it is valid, a year at most.

    Raises:
        GrammarError: a name or zone is not legal.
        CardError: the kind is unknown, or a limit is passed.
    """
    parse_name(name)
    parse_kind(kind)
    for zone in zones:
        parse_name(zone, what="zone")
    start = int(now)
    card = Card(b"", name, kind, zones, identity.public_key, identity.link_public, serial, start, start + life_s)
    _check_limits(card)
    body = _body(card)
    return Card.parse(msgpack.packb([body, identity.sign(_DOMAIN + body)]))


def parse_kind(text: str) -> str:
    """One of `KINDS`, for a kind that a person wrote; returned unchanged.

    Raises:
        CardError: unknown, with the nearest known one.
    """
    if text in KINDS:
        return text
    close = nearest(text, KINDS)
    fix = f'did you mean "{close}"?' if close else f"known kinds: {', '.join(KINDS)}"
    raise CardError(f'there is no kind "{text}"', key="kind", nearest=close, fix=fix)


class CardFile(Document):
    """The shape of a card file. Only `card` counts; the rest is for the eye, and must agree with it."""

    hopboard: Literal["card"]
    version: Literal[1]
    name: str
    kind: str
    zones: list[str]
    fingerprint: str
    words: str
    card: Base64Bytes


def load_card(path: Path) -> Card:
    """Read a card file.

    Raises:
        CardError: missing, no card file, a bad card, or lines for the eye that differ from what is signed.
    """
    fix = "get the file again from the agent's operator"
    file = read_document(
        path, CardFile, what="a card file", error=CardError, marker="card", missing="check the file name"
    )
    try:
        card = Card.parse(file.card)
    except CardError as error:
        raise CardError(f"{path}: {error.message}", path=path, key="card", fix=error.fix) from None
    shown = (file.name, file.kind, tuple(file.zones), file.fingerprint, file.words)
    fp = card.fingerprint
    if shown != (card.name, card.kind, card.zones, fingerprint_text(fp), fingerprint_words(fp)):
        raise CardError(f"{path}: the readable lines differ from the signed card", path=path, fix=fix)
    return card


def _body(card: Card) -> bytes:
    fields = [
        _VERSION,
        card.name,
        card.kind,
        list(card.zones),
        card.public_key,
        card.link_public,
        int(card.serial),  # a boolean is an int to Python; this way it does not encode to itself
        int(card.valid_from),
        int(card.valid_to),
    ]
    return bytes(msgpack.packb(fields))


def _unpacked(data: bytes) -> object:
    try:
        return msgpack.unpackb(data, max_array_len=16, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException):
        raise _bad("it is not msgpack") from None


def _check_limits(card: Card) -> None:
    try:
        parse_name(card.name)
        parse_name(card.kind, what="kind")
        for zone in card.zones:
            parse_name(zone, what="zone")
    except GrammarError as error:
        raise _bad(error.message) from None
    if not 1 <= len(card.zones) <= MAX_ZONES or len(set(card.zones)) != len(card.zones):
        raise _bad(f"its zones are not 1 to {MAX_ZONES} different ones")
    if len(card.public_key) != KEY_BYTES or len(card.link_public) != KEY_BYTES:
        raise _bad(f"its keys are not of {KEY_BYTES} bytes")
    if not 0 <= card.serial <= _MAX_NUMBER or not 0 <= card.valid_from < card.valid_to <= _MAX_NUMBER:
        raise _bad("its numbers are out of range")
    if card.valid_to - card.valid_from > MAX_LIFE_S:
        raise _bad("it is valid for more than a year")


def _bad(cause: str) -> CardError:
    return CardError(f"this is not a good card: {cause}", fix="get the card again from the agent it describes")
