"""Names are ASCII, short and hard to confuse."""

from __future__ import annotations

from difflib import SequenceMatcher, get_close_matches

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.errors import GrammarError
from grammar.names import MAX_NAME, nearest, parse_name
from grammar.openportal import VOCABULARY


@pytest.mark.parametrize("name", ["a", "7", "portal", "a-b", "a_b", "gpu-01_x", "x" * MAX_NAME])
def test_legal_names(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("", 1),
        ("-a", 1),
        ("a-", 2),
        ("a--b", 2),
        ("a_-b", 2),
        ("Portal", 1),
        ("por tal", 4),
        ("a.b", 2),
        ("café", 4),
        ("a\n", 2),
        (" a", 1),
        ("x" * (MAX_NAME + 1), MAX_NAME + 1),
    ],
)
def test_illegal_names_say_where(name: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_name(name, what="zone")
    assert caught.value.column == column
    assert "zone" in caught.value.message
    assert caught.value.expected


def test_nearest() -> None:
    assert nearest("ad_user", ["remove_user", "add_user"]) == "add_user"
    assert nearest("ADD_USER", ["add_user"]) == "add_user"
    assert nearest("frobnicate", ["add_user"]) is None
    assert nearest("a" * 5000, ["add_user"]) is None


@given(st.sampled_from(VOCABULARY.keywords), st.data())
def test_a_keyword_with_one_letter_wrong_is_found(keyword: str, data: st.DataObject) -> None:
    """As the comparison with each of them would have found it, or one as close."""
    place = data.draw(st.integers(0, len(keyword) - 1))
    letter = data.draw(st.sampled_from(["", "x", "_", "e", keyword[place] * 2]))
    word = keyword[:place] + letter + keyword[place + 1 :]
    found = nearest(word, VOCABULARY.keywords)
    (wanted,) = get_close_matches(word, VOCABULARY.keywords, n=1)
    assert found is not None
    assert SequenceMatcher(None, found, word).ratio() == SequenceMatcher(None, wanted, word).ratio()
