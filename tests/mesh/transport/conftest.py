"""Fixtures of the transport's tests: event loops, and each implementation of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop

from mesh.transport.admission import ListenerLimits
from mesh.transport.contract import Accept, Connection, Listener, Network, Page
from mesh.transport.memory import MemoryNetwork
from mesh.transport.websocket import WebsocketNetwork
from tests.mesh.transport.loops import Run, VirtualLoop, run_on


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test's coroutine to its end in real time; tasks, sockets and complaints left over fail it."""
    return lambda test: run_on(request.param, test)


@pytest.fixture
def run_virtual() -> Run:
    """Like `run`, with virtual time."""
    return lambda test: run_on(VirtualLoop, test)


@dataclass
class Site:
    """One implementation of the contract: where a server listens and a client dials."""

    kind: str
    loop_factory: Callable[[], asyncio.AbstractEventLoop]
    tasks: asyncio.TaskGroup | None = None

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Like the fixture `run`."""

        async def in_group() -> None:
            async with asyncio.TaskGroup() as self.tasks:
                await test

        run_on(self.loop_factory, in_group())

    def networks(self, handshake_s: float = 10.0) -> tuple[Network, Network]:
        """The network as the server sees it, and as the client does."""
        if self.kind == "memory":
            assert self.tasks is not None
            memory = MemoryNetwork(self.tasks, handshake_s=handshake_s)
            return memory.host("server"), memory.host("client")
        network = WebsocketNetwork(
            ListenerLimits(half_open_per_source=64, handshakes_burst=1000, handshake_s=handshake_s)
        )
        return network, network

    async def listen(
        self,
        accept: Accept,
        *,
        handshake_s: float = 10.0,
        pages: Mapping[str, Page] | None = None,
    ) -> tuple[Listener, Callable[[], Coroutine[Any, Any, Connection]]]:
        """A listener, and a function that dials it."""
        server, client = self.networks(handshake_s)
        listener = await server.listen("127.0.0.1", 0, accept, pages=pages)

        async def dial() -> Connection:
            return await client.connect(listener.address, 5.0)

        return listener, dial


@pytest.fixture(params=["websocket", "uvloop", "memory"])
def site(request: pytest.FixtureRequest) -> Site:
    """Each implementation in turn; the websockets on both event loops."""
    loop = uvloop.new_event_loop if request.param == "uvloop" else asyncio.SelectorEventLoop
    return Site(request.param, loop)
