"""The verbs on jobs at one running agent: put, look, find, cancel, delete.

Every answer that promises something comes after the commit that makes it true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from agents.errors import AgentError
from agents.handle import JobHandle
from agents.handlers import Handlers
from agents.settings import Settings
from agents.stepping import Clock, Stepping
from agents.views import JobView, view_of
from agents.watching import Watching
from grammar.errors import GrammarError, MeshError
from grammar.vocabulary import Vocabulary
from mesh.effects import ById, Reply
from mesh.engine import Engine
from mesh.errors import Busy, NoSuchJob
from mesh.facts import ID_BYTES, id_text
from mesh.job import Job, Row
from mesh.lifecycle import Role, State
from mesh.origin import Put
from mesh.storage.contract import Store
from mesh.storage.writer import Writer

PAGE: Final = 500
LISTED: Final = 16
"""Jobs that an ambiguous id is answered with."""

Answered = Callable[[bytes | MeshError], None]

_UNANSWERED: Final = b""


class Jobs:
    """The jobs of one running agent.

    Args:
        settings, handlers: of the agent.
        engine, stepping, writer: what does it.
        watching: who is told of changes.
        clock: milliseconds of Unix time.
    """

    def __init__(
        self,
        settings: Settings,
        handlers: Handlers,
        engine: Engine,
        stepping: Stepping,
        writer: Writer,
        watching: Watching,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._stepping = stepping
        self._writer = writer
        self._watching = watching
        self._clock = clock
        self._vocabulary = handlers.vocabulary
        self._answers: dict[int, Answered] = {}
        self._token = 0
        self._room: list[asyncio.Future[None]] = []

    # -- putting ------------------------------------------------------------------------------------------------

    def put_nowait(self, put: Put, reply: Answered) -> None:
        """Put a job; `reply` is called with its id once it is durable.

        Raises:
            PutRefused, GrammarError: this agent knows it to be wrong; `reply` is not called.
        """
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
    ) -> Put:
        """A command as what the engine takes; of its text only the division into path and instruction is checked.

        Raises:
            GrammarError: there is nothing after the path, or what is no Unicode text.
        """
        try:
            command.encode()
        except UnicodeEncodeError as error:
            raise GrammarError(
                "the command has bytes that are no UTF-8 text", column=error.start + 1, expected="UTF-8"
            ) from None
        path, _, instruction = command.strip().partition(" ")
        if not instruction.strip():
            raise GrammarError(
                "a command is a path and an instruction",
                text=command,
                column=len(path) + 1,
                expected="a keyword and its arguments",
            )
        return Put(
            zone or self._settings.zone,
            path,
            instruction.strip(),
            life_s=life_s,
            key=key,
            circle=circle,
            context=context,
            parent=parent,
            today=datetime.now().astimezone().date(),
        )

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
        wait_for_room: bool = False,
    ) -> JobHandle:
        """Put a job and return its handle once it is durable; see `Agent.put`."""
        put = self.wish(command, zone=zone, life_s=life_s, key=key, circle=circle, context=context, parent=parent)
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

    def _next_room(self) -> asyncio.Future[None]:
        """Done at the next moment at which there may be room where there was none."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(waiter)
        return waiter

    async def cancel_job(self, job_id: bytes) -> None:
        await self._command(partial(self._engine.cancel, job_id=job_id))

    async def delete_job(self, job_id: bytes) -> None:
        await self._command(partial(self._engine.delete, job_id=job_id))

    async def _command(self, act: Callable[..., None]) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def reply(result: bytes | MeshError) -> None:
            if answer.done():
                return
            if isinstance(result, MeshError):
                answer.set_exception(result)
            else:
                answer.set_result(None)

        if self._stepping.failed:
            raise AgentError("the agent has stopped", fix="see its log, and start it again")
        self._token += 1
        self._answers[self._token] = reply
        act(self._token, now_ms=self._clock())
        self._stepping.poke()
        await answer

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

    # -- reading ------------------------------------------------------------------------------------------------

    def look(self, job_id: bytes) -> JobView | None:
        """A resident job as it is now, None if it is not in memory. An Outcome that was told already counts."""
        job = self._engine.ledger.find(job_id)
        return None if job is None else self._view(job)

    def is_durable(self, job_id: bytes) -> bool:
        """Whether what is shown of a job is committed, here or at its destination: an end that only this agent knows
        of, and may yet forget in a crash, is told to nobody before that."""
        ledger = self._engine.ledger
        job = ledger.find(job_id)
        if job is None or (job.live and job.ahead is not None):
            return True
        return job_id not in ledger.dirty and job.step <= ledger.durable_step

    def _view(self, job: Job) -> JobView | None:
        boards = {board.id: board.name for board in self._engine.ledger.boards.values()}
        overdue_ms = int(self._settings.limits.overdue_s * 1000)
        told = job.ahead if job.live and job.role is Role.ORIGIN else None
        return view_of(job, boards, self._settings.name, now_ms=self._clock(), overdue_ms=overdue_ms, told=told)

    def view_row(self, row: Row) -> JobView | None:
        """A stored job as it was committed; a resident one as it is."""
        job = self._engine.ledger.find(row.id)
        return self._view(job if job is not None else Job.from_row(row, self._engine.ledger.place_on))

    async def view(self, job_id: bytes) -> JobView:
        """A job as it is now.

        Raises:
            NoSuchJob: it is not known here, or only its id is kept.
        """
        found = self.look(job_id)
        if found is not None and not found.live and not self.is_durable(job_id):
            await self._stepping.settled()
        if found is None:
            answer = await self._writer.call(lambda store: store.read(ById((job_id,))))
            found = self.view_row(answer.rows[0]) if answer.rows else None
        if found is None:
            raise NoSuchJob("this agent has no such job, or only remembers that it is over")
        return found

    async def find(self, text: str) -> bytes:
        """The id that a person means: the whole id, or the first characters of its hash part.

        Raises:
            NoSuchJob: none or several; the message lists them.
        """
        word = text.strip().lower()
        try:
            raw = bytes.fromhex(word if len(word) % 2 == 0 else word + "0")
        except ValueError:
            raise NoSuchJob(f'"{text}" is no job id', fix="ids are hexadecimal; see `mesh jobs --all`") from None
        if len(raw) == ID_BYTES:
            return raw
        # A store looks for whole bytes: an odd digit stands for the sixteen bytes that begin with it.
        ends = [""] if len(word) % 2 == 0 else list("0123456789abcdef")
        prefixes = [bytes.fromhex(word + end) for end in ends]
        matches = await self._writer.call(partial(_short_ids, prefixes=prefixes))
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise NoSuchJob(f'no job starts with "{text}"', fix="see `mesh jobs --all`")
        listed = ", ".join(id_text(one)[12:24] for one in matches)
        raise NoSuchJob(f'several jobs start with "{text}": {listed}', fix="write more characters")

    def handle(self, job_id: bytes, last: str = "") -> JobHandle:
        """A handle to a job of this agent."""
        return JobHandle(self, self._watching.of(job_id), last)

    def result_types(self) -> Vocabulary:
        return self._vocabulary

    async def listed(
        self, *, live: bool | None = True, states: Sequence[str] = (), limit: int | None = None
    ) -> list[JobView]:
        """Jobs for people, newest first.

        Args:
            live: only live ones, only finished ones, or both.
            states: only these states; empty for all.
            limit: at most so many; None for all.
        """
        found: list[JobView] = []
        after = 0
        while limit is None or len(found) < limit:
            wanted = PAGE if limit is None else min(PAGE, limit - len(found))
            views, after = await self.page(live=live, states=states, after=after, limit=wanted)
            found += views
            if not after:
                break
        return found

    async def page(
        self, *, live: bool | None = True, states: Sequence[str] = (), after: int = 0, limit: int = PAGE
    ) -> tuple[list[JobView], int]:
        """A part of `listed`.

        Args:
            after: 0 for the first page; for a later one what the page before it said.

        Returns:
            The views, and what to ask the next page with; 0 after the last one.
        """
        numbers = tuple(list(State).index(State(state)) for state in states)
        rows = await self._writer.call(partial(_page, live=live, states=numbers, after=after, limit=limit))
        views = [view for row in rows if (view := self.view_row(row)) is not None and view.state != State.DELETED]
        if not all(view.live or self.is_durable(bytes.fromhex(view.id)) for view in views):
            await self._stepping.settled()
        return views, rows[-1].seq if len(rows) == limit else 0


def _short_ids(store: Store, *, prefixes: Sequence[bytes]) -> list[bytes]:
    return [row.id for prefix in prefixes for row in store.find_short(prefix, LISTED)][:LISTED]


def _page(store: Store, *, live: bool | None, states: Sequence[int], after: int, limit: int) -> list[Row]:
    return store.list_jobs(live=live, states=states, after=after, limit=limit)
