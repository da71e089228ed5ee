"""The one loop of an agent: inputs in, one step for all that wait, one commit, then the effects (rule R1).

Inputs are plain calls of the engine; whoever makes one calls `poke` after it. Everything that arrives within one turn
of the event loop becomes one step, up to `INPUTS` of them: a longer step would keep the disk and the peers waiting for
its end, while with several each works on what the one before it left. Steps are computed while earlier commits run;
their effects come out in order, and soon: not at the end of a turn in which a thousand callers go on, but between two
inputs, so that the peers have something to do meanwhile.

A step that was given hardly anything but Outcomes for callers here ends a turn later: whoever was told goes on at once,
often with the next job, and that one's put then shares the step and its commit instead of waiting for them.

Nothing here polls or sleeps: it waits for the next input or for the engine's next deadline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from agents.errors import AgentError
from mesh.effects import Answer, Early, Effects, Query
from mesh.engine import Engine
from mesh.storage.writer import Writer

INPUTS: Final = 512
"""Inputs after which a step ends within its turn."""

Clock = Callable[[], int]
"""The time in milliseconds of Unix time."""


class Outlet(Protocol):
    """What carries effects out into the world."""

    def at_once(self, early: Early) -> None:
        """What waits for nothing."""

    def after_commit(self, effects: Effects) -> None:
        """Everything else but the queries, which the loop asks itself."""

    def flush(self) -> None:
        """Those were all effects for now: what waits for the network may go."""

    def failed(self, error: BaseException) -> None:
        """The store failed for good, or an invariant broke: the process has to stop before it says something untrue
        (R10). What was acknowledged is durable; a restart goes on from there."""


class _Pending:
    __slots__ = ("after", "durable", "effects")

    def __init__(self, effects: Effects, after: list[Callable[[], None]], *, durable: bool) -> None:
        self.effects = effects
        self.after = after
        self.durable = durable


class Stepping:
    """Drives an engine.

    Args:
        engine: already opened.
        writer: the store's thread.
        outlet: where effects go.
        clock: the time; the event loop's own clock only says when to look at it.
    """

    def __init__(self, engine: Engine, writer: Writer, outlet: Outlet, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._outlet = outlet
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._poked = False
        self._inputs = 0
        self._closed = False
        self._failed = False
        self._settling: list[asyncio.Future[None]] = []
        self._pending: deque[_Pending] = deque()
        self._after: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self.steps = 0

    @property
    def failed(self) -> bool:
        """Whether it stopped for good."""
        return self._failed

    def now_ms(self) -> int:
        """The time."""
        return self._clock()

    def make_room(self) -> None:
        """End the present step if it is full, and carry out what became durable meanwhile; called before an input of
        which there may be many in one turn."""
        self._writer.deliver()
        if self._inputs >= INPUTS:
            self._end_step()

    def poke(self, inputs: int = 1) -> None:
        """Inputs were given: end the step once all that waits in this turn is in."""
        self._inputs += inputs
        if not self._poked and not self._closed:
            self._poked = True
            self._loop.call_soon(self._turn)

    def feed(self, call: Callable[[int], None], inputs: int = 1) -> None:
        """Give the engine an input that can fail only by a bug: `call` gets the time; `inputs` says how many it is."""
        self.make_room()
        if self._closed:
            return
        try:
            call(self._clock())
        except Exception as error:  # noqa: BLE001 - a broken invariant: nothing may be built on it
            self.fail(error)
        else:
            self.poke(inputs)

    def fail(self, error: BaseException) -> None:
        """Stop stepping for good."""
        if not self._closed:
            self._closed = self._failed = True
            waiters, self._settling = self._settling, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(_stopped())
            self._outlet.failed(error)

    def after(self, call: Callable[[], None]) -> None:
        """Call `call` when everything given so far is durable and carried out."""
        self._after.append(call)
        self.poke()

    async def settled(self) -> None:
        """Wait until everything given so far is durable and carried out.

        Raises:
            AgentError: stepping failed before that.
        """
        if self._failed:
            raise _stopped()
        done: asyncio.Future[None] = self._loop.create_future()
        self._settling.append(done)
        self.after(partial(_release, done))
        try:
            await done
        finally:
            if done in self._settling:
                self._settling.remove(done)

    async def close(self) -> None:
        """Carry out what was given, then stop."""
        await self.settled()
        self.abandon()

    def abandon(self) -> None:
        """Stop at once; what was not committed is not carried out."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        if 0 < self._inputs <= 2 * self._at_once():
            self._loop.call_soon(self._turn)
            return
        self._poked = False
        self._end_step()

    def _at_once(self) -> int:
        """Carry out what is early; gives how many Outcomes were told here."""
        try:
            early = self._engine.early()
            if early is None or self._closed:
                return 0
            self._outlet.at_once(early)
        except Exception as error:  # noqa: BLE001 - half carried out: nothing may be built on it
            self.fail(error)
            return 0
        return len(early.told)

    def _end_step(self) -> None:
        # Before the step's own work, for which neither a lone caller nor the next agent has to wait.
        self._at_once()
        self._inputs = 0
        if self._closed:
            return
        self.steps += 1
        try:
            effects = self._engine.end_step(self._clock())
        except Exception as error:  # noqa: BLE001 - a broken invariant: nothing may be built on it
            self.fail(error)
            return
        after, self._after = self._after, []
        if effects.batch:
            self._pending.append(_Pending(effects, after, durable=False))
            self._writer.commit(effects.batch, self._committed)
        elif self._pending:
            self._pending.append(_Pending(effects, after, durable=True))
        else:
            self._carry_out(effects, after)
        self._outlet.flush()
        self._set_timer()

    def _committed(self, error: BaseException | None) -> None:
        if error is not None:
            self.fail(error)
            return
        # Commits come back in their order; the first one not yet durable is the one that was meant.
        pending = self._pending
        pending[0].durable = True
        while pending and pending[0].durable:
            done = pending.popleft()
            self._engine.committed(done.effects.step)
            self._carry_out(done.effects, done.after)
        self._outlet.flush()

    def _carry_out(self, effects: Effects, after: list[Callable[[], None]]) -> None:
        try:
            self._outlet.after_commit(effects)
        except Exception as error:  # noqa: BLE001 - effects half carried out: nothing may be built on them
            self.fail(error)
            return
        for query in effects.queries:
            self._ask(query)
        for call in after:
            call()

    def _ask(self, query: Query) -> None:
        def answered(answer: Answer | BaseException) -> None:
            if isinstance(answer, BaseException):
                self.fail(answer)
                return
            self.feed(partial(self._engine.answer, answer))

        self._writer.read(query, answered)

    def _set_timer(self) -> None:
        deadline = self._engine.next_deadline_ms()
        if deadline is None:
            return
        timer = self._timer
        if timer is not None and not timer.cancelled() and self._timer_ms <= deadline:
            return
        if timer is not None:
            timer.cancel()
        self._timer_ms = deadline
        delay_s = max(0.0, (deadline - self._clock()) / 1000)
        self._timer = self._loop.call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.feed(self._engine.tick)


def _stopped() -> AgentError:
    return AgentError("the agent stopped before that was done", fix="see its log, and start it again")


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
