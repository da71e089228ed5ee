"""Several agents in one process over the memory network, each with a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agents.agent import Agent
from agents.settings import make_home
from mesh.storage.contract import Store
from mesh.storage.memory import MemoryStore
from mesh.transport.contract import Accept, Connection, Listener, Page
from mesh.transport.memory import SCHEME, MemoryConnection, MemoryNetwork

LISTEN = "127.0.0.1:7000"
"""An address for `mesh.toml`: the memory network listens on the host's name whatever it says."""


class Host:
    """The memory network as one agent sees it; an invitation's `ws://NAME` reaches the host of that name."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._host = network.host(name)
        self.dialled: list[MemoryConnection] = []

    async def connect(self, url: str, timeout_s: float) -> Connection:
        connection = await self._host.connect(url.replace("ws://", SCHEME), timeout_s)
        self.dialled.append(connection)
        return connection

    async def listen(
        self, host: str, port: int, accept: Accept, *, pages: Mapping[str, Page] | None = None
    ) -> Listener:
        return await self._host.listen(host, port, accept, pages=pages)


@dataclass
class Mesh:
    """Where agents are made; those that run when the test ends are stopped."""

    folder: Path
    network: MemoryNetwork
    agents: list[Agent] = field(default_factory=list)
    hosts: dict[str, Host] = field(default_factory=dict)

    def agent(
        self,
        name: str,
        *,
        kind: str = "custom",
        zone: str = "default",
        listen: str | None = LISTEN,
        store: Store | None = None,
        more: str = "",
    ) -> Agent:
        """An agent with a folder of its own; `more` is appended to its `mesh.toml`."""
        home = self.folder / name
        make_home(home, name, kind=kind, zone=zone, listen=listen)
        with (home / "mesh.toml").open("a") as file:
            file.write("\n" + more)
        return self.another(name, store=store)

    def another(self, name: str, *, store: Store | None = None) -> Agent:
        """One more agent object for a folder that is there."""
        host = self.hosts.setdefault(name, Host(self.network, name))
        agent = Agent(home=self.folder / name, network=host, store=store or MemoryStore())
        self.agents.append(agent)
        return agent

    def file(self, name: str) -> Path:
        """Where the invitation for `name` is saved."""
        return self.folder / f"{name}.invite.toml"

    async def join(self, inviter: Agent, invited: Agent) -> None:
        """Pair two agents, both running, and wait for the link."""
        assert inviter.name is not None
        assert invited.name is not None
        invitation = await inviter.invite(invited.name, urls=(f"ws://{inviter.name}",))
        invitation.save(self.file(invited.name))
        await invited.join(self.file(invited.name))
        await inviter.wait_for_peer(invited.name)
        await invited.wait_for_peer(inviter.name)


@asynccontextmanager
async def memory_mesh(folder: Path) -> AsyncIterator[Mesh]:
    """A mesh for one test, which has 20 seconds."""
    failed: Exception | None = None
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        mesh = Mesh(folder, MemoryNetwork(tasks))
        try:
            yield mesh
        except Exception as error:  # raised below: a group would hide it from `pytest.raises`
            failed = error
        finally:
            for agent in mesh.agents:
                await agent.stop()
    if failed is not None:
        raise failed
