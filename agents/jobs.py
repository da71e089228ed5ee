"""The verbs on jobs at one running agent: put, cancel, delete, retry.

Every answer that promises something comes after the commit that makes it true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Final, Unpack

from agents.blobs import BlobReader, Source, payload_of
from agents.calling import Call
from agents.errors import AgentError
from agents.handle import JobHandle
from agents.handlers import Handlers
from agents.lookup import Lookup
from agents.putting import PutOptions
from agents.settings import Settings
from agents.stepping import Clock, Stepping
from agents.views import JobView
from agents.watching import Watching
from grammar.errors import GrammarError, MeshError
from grammar.vocabulary import Vocabulary
from mesh.blobs import Blob
from mesh.effects import Reply
from mesh.engine import Engine
from mesh.errors import Busy
from mesh.origin import Put

Answered = Callable[[bytes | MeshError], None]

_UNANSWERED: Final = b""
_PLAIN: Final = frozenset({"zone", "life_s", "circle", "context"})
"""Options of a put that makes a new job, at once or not at all."""


class Jobs:
    """The jobs of one running agent.

    Args:
        settings, handlers: of the agent.
        engine, stepping: what does it.
        lookup: finds them.
        blobs: reads large results.
        watching: who is told of changes.
        clock: milliseconds of Unix time.
    """

    def __init__(
        self,
        settings: Settings,
        handlers: Handlers,
        engine: Engine,
        stepping: Stepping,
        lookup: Lookup,
        blobs: BlobReader,
        watching: Watching,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._stepping = stepping
        self._lookup = lookup
        self._blobs = blobs
        self._watching = watching
        self._clock = clock
        self._vocabulary = handlers.vocabulary
        self._answers: dict[int, Answered] = {}
        self._token = 0
        self._day = (0, date.min)
        self._room: list[asyncio.Future[None]] = []

    # -- putting ------------------------------------------------------------------------------------------------

    def put_nowait(self, put: Put, reply: Answered) -> None:
        """Put a job; `reply` is called with its id once it is durable.

        Raises:
            PutRefused, GrammarError: this agent knows it to be wrong; `reply` is not called.
        """
        # What fails in there has everybody told who waits by then, and nobody later.
        self._stepping.make_room()
        if self._stepping.failed:
            raise AgentError("the agent has stopped", fix="see its log, and start it again")
        self._token += 1
        self._answers[self._token] = reply
        try:
            self._engine.put(self._token, put, self._clock())
        except MeshError:
            del self._answers[self._token]
            raise
        self._stepping.poke()

    def wish(
        self,
        command: str,
        *,
        zone: str | None = None,
        life_s: float | None = None,
        key: str | None = None,
        circle: str = "",
        context: str = "",
        parent: bytes | None = None,
        payload: Blob | None = None,
    ) -> Put:
        """A command as what the engine takes; of its text only the division into path and instruction is checked.

        Raises:
            GrammarError: there is nothing after the path, or what is no Unicode text.
        """
        if not command.isascii():
            try:
                command.encode()
            except UnicodeEncodeError as error:
                raise GrammarError(
                    "the command has bytes that are no UTF-8 text", column=error.start + 1, expected="UTF-8"
                ) from None
        path, _, instruction = command.strip().partition(" ")
        instruction = instruction.strip()
        if not instruction:
            raise GrammarError(
                "a command is a path and an instruction",
                text=command,
                column=len(path) + 1,
                expected="a keyword and its arguments",
            )
        return Put(
            zone or self._settings.zone,
            path,
            instruction,
            life_s=life_s,
            key=key,
            circle=circle,
            context=context,
            parent=parent,
            payload=payload,
            today=self._today(),
        )

    def _today(self) -> date:
        """The day here; worked out once a second, since zone rules take longer than all else that a put needs."""
        second = self._clock() // 1000
        if second != self._day[0]:
            self._day = (second, datetime.fromtimestamp(second).astimezone().date())
        return self._day[1]

    async def put_all(self, puts: Sequence[Put], *, wait_for_room: bool = False) -> list[bytes | MeshError]:
        """Put many jobs at once, so that they share their commits.

        Args:
            puts: in the order in which to put them.
            wait_for_room: put those for which a branch has no room later, as in `put`.

        Returns:
            For each, in order: its id, durable now, or why it was refused.
        """
        answers: list[bytes | MeshError] = [_UNANSWERED] * len(puts)
        todo = list(range(len(puts)))
        while todo:
            # Asked for before the puts: room that is made while they are answered must not be missed.
            room = self._next_room()
            await self._put_some(puts, todo, answers)
            todo = [n for n in todo if wait_for_room and isinstance(answers[n], Busy)]
            if todo:
                await room
        return answers

    async def _put_some(self, puts: Sequence[Put], todo: Sequence[int], answers: list[bytes | MeshError]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(todo)

        def reply(n: int, result: bytes | MeshError) -> None:
            nonlocal left
            answers[n] = result
            left -= 1
            if not left and not done.done():
                done.set_result(None)

        for n in todo:
            try:
                self.put_nowait(puts[n], partial(reply, n))
            except MeshError as error:
                reply(n, error)
        await done

    async def put(
        self,
        command: str,
        *,
        zone: str | None = None,
        life_s: float | None = None,
        key: str | None = None,
        circle: str = "",
        context: str = "",
        parent: bytes | None = None,
        payload: Source | None = None,
        wait_for_room: bool = False,
    ) -> JobHandle:
        """Put a job and return its handle once it is durable; see `Agent.put`."""
        put = self.wish(command, zone=zone, life_s=life_s, key=key, circle=circle, context=context, parent=parent)
        if payload is not None:
            put = put._replace(payload=await payload_of(payload, self._settings.limits))
        answer: asyncio.Future[JobHandle] = asyncio.get_running_loop().create_future()
        last = put.path.rpartition(".")[2]

        def reply(result: bytes | MeshError) -> None:
            if answer.done():
                return
            if isinstance(result, MeshError):
                answer.set_exception(result)
            else:
                answer.set_result(JobHandle(self, self._watching.of(result), last, fresh=put.key is None))

        while True:
            try:
                self.put_nowait(put, reply)
                return await answer
            except Busy:
                if not wait_for_room:
                    raise
                await self._next_room()

    def call(self, command: str, *, timeout: float | None = None, **how: Unpack[PutOptions]) -> asyncio.Future[Any]:
        """Put a job and give what its result will be; see `Agent.call`."""
        if timeout is not None or not _PLAIN.issuperset(how):
            return asyncio.get_running_loop().create_task(self._put_and_wait(command, timeout, how))
        call = Call(self, self._watching)
        try:
            put = self.wish(
                command,
                zone=how.get("zone"),
                life_s=how.get("life_s"),
                circle=how.get("circle", ""),
                context=how.get("context", ""),
            )
            call.last = put.path.rpartition(".")[2]
            self.put_nowait(put, call.answered)
        except MeshError as error:
            call.answered(error)
        return call.result

    async def _put_and_wait(self, command: str, timeout: float | None, how: PutOptions) -> Any:
        return await (await self.put(command, **how)).result(timeout)

    def _next_room(self) -> asyncio.Future[None]:
        """Done at the next moment at which there may be room where there was none."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(waiter)
        return waiter

    async def cancel_job(self, job_id: bytes) -> None:
        await self._command(partial(self._engine.cancel, job_id=job_id))

    async def delete_job(self, job_id: bytes) -> None:
        await self._command(partial(self._engine.delete, job_id=job_id))

    async def retry_job(self, job_id: bytes, life_s: float | None = None) -> JobHandle:
        """Put a job of ours that failed once more; see `Agent.retry`."""
        payload = await self._blobs.payload_again(job_id)
        act = partial(self._engine.retry, job_id=job_id, life_s=life_s, payload=payload)
        return self.handle(await self._command(act))

    async def _command(self, act: Callable[..., None]) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def reply(result: bytes | MeshError) -> None:
            if answer.done():
                return
            if isinstance(result, MeshError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        if self._stepping.failed:
            raise AgentError("the agent has stopped", fix="see its log, and start it again")
        self._token += 1
        self._answers[self._token] = reply
        act(self._token, now_ms=self._clock())
        self._stepping.poke()
        return await answer

    def replied(self, replies: Sequence[Reply]) -> None:
        """The engine answers puts and commands of earlier steps."""
        for reply in replies:
            # Who was told that the agent stops does not hear of it twice.
            answered = self._answers.pop(reply.token, None)
            if answered is not None:
                answered(reply.result)

    def stopped(self) -> None:
        """The agent stops: who still waits for an answer will not get one from it."""
        answers, self._answers = self._answers, {}
        for answered in answers.values():
            answered(AgentError("the agent stopped before it answered", fix="ask again with the same key"))

    def made_room(self) -> None:
        """Jobs changed: whoever waits for room may try again."""
        room, self._room = self._room, []
        for waiter in room:
            if not waiter.done():
                waiter.set_result(None)

    async def view(self, job_id: bytes) -> JobView:
        """A job as it is now; see `Lookup.view`."""
        return await self._lookup.view(job_id)

    async def result_text(self, job_id: bytes) -> bytes:
        """The JSON text of a job's result, however long; see `BlobReader.result_text`."""
        return await self._blobs.result_text(job_id)

    def handle(self, job_id: bytes, last: str = "") -> JobHandle:
        """A handle to a job of this agent."""
        return JobHandle(self, self._watching.of(job_id), last)

    def result_types(self) -> Vocabulary:
        return self._vocabulary
