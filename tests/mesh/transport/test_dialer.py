"""The dialer, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.transport.dialer import Dialer, DialerLimits, DialerState, Dialing, Up, Waiting, backoff
from mesh.transport.errors import ConnectionLost, DialFailed

LIMITS = DialerLimits()
REFUSED = DialFailed("ws://a", "nothing listens there", fix="start it")


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_below_its_ceiling(attempt, chance):
    seconds = backoff(attempt, lambda: chance, LIMITS)
    assert 0 <= seconds < min(60.0, 0.5 * 2.0 ** min(attempt, 50))


def test_backoff_doubles_up_to_the_cap():
    ceilings = [backoff(n, lambda: 1.0, LIMITS) for n in range(9)]
    assert ceilings == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_backoff_is_spread_evenly():
    source = random.Random(7)
    waits = [backoff(6, source.random, LIMITS) for _ in range(4_000)]
    assert min(waits) < 0.5
    assert max(waits) > 31.5
    assert sum(waits) / len(waits) == pytest.approx(16, rel=0.05)


class Peer:
    """Plays the other side: each attempt follows the next line of `script`, then refuses."""

    def __init__(self, *script: str | float) -> None:
        self.script = list(script)
        self.log: list[tuple[float, DialerState]] = []
        self.cancelled = 0

    def dialer(self, *urls: str, chance: Callable[[], float] = lambda: 0.5) -> Dialer:
        return Dialer(urls or ("ws://a",), self.attempt, self.report, random=chance)

    def report(self, state: DialerState) -> None:
        self.log.append((asyncio.get_running_loop().time(), state))

    async def attempt(self, url: str, up: Callable[[], None]) -> None:
        step = self.script.pop(0) if self.script else "refuse"
        try:
            if step == "refuse":
                raise REFUSED
            if step == "hang":
                await asyncio.get_running_loop().create_future()
            if step == "return":
                return
            if step == "bug":
                raise RuntimeError("a bug")
            if step == "timeout":
                raise TimeoutError
            assert isinstance(step, float)  # up for so many seconds, then lost
            up()
            await asyncio.sleep(step)
            raise ConnectionLost("replaced", 4409)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def waits(self) -> list[float]:
        return [state.seconds for _, state in self.log if isinstance(state, Waiting)]


async def run_for(dialer: Dialer, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await dialer.run()


def test_failures_wait_longer_and_longer(run_virtual):
    peer = Peer()
    run_virtual(run_for(peer.dialer(), 300))
    assert peer.waits()[:9] == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    at = [time for time, state in peer.log if isinstance(state, Dialing)]
    assert at[:5] == pytest.approx([0, 0.25, 0.75, 1.75, 3.75])


def test_a_wait_tells_the_last_error(run_virtual):
    peer = Peer("return")
    run_virtual(run_for(peer.dialer(), 1))
    errors = [state.error for _, state in peer.log if isinstance(state, Waiting)]
    assert errors == [None, REFUSED, REFUSED]
    assert REFUSED.__traceback__ is None


def test_a_link_that_was_up_long_enough_starts_over(run_virtual):
    peer = Peer("refuse", "refuse", "refuse", 59.0, 60.0, "refuse")
    run_virtual(run_for(peer.dialer(), 200))
    assert peer.waits()[:6] == [0.25, 0.5, 1, 2, 0.25, 0.5]
    ups = [(time, state) for time, state in peer.log if isinstance(state, Up)]
    assert [state for _, state in ups] == [Up("ws://a")] * 2
    lost = next(state for _, state in peer.log[8:] if isinstance(state, Waiting))
    assert isinstance(lost.error, ConnectionLost)


def test_all_urls_are_tried_before_waiting(run_virtual):
    peer = Peer("refuse", "refuse", 1.0, "refuse")
    run_virtual(run_for(peer.dialer("ws://a", "ws://b", "ws://c"), 1.3))
    states = [state for _, state in peer.log]
    assert states[:4] == [Dialing("ws://a"), Dialing("ws://b"), Dialing("ws://c"), Up("ws://c")]
    assert isinstance(states[4], Waiting)
    assert states[5:] == [Dialing("ws://a"), Dialing("ws://b"), Dialing("ws://c"), states[-1]]


def test_an_attempt_that_hangs_is_given_up(run_virtual):
    peer = Peer("hang")
    run_virtual(run_for(peer.dialer(), 10.1))
    time, state = peer.log[1]
    assert time == pytest.approx(10)
    assert isinstance(state, Waiting)
    assert isinstance(state.error, DialFailed)
    assert "no link within 10 s" in str(state.error)
    assert peer.cancelled == 1


def test_a_link_may_be_up_for_ever(run_virtual):
    peer = Peer(100_000.0)
    run_virtual(run_for(peer.dialer(), 50_000))
    assert [type(state) for _, state in peer.log] == [Dialing, Up]
    assert peer.cancelled == 1


def test_wake_ends_a_wait(run_virtual):
    peer = Peer()

    async def test() -> None:
        dialer = peer.dialer(chance=lambda: 0.999)
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, dialer.wake)
        await run_for(dialer, 0.2)

    run_virtual(test())
    assert [time for time, state in peer.log if isinstance(state, Dialing)] == pytest.approx([0, 0.1])
    assert len(peer.waits()) == 2


def test_wake_while_dialling_counts_once_and_while_up_not_at_all(run_virtual):
    peer = Peer("hang", "refuse", 5.0, "refuse")

    async def test() -> None:
        dialer = peer.dialer(chance=lambda: 0.8)
        loop = asyncio.get_running_loop()
        loop.call_at(5.0, dialer.wake)  # in the attempt that hangs until 10
        loop.call_at(12.0, dialer.wake)  # while up
        await run_for(dialer, 30)

    run_virtual(test())
    dials = [time for time, state in peer.log if isinstance(state, Dialing)]
    assert dials[:3] == pytest.approx([0, 10, 10.8])  # the wait after the second failure is a full one
    assert dials[3] == pytest.approx(15.8 + 1.6)


def test_too_late_is_not_up(run_virtual):
    """`up` in the very step in which the attempt's time ran out: the attempt is being cancelled already."""
    log: list[DialerState] = []

    async def attempt(url: str, up: Callable[[], None]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            up()

    run_virtual(run_for(Dialer(["ws://a"], attempt, log.append, random=lambda: 0.9), 10.2))
    assert [type(state) for state in log] == [Dialing, Waiting]


@pytest.mark.parametrize(("step", "error"), [("bug", RuntimeError), ("timeout", TimeoutError)])
def test_what_is_no_link_error_is_a_bug_and_passes(run_virtual, step, error):
    async def test() -> None:
        with pytest.raises(error):
            await Peer(step).dialer().run()

    run_virtual(test())


@pytest.mark.parametrize("at", [0.1, 5.0])
def test_cancelling_is_clean_in_every_state(run_virtual, at):
    peer = Peer("refuse", "hang")

    async def test() -> None:
        running = asyncio.ensure_future(peer.dialer(chance=lambda: 0.999).run())
        asyncio.get_running_loop().call_later(at, running.cancel)
        await asyncio.wait([running])
        assert running.cancelled()

    run_virtual(test())
    assert peer.cancelled == (1 if at > 1 else 0)
