"""`mesh errors`: what each code means, in the words of the class that carries it."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

import click

from agents.agent import Agent
from agents.calls import CallFailed
from agents.cli.session import json_option
from agents.cli.showing import say, say_json, table
from agents.door import Door
from grammar.errors import MeshError

LOADED: Final = (Agent, Door)
"""Between them they load every file whose errors a person can meet."""

_WITHOUT_CLASS: Final = (
    ("MESH-E001", 2, "The command line itself is wrong: a verb, an option or an argument."),
    ("MESH-E002", 2, "A file or folder cannot be read or written."),
    ("MESH-E503", 3, "The agent of that folder does not run."),
    ("MESH-E504", 3, "The agent went away before it answered; what was asked may have happened."),
    ("MESH-E505", 4, "The agent belongs to another user of this machine."),
    ("MESH-E599", 2, "A bug of Hopboard, not of yours."),
    ("MESH-E520", 1, "A step of `mesh demo` went wrong; what it had started is stopped."),
    ("MESH-E521", 1, "`mesh bench` could not measure; what it had started is stopped."),
    ("MESH-E508", 2, "A handlers.py that cannot be used; nothing was started."),
)


@click.command()
@click.argument("code", required=False)
@json_option
def errors(code: str | None, as_json: bool) -> None:
    """Explain one error CODE (MESH-E401, or just E401), or list them all."""
    known = {row[0]: row for row in sorted({*_classes(), *_WITHOUT_CLASS})}
    if code is None:
        rows = list(known.values())
    else:
        wanted = f"MESH-{code.upper().removeprefix('MESH-')}"
        if wanted not in known:
            close = get_close_matches(wanted, known, 1)
            fix = f'did you mean "{close[0]}"?' if close else "`mesh errors` lists them all"
            raise CallFailed(f'there is no error "{code}"', code="MESH-E001", fix=fix)
        rows = [known[wanted]]
    if as_json:
        for found, exit_code, told in rows:
            say_json({"code": found, "exit_code": exit_code, "message": told})
        return
    for line in table(("code", "exit", "meaning"), [(found, str(exit_code), told) for found, exit_code, told in rows]):
        say(line)


def _classes() -> Iterator[tuple[str, int, str]]:
    todo = [MeshError]
    while todo:
        one = todo.pop()
        todo += one.__subclasses__()
        if "code" in vars(one) and one is not MeshError:
            paragraph = (one.__doc__ or "").partition("\n\n")[0]
            yield one.code, one.exit_code, " ".join(paragraph.split())
