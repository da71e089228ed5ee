"""`mesh peers`, `mesh trust` and `mesh revoke`: whom this agent knows, and whom it believes."""

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
        if one["credit_reason"]:
            remark(f"{one['name']} takes no jobs: {clean(one['credit_reason'])}")
        if one["refusing"]:
            remark(f"no jobs are taken from {one['name']}: {clean(one['refusing'])}")
    session.hint("jobs")


@click.command()
@click.argument("route", required=False)
@click.option("--key", metavar="FINGERPRINT", help="The key that the agent at ROUTE has.")
@click.option("--forget", is_flag=True, help="Forget the key of the agent at ROUTE: believe the next one seen.")
@click.option("--zone", help="The zone of ROUTE; by default the agent's own.")
@json_option
@pass_session
def trust(session: Session, route: str | None, key: str | None, forget: bool, zone: str | None, as_json: bool) -> None:
    """List every key that is believed here, and why.

    With ROUTE, the dotted path from here to an agent further away, settle which key it has: --key or --forget.
    """
    if (route is None) != (key is None and not forget) or (key is not None and forget):
        raise click.UsageError("to settle a key takes ROUTE and either --key or --forget")
    if route is None:
        found = session.read("trust", "trust")
    else:
        found = session.call("believe", route=route, zone=zone, fingerprint=key)
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


@click.command()
@click.argument("peer")
@click.option("--zone", help="Only the peer of that name in this zone; its key is refused in every zone.")
@json_option
@pass_session
def revoke(session: Session, peer: str, zone: str | None, as_json: bool) -> None:
    """Make PEER a stranger: its key is refused from now on, and jobs that only it could end are over."""
    found = session.call("revoke", peer=peer, zone=zone)
    if as_json:
        for one in found:
            say_json(one)
        return
    say(f'revoked "{clean(peer)}"; its key is refused from now on')
    session.hint("peers")
