"""`mesh demo`: the first minute by itself, with nothing in it that a person could not type.

Two agents are made by `mesh init`, run by `mesh run` in processes of their own, and introduced by an invitation file;
then three jobs go through the portal's local door and over the encrypted link, and each change is shown as the portal
sees it. Whatever happens, both processes are gone when the command ends.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from agents.calls import CallFailed, Calls, open_calls
from agents.cli.processes import MESH, agent_process, environment, stop_process
from agents.cli.showing import clean, is_over, say, taken
from agents.settings import HANDLERS

HANDLERS_TEXT: Final = '''\
"""What the cluster does. Each handler takes a fifth of a second, as if it did something."""

from __future__ import annotations

import asyncio

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent("cluster", kind="instance")


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    await context.progress(0.5, "creating home")
    await asyncio.sleep(0.2)
    return "account created"


@agent.handler
async def remove_user(user: UserIdentifier) -> str:
    await asyncio.sleep(0.2)
    if user.project == "admin":
        raise agent.Refused(f'You are not allowed to remove the account for "{user.username}"')
    return "account removed"
'''

INSTRUCTIONS: Final = ("add_user fred.proj.org", "remove_user fred.proj.org", "remove_user jane.admin.org")

JOB_S: Final = 10.0

Record = Mapping[str, Any]


class DemoFailed(CallFailed):
    """A step of the demonstration went wrong; whatever was started is stopped."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, code="MESH-E520", fix="run it again with --keep DIR and look at DIR/*/agent.log", exit_code=1
        )


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Make the folders in DIR, and leave them.")
def demo(keep: Path | None) -> None:
    """Two agents, one invitation, three jobs, over a real encrypted link; in a temporary folder."""
    started = time.monotonic()
    with _folder(keep) as folder:
        try:
            asyncio.run(_until_stopped(folder))
        except asyncio.CancelledError:
            raise click.exceptions.Exit(128 + signal.SIGTERM) from None
    where = "nothing of it is left" if keep is None else f"look around: cd {shlex.quote(str(keep))}"
    say(f"\nDone in {time.monotonic() - started:.1f} s; {where}.")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with TemporaryDirectory(prefix="mesh-demo-") as folder:
            yield Path(folder)
        return
    if keep.exists() and any(keep.iterdir()):
        raise CallFailed(f"{keep} is not empty", code="MESH-E520", fix="name a folder that is empty or not there yet")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep


async def _until_stopped(folder: Path) -> None:
    # SIGTERM ends it as Ctrl-C does: through the `finally` of each step, so that no agent outlives it.
    task = asyncio.current_task()
    assert task is not None, "asyncio.run made one"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await _show(folder)


async def _show(folder: Path) -> None:
    async with AsyncExitStack() as running:
        say("1. Two agents, each with a folder and a key of its own")
        await _mesh(folder, "init", "portal", "--kind", "portal")
        await _mesh(folder, "init", "cluster", "--kind", "instance")
        handlers = folder / "cluster" / HANDLERS
        handlers.write_text(HANDLERS_TEXT)
        say(f"  {handlers.relative_to(folder)}: two handlers, add_user and remove_user")

        say("\n2. One invitation file makes them peers; both run as processes of their own")
        await _mesh(folder, "-C", "portal", "invite", "cluster", "--kind", "instance")
        for name in ("portal", "cluster"):
            await running.enter_async_context(_agent(folder, name))
        await _mesh(folder, "-C", "cluster", "join", "cluster.invite.toml")
        await _mesh(folder, "-C", "portal", "peers", lines=2)

        say("\n3. Three jobs")
        portal = await running.enter_async_context(await open_calls(folder / "portal"))
        cluster = await running.enter_async_context(await open_calls(folder / "cluster"))
        for instruction in INSTRUCTIONS:
            await _put(portal, cluster, f"portal.cluster {instruction}")

        say("\n4. Both stop")


# -- commands and processes -------------------------------------------------------------------------------------


async def _mesh(folder: Path, *words: str, lines: int = 1) -> None:
    """Run a command as a person would, and show it with the first lines of its answer."""
    say(f"$ {shlex.join(['mesh', *words])}")
    process = await asyncio.create_subprocess_exec(
        *(*MESH, *words),
        cwd=folder,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        answer, remarks = await process.communicate()
    finally:
        await stop_process(process)
    if process.returncode != 0:
        raise DemoFailed(f"`{shlex.join(['mesh', *words])}` failed: {clean(remarks.decode().strip())}")
    for line in answer.decode().splitlines()[:lines]:
        say(f"  {line}")


@asynccontextmanager
async def _agent(folder: Path, name: str) -> AsyncIterator[None]:
    """Run an agent from here to the end of the block, its log in its folder."""
    say(f"$ mesh -C {name} run &")
    began = time.monotonic()
    async with agent_process(folder / name, DemoFailed) as process:
        say(f"  {name} is ready after {time.monotonic() - began:.1f} s, process {process.pid}")
        yield
    say(f"  {name} stopped cleanly")


# -- jobs -------------------------------------------------------------------------------------------------------


async def _put(portal: Calls, cluster: Calls, command: str) -> None:
    """Put a job and show each change of it as the portal sees it, then the copy that the cluster holds."""
    say(f"$ mesh -C portal put {command}")
    answer = await portal.request("put", command=command, follow="changes")
    job: Record = answer["job"]
    _line("portal", job, f"job {job['short']} is durable, on the board shared with cluster")
    news = portal.subscription(answer["subscription"])
    try:
        async with asyncio.timeout(JOB_S):
            while not is_over(job):
                before, job = job, await news.get()
                if (job["state"], job["version"]) != (before["state"], before["version"]):
                    _line("portal", job, _said(job))
    except TimeoutError as error:
        raise DemoFailed(f"job {job['short']} is {job['state']} after {JOB_S:g} s") from error
    theirs: Record = await cluster.request("job", id=job["id"])
    if (theirs["state"], theirs["version"]) != (job["state"], job["version"]):
        raise DemoFailed(f"the portal has job {job['short']} {job['state']}, and the cluster {theirs['state']}")
    _line("cluster", theirs, f"its copy says the same; {taken(job)} from the put to the result")


def _line(agent: str, job: Record, said: str) -> None:
    when = datetime.fromtimestamp(job["changed"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    say(f"  {when}  {agent:<7}  {job['state']:<8}  version {job['version']}  {said}")


def _said(job: Record) -> str:
    if job["error"] is not None:
        return f"{job['error']['agent']} says: {clean(job['error']['message'])}"
    if is_over(job):
        return clean(json.dumps(job["result"], ensure_ascii=False))
    shown = [f"attempt {job['attempt']}"]
    shown += [] if job["fraction"] is None else [f"{job['fraction']:.0%}"]
    shown += [] if job["message"] is None else [clean(job["message"])]
    return ", ".join(shown)
