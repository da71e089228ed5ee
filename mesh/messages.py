"""What two peers say to each other: arrays whose first item is a type code (PROTOCOL.md lists them all).

Building packs at once, so that a message is encoded once and framed by copying; reading checks shape and type, and
raises `MessageError` for what no honest peer says. Unknown optional types (128 and above) are passed over; unknown
critical ones close the link.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from msgpack import packb

from mesh.codec import pack, unpack_frame
from mesh.errors import MessageError

OPTIONAL: Final = 128
"""Type codes from here on may be passed over by an agent that does not know them."""


class Type(IntEnum):
    """Type codes of messages."""

    HELLO = 1
    FACT = 2
    ACK = 3
    CONFIRM = 4
    CREDIT = 5
    WANT = 6
    CARD = 7
    PING = 8
    PONG = 9
    AHEAD = 10
    BYE = 11
    ALL_SENT = 12
    IDENTIFY = 13
    BLOB = 14
    SLICE = 15
    HELD = 16
    CLOCK = 128
    UNKNOWN = 129


END: Final = 1
"""Flag of a FACT: the last one of its number."""
REISSUED: Final = 2
"""Flag of a FACT: the Request was acknowledged before, or is fetched again (R5)."""
WITHOUT: Final = 4
"""Flag of a FACT: it is to be taken without the blob that it names (R14)."""

Position = tuple[bytes, int]
"""(incarnation, number): a place in the sequence of changed jobs of one store."""


class Identify(NamedTuple):
    """The first message each way, small enough for a link that is not yet believed: who speaks, and in which zone.
    The dialler's goes first; the other side answers it once what it admitted is durable."""

    card: bytes
    zone: str


class Hello(NamedTuple):
    """The second message each way: what the sender has committed, and what it runs.

    `incarnations` lists the sender's store openings as [incarnation, first number]; `received` is the last position
    it committed of ours, `acked` the highest number of its own that it knows we took note of; `sent` its highest
    number for us. `exchanging` is 1 while a full exchange that it began is not finished (R4). `keywords` are the
    instructions it runs itself, None when it takes any.
    """

    version: int
    now_ms: int
    incarnations: list[list[object]]
    sent: int
    received: list[object] | None
    acked: int
    exchanging: int
    keywords: list[str] | None


class FactMessage(NamedTuple):
    """One fact under a number; `flags` says whether it ends the number."""

    number: int
    flags: int
    kind: int
    body: bytes
    proof: bytes


class Ack(NamedTuple):
    """Everything up to `received` is durable here; every Outcome up to `home` is committed at its origin.
    `refused` lists [number, reason, detail] until the sender confirms having committed them."""

    received: int
    home: int
    refused: list[list[object]]


class Confirm(NamedTuple):
    """The refusals up to `number` are committed at the sender of the records."""

    number: int


class Credit(NamedTuple):
    """Unfinished jobs that are accepted per branch; 0 with the reason when none are."""

    jobs: int
    reason: str


class Want(NamedTuple):
    """Send all you hold of this job again."""

    job_id: bytes


class Unknown(NamedTuple):
    """The answer to a WANT that cannot be met: the sender has no facts of this job, and nobody left to ask (R10)."""

    job_id: bytes


class CardMessage(NamedTuple):
    """The card of an agent whose facts follow, vouched for by the sender."""

    card: bytes


class Ping(NamedTuple):
    """Answer with a PONG of the same token."""

    token: int


class Pong(NamedTuple):
    """The answer to a PING."""

    token: int


class Clock(NamedTuple):
    """With the PONG that answers the PING `token`: the sender's clock."""

    token: int
    now_ms: int


class Ahead(NamedTuple):
    """An Outcome that is durable at its destination, passed on before our own commit and without a number (R1)."""

    body: bytes
    proof: bytes


class Bye(NamedTuple):
    """The sender closes the link, with a reason that a person can read."""

    reason: str


class AllSent(NamedTuple):
    """End of a full exchange: all records of the board up to this number were sent (R4)."""

    number: int


class BlobMessage(NamedTuple):
    """A blob of a job is about to be sent: `kind` is that of the fact that names it, `depth` how many parents the job
    of a payload has. It is answered by HELD (R14)."""

    job_id: bytes
    kind: int
    hash: bytes
    length: int
    depth: int = 0


class SliceMessage(NamedTuple):
    """Bytes of a blob, from `offset` on; slices come in order."""

    job_id: bytes
    kind: int
    hash: bytes
    offset: int
    data: bytes


class Held(NamedTuple):
    """The first `held` bytes of a blob are durable here, or it is not needed: then `held` is its length. `reason` is
    empty, or says why it will never be taken."""

    job_id: bytes
    kind: int
    hash: bytes
    held: int
    reason: str


Message = (
    Hello
    | FactMessage
    | Ack
    | Confirm
    | Credit
    | Want
    | CardMessage
    | Ping
    | Pong
    | Ahead
    | Bye
    | AllSent
    | Identify
    | Clock
    | BlobMessage
    | SliceMessage
    | Held
    | Unknown
)

_INT: Final = (int,)
_STR: Final = (str,)
_BIN: Final = (bytes,)
_LIST: Final = (list,)
_NONE: Final = type(None)

