"""`mesh put -` and `mesh submit -`: one command a line of standard input, one answer a line, in the same order.

Lines travel in chunks, each one request with a key for every line, several under way at a time, so that thousands of
lines are few commits, while a line that comes alone leaves at once. A chunk whose answer was lost with the agent is
sent again with the same keys: nothing is put twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

from agents.calls import CallFailed, Calls, JobLost
from agents.cli.session import Session
from agents.cli.showing import clean, exit_code_of, is_over, job_line, remark, say, say_json
from agents.wire import fresh_key

MOST_LINES: Final = 512
MOST_BYTES: Final = 256 * 1024
"""Of the lines of one chunk; escaped in JSON they stay well below a line of the protocol."""
LONGEST: Final = 32 * 1024
"""Bytes of one line; no command is as long."""
CHUNKS: Final = 8
"""Chunks under way when nobody waits for results."""
FOLLOWED: Final = 64
"""Chunks under way when their results are awaited: 32,768 jobs."""
_READ: Final = 1 << 18

Record = dict[str, Any]
Answer = asyncio.Future[Record]
Chunk = list[tuple[str | Record, Answer]]
"""Commands, or why a line is none, each with the future of its answer."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of every line: settings of the put, the form of the answer, whether to wait for the result."""

    settings: Record
    as_json: bool
    follow: bool
    timeout: float | None


def stream(session: Session, wanted: Wanted) -> int:
    """Put every line of standard input; returns the exit code."""
    work = _Stream(session, wanted)
    try:
        return asyncio.run(work.run())
    except KeyboardInterrupt:
        remark(f"error MESH-E601: {work.unanswered} commands are not answered; those that were put go on")
        remark(f"fix: {session.command('jobs')}")
        return 5


