"""Documents and frames: what goes in comes out, and whatever is wrong is a `CodecError` and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from math import inf, nan
from random import Random
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.codec import (
    DOCUMENT,
    FRAME_MESSAGES,
    MESSAGE_BYTES,
    STORED,
    DocumentLimits,
    FramePacker,
    pack,
    pack_frame,
    unpack,
    unpack_frame,
)
from mesh.errors import CodecError
from mesh.limits import FRAME_BYTES

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5) | st.binary(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)
MESSAGES = st.lists(
    st.builds(lambda code, rest: [code, *rest], st.integers(0, 255), st.lists(DOCUMENTS, max_size=4)),
    min_size=1,
    max_size=20,
)


def nested(depth: int) -> Any:
    value: Any = 1
    for turn in range(depth):
        value = [value] if turn % 2 else {"k": value}
    return value


class Colour(StrEnum):
    RED = "red"


class Code(IntEnum):
    HELLO = 1


class Pair(NamedTuple):
    left: int
    right: str


@given(DOCUMENTS)
@settings(max_examples=60)
def test_a_document_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    data = pack(value)
    assert repr(unpack(data)) == repr(value)
    assert data == msgpack.packb(value)


@given(MESSAGES)
@settings(max_examples=40)
def test_a_frame_comes_back_equal(messages: list[list[Any]]) -> None:
    assert repr(unpack_frame(pack_frame(messages))) == repr(messages)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Pair(1, "r"), [1, "r"]),
        ([Code.HELLO, Colour.RED], [1, "red"]),
        ({Colour.RED: Code.HELLO}, {"red": 1}),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
    ],
)
def test_derived_types_are_encoded_as_what_they_derive_from(value: Any, read: Any) -> None:
    result = unpack(pack(value))
    assert repr(result) == repr(read)


UNENCODABLE: list[Any] = [
    nan,
    inf,
    -inf,
    [1, nan],
    {"k": [inf]},
    2**64,
    -(2**63) - 1,
    {1, 2},
    object(),
    1j,
    datetime(2026, 1, 1, tzinfo=UTC),
    msgpack.Timestamp(1),
    msgpack.ExtType(5, b"x"),
    "\ud800",
    {1: "int key"},
    {None: 1},
    {(1, 2): 1},
    nested(17),
    [0] * 1_025,
    [[0] * 1_025],
    {str(number): 0 for number in range(65)},
    "x" * 65_536,
    ["x" * 65_536],
    b"x" * 65_536,
]


@pytest.mark.parametrize("value", UNENCODABLE, ids=lambda value: repr(value)[:20])
def test_what_could_not_be_read_is_not_written(value: Any) -> None:
    with pytest.raises(CodecError):
        pack(value)
    with pytest.raises(CodecError):
        pack_frame([[1, value]])


def test_a_circular_value_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(CodecError):
        pack(ring)


def test_the_limits_themselves_are_taken() -> None:
    for value in (nested(16), [0] * 1_024, {str(number): 0 for number in range(64)}, "x" * 65_533, []):
        assert unpack(pack(value)) == value


def test_own_limits_bind_writer_and_reader() -> None:
    tight = DocumentLimits(bytes=8, array=2, map=1, depth=1)
    assert unpack(pack([1, 2], tight), tight) == [1, 2]
    for value in ([1, 2, 3], "12345678", [[1]], {"a": 1, "b": 2}):
        with pytest.raises(CodecError):
            pack(value, tight)
        with pytest.raises(CodecError):
            unpack(pack(value), tight)
    flat = DocumentLimits(depth=0)
    assert unpack(pack(1, flat), flat) == 1
    with pytest.raises(CodecError, match="deeply"):
        pack([1], flat)
    assert unpack(pack([b"x" * 65_536] * 3, STORED), STORED) == [b"x" * 65_536] * 3


BAD_DOCUMENTS = {
    "empty": b"",
    "reserved byte": b"\xc1",
    "trailing byte": b"\x01\x00",
    "two documents": b"\x01\x01",
    "array breaks off": b"\x92\x01",
    "map breaks off": b"\x81\xa1k",
    "text breaks off": b"\xa3ab",
    "integer breaks off": b"\xcf\x00",
    "array of 2^32 - 1": b"\xdd\xff\xff\xff\xff",
    "array of 1,025": b"\xdc\x04\x01" + bytes(1_025),
    "map of 2^32 - 1": b"\xdf\xff\xff\xff\xff",
    "map of 65": b"\xde\x00\x41" + b"".join(b"\xa2%02d\x00" % number for number in range(65)),
    "text of 2^32 - 1": b"\xdb\xff\xff\xff\xff",
    "bytes of 2^32 - 1": b"\xc6\xff\xff\xff\xff",
    "not UTF-8": b"\xa2\xff\xfe",
    "surrogate": b"\xa3\xed\xa0\x80",
    "overlong UTF-8": b"\xa2\xc0\x80",
    "key twice": b"\x82\xa1k\x01\xa1k\x02",
    "key twice, in two encodings": b"\x82\xa1k\x01\xd9\x01k\x02",
    "key twice, deep": b"\x91\x91\x82\xa1k\x01\xa1k\x02",
    "integer key": b"\x81\x01\x01",
    "nil key": b"\x81\xc0\x01",
    "float key": b"\x81\xcb" + struct.pack(">d", 1.0) + b"\x01",
    "array key": b"\x81\x90\x01",
    "map key": b"\x81\x80\x01",
    "NaN": b"\xcb" + struct.pack(">d", nan),
    "infinity": b"\xcb" + struct.pack(">d", inf),
    "minus infinity": b"\x91\xcb" + struct.pack(">d", -inf),
    "NaN, single": b"\xca\x7f\xc0\x00\x00",
    "infinity, deep": b"\x91\x81\xa1k\x92\x01\xca\x7f\x80\x00\x00",
    "fixext 1": b"\xd4\x05x",
    "fixext 16": b"\xd8\x05" + bytes(16),
    "ext 8, empty": b"\xc7\x00\x05",
    "ext 8": b"\xc7\x01\x05x",
    "ext 16": b"\xc8\x00\x01\x05x",
    "ext 32": b"\xc9\x00\x00\x00\x01\x05x",
    "timestamp 32": b"\xd6\xff\x00\x00\x00\x01",
    "timestamp 64": b"\xd7\xff" + bytes(8),
    "timestamp 96": b"\xc7\x0c\xff" + bytes(12),
    "timestamp, empty": b"\xc7\x00\xff",
    "timestamp, deep": b"\x91\x91\xd6\xff\x00\x00\x00\x01",
    "17 arrays": b"\x91" * 17 + b"\x01",
    "17 arrays, the last empty": b"\x91" * 16 + b"\x90",
    "17 maps": b"\x81\xa0" * 17 + b"\x01",
    "1,000 arrays": b"\x91" * 1_000 + b"\x01",
    "60,000 arrays": b"\x91" * 60_000 + b"\x01",
    "20,000 maps": b"\x81\xa0" * 20_000 + b"\x01",
    "too long": b"\xc6\x00\x00\xff\xfc" + bytes(65_532),
}


@pytest.mark.parametrize("data", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_bad_bytes_are_refused_alone_and_in_a_frame(data: bytes) -> None:
    with pytest.raises(CodecError):
        unpack(data)
    with pytest.raises(CodecError):
        unpack_frame(b"\x91\x92\x01" + data)


def test_depth_is_counted_alike_in_a_message_alone_and_in_a_frame() -> None:
    deepest, deeper = [1, nested(15)], [1, nested(16)]
    assert unpack_frame(pack_frame([deepest])) == [deepest]
    with pytest.raises(CodecError, match="deeply"):
        pack(deeper)
    with pytest.raises(CodecError, match="deeply"):
        unpack_frame(b"\x91" + msgpack.packb(deeper))


BAD_FRAMES = {
    "no message": b"\x90",
    "not an array": b"\x01",
    "a map": b"\x80",
    "an integer for a message": b"\x91\x01",
    "a text for a message": b"\x92\x91\x01\xa1x",
    "a map for a message": b"\x91\x81\xa1k\x01",
    "an empty message": b"\x92\x91\x01\x90",
    "a text for a code": b"\x91\x91\xa1x",
    "a boolean for a code": b"\x92\x91\x01\x91\xc3",
    "a float for a code": b"\x91\x91\xcb" + struct.pack(">d", 1.0),
    "nil for a code": b"\x91\x91\xc0",
    "an array for a code": b"\x91\x91\x91\x01",
    "1,025 messages": b"\xdc\x04\x01" + b"\x91\x01" * 1_025,
    "65,520 bytes": b"\x91\x92\x01\xc6\x00\x00\xff\xe8" + bytes(65_512),
}


@pytest.mark.parametrize("data", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_bad_frames_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        unpack_frame(data)


@pytest.mark.parametrize(
    "messages",
    [[], [[]], [["x"]], [{"k": 1}], [[True]], [[1]] * 1_025, [[1, bytes(65_514)]]],
    ids=lambda value: repr(value)[:12],
)
def test_bad_frames_are_not_written(messages: Any) -> None:
    with pytest.raises(CodecError):
        pack_frame(messages)


def test_the_largest_frame_is_taken() -> None:
    messages = [[1, bytes(65_513)]]
    frame = pack_frame(messages)
    assert len(frame) == FRAME_BYTES
    assert unpack_frame(frame) == messages


def sample_frame() -> bytes:
    return pack_frame([[2, 7, b"id" * 13, "add_user fred.proj.org", None, {"k": [1.5, True]}], [3, -1, 2**40]])


def test_every_truncation_and_extension_of_a_frame_is_refused() -> None:
    frame = sample_frame()
    for broken in [
        *(frame[:size] for size in range(len(frame))),
        *(frame + bytes((byte,)) for byte in range(256)),
    ]:
        with pytest.raises(CodecError):
            unpack_frame(broken)


def check_total(read: Callable[[bytes], Any], data: bytes) -> None:
    """Either a `CodecError`, or a value that can be written and read again."""
    try:
        value = read(data)
    except CodecError:
        return
    assert repr(unpack(msgpack.packb(value), DocumentLimits(depth=17))) == repr(value)


def test_flipped_bytes_raise_nothing_but_codec_errors() -> None:
    frame = sample_frame()
    for position in range(len(frame)):
        for byte in range(256):
            check_total(unpack_frame, frame[:position] + bytes((byte,)) + frame[position + 1 :])


def test_random_bytes_raise_nothing_but_codec_errors() -> None:
    random = Random(20)
    structure = bytes(range(0x80, 0xA4)) + bytes(range(0xC0, 0xE0))
    for _ in range(6_000):
        size = random.randrange(1, 40)
        check_total(unpack, bytes(random.choices(structure + b"\0\1k", k=size)))
        check_total(unpack_frame, b"\x91\x92\x01" + random.randbytes(size))


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_raise_nothing_but_codec_errors(data: bytes) -> None:
    check_total(unpack, data)
    check_total(unpack_frame, data)


def test_errors_hold_nothing_of_the_bytes() -> None:
    secret = "canary"
    for data in (b"\x92\xa6canary", b"\x92\xa6canary\xc1", b"\x82\xa6canary\x01\xa6canary\x02"):
        with pytest.raises(CodecError) as caught:
            unpack(data)
        assert secret not in str(caught.value) + caught.value.fix


@given(st.lists(st.integers(1, 3_000), max_size=120), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_packer_keeps_order_loses_nothing_and_fills_frames(sizes: list[int], random: Any) -> None:
    messages = [pack([3, number, bytes(size * random.choice((1, 1, 20)))]) for number, size in enumerate(sizes)]
    packer = FramePacker()
    packer.extend(messages)
    frames = packer.take()
    read = [unpack_frame(frame) for frame in frames]
    assert [message[1] for frame in read for message in frame] == list(range(len(messages)))
    assert b"".join(messages) == b"".join(
        frame[3 if len(inside) > 15 else 1 :] for frame, inside in zip(frames, read, strict=True)
    )
    position = 0
    for frame, inside in zip(frames, read, strict=True):
        assert frame == pack_frame(inside)
        position += len(inside)
        if position < len(messages):
            assert 3 + sum(map(len, messages[position - len(inside) : position + 1])) > FRAME_BYTES
    assert packer.take() == []


def test_the_packer_ends_a_frame_at_the_most_messages() -> None:
    packer = FramePacker()
    packer.extend([pack([1])] * (FRAME_MESSAGES + 1))
    assert [len(unpack_frame(frame)) for frame in packer.take()] == [FRAME_MESSAGES, 1]


@pytest.mark.parametrize("count", [1, 15, 16, 255, 256, 1_024])
def test_the_packer_writes_the_shortest_header(count: int) -> None:
    packer = FramePacker()
    packer.extend([pack([1])] * count)
    assert packer.take() == [msgpack.packb([[1]] * count)]


def test_the_packer_takes_the_largest_message_and_refuses_a_larger_one() -> None:
    largest = pack([1, bytes(MESSAGE_BYTES - 5)])
    assert len(largest) == MESSAGE_BYTES
    packer = FramePacker()
    packer.add(pack([1, 1]))
    packer.add(largest)
    with pytest.raises(CodecError, match="exceeds"):
        packer.add(largest + b"\0")
    packer.add(pack([1, 2]))
    assert [len(frame) for frame in packer.take()] == [4, MESSAGE_BYTES + 1, 4]


def test_a_refused_message_leaves_what_was_added_before() -> None:
    packer = FramePacker()
    with pytest.raises(CodecError):
        packer.extend([pack([1]), bytes(MESSAGE_BYTES + 1), pack([2])])
    packer.add(pack([3]))
    assert [unpack_frame(frame) for frame in packer.take()] == [[[1], [3]]]


def test_defaults_are_those_of_the_design() -> None:
    assert (FRAME_BYTES, FRAME_MESSAGES, MESSAGE_BYTES) == (65_519, 1_024, 65_516)
    assert DocumentLimits(bytes=65_536, array=1_024, map=64, depth=16) == DOCUMENT
