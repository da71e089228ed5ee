"""What every verb shares: the agent's folder, the answer's form, and the way to the running agent."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from agents.calls import NotRunning, open_calls
from agents.cli.showing import remark
from agents.exports import load
from agents.wire import Wire

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """One call of `mesh`: the folder that -C names, and whether it was named at all."""

    home: Path
    named: bool

    def command(self, *words: str) -> str:
        """A command line for people to type next."""
        where = ["-C", str(self.home)] if self.named else []
        return shlex.join(["mesh", *where, *words])

    def hint(self, *words: str) -> None:
        """Tell the next useful command."""
        remark(f"next: {self.command(*words)}")

    def call(self, method: str, **params: Any) -> Any:
        """Ask the running agent once.

        Raises:
            NotRunning: it does not run.
            CallFailed: it refused.
        """

        async def ask() -> Any:
            async with await open_calls(self.home) as calls:
                return await calls.request(method, **params)

        return asyncio.run(ask())

    def read(self, method: str, offline: str, *arguments: Any, **params: Any) -> Any:
        """Ask the running agent, or, when it is down, the function `offline` of `agents.offline`."""
        try:
            return self.call(method, **params)
        except NotRunning:
            return load(f"agents.offline:{offline}")(self.home, *arguments)

    def wire(self) -> Wire:
        """The way to the running agent, for what may be repeated; says so when the agent goes away."""
        return Wire(self.home, lambda: remark("the agent stopped; waiting until it runs again (Ctrl-C leaves it)"))


pass_session = click.make_pass_decorator(Session)

json_option = click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output, nothing else.")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a verb's coroutine."""
    return asyncio.run(work)
