"""`mesh cancel` and `mesh delete`: only where the job was put, and only while that agent runs."""

from __future__ import annotations

import click

from agents.cli.session import Session, json_option, pass_session
from agents.cli.showing import is_over, job_line, say, say_json


@click.command()
@click.argument("id")
@json_option
@pass_session
def cancel(session: Session, id: str, as_json: bool) -> None:
    """Ask for a job to be stopped. The wish is durable when this returns; the job says what came of it."""
    job = session.call("cancel", id=id)
    if as_json:
        say_json(job)
        return
    say(job_line(job))
    if is_over(job):
        session.hint("job", job["short"])
    else:
        session.hint("watch", job["short"])


@click.command()
@click.argument("id")
@json_option
@pass_session
def delete(session: Session, id: str, as_json: bool) -> None:
    """Stop a job and forget it, here and at every agent it has reached."""
    job = session.call("delete", id=id)
    if as_json:
        say_json(job)
        return
    say(f"deleted {job['short']}, which was {job['state']}")
    session.hint("jobs", "--all")
