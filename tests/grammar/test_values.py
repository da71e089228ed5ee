"""What every value type of the language keeps: text and back, equality with text, immutability, pydantic."""

from __future__ import annotations

import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from grammar import (
    Allocation,
    DateRange,
    Destination,
    Destinations,
    DomainPattern,
    GrammarError,
    Notification,
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    ProjectTemplate,
    Quota,
    QuotaLimit,
    StorageSize,
    Usage,
    UserIdentifier,
    UserMapping,
    Value,
    Volume,
)
from grammar.quantities import Quantity
from grammar.results import TYPES as RESULTS
from grammar.values import MAX_MARKS, MAX_VALUE, normalise
from tests.grammar.strategies import VALUES

TYPES: tuple[type[Value], ...] = (
    Allocation,
    DateRange,
    Destination,
    Destinations,
    DomainPattern,
    Notification,
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    ProjectTemplate,
    Quota,
    QuotaLimit,
    StorageSize,
    Usage,
    UserIdentifier,
    UserMapping,
    Volume,
)


@pytest.mark.parametrize("kind", TYPES)
def test_the_example_is_canonical(kind: type[Value]) -> None:
    value = kind.parse(kind.EXAMPLE)
    assert str(value) == kind.EXAMPLE
    assert kind.parse(str(value)) == value


@pytest.mark.parametrize("kind", TYPES)
def test_equal_to_the_text_and_hashed_as_it(kind: type[Value]) -> None:
    value = kind.parse(kind.EXAMPLE)
    assert value == kind.EXAMPLE
    assert hash(value) == hash(kind.EXAMPLE)
    assert value != "something else"
    assert value != 3.5
    assert value is not None


@pytest.mark.parametrize("kind", TYPES)
def test_immutable(kind: type[Value]) -> None:
    value = kind.parse(kind.EXAMPLE)
    with pytest.raises((AttributeError, TypeError)):
        value.anything = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", TYPES)
def test_pydantic(kind: type[Value]) -> None:
    adapter = TypeAdapter(kind)
    value = adapter.validate_python(kind.EXAMPLE)
    assert type(value) is kind
    assert adapter.validate_python(value) is value
    assert adapter.dump_python(value) == kind.EXAMPLE
    assert adapter.validate_json(adapter.dump_json(value)) == value
    schema = adapter.json_schema()
    assert schema["type"] == "string"
    assert schema["title"] == kind.__name__
    assert schema["description"]
    with pytest.raises(ValidationError):
        adapter.validate_python(3.5)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800", "x" * (MAX_VALUE + 1), "\n", "." * 50, ":" * 50, "🙂"])
def test_odd_texts_raise_nothing_else(kind: type[Value], text: str) -> None:
    try:
        value = kind.parse(text)
    except GrammarError as error:
        column = error.column
    else:
        column = 1
        assert kind.parse(str(value)) == value
    assert 1 <= column <= len(text) + 1


def test_the_mixins_read_nothing_themselves() -> None:
    for call in (lambda: Value.parse("x"), lambda: Quantity.of(1), lambda: Quantity().amount):
        with pytest.raises(NotImplementedError):
            call()


def test_normalise() -> None:
    assert normalise("  Zoe\u0308 ", "name") == "Zoë"
    assert normalise(" plain ", "name") == "plain"
    with pytest.raises(GrammarError) as caught:
        normalise("a\tb", "name")
    assert caught.value.column == 2


@pytest.mark.parametrize("marks", ["\u0307\u0323", "\u0323\u0307", "\u0345"])
def test_marks_on_one_letter_are_limited(marks: str) -> None:
    """Normalisation sorts them, in time that grows with the square of their number."""
    letter = "a" + marks * (MAX_MARKS // len(marks))
    assert normalise(letter * 20, "text") == unicodedata.normalize("NFC", letter * 20)
    with pytest.raises(GrammarError, match="combining marks") as caught:
        normalise("é" + letter + marks, "text")
    assert caught.value.column == MAX_MARKS + 3


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_every_value_comes_back_from_its_text(kind: type[Value], data: st.DataObject) -> None:
    value = data.draw(VALUES[kind])
    text = str(value)
    again = kind.parse(text)
    assert (again, str(again), hash(again)) == (value, text, hash(value))
    assert (value == text, hash(value) == hash(text)) == (True, True)
    model = TypeAdapter(kind)
    assert model.validate_json(model.dump_json(value)) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_every_type_is_made_at_random() -> None:
    assert set(TYPES) | set(RESULTS.values()) == set(VALUES)
