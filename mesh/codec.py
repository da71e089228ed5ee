"""msgpack documents and frames, with limits on both sides of the wire.

A *document* is one msgpack value of nil, booleans, integers, finite floats, text, bytes, arrays, and maps
whose keys are text or bytes. A *message* is a document that is an array `[type code, ...]`; what the code
means is none of this file's business. A *frame* is the plaintext of one sealed frame: a msgpack array of
messages, so that the bytes of a frame are an array header followed by the messages as they were packed, and
nothing is packed twice.

Everything that can be wrong with bytes or values is a `CodecError`; any other exception is a bug. The limits
bind the writer as well as the reader: what `pack` returns, `unpack` takes. Text and bytes have no limit of
their own: none is longer than the document around it, which for everything that travels is at most 64 KiB.

Bytes are unpacked only after the frame was authenticated and its size was checked (PROTOCOL.md 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from math import isfinite
from typing import Any, Final, NamedTuple

import msgpack

from mesh.errors import CodecError
from mesh.limits import FRAME_BYTES

FRAME_MESSAGES: Final = 1_024
"""Most messages in one frame."""

_HEADER_BYTES: Final = 3
MESSAGE_BYTES: Final = FRAME_BYTES - _HEADER_BYTES
"""Largest packed message: it has to fit a frame beside the longest array header, 3 bytes."""

_PLAIN: Final = frozenset({type(None), bool, int, str, bytes})
_OTHERS: Final = frozenset({float, list, dict})
_ARRAYS: Final = frozenset({list})
_CODES: Final = frozenset({int})


class DocumentLimits(NamedTuple):
    """What one document may hold.

    `array` and `map` count the items of one array and the pairs of one map. `depth` counts arrays and maps
    around a value: a plain value has depth 0, `[]` has depth 1.
    """

    bytes: int = 65_536
    array: int = 1_024
    map: int = 64
    depth: int = 16


DOCUMENT: Final = DocumentLimits()
"""The limits of a fact, a card and a single message."""

STORED: Final = DocumentLimits(bytes=1_048_576)
"""The limits of a row of this agent's own store, which may hold several facts side by side."""

_FRAME: Final = DocumentLimits(bytes=FRAME_BYTES, array=FRAME_MESSAGES)


