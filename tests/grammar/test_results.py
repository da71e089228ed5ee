"""Results keep their type on the way."""

from __future__ import annotations

import json
from datetime import date
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from grammar.errors import GrammarError
from grammar.identifiers import ProjectMapping, UserMapping
from grammar.quantities import StorageSize, Usage
from grammar.results import decode, encode
from grammar.signatures import declare
from grammar.vocabulary import Vocabulary


class Colour(Enum):
    RED = "red"


class Report(BaseModel):
    user: UserMapping
    used: Usage


MAPPING = UserMapping.parse("fred.proj.org:fred:proj")
REPORT = Report(user=MAPPING, used=Usage(60))


@pytest.mark.parametrize(
    ("value", "name", "data"),
    [
        (None, "None", None),
        ("account created", "str", "account created"),
        (True, "bool", True),
        (3, "int", 3),
        (0.5, "float", 0.5),
        (date(2026, 1, 31), "date", "2026-01-31"),
        (MAPPING, "UserMapping", "fred.proj.org:fred:proj"),
        (StorageSize.parse("1500GB"), "StorageSize", "1500GB"),
        ([MAPPING], "list[UserMapping]", ["fred.proj.org:fred:proj"]),
        ([], "list", []),
        ([1, "a"], "list", [1, "a"]),
        ([[1], [2]], "list[list[int]]", [[1], [2]]),
        ({}, "dict", {}),
        ({"home": StorageSize(5)}, "dict[str, StorageSize]", {"home": "5B"}),
        ({"a": 1, "b": None}, "dict", {"a": 1, "b": None}),
        (REPORT, "Report", {"user": "fred.proj.org:fred:proj", "used": "1 minute"}),
        ([REPORT], "list[Report]", [{"user": "fred.proj.org:fred:proj", "used": "1 minute"}]),
        (Colour.RED, "Colour", "red"),
    ],
)
def test_round_trip(value: Any, name: str, data: Any) -> None:
    assert encode(value) == (name, data)
    assert json.loads(json.dumps(data)) == data
    again = decode(name, data, {"Report": Report, "Colour": Colour})
    assert again == value
    assert type(again) is type(value)


def test_a_tuple_comes_back_as_a_list() -> None:
    assert decode(*encode((MAPPING,))) == [MAPPING]


def test_a_type_of_ones_own() -> None:
    class Ticket:
        def __init__(self, text: str) -> None:
            self.text = text

        @classmethod
        def parse(cls, text: str) -> Ticket:
            return cls(text)

        def __str__(self) -> str:
            return self.text

    assert encode(Ticket("T-1")) == ("Ticket", "T-1")
    assert decode("Ticket", "T-1", {"Ticket": Ticket}).text == "T-1"


def test_names_of_types_may_be_odd() -> None:
    deep = "list[" * 100 + "str" + "]" * 100
    for name in (deep, "list[", "dict[x]", "dict[UserMapping, x]", "[]", ""):
        assert decode(name, {"a": 1} if name != "dict[UserMapping, x]" else [1]) is not None
    assert decode(deep, [[[1]]]) == [[[1]]]


def test_unknown_types_stay_plain_data() -> None:
    assert decode("Report", {"x": 1}) == {"x": 1}
    assert decode("list[Report]", [{"x": 1}]) == [{"x": 1}]
    assert decode("list[UserMapping]", "not a list") == "not a list"


def test_types_of_a_vocabulary() -> None:
    def get_reports() -> dict[str, list[Report]]:
        """Reports."""
        return {}

    vocabulary = Vocabulary([declare(get_reports)])
    assert vocabulary.types["Report"] is Report
    assert decode(*encode({"a": [REPORT]}), vocabulary) == {"a": [REPORT]}


@pytest.mark.parametrize(
    "value",
    [object(), b"x", {1, 2}, float("nan"), [MAPPING, ProjectMapping.parse("p.o:g")], {1: 2}, [object()]],
)
def test_what_cannot_be_encoded_is_named(value: Any) -> None:
    with pytest.raises(GrammarError):
        encode(value)


def test_deep_results_are_refused() -> None:
    value: list[Any] = []
    for _ in range(2000):
        value = [value]
    with pytest.raises(GrammarError):
        encode(value)


def test_data_that_is_not_of_its_type_is_refused() -> None:
    for name, data in [
        ("UserMapping", 3),
        ("UserMapping", "x"),
        ("Report", {}),
        ("Colour", "blue"),
        ("date", "x"),
    ]:
        with pytest.raises(GrammarError):
            decode(name, data, {"Report": Report, "Colour": Colour})
