"""A call: a job that is put and waited for in one go.

Whoever puts a job and then waits for its result goes on twice for each: when the job is durable, and when it is over.
A call is one future for both. Where thousands are under way, to go on is much of what a job costs its caller.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agents.handle import JobHandle, Keeper, is_at_hand, value_of
from agents.watching import Watch, Watching
from grammar.errors import MeshError


class Call(Watch):
    """The watch of a job whose caller waits for its result alone. For whoever else asks about that job, it is a watch
    like any other.

    Attributes:
        last: the name of the destination.
        result: done with the typed value, or with why there is none. Who cancels it only stops waiting.
    """

    __slots__ = ("_keeper", "_reading", "_watching", "last", "result")

    def __init__(self, keeper: Keeper, watching: Watching) -> None:
        super().__init__(b"")
        self._keeper = keeper
        self._watching = watching
        self._reading: asyncio.Task[Any] | None = None
        self.last = ""
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(self, answer: bytes | MeshError) -> None:
        """The put was answered: the job, which no put made before, is durable, or it was refused."""
        if isinstance(answer, MeshError):
            self._fail(answer)
        elif not self.result.done():
            self.job_id = answer
            other = self._watching.find(answer)
            if other is None:
                self._watching.hold(self)
            else:
                # Somebody has seen it in a list already.
                self._read(other)

    def _end(self) -> None:
        super()._end()
        self._watching.release(self)
        if self.result.done():
            return
        fact = self.outcome
        if fact is None or not is_at_hand(fact):
            self._read(self)
            return
        try:
            self.result.set_result(value_of(fact, self.last, self._keeper.result_types()))
        except MeshError as error:
            self.result.set_exception(error)

    def _read(self, watch: Watch) -> None:
        """There is more to be waited for, or to be read: as through a handle."""
        handle = JobHandle(self._keeper, watch, self.last, fresh=True)
        self._reading = asyncio.get_running_loop().create_task(handle.result())
        self._reading.add_done_callback(self._was_read)

    def _was_read(self, reading: asyncio.Task[Any]) -> None:
        if self.result.done():
            return
        error = asyncio.CancelledError() if reading.cancelled() else reading.exception()
        if error is None:
            self.result.set_result(reading.result())
        else:
            self.result.set_exception(error)

    def _give_up(self, error: MeshError) -> None:
        super()._give_up(error)
        self._watching.release(self)
        self._fail(error)

    def _fail(self, error: MeshError) -> None:
        if not self.result.done():
            self.result.set_exception(error)
