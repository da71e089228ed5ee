"""Messages: every type comes back, and what no honest peer says is a `MessageError`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.codec import FramePacker, pack, unpack
from mesh.errors import MessageError
from mesh.messages import (
    OPTIONAL,
    Ack,
    Ahead,
    AllSent,
    BlobMessage,
    Bye,
    CardMessage,
    Clock,
    Confirm,
    Credit,
    FactMessage,
    Held,
    Hello,
    Identify,
    Message,
    Ping,
    Pong,
    SliceMessage,
    Type,
    Unknown,
    Want,
    encode,
    encode_fact,
    is_ack,
    is_hello,
    messages_of,
    read,
)

INC = b"i" * 8
HELLO = Hello(1, 5, [[INC, 1]], 7, [INC, 6], 3, 0, ["add_user"])
MESSAGES: dict[Type, Message] = {
    Type.HELLO: HELLO,
    Type.FACT: FactMessage(3, 1, 5, b"body", b"proof"),
    Type.ACK: Ack(9, 8, [[4, "no_card", "detail"]]),
    Type.CONFIRM: Confirm(4),
    Type.CREDIT: Credit(20_000, ""),
    Type.WANT: Want(b"j" * 26),
    Type.CARD: CardMessage(b"card"),
    Type.PING: Ping(1),
    Type.PONG: Pong(1),
    Type.AHEAD: Ahead(b"body", b"proof"),
    Type.BYE: Bye("the agent stops"),
    Type.ALL_SENT: AllSent(12),
    Type.IDENTIFY: Identify(b"card", "lab"),
    Type.CLOCK: Clock(1, 5),
    Type.UNKNOWN: Unknown(b"i" * 26),
    Type.BLOB: BlobMessage(b"j" * 26, 5, b"h" * 32, 40_000),
    Type.SLICE: SliceMessage(b"j" * 26, 5, b"h" * 32, 0, b"data"),
    Type.HELD: Held(b"j" * 26, 5, b"h" * 32, 4, ""),
}
SAMPLES: tuple[Any, ...] = (None, True, 7, 0.5, "text", b"bytes", [1], {"map": 1})
NULLABLE = {Type.HELLO: {4, 7}}


def test_every_type_has_an_example() -> None:
    assert set(MESSAGES) == set(Type)
    critical = [code for code in sorted(Type) if code < OPTIONAL]
    assert critical == list(range(1, len(critical) + 1))


@pytest.mark.parametrize(("code", "message"), MESSAGES.items())
def test_what_is_encoded_is_read_back(code: Type, message: Message) -> None:
    again = read(unpack(encode(code, message)))
    assert again == message
    assert type(again) is type(message)


def test_a_fact_has_its_own_encoder_and_the_same_bytes() -> None:
    assert encode_fact(3, 1, 5, b"body", b"proof") == encode(Type.FACT, MESSAGES[Type.FACT])


def test_a_greeting_of_a_stranger() -> None:
    first = HELLO._replace(received=None, keywords=None)
    assert read(unpack(encode(Type.HELLO, first))) == first


@pytest.mark.parametrize(("code", "message"), MESSAGES.items())
def test_a_field_of_another_type_is_refused(code: Type, message: Message) -> None:
    for index, value in enumerate(message):
        for sample in SAMPLES:
            if type(sample) is type(value) or (sample is None and index in NULLABLE.get(code, ())):
                continue
            array: list[Any] = [int(code), *message]
            array[index + 1] = sample
            with pytest.raises(MessageError):
                read(array)


@pytest.mark.parametrize(("code", "message"), MESSAGES.items())
def test_a_message_has_all_its_fields_and_no_more(code: Type, message: Message) -> None:
    for size in range(len(message)):
        with pytest.raises(MessageError):
            read([int(code), *message[:size]])
    with pytest.raises(MessageError):
        read([int(code), *message, 1])


@pytest.mark.parametrize("number", [-1, 1 << 62, (1 << 64) - 1])
@pytest.mark.parametrize(("code", "message"), MESSAGES.items())
def test_a_negative_or_huge_number_is_refused(code: Type, message: Message, number: int) -> None:
    for index, value in enumerate(message):
        if type(value) is int:
            array: list[Any] = [int(code), *message]
            array[index + 1] = number
            with pytest.raises(MessageError):
                read(array)


@pytest.mark.parametrize("array", [None, 5, "text", b"bytes", {}, [], [None], ["1"], [True, 1], [1.0], [[1]]])
def test_a_message_is_an_array_that_starts_with_its_type(array: object) -> None:
    with pytest.raises(MessageError, match="starts with its type"):
        read(array)


@pytest.mark.parametrize("code", [-1, 0, Type.HELD + 1, OPTIONAL - 1])
def test_an_unknown_critical_type_closes_the_link(code: int) -> None:
    with pytest.raises(MessageError, match=f"type {code} is not known") as caught:
        read([code, 1])
    assert caught.value.fix == "upgrade this agent"


@pytest.mark.parametrize("code", [max(Type) + 1, 255, 1 << 40])
def test_an_unknown_optional_type_is_passed_over(code: int) -> None:
    assert read([code]) is None
    assert read([code, {"any": "thing"}, 5]) is None


@pytest.mark.parametrize(
    "refused",
    [
        [5],
        [[]],
        [[1, "reason"]],
        [[1, "reason", "detail", 1]],
        [["1", "reason", "detail"]],
        [[True, "reason", "detail"]],
        [[-1, "reason", "detail"]],
        [[1, b"reason", "detail"]],
        [[1, "reason", None]],
        [[1, "reason", "detail"], None],
        [{}],
    ],
)
def test_a_refusal_is_number_reason_detail(refused: list[Any]) -> None:
    with pytest.raises(MessageError, match="refusal"):
        read([int(Type.ACK), 1, 1, refused])


BAD_POSITIONS: list[Any] = [5, [], [INC], [INC, 1, 2], ["text", 1], [INC, "1"], [INC, True], [INC, -1], {}, None]


@pytest.mark.parametrize("position", BAD_POSITIONS)
def test_a_position_is_incarnation_and_number(position: Any) -> None:
    with pytest.raises(MessageError):
        read([1, *HELLO._replace(incarnations=[position])])
    with pytest.raises(MessageError):
        read([1, *HELLO._replace(incarnations=[[INC, 1], position])])
    if isinstance(position, list) and position:
        with pytest.raises(MessageError):
            read([1, *HELLO._replace(received=position)])


def test_a_greeting_names_at_least_one_opening() -> None:
    with pytest.raises(MessageError, match="position"):
        read([1, *HELLO._replace(incarnations=[])])


def test_an_empty_position_is_refused() -> None:
    with pytest.raises(MessageError):
        read([1, *HELLO._replace(received=[])])


@pytest.mark.parametrize("keywords", [[1], ["add_user", None], [["add_user"]]])
def test_keywords_are_texts(keywords: list[Any]) -> None:
    with pytest.raises(MessageError, match="keywords"):
        read([1, *HELLO._replace(keywords=keywords)])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@given(st.integers(-2, 300), st.lists(VALUES, max_size=11))
@settings(max_examples=80)
def test_nothing_raises_anything_but_a_message_error(code: int, fields: list[Any]) -> None:
    with suppress(MessageError):
        read([code, *fields])


@given(st.sampled_from(list(MESSAGES.items())), st.dictionaries(st.integers(0, 9), VALUES, max_size=2))
@settings(max_examples=80)
def test_nearly_right_messages_raise_nothing_else(example: tuple[Type, Message], changes: dict[int, Any]) -> None:
    code, message = example
    array: list[Any] = list(message)
    for index, value in changes.items():
        array[index % len(array)] = value
    with suppress(MessageError):
        read([int(code), *array])


@pytest.mark.parametrize(("code", "message"), MESSAGES.items())
def test_an_acknowledgement_is_told_by_its_bytes(code: Type, message: Message) -> None:
    assert is_ack(encode(code, message)) is (code is Type.ACK)
    assert is_hello(encode(code, message)) is (code is Type.HELLO)


def test_unknown_optional_messages_are_passed_over_and_others_are_not() -> None:
    packer = FramePacker()
    packer.extend([encode(Type.PING, Ping(7)), pack([OPTIONAL + 99, 1, "later"]), encode(Type.PING, Ping(8))])
    (found,) = packer.take()
    assert messages_of(found) == [Ping(7), Ping(8)]
    packer.extend([pack([OPTIONAL - 1])])
    (critical,) = packer.take()
    with pytest.raises(MessageError, match="not known to this version"):
        messages_of(critical)