def pack(value: object, limits: DocumentLimits = DOCUMENT, packb: Callable[[object], bytes] = msgpack.packb) -> bytes:
    """Encode one document.

    Args:
        value: the document. Tuples become arrays, and a subclass (an enumeration, a named tuple) is encoded as what it
            derives from.
        limits: what it may hold.
        packb: what encodes it; the `pack` of a `Packer` that is kept takes half the time of a new one.

    Returns:
        The shortest msgpack form of `value`; maps keep their order. `unpack` with the same limits takes it.

    Raises:
        CodecError: a type msgpack has no form for, NaN or an infinity, an integer outside 64 bits, a text
            with lone surrogates, or a limit exceeded.
    """
    try:
        data = packb(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CodecError(f"a value cannot be encoded ({type(error).__name__})") from None
    if not _is_flat(value, limits) or len(data) > limits.bytes:
        # The reader's rules are the writer's: whatever is not plainly fine is read back.
        unpack(data, limits)
    return data


def unpack(data: bytes, limits: DocumentLimits = DOCUMENT) -> Any:
    """Decode one document.

    Returns:
        None, bool, int, float, str, bytes, or lists and dicts of them; never anything else.

    Raises:
        CodecError: the bytes are no msgpack, more than one document, break off, hold an extension type, NaN,
            an infinity, a repeated key or a key that is neither text nor bytes, or exceed a limit.
    """
    value = _read(data, limits)
    if type(value) is not list or limits.depth < 1 or not _PLAIN.issuperset(map(type, value)):
        _check([value], limits.depth)
    return value


def pack_frame(messages: Sequence[Sequence[object]]) -> bytes:
    """Encode `messages` as one frame; `FramePacker` is for messages that are already packed.

    Raises:
        CodecError: no message or more than 1,024, one that is not an array with a type code first, one that
            `pack` refuses, or more bytes than one frame holds.
    """
    frame = _join([pack(message) for message in messages])
    unpack_frame(frame)
    return frame


def unpack_frame(data: bytes) -> list[list[Any]]:
    """Decode the plaintext of one frame.

    Returns:
        1 to 1,024 messages in the order in which they were packed. Each is a list whose first item is an int.

    Raises:
        CodecError: as `unpack`, each message being a document within `DOCUMENT`; or the frame exceeds 65,519
            bytes, holds no message, or something that is no message. Nothing of such a frame may be used.
    """
    frame = _read(data, _FRAME)
    if type(frame) is not list or not _ARRAYS.issuperset(map(type, frame)):
        raise CodecError("a frame is not an array of messages")
    try:
        codes = {type(message[0]) for message in frame}
    except IndexError:
        raise CodecError("a message is empty") from None
    if codes != _CODES:
        raise CodecError("a frame holds no message, or one without a type code")
    if not _PLAIN.issuperset(map(type, chain.from_iterable(frame))):
        _check(chain.from_iterable(frame), DOCUMENT.depth - 1)
    return frame


class FramePacker:
    """Fills frames with packed messages, in order, each frame as full as it gets.

    A frame is an array header and the very bytes of its messages: nothing is encoded again. The caller adds
    what is waiting for one peer and then takes the frames.
    """

    __slots__ = ("_frames", "_messages", "_size")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._messages: list[bytes] = []
        self._size = 0

    def add(self, message: bytes) -> None:
        """Append one message, given as the bytes `pack` made of it.

        Raises:
            CodecError: it is longer than `MESSAGE_BYTES`; the packer is unchanged.
        """
        size = self._size + len(message)
        if size > MESSAGE_BYTES or len(self._messages) == FRAME_MESSAGES:
            size = len(message)
            if size > MESSAGE_BYTES:
                raise CodecError(f"a message of {size:,} bytes exceeds the {MESSAGE_BYTES:,} of a frame")
            self._close()
        self._messages.append(message)
        self._size = size

    def extend(self, messages: Iterable[bytes]) -> None:
        """Append several messages in order; after a `CodecError` those before the one it names are kept."""
        for message in messages:
            self.add(message)

    def take(self) -> list[bytes]:
        """Return the frames of all messages added so far, in order, and leave the packer empty."""
        if self._messages:
            self._close()
        frames, self._frames = self._frames, []
        return frames

    def _close(self) -> None:
        self._frames.append(_join(self._messages))
        self._messages = []
        self._size = 0


def _is_flat(value: object, limits: DocumentLimits) -> bool:
    """Whether `value` is an array that breaks no limit by its types and its length: most messages are.

    Exact types: msgpack's `ExtType` is a tuple too, and is not encoded as one.
    """
    return (
        (type(value) is list or type(value) is tuple)
        and len(value) <= limits.array
        and limits.depth > 0
        and _PLAIN.issuperset(map(type, value))
    )


def _join(messages: list[bytes]) -> bytes:
    """Put the shortest array header before packed messages."""
    count = len(messages)
    if count > FRAME_MESSAGES:
        raise CodecError(f"a frame holds at most {FRAME_MESSAGES:,} messages")
    header = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return header + b"".join(messages)


def _read(data: bytes, limits: DocumentLimits) -> object:
    """Unpack within every limit but the depth; types and floats are not looked at yet."""
    if len(data) > limits.bytes:
        raise CodecError(f"{len(data):,} bytes exceed the limit of {limits.bytes:,}")
    try:
        # One call, one document: an `Unpacker` used again after a failure has crashed (GHSA-6v7p-g79w-8964).
        value: object = msgpack.unpackb(
            data, max_array_len=limits.array, max_map_len=limits.map, object_pairs_hook=_distinct
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CodecError(f"bytes are no document within the limits ({type(error).__name__})") from None
    return value


def _distinct(pairs: list[tuple[object, object]]) -> dict[object, object]:
    """Build one map; of two equal keys another reader might believe the other one."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise CodecError("a map has a key twice")
    return result


def _check(level: Iterable[Any], depth: int) -> None:
    """Check types, floats and nesting level by level, so that no input can exhaust the stack.

    msgpack itself nests up to 1,024 deep and makes objects of extension types, whatever hook it is given.

    Args:
        level: the values that lie equally deep.
        depth: how many more arrays or maps may lie around a value.
    """
    while rest := [value for value in level if type(value) not in _PLAIN]:
        if not _OTHERS.issuperset(map(type, rest)):
            raise CodecError("a document holds an extension type")
        if not all(isfinite(value) for value in rest if type(value) is float):
            raise CodecError("a document holds NaN or an infinity")
        inner = [value.values() if type(value) is dict else value for value in rest if type(value) is not float]
        if inner and depth == 0:
            raise CodecError("a document is nested too deeply")
        depth -= 1
        level = chain.from_iterable(inner)
