"""Runs one job: named steps on one value, in a fixed order.

    resolve -> run (with a deadline) -> normalise -> report

Authorisation is the engine's, just before the start. However a handler ends, one `Ending` is reported; a traceback
goes to this agent's log and never to the origin.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from agents.context import Context, Ended, Envelope, EnvelopeJob
from agents.errors import Refused
from agents.handlers import Handlers
from grammar.errors import GrammarError
from grammar.results import encode
from mesh.ending import Ending
from mesh.lifecycle import State
from mesh.limits import Limits

log = logging.getLogger("hopboard.jobs")

MESSAGE: Final = 4_096
"""Characters of a handler's error message that are kept."""

STOP_S: Final = 3.0
"""Patience with handlers that are taken away."""

Report = Callable[[bytes, Ending | None], None]
"""Told once per start: the job and how it ended, None when a clean stop took the handler away."""


class Executor:
    """The handlers that run now.

    Args:
        handlers: what to run.
        limits: `run_s` and `result_bytes`.
        report: see `Report`.
    """

    def __init__(self, handlers: Handlers, limits: Limits, report: Report) -> None:
        self._handlers = handlers
        self._limits = limits
        self._report = report
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._unreported: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._stopping = False
        self.held = False
        """A handler did not let go at the stop."""

    def start(self, context: Context) -> None:
        """Start the handler of a job."""
        task = asyncio.get_running_loop().create_task(self._run(context), name=f"job {context.id[12:20]}")
        self._tasks[context.job_id] = task
        self._unreported.add(context.job_id)
        task.add_done_callback(partial(self._done, context.job_id))

    def _done(self, job_id: bytes, task: asyncio.Task[None]) -> None:
        if self._tasks.get(job_id) is task:
            del self._tasks[job_id]
        self._asked.discard(job_id)
        if job_id in self._unreported:
            # Cancelled before its first step: the handler was never entered.
            self._tell(job_id, None if self._stopping else Ending(State.CANCELLED))

    def _tell(self, job_id: bytes, ending: Ending | None) -> None:
        self._unreported.discard(job_id)
        self._report(job_id, ending)

    def stop(self, job_id: bytes) -> None:
        """Cancel the handler of a job; it is reported as cancelled unless it ends otherwise."""
        task = self._tasks.get(job_id)
        if task is not None:
            self._asked.add(job_id)
            task.cancel()

    async def close(self) -> None:
        """Take all handlers away for a clean stop; each is reported as taken away, and will run again."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            _, deaf = await asyncio.wait(tasks, timeout=STOP_S)
            self.held = bool(deaf)
            for task in deaf:
                log.error("%s does not stop: it will count as interrupted by a crash", task.get_name())

    async def _run(self, context: Context) -> None:
        ending: Ending | None
        try:
            async with asyncio.timeout(self._limits.run_s) as deadline:
                value = await self._call(context)
            ending = self._normalise(value)
        except asyncio.CancelledError as error:
            if self._stopping:
                ending = None
            elif context.job_id in self._asked:
                ending = Ending(State.CANCELLED)
            else:
                # Something that the handler itself waited for was cancelled: nobody asked for the job to stop.
                ending = self._broken(context, error)
        except Refused as refusal:
            ending = _failed("failed", str(refusal) or "the handler refused")
        except TimeoutError as error:
            if deadline.expired():
                message = f"the handler was stopped after {self._limits.run_s:g} s"
                ending = Ending(State.ERROR, error=("timeout", message), unknown_effect=True)
            else:
                ending = self._broken(context, error)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its job, not the agent
            ending = self._broken(context, error)
        self._tell(context.job_id, ending)

    async def _call(self, context: Context) -> Any:
        handler = self._handlers.find(context.instruction.keyword)
        if handler is not None:
            return await handler.call(context.instruction, context)
        assert self._handlers.generic is not None, "the engine starts only what has a handler"
        job = EnvelopeJob(context.id, context.path, context.instruction, context.attempt)
        ended = await self._handlers.generic(Envelope(job, context.path[-2], context.path[-1], context))
        if not isinstance(ended, Ended):
            raise TypeError("a handler of envelopes returns job.completed(...) or job.errored(...)")
        if ended.error is not None:
            raise Refused(ended.error)
        return ended.value

    def _normalise(self, value: Any) -> Ending:
        try:
            result_type, data = encode(value)
            text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        except (GrammarError, ValueError, TypeError) as error:
            return _failed("failed", f"the handler returned what cannot be a result: {error}")
        size = len(text.encode())
        if size > self._limits.result_bytes:
            return _failed(
                "failed",
                f"the handler returned a result of {size} bytes, at most {self._limits.result_bytes} are taken",
            )
        return Ending(State.COMPLETE, result_type, text)

    def _broken(self, context: Context, error: BaseException) -> Ending:
        log.exception("handler of %s raised", context.instruction.keyword, extra={"job": context.id})
        return _failed("failed", f"{type(error).__name__}: {error}")


def _failed(kind: str, message: str) -> Ending:
    # A name from the file system may hold what is no UTF-8, and so no message.
    text = message[:MESSAGE].encode(errors="backslashreplace").decode()
    return Ending(State.ERROR, error=(kind, text))
