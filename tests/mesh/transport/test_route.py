"""Routes and wires of the memory network, in virtual time."""

from __future__ import annotations

import asyncio

from mesh.transport.route import WINDOW_BYTES, End, Route, Wire


def wire_on(route: Route) -> tuple[Wire, list[tuple[float, bytes | End]]]:
    loop = asyncio.get_running_loop()
    wire, arrived = Wire(route), []
    wire.arrive = lambda item: arrived.append((loop.time(), item))
    return wire, arrived


def test_nothing_arrives_within_the_call_that_sends_it(run_virtual):
    async def test() -> None:
        wire, arrived = wire_on(Route(lambda: 0.0))
        wire.put(b"a")
        assert arrived == []
        await asyncio.sleep(0)
        assert arrived == [(0.0, b"a")]

    run_virtual(test())


def test_a_slow_message_is_not_overtaken(run_virtual):
    async def test() -> None:
        delays = iter([3.0, 1.0, 5.0])
        wire, arrived = wire_on(Route(lambda: next(delays)))
        for item in (b"a", b"b", End(1000, "")):
            wire.put(item)
        await asyncio.sleep(10)
        assert arrived == [(3.0, b"a"), (3.0, b"b"), (5.0, End(1000, ""))]

    run_virtual(test())


def test_a_stall_holds_and_a_resume_delivers_in_order(run_virtual):
    async def test() -> None:
        route = Route(lambda: 1.0)
        (one, ones), (two, twos) = wire_on(route), wire_on(route)
        two.put(b"in flight")
        route.stall()
        for n in range(3):
            one.put(b"%d" % n)
        await asyncio.sleep(10)
        assert ones == twos == []
        route.resume()
        assert ones == [(10.0, b"0"), (10.0, b"1"), (10.0, b"2")]
        assert twos == [(10.0, b"in flight")]
        one.put(b"3")
        await asyncio.sleep(2)
        assert ones[-1] == (11.0, b"3")

    run_virtual(test())


def test_what_is_lost_never_arrives(run_virtual):
    async def test() -> None:
        wire, arrived = wire_on(Route(lambda: 1.0))
        wire.put(b"a")
        wire.lose()
        await asyncio.sleep(2)
        wire.put(b"b")
        await asyncio.sleep(2)
        assert arrived == [(3.0, b"b")]

    run_virtual(test())


def test_a_sender_waits_for_room_until_it_is_taken(run_virtual):
    async def test() -> None:
        wire, _ = wire_on(Route(lambda: 0.0))
        wire.put(bytes(WINDOW_BYTES))
        await wire.room()
        wire.put(b"one more")
        waiting = [asyncio.ensure_future(wire.room()) for _ in range(2)]
        await asyncio.sleep(1)
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        wire.take(8)
        await asyncio.wait(waiting)
        assert waiting[0].cancelled()

    run_virtual(test())
