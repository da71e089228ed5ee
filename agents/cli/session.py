"""What every verb shares: the agent's folder, the answer's form, and the way to the running agent."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from agents.calls import CallFailed, CallLost, Calls, NotRunning, open_calls
from agents.cli.showing import remark
from agents.exports import load

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


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

    def require_agent(self, error: NotRunning) -> CallFailed:
        """The error to show when nobody opens: there may be no agent in the folder at all."""
        if (self.home / "mesh.toml").exists():
            return CallFailed(
                error.message, code=error.code, fix=f"start it: {self.command('run')}", exit_code=error.exit_code
            )
        return CallFailed(
            f"there is no agent in {self.home}: it has no mesh.toml",
            code="MESH-E501",
            fix="make one with `mesh init NAME`, or name its folder: `mesh -C DIR ...`",
        )


pass_session = click.make_pass_decorator(Session)

json_option = click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output, nothing else.")


def fresh_key() -> str:
    """A new idempotency key; later ones sort after it."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


class Wire:
    """A connection that is made again when the agent was started again.

    What is asked through it must be safe to repeat: an agent that goes away may have done it already.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._calls: Calls | None = None
        self._opening = asyncio.Lock()

    async def calls(self) -> Calls:
        """A connection that stands.

        Raises:
            NotRunning: the agent does not run; only at the first time, later ones wait for it.
        """
        async with self._opening:
            if self._calls is None:
                self._calls = await open_calls(self._session.home)
            elif self._calls.lost:
                await self._calls.close()
                self._calls = await self._again()
            return self._calls

    async def repeat(self, act: Callable[[Calls], Awaitable[T]]) -> T:
        """Do `act` on the connection, from its start again each time that breaks."""
        while True:
            try:
                return await act(await self.calls())
            except CallLost:
                continue

    async def close(self) -> None:
        """Hang up."""
        if self._calls is not None:
            await self._calls.close()

    async def _again(self) -> Calls:
        remark("the agent stopped; waiting until it runs again (Ctrl-C ends the waiting, not the job)")
        pause_s = _FIRST_PAUSE_S
        while True:
            # Nothing tells when another process opens its socket: knock, less and less often.
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
            try:
                return await open_calls(self._session.home)
            except NotRunning:
                continue


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a verb's coroutine."""
    return asyncio.run(work)
