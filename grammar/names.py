"""Names of agents, zones and the like, and the nearest known word for a mistyped one.

A name is ASCII on purpose: it is compared, pinned, logged and typed by people of every keyboard, so no two
names may look alike and be different. Identifiers of users and projects are wider; they live in
`identifiers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nlargest
from itertools import pairwise
from typing import Final

from grammar.errors import GrammarError

MAX_NAME: Final = 63
"""Characters in a name; the limit of a DNS label, so that a name can always become one."""

_NAME = re.compile(r"[a-z0-9](?:[-_]?[a-z0-9])*")
_MAX_GUESS: Final = 80
_MOST_COMPARED: Final = 4
_EXPECTED: Final = f"1 to {MAX_NAME} lower-case letters and digits, with single '-' or '_' between them"


def parse_name(text: str, *, what: str = "agent name") -> str:
    """Checks a name and returns it unchanged.

    Args:
        text: the name; nothing is stripped, since a name with a space around it is a mistake worth showing.
        what: the noun used in the error ("agent name", "zone").

    Raises:
        GrammarError: with the column of the first character that does not fit.
    """
    match = _NAME.match(text)
    end = match.end() if match else 0
    if 0 < end == len(text) <= MAX_NAME:
        return text
    if not text:
        raise GrammarError(f"the {what} is empty", text=text, expected=_EXPECTED)
    if end == len(text):
        message = f"the {what} is longer than {MAX_NAME} characters"
        raise GrammarError(message, text=text, column=MAX_NAME + 1, expected=_EXPECTED)
    raise GrammarError(
        f"the {what} has {_describe(text[end])} where it may not be",
        text=text,
        column=end + 1,
        expected=_EXPECTED,
    )


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was most likely meant to be, or None when none is close.

    Words longer than any real one are not compared, and of the others only the few that share most letters and pairs of
    letters with it: the comparison is quadratic in their length, and a stream of mistakes has one for each line.
    """
    if len(word) > _MAX_GUESS:
        return None
    word = word.lower()
    pieces = _pieces(word)
    near = (candidate for candidate in candidates if abs(len(candidate) - len(word)) <= 4)
    few = nlargest(_MOST_COMPARED, near, key=lambda candidate: 2 * len(pieces & _pieces(candidate)) - len(candidate))
    found = get_close_matches(word, few, n=1, cutoff=0.6)
    return found[0] if found else None


def _pieces(word: str) -> set[str | tuple[str, str]]:
    return {*word, *pairwise(word)}


def _describe(character: str) -> str:
    if character == " ":
        return "a space"
    return f'"{character}"' if character.isprintable() else f"the character U+{ord(character):04X}"
