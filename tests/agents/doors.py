"""Two real agents in one process, joined over loopback, with the portal's local door open."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec

from agents.agent import Agent
from agents.calls import Calls, open_calls
from agents.context import Context
from agents.settings import make_home
from grammar.identifiers import UserIdentifier

P = ParamSpec("P")

COMMAND = "portal.cluster add_user fred.proj.org"


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test, for at most 30 seconds."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def within() -> None:
            async with asyncio.timeout(30):
                await test(*args, **kwargs)

        asyncio.run(within())

    return run


@dataclass
class House:
    """A portal and its cluster. A job `hold NAME` runs until `release` is set; `held` is set once one runs."""

    folder: Path
    portal: Agent
    cluster: Agent
    held: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def reopen(self) -> None:
        """Close the portal's door, and open a new one: what its callers see of a restart."""
        await self.portal.door.close()
        await self.portal.door.open()

    @property
    def home(self) -> Path:
        return self.folder / "portal"

    async def calls(self) -> Calls:
        return await open_calls(self.home)

    async def put(self, command: str = COMMAND, **settings: Any) -> dict[str, Any]:
        """Put a job through the door; returns the answer."""
        async with await self.calls() as calls:
            answer: dict[str, Any] = await calls.request("put", command=command, **settings)
            return answer


def make_cluster(home: Path) -> tuple[Agent, asyncio.Event, asyncio.Event]:
    cluster = Agent("cluster", home=home)
    held, release = asyncio.Event(), asyncio.Event()

    @cluster.handler
    async def add_user(user: UserIdentifier) -> str:
        return "account created"

    @cluster.handler
    async def remove_user(user: UserIdentifier) -> str:
        raise cluster.Refused(f'You are not allowed to remove the account for "{user.username}"')

    @cluster.handler
    async def hold(name: str, context: Context) -> str:
        await context.progress(0.5, f"holding {name}")
        held.set()
        await release.wait()
        return name

    return cluster, held, release


@asynccontextmanager
async def two_agents(folder: Path) -> AsyncIterator[House]:
    make_home(folder / "portal", "portal", kind="portal")
    make_home(folder / "cluster", "cluster", kind="instance")
    cluster, held, release = make_cluster(folder / "cluster")
    portal = Agent("portal", home=folder / "portal")
    await portal.start()
    await cluster.start()
    try:
        (await portal.invite("cluster")).save(folder / "cluster.invite.toml")
        await cluster.join(folder / "cluster.invite.toml")
        await portal.wait_for_peer("cluster", timeout=10)
        yield House(folder, portal, cluster, held, release)
    finally:
        await portal.stop()
        await cluster.stop()
