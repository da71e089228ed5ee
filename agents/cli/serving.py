"""`mesh run`: the agent in the foreground, with the handlers of its folder."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType

import click

from agents.agent import Agent
from agents.calls import CallFailed
from agents.cli.session import Session, pass_session
from agents.cli.showing import remark
from agents.program import run_program
from agents.settings import HANDLERS, load_settings
from grammar.errors import MeshError


@click.command()
@pass_session
def run(session: Session) -> None:
    """Run the agent until Ctrl-C or SIGTERM, with the handlers of its handlers.py if there is one."""
    load_settings(session.home)
    # Where a handlers.py makes its agent without naming a folder, it is this one that is meant.
    os.environ["MESH_HOME"] = str(session.home.absolute())
    file = session.home / HANDLERS
    agent = agent_of(file) if file.exists() else Agent.load(session.home)
    run_program(agent)


def agent_of(file: Path) -> Agent:
    """The object `agent` of a handlers.py.

    Raises:
        CallFailed: the file fails, or has no such object; what failed in it is on standard error.
    """
    spec = importlib.util.spec_from_file_location("handlers", file)
    assert spec is not None, "a path that ends in .py has a loader"
    assert spec.loader is not None, "a path that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    # As `python handlers.py` has it: the file's neighbours can be imported, and its names looked up by annotations.
    sys.path.insert(0, str(file.parent.absolute()))
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except MeshError as error:
        raise CallFailed(
            f"{_place(error, file)}: {error.message}", code=error.code, fix=error.fix, exit_code=2
        ) from error
    except (Exception, SystemExit) as error:
        for line in traceback.format_exception(
            type(error), error, _own_part(error.__traceback__, str(file.absolute()))
        ):
            remark(line.rstrip())
        raise CallFailed(
            f"{_place(error, file)}: {type(error).__name__}: {error}",
            code="MESH-E508",
            fix=f"correct it; `python {file}` shows the same",
        ) from error
    return _agent_in(module, file)


def _agent_in(module: ModuleType, file: Path) -> Agent:
    agent = getattr(module, "agent", None)
    if not isinstance(agent, Agent):
        what = 'no object called "agent"' if agent is None else f'an "agent" that is a {type(agent).__name__}'
        raise CallFailed(
            f"{file} has {what}", code="MESH-E508", fix="write `agent = Agent()` in it, or remove the file"
        )
    return agent


def _place(error: BaseException, file: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file.absolute())]
    return f"{file}, line {frames[-1].lineno}" if frames else str(file)


def _own_part(trace: TracebackType | None, name: str) -> TracebackType | None:
    """The trace from the file on, without what led to it."""
    while trace is not None and trace.tb_frame.f_code.co_filename != name:
        trace = trace.tb_next
    return trace
