"""`mesh peers` and `mesh trust`: whom this agent knows, and whom it believes."""

from __future__ import annotations

import click

from agents.cli.session import Session, json_option, pass_session
from agents.cli.showing import clean, remark, say, say_json, seconds, table


@click.command()
@json_option
@pass_session
def peers(session: Session, as_json: bool) -> None:
    """List the peers, the state of their links, and the last refusal of each."""
    found = session.read("peers", "peers")
    if as_json:
        for one in found:
            say_json(one)
        return
    rows = [
        (
            one["name"],
            one["zone"],
            one["kind"] or "?",
            one["state"] + ("" if one["since_s"] is None else f" for {seconds(one['since_s'])}"),
            str(one["waiting"]),
            str(one["offered"]),
            (one["words"] or "not seen yet"),
        )
        for one in found
    ]
    if not rows:
        remark("no peers yet")
        session.hint("invite", "PEER")
        return
    for line in table(("peer", "zone", "kind", "link", "waiting", "out", "key in words"), rows):
        say(line)
    for one in found:
        if one["trouble"] and one["state"] != "up":
            remark(f"{one['name']}: {clean(one['trouble'])}")
            if one["fix"]:
                remark(f"fix: {clean(one['fix'])}")
    session.hint("jobs")


@click.command()
@json_option
@pass_session
def trust(session: Session, as_json: bool) -> None:
    """List every key that is believed here, and why."""
    found = session.read("trust", "trust")
    if as_json:
        for one in found:
            say_json(one)
        return
    rows = [(one["what"], clean(one["name"]), one["zone"] or "all", one["words"], one["because"]) for one in found]
    if not rows:
        remark("nobody is known yet")
        session.hint("invite", "PEER")
        return
    for line in table(("what", "name", "zone", "key in words", "because of"), rows):
        say(line)
