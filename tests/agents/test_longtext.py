"""Long JSON texts in pieces: the same text, and the same data, as in one go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from agents import longtext
from agents.longtext import ITEMS, PIECE, is_long, read_long, read_short, written

DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def whole(data: Any) -> bytes:
    return to_json(data)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that everything has many."""
    monkeypatch.setattr(longtext, "PIECE", 7)
    monkeypatch.setattr(longtext, "ITEMS", 3)


@pytest.mark.usefixtures("small")
@given(data=DATA)
def test_what_is_written_in_pieces_is_the_text_of_one_go(data: Any) -> None:
    assert written(data) == whole(data)
    assert json.loads(written(data)) == data


@pytest.mark.usefixtures("small")
@given(data=st.text(), ascii_only=st.booleans())
def test_what_is_read_in_pieces_is_the_text_that_was_written(data: str, ascii_only: bool) -> None:
    assert read_long(json.dumps(data, ensure_ascii=ascii_only).encode()) == data


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "text",
    [r"a\\" * 20, r"\u00e9" * 20, r"\ud83d\ude00" * 20, r"\\u00e9\"" * 20, r"\\\\\\\\\\u\n" * 9, "\U0001f600é" * 9],
)
@pytest.mark.parametrize("shift", range(8))
def test_no_cut_parts_an_escape_or_a_character(text: str, shift: int) -> None:
    encoded = f'"{"x" * shift}{text}"'.encode()
    assert read_long(encoded) == json.loads(encoded)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "text",
    [
        b'"' + b"x" * 20 + b'"yyyyy"',
        b'"' + b"x" * 20 + b'\\"',
        b'"' + b"x" * 20 + b"\n" + b'"',
        b'"' + b"\xc3" * 9 + b'"',
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        json.loads(text)
    with pytest.raises(ValueError):
        read_long(text)


def test_data_that_is_no_string_is_read_in_one_go() -> None:
    data = {"a": ["x" * PIECE, 1, None]}
    assert read_long(whole(data)) == data


def test_one_piece_is_as_short_as_what_others_may_wait_for() -> None:
    data = {
        "texts": ["x" * (3 * PIECE), "y"],
        "numbers": list(range(3 * ITEMS)),
        "k" * 5: {str(n): n for n in range(3 * ITEMS)},
    }
    assert written(data) == whole(data)
    assert max(map(len, longtext._pieces(data))) <= PIECE


@given(data=DATA, ascii_only=st.booleans())
def test_what_is_short_is_read_as_it_was_written(data: Any, ascii_only: bool) -> None:
    assert read_short(json.dumps(data, ensure_ascii=ascii_only)) == data


@pytest.mark.parametrize("text", ["", '"', '"a', '"a"b', '"\n"', "nothing", '"\\x"'])
def test_a_short_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_short(text)


@pytest.mark.parametrize("data", ["x" * PIECE, [1] * ITEMS, {"a": ["b", None, 1.5]}, None, 7])
def test_what_is_short_needs_no_thread(data: Any) -> None:
    assert not is_long(data)


@pytest.mark.parametrize("data", ["x" * (PIECE + 1), [1] * (ITEMS + 1), {"a": [{"b": "x" * (PIECE + 1)}]}])
def test_what_is_long_is_seen_wherever_it_stands(data: Any) -> None:
    assert is_long(data)


def test_what_is_no_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        written("x" * PIECE + "\ud800")