class _Stream:
    def __init__(self, session: Session, wanted: Wanted) -> None:
        self._wanted = wanted
        self._wire = session.wire()
        self._lines: asyncio.Queue[list[bytes] | None] = asyncio.Queue(4)
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(FOLLOWED if wanted.follow else CHUNKS)
        self._carrying: set[asyncio.Task[None]] = set()
        self._line = 0
        self._codes: set[int] = set()
        self.unanswered = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        await self._wire.calls()  # an agent that does not run is told before anything is read
        Thread(target=_read_input, args=(loop, self._lines), name="standard-input", daemon=True).start()
        deadline = None if self._wanted.timeout is None else loop.time() + self._wanted.timeout
        failed: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(tasks))
                await self._print(deadline)
                # What is under way still is not waited for any more.
                for task in (sending, *self._carrying):
                    task.cancel()
        except* CallFailed as group:
            failed = group.exceptions[0]
        finally:
            await self._wire.close()
        if failed is not None:
            raise failed
        if 2 in self._codes:
            return 2
        if 5 in self._codes:
            return 5
        return 1 if self._codes - {0} else 0

    # -- sending ------------------------------------------------------------------------------------------------

    async def _send(self, tasks: asyncio.TaskGroup) -> None:
        while (lines := await self._lines.get()) is not None:
            chunk: Chunk = []
            size = 0
            for line in lines:
                if len(chunk) == MOST_LINES or size + len(line) > MOST_BYTES:
                    await self._start(tasks, chunk)
                    chunk, size = [], 0
                answer: Answer = asyncio.get_running_loop().create_future()
                chunk.append((_command(line), answer))
                size += len(line)
            if chunk:
                await self._start(tasks, chunk)
        self._answers.put_nowait(None)

    async def _start(self, tasks: asyncio.TaskGroup, chunk: Chunk) -> None:
        await self._room.acquire()
        for _, answer in chunk:
            self._answers.put_nowait(answer)
        self.unanswered += len(chunk)
        task = tasks.create_task(self._carry(chunk))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, chunk: Chunk) -> None:
        asked = [(command, fresh_key(), answer) for command, answer in chunk if isinstance(command, str)]
        for command, answer in chunk:
            if not isinstance(command, str):
                answer.set_result({"error": command})
        if asked:
            await self._wire.repeat(self._asking(asked))
        self._room.release()

    def _asking(self, asked: list[tuple[str, str, Answer]]) -> Callable[[Calls], Awaitable[None]]:
        wanted = self._wanted

        async def ask(calls: Calls) -> None:
            found = await calls.request(
                "put_many",
                commands=[command for command, _, _ in asked],
                keys=[key for _, key, _ in asked],
                views=wanted.as_json and not wanted.follow,
                follow="end" if wanted.follow else "no",
                wait_for_room=True,
                **wanted.settings,
            )
            open_jobs: dict[str, list[Answer]] = {}
            for (_, _, answer), record in zip(asked, found["jobs"], strict=True):
                if answer.done():
                    continue
                if wanted.follow and "error" not in record:
                    open_jobs.setdefault(record["id"], []).append(answer)
                else:
                    answer.set_result(record)
            if open_jobs:
                await _collect(calls, found["subscription"], open_jobs)

        return ask

    # -- answering ----------------------------------------------------------------------------------------------

    async def _print(self, deadline: float | None) -> None:
        while (answer := await self._next(deadline)) is not None:
            self._line += 1
            try:
                async with asyncio.timeout_at(deadline):
                    # Shielded: the answer belongs to its chunk, which may still be told.
                    self._say(await asyncio.shield(answer))
            except TimeoutError:
                self._codes.add(5)
                self._say_late()
            self.unanswered -= 1

    async def _next(self, deadline: float | None) -> Answer | None:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._answers.get()
        except TimeoutError:
            # Lines that were sent are answered all the same; those that were not read are nobody's yet.
            return None if self._answers.empty() else self._answers.get_nowait()

    def _say(self, record: Record) -> None:
        fault = record.get("error")
        if fault is not None and "state" not in record:
            self._codes.add(2)
            if self._wanted.as_json:
                say_json({"line": self._line, "error": fault})
            else:
                fix = f"  fix: {clean(fault['fix'])}" if fault.get("fix") else ""
                say(f"line {self._line}  error {fault['code']}: {clean(fault['message'])}{fix}")
            return
        if self._wanted.follow:
            self._codes.add(exit_code_of(record))
        if self._wanted.as_json:
            say_json(record)
        else:
            say(job_line(record) if self._wanted.follow else record["id"])

    def _say_late(self) -> None:
        message = f"not over after {self._wanted.timeout:g} s; the job goes on"
        fault = {"code": "MESH-E601", "message": message, "fix": "see `mesh jobs`", "exit_code": 5}
        if self._wanted.as_json:
            say_json({"line": self._line, "error": fault})
        else:
            say(f"line {self._line}  {message}")


async def _collect(calls: Calls, number: int, open_jobs: dict[str, list[Answer]]) -> None:
    news = calls.subscription(number)
    while open_jobs:
        try:
            job = await news.get()
        except JobLost as lost:
            job = {"id": lost.more["id"], "error": lost.to_record()}
        if "state" not in job or is_over(job):
            for answer in open_jobs.pop(job["id"], ()):
                if not answer.done():
                    answer.set_result(job)
    calls.forget(number)


def _command(line: bytes) -> str | Record:
    """The command on a line, or why there is none."""
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        return _bad("the line is not UTF-8 text")
    if len(line) > LONGEST:
        return _bad(f"the line is longer than {LONGEST} bytes")
    return text or _bad("the line is empty")


def _bad(message: str) -> Record:
    fix = "a line holds a path, a keyword and its arguments"
    return {"code": "MESH-E100", "message": message, "fix": fix, "exit_code": 2}


def _read_input(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[list[bytes] | None]) -> None:
    """Hand over the lines of standard input as they come; runs in a thread, since a file cannot be awaited."""
    rest = b""
    # The loop may end before the input does.
    with suppress(RuntimeError, asyncio.CancelledError):
        while some := os.read(0, _READ):
            *whole, rest = (rest + some).split(b"\n")
            if len(rest) > LONGEST:
                rest = rest[: LONGEST + 1]
            if whole:
                asyncio.run_coroutine_threadsafe(lines.put(whole), loop).result()
        if rest:
            asyncio.run_coroutine_threadsafe(lines.put([rest]), loop).result()
        asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()
