"""The six facts a job is made of, and their exact bytes.

A fact is signed once and carried as the bytes that were signed; nobody re-encodes. Its content is a msgpack array
whose first item is the version of the fact. `decode` checks every type and bound, so that what it returns can be
believed to be well formed; whether it is *true* is the proof's and `board`'s question.

Request (origin), Cancel and Delete (origin), Progress and Outcome (destination), Reject (a hop).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from hashlib import blake2b
from itertools import product
from types import MappingProxyType
from typing import Final, NamedTuple

from msgpack import packb

from mesh.blobs import HASH_BYTES, Name
from mesh.codec import pack, unpack
from mesh.errors import CodecError, FactError
from mesh.lifecycle import OUTCOMES, Event, State
from mesh.proof import leaf_of
from mesh.quotas import DEEPEST

VERSION: Final = 1
ID_BYTES: Final = 26
NONCE_BYTES: Final = 16
FINGERPRINT_BYTES: Final = 20
SHORT: Final = 8
"""Characters of the hash part that people see and type."""


class Kind(IntEnum):
    """What a fact is. The number is on the wire and under the signature."""

    REQUEST = 1
    CANCEL = 2
    DELETE = 3
    PROGRESS = 4
    OUTCOME = 5
    REJECT = 6


# The members by themselves: a look-up in the class costs 0.1 us on Python 3.11, and every fact asks for dozens.
REQUEST: Final = Kind.REQUEST
CANCEL: Final = Kind.CANCEL
DELETE: Final = Kind.DELETE
PROGRESS: Final = Kind.PROGRESS
OUTCOME: Final = Kind.OUTCOME
REJECT: Final = Kind.REJECT


class Request(NamedTuple):
    """What the origin asks for. `payload` is nil, or [hash, length] of a blob (rule R14). `lineage` holds the Requests
    of the parents, nearest first, as [body, proof, card of its origin]: evidence for the ownership rule, at most four
    deep."""

    version: int
    nonce: bytes
    zone: str
    path: str
    origin: bytes
    destination: bytes | None
    instruction: str
    payload: list[object] | None
    circle: str
    context: str
    created_ms: int
    expires_ms: int
    options: dict[str, object] | None
    parent: bytes | None
    lineage: list[list[bytes]] | None


class Cancel(NamedTuple):
    """The origin wants the job stopped."""

    version: int
    job_id: bytes
    signer: bytes
    at_ms: int


class Delete(NamedTuple):
    """The origin wants the job stopped and forgotten; what stays is a tombstone."""

    version: int
    job_id: bytes
    signer: bytes
    at_ms: int


class Progress(NamedTuple):
    """The destination reports. Of two the higher (number, hash) holds."""

    version: int
    job_id: bytes
    signer: bytes
    number: int
    state: str
    attempt: int
    message: str | None
    fraction: float | None
    at_ms: int


class Outcome(NamedTuple):
    """The destination ends the job, once. `result` is JSON text, or [hash, length] of a blob that holds it (rule R14);
    `error` is [kind, message]; `started_ms` is 0 for a job that never started. An outcome whose effect is unknown says
    so by `unknown_effect`."""

    version: int
    job_id: bytes
    signer: bytes
    number: int
    state: str
    result_type: str | None
    result: str | list[object] | None
    error: list[str] | None
    attempt: int
    started_ms: int
    ended_ms: int
    unknown_effect: bool


class Reject(NamedTuple):
    """A hop refused instead of forwarding, never after. `agent` is that hop's name."""

    version: int
    job_id: bytes
    signer: bytes
    agent: str
    reason: str
    message: str
    fix: str
    at_ms: int


Content = Request | Cancel | Delete | Progress | Outcome | Reject


def made_ms(job_id: bytes) -> int:
    """When a job was made, on the clock of its origin; its id begins with that."""
    return int.from_bytes(job_id[:6], "big")


def job_id_of(created_ms: int, body: bytes) -> bytes:
    """The id of the job that the Request bytes `body` make: its `created` in milliseconds (6 bytes, big-endian) and
    the BLAKE2b-160 of the bytes. Ids sort by time, and the same id with another content cannot exist."""
    return created_ms.to_bytes(6, "big") + blake2b(body, digest_size=20).digest()


