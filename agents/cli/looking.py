"""`mesh jobs`, `mesh job`, `mesh watch`: what is on the boards. The first two work when the agent is down too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from agents.calls import Calls, NotRunning, open_calls
from agents.chunks import download
from agents.cli.session import Session, json_option, pass_session, run
from agents.cli.showing import (
    LiveLine,
    clean,
    exit_code_of,
    is_over,
    job_line,
    remark,
    say,
    say_damaged,
    say_json,
    seconds,
    size,
    taken,
)
from agents.exports import load

STATES = (
    *("created", "blocked", "pending", "claimed", "running"),
    *("complete", "error", "rejected", "expired", "cancelled"),
)


@click.command()
@click.option("--all", "finished", is_flag=True, help="Finished jobs too.")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only jobs in this state.")
@json_option
@pass_session
def jobs(session: Session, finished: bool, states: tuple[str, ...], as_json: bool) -> int:
    """List jobs, newest first: live ones, with --all finished ones too.

    A job whose stored row is damaged is named as an error beside the others.
    """
    live = None if finished or states else True
    shown = code = 0
    for page in _listed(session, live, states):
        for one in page["jobs"]:
            shown += 1
            if as_json:
                say_json(one)
            else:
                age = seconds(max(0.0, time.time() - one["created"]))
                say(f"{job_line(one)}  {clean(one['instruction'])}  ({one['role']}, {age} ago)")
        for one in page["damaged"]:
            code = say_damaged(one, as_json=as_json)
    if as_json or code:
        return code
    if not shown:
        remark("no jobs" if finished or states else "no live jobs; finished ones: mesh jobs --all")
    else:
        session.hint("job", "ID")
    return 0


def _listed(session: Session, live: bool | None, states: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    try:
        after = -1
        while after:
            page = session.call("jobs", live=live, states=states, after=max(0, after))
            yield page
            after = page["next"]
    except NotRunning:
        yield from load("agents.offline:jobs")(session.home, live, states)


@click.command()
@click.argument("id")
@click.option("--output", metavar="FILE", help="Write its result there, whole; - for standard output.")
@json_option
@pass_session
def job(session: Session, id: str, output: str | None, as_json: bool) -> None:
    """Show the job that ID, or the first characters of it, names; with --output, save its result.

    A result that is a text is written as it is, any other one as JSON.
    """
    found = session.read("job", "job", id, id=id)
    if output is not None:
        _save(session, found, output, as_json=as_json)
        return
    if as_json:
        say_json(found)
        return
    for name, value in _details(found):
        say(f"{name:<12} {value}")
    if not is_over(found):
        session.hint("watch", found["short"])


def _save(session: Session, found: dict[str, Any], output: str, *, as_json: bool) -> None:
    async def fetch() -> bytes:
        async with await open_calls(session.home) as calls:
            return await download(calls, found["id"])

    try:
        text = run(fetch())
    except NotRunning:
        text = load("agents.offline:result")(session.home, found["id"])
    value = json.loads(text)
    data = value.encode() if isinstance(value, str) else text + b"\n"
    if output == "-":
        click.echo(data, nl=False)
        return
    Path(output).write_bytes(data)
    if as_json:
        say_json({"id": found["id"], "output": output, "bytes": len(data), "result_type": found["result_type"]})
    else:
        say(f"{found['short']}  {size(len(data))} written to {clean(output)}")


def _details(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "id", found["id"]
    yield "path", clean(" > ".join(found["path"]))
    yield "instruction", clean(found["instruction"])
    yield "state", found["state"] + (" (overdue)" if found["overdue"] else "")
    if found["error"] is not None:
        error = found["error"]
        yield "error", f"{error['kind']}: {clean(error['message'])} (said by {clean(error['agent'])})"
        if error["fix"]:
            yield "fix", clean(error["fix"])
    elif found["result_bytes"] is not None:
        yield "result", f"{size(found['result_bytes'])} ({found['result_type']}); --output FILE saves it"
    elif is_over(found):
        yield "result", f"{clean(found['result'])} ({found['result_type']})"
    if found["payload_bytes"] is not None:
        yield "payload", size(found["payload_bytes"])
    if found["message"] is not None:
        yield "progress", clean(found["message"])
    yield "version", str(found["version"])
    yield "attempt", str(found["attempt"])
    yield "role here", found["role"]
    yield "boards", clean(", ".join(found["boards"]))
    yield "zone", found["zone"]
    if found["parent"] is not None:
        yield "parent", found["parent"]
    for name in ("created", "changed", "expires"):
        yield name, datetime.fromtimestamp(found[name]).astimezone().isoformat(" ", "milliseconds")
    yield "taken", taken(found)


@click.command()
@click.argument("id")
@json_option
@pass_session
def watch(session: Session, id: str, as_json: bool) -> int:
    """Follow a job to its end, and exit as `put` would have."""
    line = LiveLine(wanted=not as_json)

    def show(one: dict[str, Any]) -> None:
        if as_json:
            say_json(one)
        else:
            line.show(job_line(one))

    async def follow(calls: Calls) -> dict[str, Any]:
        answer = await calls.request("watch", id=id)
        one: dict[str, Any] = answer["job"]
        show(one)
        news = calls.subscription(answer["subscription"])
        while not is_over(one):
            one = await news.get()
            show(one)
        return one

    async def work() -> dict[str, Any]:
        wire = session.wire()
        try:
            return await wire.repeat(follow)
        finally:
            await wire.close()

    last = run(work())
    if not as_json:
        line.clear()
        say(job_line(last))
        if last["error"] is not None and last["error"]["fix"]:
            remark(f"fix: {clean(last['error']['fix'])}")
    return exit_code_of(last)
