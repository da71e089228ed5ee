"""JSON texts of megabytes, written and read in pieces.

A call that writes or reads a whole text lets no other thread run meanwhile: a result of 4 MiB would hold up the event
loop for 5 to 15 ms, whichever thread does it. What is here lets others go on after each piece, and is meant for a
thread beside the loop. Short texts are better off without it.

Texts are written by pydantic's encoder, four times as fast as the standard library's. Its reader knows no half of a
pair of escapes, which the standard library takes, and is asked only where there is no escape at all.
"""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from pydantic_core import from_json, to_json

PIECE: Final = 32_768
"""Characters of a text, or bytes, in one piece."""
ITEMS: Final = 512
"""Items of a list, or of an object, in one piece."""

_QUOTE: Final = b'"'
_ESCAPES: Final = b"\\"
_ESCAPE: Final = len(r"\n")
_LONG_ESCAPE: Final = len(r"\u00e9")


def is_long(data: object) -> bool:
    """Whether JSON data is worth a thread: in it is a text longer than a piece, or a list or an object of more items
    than go into one."""
    if isinstance(data, str):
        return len(data) > PIECE
    if isinstance(data, list):
        return len(data) > ITEMS or any(map(is_long, data))
    return isinstance(data, dict) and (len(data) > ITEMS or any(map(is_long, data.values())))


def written(data: Any) -> bytes:
    """JSON data as a text without spaces, in UTF-8.

    Raises:
        ValueError: a text in it is no Unicode.
    """
    return b"".join(_pieces(data)) if is_long(data) else to_json(data)


def _pieces(data: Any) -> Iterator[bytes]:
    if not is_long(data):
        yield to_json(data)
    elif isinstance(data, str):
        yield _QUOTE
        # Each character is written by itself, whatever stands beside it.
        for start in range(0, len(data), PIECE):
            yield to_json(data[start : start + PIECE])[1:-1]
        yield _QUOTE
    elif isinstance(data, list):
        items = iter(data)
        before = b"["
        while part := list(islice(items, ITEMS)):
            yield before
            yield from _items(part)
            before = b","
        yield b"]"
    else:
        pairs = iter(data.items())
        before = b"{"
        while some := list(islice(pairs, ITEMS)):
            yield before
            yield from _pairs(some)
            before = b","
        yield b"}"


def _items(part: list[Any]) -> Iterator[bytes]:
    """Items of a list, without its brackets."""
    if not any(map(is_long, part)):
        yield to_json(part)[1:-1]
        return
    before = b""
    for item in part:
        yield before
        yield from _pieces(item)
        before = b","


def _pairs(part: list[tuple[str, Any]]) -> Iterator[bytes]:
    """Pairs of an object, without its braces."""
    if not any(is_long(value) for _, value in part):
        yield to_json(dict(part))[1:-1]
        return
    before = b""
    for key, value in part:
        yield before
        yield from _pieces(key)
        yield b":"
        yield from _pieces(value)
        before = b","


def read_short(text: str) -> Any:
    """What a JSON text says that is no longer than a fact.

    Raises:
        ValueError: it is no JSON.
    """
    is_plain = text.startswith('"') and "\\" not in text
    return from_json(text) if is_plain else json.loads(text)


def read_long(text: bytes) -> Any:
    """What a JSON text in UTF-8 says. One that is a single string is read in pieces, or takes no time; another one in
    one go.

    Raises:
        ValueError: it is no JSON, or no UTF-8.
    """
    if _ESCAPES not in text and text.startswith(_QUOTE):
        return from_json(text)
    if len(text) <= PIECE or not text.startswith(_QUOTE) or not text.endswith(_QUOTE):
        return json.loads(text)
    decoder = getincrementaldecoder("utf-8")()
    found: list[str] = []
    rest = ""
    last = len(text) - 1
    for start in range(1, last, PIECE):
        end = min(start + PIECE, last)
        rest += decoder.decode(text[start:end], end == last)
        size = len(rest) if end == last else _whole(rest)
        _append(found, json.loads(f'"{rest[:size]}"'))
        rest = rest[size:]
    return "".join(found)


def _whole(piece: str) -> int:
    """How many characters of the beginning of a JSON string can be read without what follows: not half an escape."""
    place = piece.rfind("\\", -_LONG_ESCAPE)
    before = piece[: place + 1]
    if place < 0 or (len(before) - len(before.rstrip("\\"))) % 2 == 0:
        return len(piece)
    size = _LONG_ESCAPE if piece.startswith("u", place + 1) else _ESCAPE
    return len(piece) if place + size <= len(piece) else place


def _append(found: list[str], piece: str) -> None:
    """Append a piece; the two escapes of one character may have been parted."""
    if found and found[-1] and piece and "\ud800" <= found[-1][-1] <= "\udbff" and "\udc00" <= piece[0] <= "\udfff":
        pair = (found[-1][-1] + piece[0]).encode("utf-16", "surrogatepass").decode("utf-16")
        found[-1] = found[-1][:-1] + pair
        piece = piece[1:]
    found.append(piece)
