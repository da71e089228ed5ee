"""One parameter: reading, binding, and where its argument ends."""

from __future__ import annotations

from typing import Any

import pytest

from grammar.arguments import argument_type
from grammar.errors import GrammarError
from grammar.identifiers import UserIdentifier
from grammar.parameters import Form, Parameter


def parameter(annotation: Any, **options: Any) -> Parameter:
    return Parameter("user", argument_type(annotation), **options)


def test_usage() -> None:
    assert parameter(str).usage == "<user>"
    assert parameter(str, default="x").usage == "[<user>]"
    assert parameter(str, form=Form.NAME).usage == "user=<user>"
    assert parameter(str, form=Form.NAME, default=None).usage == "[user=<user>]"


def test_read_points_into_the_whole_text() -> None:
    with pytest.raises(GrammarError) as caught:
        parameter(int).read("x", "10 x", 3, None)
    assert (caught.value.text, caught.value.column) == ("10 x", 4)


def test_bind() -> None:
    user = UserIdentifier.parse("fred.proj.org")
    assert parameter(UserIdentifier).bind(user) is user
    assert parameter(UserIdentifier).bind("fred.proj.org") == user
    assert parameter(list[int]).bind([1, 2]) == (1, 2)
    assert parameter(float).bind(3) == 3.0
    assert parameter(int | None, default=None).bind(None) is None
    for annotation, value in ((int, True), (int, None), (str, 3), (float, True), (UserIdentifier, "fred"), (int, "x")):
        with pytest.raises(GrammarError):
            parameter(annotation).bind(value)


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("a b.c.d", True),
        ("a.b.c d", False),
        ("", False),
        (' "a', False),
        ('"a', False),
        ("a ", False),
        ("a\nb.c.d", False),
    ],
)
def test_an_identifier_stands_alone_up_to_its_last_part(text: str, alone: bool) -> None:
    assert parameter(UserIdentifier, rest=True).stands_alone(text) is alone


def test_what_looks_like_a_name_does_not_stand_alone() -> None:
    assert parameter(str, rest=True).stands_alone("note=x")
    assert not parameter(str, rest=True).stands_alone("note=x", {"note"})


@pytest.mark.parametrize(
    ("text", "value", "end"),
    [
        ("fred.proj.org", "fred.proj.org", 13),
        ("fred smith.proj.org  ", "fred smith.proj.org", 21),
        ("fred . proj . org", "fred . proj . org", 17),
        ("fred.proj.org  extra", "fred.proj.org", 15),
    ],
)
def test_rest_of_line(text: str, value: str, end: int) -> None:
    assert parameter(UserIdentifier, rest=True).rest_of_line(text, 0) == (value, end)
