"""Runs one job: named steps on one value, in a fixed order.

    resolve -> run (with a deadline) -> normalise -> report

Authorisation is the engine's, just before the start. However a handler ends, one `Ending` is reported; a traceback
goes to this agent's log and never to the origin.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from agents.blobs import named
from agents.context import Context, Ended, Envelope, EnvelopeJob
from agents.errors import Refused
from agents.handlers import Handlers
from agents.longtext import is_long, written
from grammar.errors import GrammarError
from grammar.instruction import Instruction
from grammar.results import encode
from mesh.blobs import Blob
from mesh.ending import Ending
from mesh.facts import id_text, short_text
from mesh.lifecycle import State
from mesh.limits import Limits

log = logging.getLogger("hopboard.jobs")

MESSAGE: Final = 4_096
"""Characters of a handler's error message that are kept."""

STOP_S: Final = 3.0
"""Patience with handlers that are taken away."""

Report = Callable[[bytes, Ending | None], None]
"""Told once per start: the job and how it ended, None when a clean stop took the handler away."""

StoreResult = Callable[[bytes, Blob], Awaitable[None]]
"""Stores the large result of a job ahead of its end."""


class Executor:
    """The handlers that run now.

    Args:
        handlers: what to run.
        limits: `run_s`, `result_bytes` and `blob_bytes`.
        report: see `Report`.
        store: see `StoreResult`.
    """

    def __init__(self, handlers: Handlers, limits: Limits, report: Report, store: StoreResult) -> None:
        self._handlers = handlers
        self._limits = limits
        self._report = report
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._begun: set[bytes] = set()
        self._asked: set[bytes] = set()
        # By job, in the order of the starts and so of the deadlines, since all have the same time: one timer for all.
        self._deadlines: dict[bytes, float] = {}
        self._expired: set[bytes] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self.held = False
        """A handler did not let go at the stop."""

    def start(self, job_id: bytes, instruction: Instruction, context: Callable[[], Context]) -> None:
        """Start the handler of a job.

        Args:
            job_id: its id.
            instruction: what to do, parsed.
            context: makes what a handler is given if it asks for that; many do not.
        """
        work = self._run(job_id, instruction, context)
        self._tasks[job_id] = self._loop.create_task(work, name=f"job {short_text(job_id)}")
        self._deadlines[job_id] = self._loop.time() + self._limits.run_s
        if self._timer is None:
            self._timer = self._loop.call_later(self._limits.run_s, self._ring)

    def _ring(self) -> None:
        """Stop the handlers whose time is up, and wait for the next one's."""
        now = self._loop.time()
        self._timer = None
        while self._deadlines:
            job_id, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._ring)
                return
            del self._deadlines[job_id]
            self._expired.add(job_id)
            self._take_away(job_id, self._late())

    def stop(self, job_id: bytes) -> None:
        """Cancel the handler of a job; it is reported as cancelled unless it ends otherwise."""
        if job_id in self._tasks:
            self._asked.add(job_id)
            self._take_away(job_id, Ending(State.CANCELLED))

    def _take_away(self, job_id: bytes, ending: Ending | None) -> None:
        self._tasks[job_id].cancel()
        if job_id not in self._begun:
            # A task that is cancelled before its first step is never entered, and cannot report for itself.
            self._end(job_id, ending)

    def _late(self) -> Ending:
        message = f"the handler was stopped after {self._limits.run_s:g} s"
        return Ending(State.ERROR, error=("timeout", message), unknown_effect=True)

    def _end(self, job_id: bytes, ending: Ending | None) -> None:
        del self._tasks[job_id]
        self._deadlines.pop(job_id, None)
        self._begun.discard(job_id)
        self._asked.discard(job_id)
        self._expired.discard(job_id)
        self._report(job_id, ending)

    async def close(self) -> None:
        """Take all handlers away for a clean stop; each is reported as taken away, and will run again."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks.values())
        for job_id in list(self._tasks):
            self._take_away(job_id, None)
        if tasks:
            _, deaf = await asyncio.wait(tasks, timeout=STOP_S)
            self.held = bool(deaf)
            for task in deaf:
                log.error("%s does not stop: it will count as interrupted by a crash", task.get_name())

    async def _run(self, job_id: bytes, instruction: Instruction, context: Callable[[], Context]) -> None:
        ending: Ending | None
        self._begun.add(job_id)
        try:
            ending = await self._normalise(job_id, await self._call(instruction, context))
        except asyncio.CancelledError as error:
            if self._stopping:
                ending = None
            elif job_id in self._asked:
                ending = Ending(State.CANCELLED)
            elif job_id in self._expired:
                ending = self._late()
            else:
                # Something that the handler itself waited for was cancelled: nobody asked for the job to stop.
                ending = _broken(job_id, instruction, error)
        except Refused as refusal:
            ending = _failed("failed", str(refusal) or "the handler refused")
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its job, not the agent
            ending = _broken(job_id, instruction, error)
        self._end(job_id, ending)

    def _call(self, instruction: Instruction, context: Callable[[], Context]) -> Awaitable[Any]:
        handler = self._handlers.find(instruction.keyword)
        if handler is not None:
            return handler.call(instruction, context)
        return self._call_generic(context())

    async def _call_generic(self, context: Context) -> Any:
        assert self._handlers.generic is not None, "the engine starts only what has a handler"
        job = EnvelopeJob(context.id, context.path, context.instruction, context.attempt)
        ended = await self._handlers.generic(Envelope(job, context.path[-2], context.path[-1], context))
        if not isinstance(ended, Ended):
            raise TypeError("a handler of envelopes returns job.completed(...) or job.errored(...)")
        if ended.error is not None:
            raise Refused(ended.error)
        return ended.value

    async def _normalise(self, job_id: bytes, value: Any) -> Ending:
        try:
            result_type, data = encode(value)
            # `encode` has copied what the handler may yet change.
            encoded = await asyncio.to_thread(written, data) if is_long(data) else written(data)
        except (GrammarError, ValueError, TypeError) as error:
            return _failed("failed", f"the handler returned what cannot be a result: {error}")
        if len(encoded) > self._limits.blob_bytes:
            return _failed(
                "failed",
                f"the handler returned a result of {len(encoded)} bytes, at most {self._limits.blob_bytes} are taken",
            )
        if len(encoded) > self._limits.result_bytes:
            blob = await named(encoded)
            await self._store(job_id, blob)
            return Ending(State.COMPLETE, result_type, blob)
        return Ending(State.COMPLETE, result_type, encoded.decode())


def _broken(job_id: bytes, instruction: Instruction, error: BaseException) -> Ending:
    log.exception("handler of %s raised", instruction.keyword, extra={"job": id_text(job_id)})
    return _failed("failed", f"{type(error).__name__}: {error}")


def _failed(kind: str, message: str) -> Ending:
    # A name from the file system may hold what is no UTF-8, and so no message.
    text = message[:MESSAGE].encode(errors="backslashreplace").decode()
    return Ending(State.ERROR, error=(kind, text))
