"""`mesh`: the group of all verbs, and the one place where errors become lines and exit codes.

Exit codes: 0 ok, 1 job failed, 2 usage, 3 unreachable, 4 denied, 5 not known yet; 130 for Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from agents.calls import CallFailed
from agents.cli.session import Session
from agents.cli.showing import say, say_error
from agents.exports import engine_is_compiled, load

VERBS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "init": ("agents.cli.making:init", "Make an agent's folder."),
        "invite": ("agents.cli.meeting:invite", "Write an invitation file for another agent."),
        "join": ("agents.cli.meeting:join", "Accept an invitation file."),
        "run": ("agents.cli.serving:run", "Run the agent in the foreground."),
        "demo": ("agents.cli.demo:demo", "Two agents, one invitation, three jobs, in a temporary folder."),
        "bench": ("agents.cli.bench:bench", "Measure throughput and latency."),
        "put": ("agents.cli.putting:put", "Put a job and wait for its result."),
        "submit": ("agents.cli.putting:submit", "Put a job and print its id."),
        "jobs": ("agents.cli.looking:jobs", "List jobs."),
        "job": ("agents.cli.looking:job", "Show one job."),
        "watch": ("agents.cli.looking:watch", "Follow one job to its end."),
        "cancel": ("agents.cli.stopping:cancel", "Ask for a job to be stopped."),
        "delete": ("agents.cli.stopping:delete", "Stop a job and forget it."),
        "dead": ("agents.cli.retrying:dead", "List the jobs that failed, to be put again."),
        "retry": ("agents.cli.retrying:retry", "Put jobs that failed once more."),
        "peers": ("agents.cli.knowing:peers", "List peers and their links."),
        "trust": ("agents.cli.knowing:trust", "List the keys that are believed, and why; settle one."),
        "revoke": ("agents.cli.knowing:revoke", "Make a peer a stranger."),
        "grammar": ("agents.cli.language:grammar", "List the instructions, or explain one."),
        "parse": ("agents.cli.parsing:parse", "Say what a text means, or why it means nothing."),
        "errors": ("agents.cli.codes:errors", "Explain error codes."),
    }
)
"""Verb -> where its command is, and its line of help: a verb is loaded when it is called, or asked for its own help."""


class Verbs(click.Group):
    """The verbs of the table, in its order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = VERBS.get(cmd_name)
        if row is None:
            return None
        command: click.Command = load(row[0])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS:
            close = get_close_matches(args[0], VERBS, 1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            raise click.UsageError(f'there is no verb "{args[0]}"{hint}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, told) for verb, (_, told) in VERBS.items()])


def _tell_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        say(f"mesh {version('hopboard')}{' (compiled engine)' if engine_is_compiled() else ''}")
        context.exit()


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 job failed, 2 usage, 3 unreachable, 4 denied, 5 not known yet.",
)
@click.option("-C", "folder", metavar="DIR", help="The agent's folder; default MESH_HOME, else the current one.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version, and whether the engine is compiled to C, and exit.",
)
@click.pass_context
def mesh(context: click.Context, folder: str | None) -> None:
    """Agents that pass jobs on, durably, from peer to peer."""
    given = folder or os.environ.get("MESH_HOME")
    context.obj = Session(Path(given or "."), folder is not None)


def main() -> None:
    """The entry point of the `mesh` command; never returns."""
    as_json = "--json" in sys.argv[1:]
    sys.exit(_status(as_json))


def _status(as_json: bool) -> int:
    try:
        status = mesh(standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has seen enough (click makes that an exit); what is left must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except click.exceptions.Exit as wanted:
        return wanted.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        return 130
    except click.ClickException as error:
        say_error(_usage(error), as_json=as_json)
        return 2
    except Exception as error:
        if "MESH_DEBUG" in os.environ:
            raise
        fault = _fault(error)
        say_error(fault, as_json=as_json)
        return int(fault["exit_code"])
    return status if isinstance(status, int) else 0


def _usage(error: click.ClickException) -> dict[str, Any]:
    context = error.ctx if isinstance(error, click.UsageError) else None
    where = "mesh" if context is None else context.command_path
    fix = f"see `{where} --help`"
    if isinstance(error, click.NoSuchOption):
        fix += "; an argument that begins with a dash comes after --"
    return {"code": "MESH-E001", "message": error.format_message(), "fix": fix, "exit_code": 2}


def _fault(error: Exception) -> dict[str, Any]:
    """An error as a JSON object; a bug is said to be one."""
    if isinstance(error, CallFailed):
        return error.to_record()
    # A MeshError, told by its shape: to load its class is to load the language, which most verbs do not need.
    if hasattr(error, "exit_code") and hasattr(error, "fix"):
        record: dict[str, Any] = load("agents.records:error_record")(error)
        return record
    if isinstance(error, OSError):
        return {"code": "MESH-E002", "message": str(error), "fix": "check the file or folder it names", "exit_code": 2}
    return {
        "code": "MESH-E599",
        "message": f"this is a bug: {type(error).__name__}: {error}",
        "fix": "MESH_DEBUG=1 before the command shows where; please report that",
        "exit_code": 2,
    }
