"""Each annotation that an argument may have, and a clear error for each that it may not."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from grammar.arguments import argument_type, type_name
from grammar.awards import AwardDetails
from grammar.errors import GrammarError
from grammar.identifiers import UserIdentifier
from grammar.quotas import Quota, Volume


class Colour(Enum):
    RED = "red"
    DEEP_BLUE = "deep blue"


class Plan(BaseModel):
    name: str
    size: int = 3


class Own:
    """A type of somebody else's, with a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def parse(cls, text: str) -> Own:
        return cls(text)

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


VALUES: tuple[tuple[Any, str, str, Any], ...] = (
    (str, "str", "a  b", "a  b"),
    (int, "int", "-12", -12),
    (float, "float", "0.5", 0.5),
    (bool, "bool", "true", True),
    (date, "date", "2026-01-31", date(2026, 1, 31)),
    (Colour, "Colour", "deep blue", Colour.DEEP_BLUE),
    (Literal["a", "b"], "a | b", "b", "b"),
    (UserIdentifier, "UserIdentifier", "fred.proj.org", UserIdentifier.parse("fred.proj.org")),
    (Quota, "Quota", "1GB used 1MB", Quota.parse("1GB used 1MB")),
    (Own, "Own", "x", Own("x")),
    (Plan, "Plan", '{"name":"a  b"}', Plan(name="a  b")),
    (AwardDetails, "AwardDetails", '{"name":"a  b"}', AwardDetails(name="a  b")),
    (list[int], "list[int]", '["1","2"]', (1, 2)),
    (tuple[UserIdentifier, ...], "tuple[UserIdentifier, ...]", '["a.b.c"]', (UserIdentifier.parse("a.b.c"),)),
    (list[str], "list[str]", '["a,b"," "]', ("a,b", " ")),
    (list[list[str]], "list[list[str]]", '[["a"],[]]', (("a",), ())),
    (list[Plan], "list[Plan]", '[{"name":"a"},{"name":"b"}]', (Plan(name="a"), Plan(name="b"))),
    (int | None, "int | None", "3", 3),
    (Optional[Colour], "Colour | None", "red", Colour.RED),  # noqa: UP045
    (Union[None, str], "str | None", "x", "x"),  # noqa: UP007
    (Annotated[int, "how many"], "int", "3", 3),
)


@pytest.mark.parametrize(("annotation", "name", "text", "value"), VALUES)
def test_text_and_back(annotation: Any, name: str, text: str, value: Any) -> None:
    kind = argument_type(annotation)
    assert kind.name == name
    assert kind.parse(text) == value
    assert kind.format(value) == text
    assert kind.accepts(value)
    assert not kind.accepts(object())


def test_other_ways_to_write() -> None:
    assert argument_type(list[int]).parse("1, 2,3") == (1, 2, 3)
    assert argument_type(list[int]).parse("[1, 2]") == (1, 2)
    assert argument_type(list[int]).parse(" ") == ()
    assert argument_type(bool).parse("TRUE") is True
    assert argument_type(Colour).parse("RED") is Colour.RED
    assert argument_type(float).parse("1e3") == 1000.0


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "1.0"),
        (int, "one"),
        (int, "1_0"),
        (int, "٣"),
        (int, "9" * 41),
        (int, ""),
        (float, "nan"),
        (float, "1e999"),
        (float, "inf"),
        (float, ""),
        (bool, "yes"),
        (Colour, "green"),
        (Plan, "{}"),
        (Plan, "name"),
        (list[int], "[1, x]"),
        (list[int], '["x"]'),
        (list[int], "1,,2"),
        (list[str], "[" * 50 + "]" * 50),
        (list[str], ",".join("x" * 2000)),
    ],
)
def test_refused_texts(annotation: Any, text: str) -> None:
    with pytest.raises(GrammarError):
        argument_type(annotation).parse(text)


def test_the_parse_of_somebody_else_is_held_to_the_promise() -> None:
    class Port:
        @classmethod
        def parse(cls, text: str) -> Port:
            if text == "odd":
                raise GrammarError("odd", text=text)
            return (cls(),)[int(text)]

    for text in ("x", "9", "odd"):
        with pytest.raises(GrammarError):
            argument_type(Port).parse(text)
    assert isinstance(argument_type(Port).parse("0"), Port)


def test_a_wrong_choice_names_the_nearest() -> None:
    with pytest.raises(GrammarError) as caught:
        argument_type(Colour).parse("rod")
    assert caught.value.nearest == "red"


@pytest.mark.parametrize(
    "annotation",
    [dict, dict[str, int], set[int], bytes, object, Any, int | str, tuple[int, int], list, Callable[[], int], "int", 3],
)
def test_refused_annotations(annotation: Any) -> None:
    with pytest.raises(GrammarError):
        argument_type(annotation)


@given(st.integers(-(10**39), 10**39))
def test_integers(number: int) -> None:
    kind = argument_type(int)
    assert kind.parse(kind.format(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats(number: float) -> None:
    kind = argument_type(float)
    again = kind.parse(kind.format(number))
    assert again == number
    assert math.copysign(1, again) == math.copysign(1, number)


def test_type_names() -> None:
    assert type_name(dict[Volume, Quota]) == "dict[Volume, Quota]"
    assert type_name(None) == type_name(type(None)) == "None"
    assert type_name(list[int] | None) == "list[int] | None"
    assert type_name(Annotated[str, "x"]) == "str"