class Fact:
    """One signed statement: its kind, the exact bytes, the proof, and the decoded content.

    Facts are equal when kind and bytes are; the proof is not part of a fact's identity. `proof` is empty between the
    making of a fact and the end of the step that signs it; such a fact is never stored nor sent.
    """

    __slots__ = ("_digest", "body", "content", "job_id", "kind", "proof")

    def __init__(self, kind: Kind, body: bytes, proof: bytes, content: Content) -> None:
        self.job_id = job_id_of(content.created_ms, body) if kind is REQUEST else content.job_id  # type: ignore[union-attr]
        self.kind = kind
        self.body = body
        self.proof = proof
        self.content = content
        self._digest: bytes | None = None

    def __repr__(self) -> str:
        return f"<{self.kind.name.lower()} {len(self.body)} bytes>"

    def digest(self) -> bytes:
        """Hash of kind and bytes, the leaf that is signed: 32 bytes (PROTOCOL.md 6)."""
        if self._digest is None:
            self._digest = leaf_of(self.kind, self.body)
        return self._digest


_NONE: Final = type(None)
_INT: Final = (int,)
_STR: Final = (str,)
_BIN: Final = (bytes,)
_HEAD: Final = (_INT, _BIN, _BIN)
_SIGNED_AT: Final = (*_HEAD, _INT)

_SHAPES: Final = MappingProxyType(
    {
        Kind.REQUEST: (
            *(_INT, _BIN, _STR, _STR, _BIN, (bytes, _NONE), _STR, (list, _NONE), _STR, _STR),
            *(_INT, _INT, (dict, _NONE), (bytes, _NONE), (list, _NONE)),
        ),
        Kind.CANCEL: _SIGNED_AT,
        Kind.DELETE: _SIGNED_AT,
        Kind.PROGRESS: (*_HEAD, _INT, _STR, _INT, (str, _NONE), (float, int, _NONE), _INT),
        Kind.OUTCOME: (
            *(*_HEAD, _INT, _STR, (str, _NONE), (str, list, _NONE), (list, _NONE)),
            *(_INT, _INT, _INT, (bool,)),
        ),
        Kind.REJECT: (*_HEAD, _STR, _STR, _STR, _STR, _INT),
    }
)
# Every combination of types that the shape of a kind allows: one look-up instead of a look at each field.
_FITS: Final = MappingProxyType({kind: frozenset(product(*shape)) for kind, shape in _SHAPES.items()})
_TYPES: Final[Mapping[Kind, type[Content]]] = MappingProxyType(
    {
        Kind.REQUEST: Request,
        Kind.CANCEL: Cancel,
        Kind.DELETE: Delete,
        Kind.PROGRESS: Progress,
        Kind.OUTCOME: Outcome,
        Kind.REJECT: Reject,
    }
)
# What `_make` of each does, without a step in Python for each fact.
_new: Final[Callable[[type[Content], Sequence[object]], Content]] = tuple.__new__
_FORMS: Final = MappingProxyType({int(kind): (kind, _TYPES[kind], _FITS[kind]) for kind in Kind})
_OUTCOME_STATES: Final = frozenset(str(state) for state in OUTCOMES)
_OUTCOME_EVENTS: Final[Mapping[str, Event]] = MappingProxyType(
    {
        State.COMPLETE: Event.COMPLETE,
        State.ERROR: Event.ERROR,
        State.EXPIRED: Event.EXPIRED,
        State.CANCELLED: Event.CANCELLED,
    }
)


def id_text(job_id: bytes) -> str:
    """The whole id as people and programs see it: 52 hexadecimal digits."""
    return job_id.hex()


def short_text(job_id: bytes) -> str:
    """The 8 characters of the hash part that people type."""
    return job_id[6:10].hex()


def make(kind: Kind, content: Content, packb: Callable[[object], bytes] = packb) -> Fact:
    """Encode `content` as a fact without proof yet; the step that made it signs it. `packb` is as in `codec.pack`."""
    return Fact(kind, pack(tuple(content), packb=packb), b"", content)


