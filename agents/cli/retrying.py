"""`mesh dead` and `mesh retry`: jobs that failed, and putting them again. The first works when the agent is down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from agents.calls import CallFailed, NotRunning
from agents.cli.session import Session, json_option, pass_session
from agents.cli.showing import clean, is_over, job_line, remark, say, say_damaged, say_error, say_json
from agents.exports import load


@click.command()
@json_option
@pass_session
def dead(session: Session, as_json: bool) -> int:
    """List the dead letters, newest first: jobs put here that failed, expired or were refused, and not put again.

    What a job did before it failed is not always known; where not, it says so. All of them once more:
    mesh dead --json | jq -r .id | xargs mesh retry
    """
    shown = code = 0
    for page in _listed(session):
        for one in page["jobs"]:
            shown += 1
            if as_json:
                say_json(one)
            else:
                say(f"{job_line(one)}  {clean(one['instruction'])}")
        for one in page["damaged"]:
            code = say_damaged(one, as_json=as_json)
    if as_json or code:
        return code
    if not shown:
        remark("no dead letters: whatever was put here and is over was done, stopped, or put again")
    else:
        session.hint("retry", "ID")
    return 0


def _listed(session: Session) -> Iterator[dict[str, Any]]:
    try:
        after = -1
        while after:
            page = session.call("dead", after=max(0, after))
            yield page
            after = page["next"]
    except NotRunning:
        yield from load("agents.offline:dead")(session.home)


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--life", "life_s", type=click.FloatRange(0, min_open=True), help="Seconds each may wait to start.")
@json_option
@pass_session
def retry(session: Session, ids: tuple[str, ...], life_s: float | None, as_json: bool) -> int:
    """Put jobs that failed once more, and print the new ones: they are durable then.

    Each new job has the text of the old one, which is its parent. Repeating the same retry puts nothing twice.
    """
    code = 0
    for id in ids:
        try:
            job = session.call("retry", id=id, life_s=life_s)["job"]
        except NotRunning:
            raise
        except CallFailed as refused:
            say_error(refused.to_record(), as_json=as_json)
            code = refused.exit_code
            continue
        if as_json:
            say_json(job)
            continue
        say(job_line(job))
        if len(ids) == 1 and not is_over(job):
            session.hint("watch", job["short"])
    return code