_SHAPES: Final[tuple[tuple[Type, type[Message], tuple[tuple[type, ...], ...]], ...]] = (
    (Type.HELLO, Hello, (_INT, _INT, _LIST, _INT, (list, _NONE), _INT, _INT, (list, _NONE))),
    (Type.FACT, FactMessage, (_INT, _INT, _INT, _BIN, _BIN)),
    (Type.ACK, Ack, (_INT, _INT, _LIST)),
    (Type.CONFIRM, Confirm, (_INT,)),
    (Type.CREDIT, Credit, (_INT, _STR)),
    (Type.WANT, Want, (_BIN,)),
    (Type.CARD, CardMessage, (_BIN,)),
    (Type.PING, Ping, (_INT,)),
    (Type.PONG, Pong, (_INT,)),
    (Type.AHEAD, Ahead, (_BIN, _BIN)),
    (Type.BYE, Bye, (_STR,)),
    (Type.ALL_SENT, AllSent, (_INT,)),
    (Type.IDENTIFY, Identify, (_BIN, _STR)),
    (Type.BLOB, BlobMessage, (_BIN, _INT, _BIN, _INT, _INT)),
    (Type.SLICE, SliceMessage, (_BIN, _INT, _BIN, _INT, _BIN)),
    (Type.HELD, Held, (_BIN, _INT, _BIN, _INT, _STR)),
    (Type.CLOCK, Clock, (_INT, _INT)),
    (Type.UNKNOWN, Unknown, (_BIN,)),
)
_SHAPE_OF: Final = MappingProxyType({int(code): (kind, shape) for code, kind, shape in _SHAPES})
_MAX_INT: Final = (1 << 62) - 1
_FACT: Final = int(Type.FACT)
_FACT_TYPES: Final = (int, int, int, int, bytes, bytes)
# What `FactMessage._make` does, without a step in Python for each message.
_new: Final[Callable[[type[FactMessage], Sequence[object]], FactMessage]] = tuple.__new__


def encode(code: Type, content: Message) -> bytes:
    """Pack one message."""
    return pack([int(code), *content])


def encode_fact(
    number: int, flags: int, kind: int, body: bytes, proof: bytes, pack: Callable[[object], bytes] = packb
) -> bytes:
    """Pack one FACT; apart from `encode` because this is the hot one, and cannot break a limit but the frame's. `pack`
    is as in `Job.row`."""
    return pack((_FACT, number, flags, int(kind), body, proof))


def is_ack(packed: bytes) -> bool:
    """Whether a packed message is an ACK, for who passes messages on and reads none."""
    return packed[1] == Type.ACK


def is_hello(packed: bytes) -> bool:
    """Whether a packed message is a HELLO."""
    return packed[1] == Type.HELLO


def read(array: object) -> Message | None:
    """Read one unpacked message.

    Returns:
        The message, or None for an unknown optional type.

    Raises:
        MessageError: no array, unknown critical type, wrong number or type of fields, a negative or huge number.
    """
    if type(array) is list and array and array[0] == _FACT and tuple(map(type, array)) == _FACT_TYPES:
        message = _new(FactMessage, array[1:])
        if 0 <= message.number <= _MAX_INT and 0 <= message.flags <= _MAX_INT and 0 <= message.kind <= _MAX_INT:
            return message
    if type(array) is not list or not array or type(array[0]) is not int:
        raise MessageError("a message is an array that starts with its type")
    code = array[0]
    known = _SHAPE_OF.get(code)
    if known is None:
        if code >= OPTIONAL:
            return None
        raise MessageError(f"message type {code} is not known to this version", fix="upgrade this agent")
    kind, shape = known
    if len(array) != len(shape) + 1:
        raise MessageError(f"a message of type {code} has {len(shape)} fields")
    for value, allowed in zip(array[1:], shape, strict=True):
        if type(value) not in allowed or (type(value) is int and not 0 <= value <= _MAX_INT):
            raise MessageError(f"a field of a message of type {code} is not what it has to be")
    content = kind(*array[1:])
    if type(content) is Ack or type(content) is Hello:
        _check_lists(content)
    return content


def messages_of(plaintext: bytes) -> list[Message]:
    """The messages of one frame; unknown optional ones are passed over.

    Raises:
        CodecError, MessageError: what no honest peer sends.
    """
    found: list[Message] = []
    for array in unpack_frame(plaintext):
        message = read(array)
        if message is not None:
            found.append(message)
    return found


def _check_lists(message: Ack | Hello) -> None:
    # What stands in the lists may be anything yet, whatever it is declared as.
    if isinstance(message, Ack):
        refused: Sequence[object] = message.refused
        if not all(_is_refusal(item) for item in refused):
            raise MessageError("a refusal is [number, reason, detail]")
        return
    pairs: Sequence[object] = [*message.incarnations, *([] if message.received is None else [message.received])]
    if not message.incarnations or not all(_is_position(pair) for pair in pairs):
        raise MessageError("a position is [incarnation, number]")
    words: Sequence[object] = message.keywords or ()
    if not all(type(word) is str for word in words):
        raise MessageError("keywords are texts")


def _is_position(pair: object) -> bool:
    return type(pair) is list and len(pair) == 2 and type(pair[0]) is bytes and type(pair[1]) is int and pair[1] >= 0


def _is_refusal(item: object) -> bool:
    return (
        type(item) is list
        and len(item) == 3
        and type(item[0]) is int
        and item[0] >= 0
        and type(item[1]) is str
        and len(item[1]) <= 64
        and type(item[2]) is str
        and len(item[2]) <= 1_024
    )
