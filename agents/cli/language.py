"""`mesh grammar`: the vocabulary, as a table, one instruction, or JSON schema. No agent is needed."""

from __future__ import annotations

import click

from agents.calls import CallFailed
from agents.cli.instructions import known_here
from agents.cli.showing import clean, say, say_json, table
from grammar.names import nearest
from grammar.schema import describe, json_schema, manual, rows


@click.command()
@click.argument("keyword", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON: one instruction, or the schema of them all.")
def grammar(keyword: str | None, as_json: bool) -> None:
    """Show the instruction KEYWORD, or list all that are known without any handler."""
    vocabulary = known_here()
    if keyword is None:
        if as_json:
            say_json(json_schema(vocabulary))
            return
        for line in table(("usage", "result", "right", "what it does"), rows(vocabulary)):
            say(clean(line))
        return
    declaration = vocabulary.get(keyword)
    if declaration is None:
        close = nearest(keyword, vocabulary.keywords)
        raise CallFailed(
            f'there is no instruction "{clean(keyword)}"',
            code="MESH-E101",
            fix=f'did you mean "{close}"?' if close else "`mesh grammar` lists them all",
            exit_code=2,
        )
    if as_json:
        say_json(describe(declaration))
        return
    for line in manual(declaration).split("\n"):
        say(clean(line))
