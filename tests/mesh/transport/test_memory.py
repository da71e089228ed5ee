"""What the memory network can do beyond the contract: delays, cuts and stalls, the same every time."""

from __future__ import annotations

import asyncio
import random

import pytest

from mesh.transport.contract import UNPROVEN, VANISHED, Connection
from mesh.transport.errors import ConnectionLost, DialFailed
from mesh.transport.memory import MemoryNetwork


@pytest.fixture
def on_network(run_virtual):
    """Runs `test(network)` in virtual time."""

    def runner(test, delay=lambda: 0.0) -> None:
        async def scene() -> None:
            async with asyncio.TaskGroup() as tasks:
                await test(MemoryNetwork(tasks, delay))

        run_virtual(scene())

    return runner


async def echo(end: Connection) -> None:
    end.authenticated()
    while True:
        await end.send(await end.receive())


async def lost(end: Connection) -> ConnectionLost:
    try:
        while True:
            await end.receive()
    except ConnectionLost as error:
        return error


def test_a_delay_is_the_only_time_that_passes(on_network):
    async def test(network: MemoryNetwork) -> None:
        loop = asyncio.get_running_loop()
        listener = await network.host("b").listen("", 0, echo)
        assert listener.address == "memory://b"
        client = await network.host("a").connect("memory://b", 1.0)
        assert loop.time() == 0.25
        await client.send(b"x")
        assert await client.receive() == b"x"
        assert loop.time() == 0.75
        await client.close()
        await listener.close()

    on_network(test, lambda: 0.25)


def test_a_cut_ends_both_sides_and_mending_allows_new_ones(on_network):
    async def test(network: MemoryNetwork) -> None:
        ended: list[int] = []

        async def accept(end: Connection) -> None:
            ended.append((await lost(end)).close_code)

        listener = await network.host("b").listen("", 0, accept)
        a, c = network.host("a"), network.host("c")
        cut, kept = await a.connect("memory://b", 1.0), await c.connect("memory://b", 1.0)
        await cut.send(b"in flight")
        network.cut("b", "a")
        error = await lost(cut)
        assert (error.close_code, error.reason) == (VANISHED, "the link was cut")
        with pytest.raises(ConnectionLost):
            await cut.send(b"x")
        with pytest.raises(DialFailed, match="the link is cut"):
            await a.connect("memory://b", 1.0)
        await kept.send(b"x")
        assert ended == [VANISHED]
        network.mend("a", "b")
        again = await a.connect("memory://b", 1.0)
        await again.close()
        await kept.close()
        await listener.close()
        assert ended == [VANISHED, UNPROVEN, UNPROVEN]

    on_network(test, lambda: 0.1)


def test_a_stalled_side_hears_nothing_until_it_is_resumed(on_network):
    async def test(network: MemoryNetwork) -> None:
        heard: list[bytes] = []

        async def accept(end: Connection) -> None:
            end.authenticated()
            while True:
                heard.append(await end.receive())

        listener = await network.host("b").listen("", 0, accept)
        client = await network.host("a").connect("memory://b", 1.0)
        network.stall("a", "b")
        await client.send(b"1")
        await client.send(b"2")
        await client.close()
        await asyncio.sleep(100)
        assert heard == []
        network.resume("a", "b")
        await asyncio.sleep(0.1)
        assert heard == [b"1", b"2"]
        await listener.close()

    on_network(test)


def test_a_stalled_host_does_not_answer_a_dial(on_network):
    async def test(network: MemoryNetwork) -> None:
        listener = await network.host("b").listen("", 0, echo)
        network.stall("b", "a")
        with pytest.raises(DialFailed, match="no answer within 3 s"):
            await network.host("a").connect("memory://b", 3.0)
        assert asyncio.get_running_loop().time() == 3.0
        await listener.close()

    on_network(test)


def test_sending_into_a_stall_waits(on_network):
    async def test(network: MemoryNetwork) -> None:
        listener = await network.host("b").listen("", 0, echo)
        client = await network.host("a").connect("memory://b", 1.0)
        network.stall("a", "b")
        sent: list[int] = []

        async def send_on() -> None:
            while True:
                await client.send(bytes(1_000))
                sent.append(1_000)

        sending = asyncio.ensure_future(send_on())
        await asyncio.sleep(30)
        assert 100_000 < sum(sent) < 1_000_000
        client.abort()
        with pytest.raises(ConnectionLost):
            await sending
        network.resume("a", "b")
        await asyncio.sleep(1)
        await listener.close()

    on_network(test)


def _story(on_network, seed: int) -> list[tuple[float, str, int]]:
    """Many hosts, random delays, cuts and stalls; returns who heard what when."""
    trace: list[tuple[float, str, int]] = []
    source = random.Random(seed)

    async def test(network: MemoryNetwork) -> None:
        loop = asyncio.get_running_loop()

        async def accept(end: Connection) -> None:
            end.authenticated()
            while True:
                message = await end.receive()
                trace.append((loop.time(), end.source, len(message)))

        async def talk(name: str) -> None:
            for _ in range(10):
                try:
                    client = await network.host(name).connect("memory://hub", 1.0)
                    for _ in range(20):
                        await client.send(bytes(source.randrange(2_000)))
                        await asyncio.sleep(source.random())
                    await client.close()
                except (ConnectionLost, DialFailed) as error:
                    trace.append((loop.time(), name + str(error), 0))
                    await asyncio.sleep(source.random())

        async def disturb() -> None:
            for n in range(30):
                name = f"h{n % 5}"
                await asyncio.sleep(source.random())
                network.cut("hub", name)
                network.stall(f"h{(n + 1) % 5}", "hub")
                await asyncio.sleep(source.random())
                network.mend("hub", name)
                network.resume(f"h{(n + 1) % 5}", "hub")

        listener = await network.host("hub").listen("", 0, accept)
        async with asyncio.TaskGroup() as group:
            for n in range(5):
                group.create_task(talk(f"h{n}"))
            group.create_task(disturb())
        await listener.close()

    on_network(test, lambda: source.expovariate(10))
    return trace


def test_the_same_seed_gives_the_same_run(on_network):
    first = _story(on_network, 1)
    assert len(first) > 300
    assert any("cut" in who for _, who, _ in first)
    assert _story(on_network, 1) == first
    assert _story(on_network, 2) != first