def decode(kind: int, body: bytes, proof: bytes) -> Fact:
    """Read the bytes of a fact.

    Raises:
        FactError: the bytes are no such fact: wrong kind, version, shape, type or bound.
    """
    form = _FORMS.get(kind)
    if form is None:
        raise FactError(f"no fact has kind {kind}")
    known, content_type, fits = form
    try:
        array = unpack(body)
    except CodecError as error:
        raise FactError(f"the fact is not readable: {error.message}") from error
    if type(array) is not list or len(array) != len(_SHAPES[known]):
        raise FactError("the fact has not the fields of its kind")
    if tuple(map(type, array)) not in fits:
        raise FactError("a field of the fact has the wrong type")
    if array[0] != VERSION:
        raise FactError(f"the fact is of version {array[0]}, this agent knows {VERSION}")
    content = _new(content_type, array)
    if type(content) is Request:
        _check_request(content)
    elif len(array[1]) != ID_BYTES or len(array[2]) != FINGERPRINT_BYTES:
        raise FactError("the fact names no job or no signer")
    elif type(content) is Outcome:
        _check_outcome(content)
    elif type(content) is Progress and content.state not in (State.CLAIMED, State.RUNNING):
        raise FactError("progress is claimed or running")
    return Fact(known, body, proof, content)


def event_of(content: Content) -> Event | None:
    """The row of the lifecycle table that a fact's content stands for; None for a Request or a Cancel."""
    match content:
        case Outcome():
            return _OUTCOME_EVENTS[content.state]
        case Progress():
            return Event.RUNNING if content.state == State.RUNNING else Event.CLAIMED
        case Reject():
            if content.reason == "expired":
                return Event.REJECTED_EXPIRED
            if content.reason == "cancelled":
                return Event.REJECTED_CANCELLED
            return Event.REJECTED_LOST if content.reason == "lost" else Event.REJECTED
        case Delete():
            return Event.DELETED
        case _:
            return None


def blob_of(content: Content) -> Name | None:
    """The blob that a fact names, if it names one (rule R14)."""
    named = content.payload if type(content) is Request else content.result if type(content) is Outcome else None
    return Name(*named) if type(named) is list else None  # type: ignore[arg-type]


def depth_of(content: Content) -> int:
    """How many parents a job has, as the room for its payload is counted; 0 for what is no Request."""
    lineage = content.lineage if type(content) is Request else None
    return min(len(lineage), DEEPEST) if lineage else 0


def _check_blob(named: list[object]) -> None:
    if [type(part) for part in named] != [bytes, int] or len(named[0]) != HASH_BYTES:  # type: ignore[arg-type]
        raise FactError("a blob is named by its hash and its length")
    if not 0 <= named[1] < 1 << 31:  # type: ignore[operator]
        raise FactError("a blob has less than 2^31 bytes")


def _check_request(request: Request) -> None:
    if len(request.nonce) != NONCE_BYTES or len(request.origin) != FINGERPRINT_BYTES:
        raise FactError("the request has a nonce or an origin of the wrong length")
    if request.destination is not None and len(request.destination) != FINGERPRINT_BYTES:
        raise FactError("the request names a destination of the wrong length")
    if not 0 < request.created_ms < 1 << 48 or not request.created_ms < request.expires_ms < 1 << 48:
        raise FactError("the request is created after it expires, or outside the calendar")
    if request.payload is not None:
        _check_blob(request.payload)
    if request.parent is not None and len(request.parent) != ID_BYTES:
        raise FactError("the request names a parent of the wrong length")
    # What stands in the list may be anything yet, whatever it is declared as.
    lineage: Sequence[object] = request.lineage or ()
    for parent in lineage:
        if type(parent) is not list or len(parent) != 3 or any(type(part) is not bytes for part in parent):
            raise FactError("the lineage of the request is malformed")


def _check_outcome(outcome: Outcome) -> None:
    if outcome.state not in _OUTCOME_STATES:
        raise FactError("an outcome is complete, error, expired or cancelled")
    if type(outcome.result) is list:
        _check_blob(outcome.result)
        if outcome.state != State.COMPLETE:
            raise FactError("only a job that is complete has a result in a blob")
    error: Sequence[object] | None = outcome.error
    if error is not None and (len(error) != 2 or any(type(part) is not str for part in error)):
        raise FactError("the error of the outcome is malformed")
    if (outcome.state == State.ERROR) is (error is None):
        raise FactError("an outcome has an error exactly when its state is error")
