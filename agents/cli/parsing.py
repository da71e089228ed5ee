"""`mesh parse`: what a text means, or why it means nothing. No agent is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, BinaryIO, Final

import click

from agents.cli.instructions import known_here
from agents.cli.showing import clean, remark, say, say_json
from grammar.kinds import KINDS, parse_kind
from grammar.vocabulary import Vocabulary

_COMMAND: Final = "command"
_MOST_BYTES: Final = 64 * 1024
"""Bytes of one line that are read; the longest legal text has a quarter of that."""


@click.command()
@click.argument("text")
@click.option("--kind", type=click.Choice(sorted(KINDS)), default=_COMMAND, show_default=True, help="What it is.")
@click.option("--today", type=click.DateTime(["%Y-%m-%d"]), help="The day that `this_week` and the like are told from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def parse(text: str, kind: str, today: datetime | None, as_json: bool) -> int:
    """Read TEXT as a command, or as a value of another kind; with - for TEXT, one text a line of standard input."""
    day = None if today is None else today.date()
    vocabulary = known_here()
    if text != "-":
        return _one(kind, text, day, vocabulary, as_json)
    status = 0
    for line in _lines(sys.stdin.buffer):
        status = max(status, _one(kind, line, day, vocabulary, as_json))
    return status


def _lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of a stream, each cut where it is longer than any text may be, so that none can fill the memory."""
    while raw := stream.readline(_MOST_BYTES):
        line, faults = raw, "surrogateescape"
        while not raw.endswith(b"\n") and (raw := stream.readline(_MOST_BYTES)):
            faults = "replace"  # it is refused for its length, and not for the character that was cut
        yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", faults)


def _one(kind: str, text: str, today: date | None, vocabulary: Vocabulary, as_json: bool) -> int:
    meant = _not_unicode(text) or parse_kind(kind, text, today=today, vocabulary=vocabulary)
    if as_json:
        say_json(meant)
    elif meant["ok"]:
        say(clean(meant["canonical"]))
        for name, value in _parts(meant["value"]):
            say(f"  {name:<12} {value}")
    else:
        remark(f"error MESH-E100: {clean(meant['error'])}")
        remark(f"  {clean(text)}")
        remark(f"  {' ' * (meant['column'] - 1)}^")
    return 0 if meant["ok"] else 2


def _not_unicode(text: str) -> dict[str, Any] | None:
    """The answer for a text whose bytes are no UTF-8, which Python hands over as halves of characters."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return {"ok": False, "error": "the text is not UTF-8", "column": error.start + 1}
    return None


def _parts(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, clean(" ".join(map(str, part)) if isinstance(part, list) else part)) for name, part in value.items()]
