from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field

from grammar.names import parse_name
from invitations.documents import Document, Key, Texts, from_base64, parse_document, to_base64
from invitations.documents import read_document as read
from invitations.errors import DocumentError


class Inner(Document):
    colour: Literal["red", "green"] = "red"
    size: int = 1


class Sample(Document):
    hopboard: Literal["sample"]
    name: Annotated[str, AfterValidator(parse_name)] = "x"
    inner: Inner = Inner()
    rows: Annotated[tuple[Inner, ...], Field(strict=False)] = ()
    free: dict[str, int] = Field(default_factory=dict)
    texts: Texts = ()
    mood: Literal["calm", "wild"] | None = None
    moves: dict[str, Literal["up", "down"]] = Field(default_factory=dict)
    secret: Key | None = None


def parse(text: str) -> Sample:
    text = 'hopboard = "sample"\n' + text
    return parse_document(text, Sample, what="a sample", error=DocumentError, marker="sample")


def trouble(text: str) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        parse(text)
    assert caught.value.fix
    return caught.value


def test_reads_what_fits() -> None:
    sample = parse('name = "a"\ntexts = ["b"]\n[inner]\ncolour = "green"\n[[rows]]\nsize = 2\n[free]\nx = 1\n')
    assert (sample.name, sample.texts, sample.inner.colour) == ("a", ("b",), "green")
    assert (sample.rows[0].size, sample.free) == (2, {"x": 1})


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("nmae = 1", "nmae", "name"),
        ("[inner]\ncolor = 'red'", "inner.color", "colour"),
        ("[[rows]]\n[[rows]]\nsise = 1", "rows[1].sise", "size"),
        ("[inner]\ncolour = 'gren'", "inner.colour", "green"),
        ("[[rows]]\ncolour = 'gren'", "rows[0].colour", "green"),
        ("mood = 'clam'", "mood", "calm"),
    ],
)
def test_names_the_nearest_known_key_or_value(text: str, key: str, nearest: str) -> None:
    error = trouble(text)
    assert (error.key, error.nearest) == (key, nearest)
    assert error.fix == f'did you mean "{nearest}"?'


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("wholly_other_word = 1", "wholly_other_word", "unknown key"),
        ("[inner]\ncolour = 'ultraviolet'", "inner.colour", "unknown value"),
        ("moves.x = 'dwn'", "moves.x", "unknown value"),
        ("name = 7", "name", "string"),
        ("name = 'a b'", "name", "space"),
        ("[inner]\nsize = '1'", "inner.size", "integer"),
        ("[inner]\nsize = true", "inner.size", "integer"),
        ("texts = [1]", "texts[0]", "string"),
        ("[free]\nx = 'y'", "free.x", "integer"),
        ("secret = 'AAAA'", "secret", "32"),
        ("secret = '!'", "secret", "base64"),
    ],
)
def test_names_the_key_of_a_bad_value(text: str, key: str, message: str) -> None:
    error = trouble(text)
    assert error.key == key
    assert message in error.message
    assert f'"{key}"' in error.message


def test_a_bad_value_is_never_repeated() -> None:
    error = trouble("secret = 'CANARY'")
    assert "CANARY" not in f"{error} {error.fix} {error.__cause__}"
    assert error.__suppress_context__


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("a = 1\nb = = 2", 3, 5), ("a = [", 2, 6), ("a = 1\na = 2", 3, 6)],
)
def test_syntax_errors_have_line_and_column(text: str, line: int, column: int) -> None:
    error = trouble(text)
    assert (error.line, error.column) == (line, column)
    assert f"line {line}, column {column} is not TOML" in error.message
    assert "at line" not in error.message.partition("(")[2]


def test_says_when_it_is_another_document(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text('hopboard = "card"\n')
    with pytest.raises(DocumentError, match="is not a sample") as caught:
        read(path, Sample, what="a sample", error=DocumentError, marker="sample", missing="make one")
    assert caught.value.path == path
    with pytest.raises(DocumentError, match="does not exist") as caught:
        read(tmp_path / "none", Sample, what="a sample", error=DocumentError, marker=None, missing="make one")
    assert caught.value.fix == "make one"


def test_a_missing_key_is_named() -> None:
    with pytest.raises(DocumentError, match='the key "hopboard" is missing'):
        parse_document("", Sample, what="a sample", error=DocumentError, marker=None)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(DocumentError):
        parse_document(text, Sample, what="a sample", error=DocumentError, marker="sample")


def test_deep_nesting_is_refused() -> None:
    assert "nested" in trouble("a = " + "[" * 100_000).message


@given(st.binary(min_size=1, max_size=70))
def test_base64_has_one_text_for_each_value(data: bytes) -> None:
    text = to_base64(data)
    assert from_base64(text) == data
    for other in (text + "=", text + "A" * 4, " " + text, text + "\n"):
        with suppress(ValueError):
            assert from_base64(other) != data


def test_base64_refuses_what_it_would_not_write() -> None:
    for strange in ("", "A", "AB==", "AB+/", 5, b"AB", "AC", "é"):
        with pytest.raises(ValueError, match="base64"):
            from_base64(strange)
    assert from_base64("AQ") == b"\x01"
