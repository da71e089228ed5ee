"""quote and split_arguments are exact inverses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.errors import GrammarError
from grammar.quoting import join_arguments, quote, split_arguments


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("fred.proj.org", "fred.proj.org"),
        ("/home/a b", '"/home/a b"'),
        ("", '""'),
        ('"x"', r'"\"x\""'),
        ('it"s', 'it"s'),
        ("a\\b", "a\\b"),
        ("a\nb", r'"a\nb"'),
        ("\x00", r'"\u0000"'),
        ("name=two words", 'name="two words"'),
        ('name="x', r'name="\"x"'),
        ("{}", "{}"),
    ],
)
def test_only_what_needs_it_is_quoted(value: str, text: str) -> None:
    assert quote(value) == text
    assert split_arguments(text) == [value]


@given(st.lists(st.text()))
def test_exact_inverse(values: list[str]) -> None:
    assert split_arguments(join_arguments(values)) == values


@given(st.lists(st.text(st.sampled_from('a="\\ \n{:'))))
def test_exact_inverse_on_nasty_characters(values: list[str]) -> None:
    assert split_arguments(join_arguments(values)) == values


@pytest.mark.parametrize(
    ("text", "column"),
    [('"abc', 1), ('"abc"d', 6), (r'"a\qb"', 3), ('x "abc\\', 7), (r'"\u12"', 2), (r'"\ud800"', 2), (r'"\uDFFF"', 2)],
)
def test_refused_with_the_column(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        split_arguments(text)
    assert caught.value.column == column


def test_unicode_escape() -> None:
    assert split_arguments(r'"\u00e9\ud7ff" x') == ["é\ud7ff", "x"]
