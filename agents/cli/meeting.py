"""`mesh invite` and `mesh join`: two agents become peers by one file. Both work whether the agent runs or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agents.calls import CallFailed, NotRunning
from agents.cli.session import Session, json_option, pass_session
from agents.cli.showing import clean, remark, say, say_json
from agents.exports import load

JOIN_WAIT_S = 10.0


@click.command()
@click.argument("peer")
@click.option("--kind", help="The kind the invited agent must have.")
@click.option("--zone", help="The zone of the link; by default the agent's own.")
@click.option("--url", "urls", multiple=True, metavar="URL", help="Where the invited agent reaches this one.")
@click.option("--from", "ranges", multiple=True, metavar="ADDRESS-RANGE", help="Where it must come from, as CIDR.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write; by default PEER.invite.toml.")
@json_option
@pass_session
def invite(
    session: Session,
    peer: str,
    kind: str | None,
    zone: str | None,
    urls: tuple[str, ...],
    ranges: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Write an invitation for an agent that will be called PEER: one use, 24 hours, for it alone."""
    path = output if output is not None else Path(f"{peer}.invite.toml")
    # Looked at before anything is made: an invitation whose file cannot be written is of no use to anybody.
    if path.exists():
        raise CallFailed(
            f"{path} exists already; an invitation is never overwritten",
            code="MESH-E200",
            fix="remove it, or name another file with --output",
        )
    if not path.absolute().parent.is_dir():
        raise CallFailed(
            f"there is no folder {path.absolute().parent}", code="MESH-E200", fix="make it, or see --output"
        )
    made = session.read(
        "invite",
        "invite",
        *(peer, kind, zone, urls, ranges),
        peer=peer,
        kind=kind,
        zone=zone,
        urls=urls,
        ranges=ranges,
    )
    load("invitations.files:write_private")(path, made["text"], replace=False)
    shown = {name: value for name, value in made.items() if name != "text"} | {"file": str(path)}
    if as_json:
        say_json(shown)
        return
    say(f'wrote {path}: "{peer}" may join zone {made["zone"]} at {", ".join(made["urls"])}, once, within 24 h')
    say(f"our key in words, to compare: {made['words']}")
    remark(f"next: hand it over in private; there:  mesh -C {peer} join {path.name}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@pass_session
def join(session: Session, file: Path, as_json: bool) -> int:
    """Accept the invitation in FILE and connect to the agent that wrote it."""
    try:
        joined: dict[str, Any] = session.call("join", path=str(file.absolute()), wait_s=JOIN_WAIT_S)
    except NotRunning:
        joined = load("agents.offline:join")(session.home, file)
        runs = False
    else:
        runs = True
    trouble = joined["trouble"]
    refused = trouble is not None and trouble["exit_code"] == 4
    if as_json:
        say_json(joined | {"running": runs})
        return 4 if refused else 0
    if refused:
        raise CallFailed.from_record(trouble)
    say(f'joined "{clean(joined["name"])}" in zone {joined["zone"]}; its key in words, to compare: {joined["words"]}')
    if not runs:
        session.hint("run")
    elif joined["up"]:
        say(f"the link stands; {file} is used up")
        session.hint("peers")
    else:
        why = "" if trouble is None else f": {clean(trouble['message'])}"
        say(f"the link does not stand yet{why}; the agent goes on trying")
        session.hint("peers")
    return 0
