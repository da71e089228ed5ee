"""How things look: lines for people, JSON Lines for programs, errors for both.

Whatever came from elsewhere is shown with its control characters escaped: a result must not move anybody's cursor.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

Record = Mapping[str, Any]

LIVE: Final = frozenset({"created", "blocked", "pending", "claimed", "running"})
"""States of a job that is not over, by name: `mesh.lifecycle.LIVE` without loading it."""

DENIED: Final = frozenset({"denied", "identity_changed"})
"""Kinds of failure that are a refusal by a rule (exit code 4)."""


def clean(text: object) -> str:
    """A text for a terminal: printable, on one line."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))


def say(line: str) -> None:
    """One line of the answer, on standard output."""
    click.echo(line)


def say_json(record: object) -> None:
    """One JSON document on a line of standard output."""
    click.echo(json.dumps(record, separators=(",", ":")))


def remark(line: str) -> None:
    """Something beside the answer, on standard error."""
    click.echo(line, err=True)


def say_error(fault: Record, *, as_json: bool) -> None:
    """An error: cause and fix for people, or one JSON object."""
    if as_json:
        say_json({"error": dict(fault)})
        return
    remark(f"error {fault['code']}: {clean(fault['message'])}")
    for line in str(fault.get("pointer") or "").split("\n"):
        if line:
            remark(f"  {line}")
    if fault.get("expected"):
        remark(f"expected: {clean(fault['expected'])}")
    if fault.get("fix"):
        remark(f"fix: {clean(fault['fix'])}")


def say_damaged(found: Record, *, as_json: bool) -> int:
    """A job that cannot be listed, since its stored row is damaged; returns the exit code for that."""
    if as_json:
        say_json(found)
    else:
        say_error(found["error"], as_json=False)
    return int(found["error"]["exit_code"])


def is_over(job: Record) -> bool:
    """Whether a job has ended."""
    return job["state"] not in LIVE


def exit_code_of(job: Record) -> int:
    """0 complete, 1 failed, 4 denied, 5 not over yet."""
    if not is_over(job):
        return 5
    error = job["error"]
    if error is None:
        return 0
    return 4 if error["kind"] in DENIED else 1


def job_line(job: Record) -> str:
    """One job on one line: `7f3a91c2  portal > cluster  complete  "account created"  4 ms`."""
    return "  ".join([job["short"], clean(" > ".join(job["path"])), job["state"], *_outcome(job)])


def _outcome(job: Record) -> list[str]:
    error = job["error"]
    if error is not None:
        said = clean(error["message"])
        kind = "" if error["kind"] == job["state"] else f"{error['kind']}: "
        return [f"{kind}{said} ({clean(error['agent'])})", taken(job)]
    if job["result_bytes"] is not None:
        return [f"a result of {size(job['result_bytes'])}", taken(job)]
    if is_over(job):
        return [clean(json.dumps(job["result"], ensure_ascii=False)), taken(job)]
    shown = [] if job["fraction"] is None else [f"{job['fraction']:.0%}"]
    shown += [] if job["message"] is None else [clean(job["message"])]
    return [*shown, "overdue"] if job["overdue"] else shown


def size(count: int) -> str:
    """Bytes in the unit that fits: `700 bytes`, `48 KiB`, `3.9 MiB`."""
    if count < 1_024:
        return f"{count} bytes"
    return f"{count / 1_024:.0f} KiB" if count < 1_024**2 else f"{count / 1_024**2:.1f} MiB"


def taken(job: Record) -> str:
    """How long a job took from its put to its last change."""
    return seconds(max(0.0, job["changed"] - job["created"]))


def seconds(span: float) -> str:
    """A span of time in the unit that fits: `4 ms`, `3.2 s`, `5 min`, `2 h`, `3 d`."""
    if span < 1:
        return f"{span * 1000:.0f} ms"
    for limit, size, unit in ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h")):
        if span < limit:
            return f"{span / size:.1f} {unit}" if size == 1 else f"{span / size:.0f} {unit}"
    return f"{span / 86_400:.0f} d"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows under heads, in columns as wide as they need."""
    lines = [heads, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


class LiveLine:
    """A line on a terminal that is written over, on standard error; nothing where that is no terminal."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._on = wanted and sys.stderr.isatty()
        self._shown = False

    def show(self, text: str) -> None:
        """Show `text` in place of what was shown before."""
        if self._on:
            width = max(20, shutil.get_terminal_size().columns - 1)
            click.echo(f"\r\x1b[2K{text[:width]}", err=True, nl=False)
            self._shown = True

    def clear(self) -> None:
        """Leave the line empty."""
        if self._shown:
            click.echo("\r\x1b[2K", err=True, nl=False)
            self._shown = False
