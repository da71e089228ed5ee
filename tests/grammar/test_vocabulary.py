"""A vocabulary is a value: read with it, extend it by copy."""

from __future__ import annotations

import pytest

from grammar.errors import GrammarError, UnknownInstruction
from grammar.identifiers import UserIdentifier
from grammar.openportal import VOCABULARY
from grammar.signatures import declare
from grammar.vocabulary import MAX_INSTRUCTION, Vocabulary


def greet(user: UserIdentifier) -> str:
    """Says hello."""
    return f"hello {user}"


def test_extended_is_a_copy() -> None:
    more = VOCABULARY.extended(declare(greet))
    assert "greet" in more
    assert "greet" not in VOCABULARY
    assert len(more) == len(VOCABULARY) + 1
    assert more.get("greet") in list(more)
    assert more.parse("greet fred.proj.org").arguments == ("fred.proj.org",)


def test_nothing_in_it_changes() -> None:
    with pytest.raises(AttributeError):
        VOCABULARY.types = {}
    with pytest.raises(TypeError):
        VOCABULARY.types["str"] = str  # type: ignore[index]


def test_extended_replaces() -> None:
    mine = declare(greet, keyword="add_user")
    more = VOCABULARY.extended(mine)
    assert more.get("add_user") is mine
    assert len(more) == len(VOCABULARY)


def test_two_of_one_keyword_are_refused() -> None:
    with pytest.raises(GrammarError):
        Vocabulary([declare(greet), declare(greet)])


def test_keywords_are_sorted() -> None:
    assert list(VOCABULARY.keywords) == sorted(VOCABULARY.keywords)


def test_unknown_names_the_nearest() -> None:
    with pytest.raises(UnknownInstruction) as caught:
        VOCABULARY.parse("ad_user fred.proj.org")
    assert caught.value.nearest == "add_user"
    assert caught.value.fix == 'did you mean "add_user"?'
    with pytest.raises(UnknownInstruction):
        VOCABULARY.read("ad_user x", lenient=False)


def test_read_is_lenient_about_keywords_only() -> None:
    assert VOCABULARY.read("frobnicate x  y").arguments == ("x  y",)
    assert VOCABULARY.read("frobnicate").arguments == ()
    for text in ("add_user", "add_user fred", "Frob x", "", "x" * 200, "a..b"):
        with pytest.raises(GrammarError):
            VOCABULARY.read(text)


def test_limits() -> None:
    fits = "frobnicate " + "é" * ((MAX_INSTRUCTION - 11) // 2)
    assert str(VOCABULARY.read(fits)) == fits
    for text in (fits + "é", "x" * 1_000_000, "frobnicate \ud800"):
        with pytest.raises(GrammarError):
            VOCABULARY.read(text)


def test_equality_and_repr() -> None:
    assert Vocabulary(VOCABULARY) == VOCABULARY
    assert hash(Vocabulary(VOCABULARY)) == hash(VOCABULARY)
    assert "instructions" in repr(VOCABULARY)
