r"""How the arguments of an instruction stand in its text.

Arguments are separated by spaces. One that is empty, holds a space or a control character, or starts with a
double quote is written between double quotes, where `\"`, `\\`, `\n`, `\r`, `\t` and `\uXXXX` stand for one
character each. An argument given by name keeps its name outside: `title="two words"`. An argument that is
quoted whole is never read as one given by name. `quote` and `split_arguments` are exact inverses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from grammar.errors import GrammarError

_PLAIN = re.compile(r'[^\x00-\x20\x7f"\u0085\u2028\u2029][^\x00-\x20\x7f\u0085\u2028\u2029]*')
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_SPECIAL = re.compile(r'[\x00-\x1f\x7f\u0085\u2028\u2029"\\]')
_QUOTE_OR_ESCAPE = re.compile(r'["\\]')
_ESCAPES: Final = MappingProxyType({"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"})
_LETTERS: Final = MappingProxyType({value: key for key, value in _ESCAPES.items()})
_HEX = re.compile(r"(?![dD][89a-fA-F])[0-9a-fA-F]{4}")
"""Four digits that name a character; half of a surrogate pair is none."""


def quote(value: str) -> str:
    """The value as one argument: unchanged where it can stand alone, between double quotes where it cannot."""
    label = _LABEL.match(value)
    start = label.end() if label else 0
    if is_plain(value) and value[start : start + 1] != '"':
        return value
    return value[:start] + quoted(value[start:])


def is_plain(value: str) -> bool:
    """Whether the value can stand in a text without quotation."""
    return _PLAIN.fullmatch(value) is not None


def quoted(value: str) -> str:
    """The value between double quotes, whatever it is."""
    return f'"{_SPECIAL.sub(_escape, value)}"'


def join_arguments(values: Iterable[str]) -> str:
    """One text from many values; `split_arguments` gives the values back."""
    return " ".join(map(quote, values))


def split_arguments(text: str) -> list[str]:
    """The values in a text of arguments; raises GrammarError for a quotation that does not end."""
    values = []
    position = skip_spaces(text, 0)
    while position < len(text):
        value, position = next_token(text, position)
        values.append(value)
        position = skip_spaces(text, position)
    return values


def skip_spaces(text: str, position: int) -> int:
    """The first position at or after `position` that holds no space; the length of the text when there is none."""
    while position < len(text) and text[position] == " ":
        position += 1
    return position


def next_token(text: str, start: int) -> tuple[str, int]:
    """The value of the argument that starts at `start`, and where it ends; raises GrammarError."""
    label = _LABEL.match(text, start)
    opening = label.end() if label else start
    if text[opening : opening + 1] != '"':
        end = text.find(" ", start)
        end = len(text) if end < 0 else end
        return text[start:end], end
    value, end = _unquote(text, opening)
    if end < len(text) and text[end] != " ":
        raise GrammarError("text follows a closing quote", text=text, column=end + 1, expected="a space")
    return text[start:opening] + value, end


def _unquote(text: str, opening: int) -> tuple[str, int]:
    parts: list[str] = []
    position = opening + 1
    while True:
        match = _QUOTE_OR_ESCAPE.search(text, position)
        if match is None:
            raise GrammarError("the quotation does not end", text=text, column=opening + 1, expected='a closing "')
        parts.append(text[position : match.start()])
        position = match.end()
        if match.group() == '"':
            return "".join(parts), position
        letter = text[position : position + 1]
        if letter == "u" and (digits := _HEX.match(text, position + 1)):
            parts.append(chr(int(digits.group(), 16)))
            position += 5
        elif letter in _ESCAPES and letter:
            parts.append(_ESCAPES[letter])
            position += 1
        else:
            expected = r"one of \" \\ \n \r \t \uXXXX"
            raise GrammarError("the backslash starts no known escape", text=text, column=position, expected=expected)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    letter = _LETTERS.get(character)
    return f"\\{letter}" if letter else f"\\u{ord(character):04x}"
