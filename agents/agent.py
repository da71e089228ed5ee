"""The public face: an agent with handlers, in a folder.

Constructing an `Agent` touches nothing. `run`, `load` and `async with` open its folder; several agents may live in one
process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, Unpack, overload

from agents.door import Door
from agents.errors import AgentError, AlreadyRunning, NotKnownYet
from agents.errors import Refused as RefusedByHandler
from agents.handle import JobHandle
from agents.handlers import Handlers
from agents.pairing import Wish
from agents.plugins import Installed, installed
from agents.program import run_program
from agents.putting import PutOptions
from agents.running import Running, open_agent
from agents.settings import Settings, default_home, load_settings
from agents.views import JobView
from grammar.errors import MeshError
from grammar.instruction import Right
from grammar.vocabulary import Vocabulary
from invitations.invitation import Invitation
from invitations.peers import PeerRow
from mesh.errors import StoreLocked
from mesh.storage.contract import Store
from mesh.storage.sqlite import SqliteStore
from mesh.transport.admission import ListenerLimits
from mesh.transport.contract import Network
from mesh.transport.websocket import WebsocketNetwork

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


class Agent:
    """An agent.

    Args:
        name: its name; None takes the one of the folder.
        kind: what it is for; None takes the folder's. A name or kind that differs from `mesh.toml` is an error.
        home: its folder; by default `MESH_HOME`, else the current one.
        vocabulary: the instructions it can parse besides those of its handlers; by default the language's own and
            those of installed packages (`agents.plugins`).
        network, store: others than websockets and SQLite in the folder, for tests.
    """

    Refused: ClassVar[type[RefusedByHandler]] = RefusedByHandler
    """Raise it in a handler to say no; the message reaches the origin word by word."""

    def __init__(
        self,
        name: str | None = None,
        *,
        kind: str | None = None,
        home: str | Path | None = None,
        vocabulary: Vocabulary | None = None,
        network: Network | None = None,
        store: Store | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self._home = None if home is None else Path(home)
        self._installed = installed() if vocabulary is None else Installed(vocabulary)
        self._handlers = Handlers(self._installed.vocabulary)
        self._network = network
        self._store = store
        self._running: Running | None = None
        self._door: Door | None = None

    def __repr__(self) -> str:
        return f"<agent {self.name or self._home or '.'}{' running' if self._running else ''}>"

    @classmethod
    def load(cls, home: str | Path | None = None) -> Agent:
        """The agent of a folder, as `mesh init` made it, without handlers; open it with `async with`."""
        return cls(home=home)

    # -- handlers -----------------------------------------------------------------------------------------------

    @overload
    def handler(self, function: F) -> F: ...

    @overload
    def handler(
        self,
        function: None = None,
        *,
        keyword: str | None = None,
        right: Right | None = None,
        read_only: bool | None = None,
        idempotent: bool | None = None,
    ) -> Callable[[F], F]: ...

    def handler(
        self,
        function: F | None = None,
        *,
        keyword: str | None = None,
        right: Right | None = None,
        read_only: bool | None = None,
        idempotent: bool | None = None,
    ) -> F | Callable[[F], F]:
        """Register an async function as the handler of an instruction; see `agents.handlers`.

        Args:
            function: the function, when used without parentheses.
            keyword: the instruction's name; the function's own by default.
            right: what a caller must be allowed to do.
            read_only: it changes nothing.
            idempotent: it may run again after a crash; else such a job ends as `interrupted`.

        What is not given is as a known instruction of that name declares it, else write, not read-only, idempotent.

        Raises:
            HandlerError: the function cannot be a handler.
        """

        def register(given: F) -> F:
            self._handlers.add(given, keyword=keyword, right=right, read_only=read_only, idempotent=idempotent)
            return given

        return register if function is None else register(function)

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the folder and run until `stop`.

        Raises:
            AgentError: no agent there, or another name or kind than this object's.
            AlreadyRunning: another process runs it.
        """
        if self._running is not None:
            raise AgentError("this agent runs already")
        settings = self.settings()
        self._installed.log_faults()
        limits = settings.limits
        network = self._network or WebsocketNetwork(ListenerLimits.of(limits), preauth_bytes=limits.preauth_bytes)
        kept = settings.config.store
        store = self._store or SqliteStore(
            settings.store_path,
            keep_jobs=kept.keep_jobs,
            max_bytes=kept.max_bytes,
            ballast_bytes=limits.ballast_bytes,
            owner=settings.identity.fingerprint,
        )
        try:
            self._running = await open_agent(settings, self._handlers, store, network)
        except StoreLocked as locked:
            raise AlreadyRunning(
                f'agent "{settings.name}" in {settings.home} runs already: {locked.message}',
                fix="talk to the running one through agents.client.Client, which has the same verbs",
            ) from locked
        self.name, self.kind = settings.name, settings.kind
        self._door = Door(self._running)
        try:
            await self._door.open()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop cleanly; handlers that run are taken away and will run again."""
        running, self._running = self._running, None
        if self._door is not None:
            await self._door.close()
            self._door = None
        if running is not None:
            await running.stop()

    def settings(self) -> Settings:
        """What the folder says, checked against this object.

        Raises:
            AgentError: there is no agent, or it has another name or kind.
        """
        settings = load_settings(self._home if self._home is not None else default_home())
        for what, mine, theirs in (("name", self.name, settings.name), ("kind", self.kind, settings.kind)):
            if mine is not None and mine != theirs:
                raise AgentError(
                    f'the folder {settings.home} is of {what} "{theirs}", and the program says "{mine}"',
                    fix=f"correct the {what} in the program, or make a folder for it: mesh init",
                )
        return settings

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def door(self) -> Door:
        """The local door of the running agent.

        Raises:
            AgentError: it does not run.
        """
        if self._door is None:
            raise AgentError("the agent does not run", fix="use `async with agent:` or `await agent.start()`")
        return self._door

    @property
    def running(self) -> Running:
        """The parts that are alive.

        Raises:
            AgentError: it does not run.
        """
        if self._running is None:
            raise AgentError("the agent does not run", fix="use `async with agent:` or `await agent.start()`")
        return self._running

    # -- jobs ---------------------------------------------------------------------------------------------------

    def put(
        self,
        command: str,
        *,
        zone: str | None = None,
        life_s: float | None = None,
        key: str | None = None,
        circle: str = "",
        context: str = "",
        payload: bytes | str | PathLike[str] | None = None,
        wait_for_room: bool = False,
    ) -> Coroutine[Any, Any, JobHandle]:
        """Put a job; it is durable when what this gives was awaited.

        Args:
            command: dotted path and instruction, `portal.cluster add_user fred.proj.org`.
            zone: where it travels; this agent's own zone by default.
            life_s: seconds it may wait for its start; an hour by default.
            key: idempotency key: the same key is the same job for as long as this agent keeps it.
            circle, context: the namespace it acts in.
            payload: bytes that the handler gets by `context.payload()`, or the file that holds them; at most 4 MiB.
            wait_for_room: wait instead of raising Busy while too many jobs wait for that branch.

        Raises:
            GrammarError: path or instruction are not of the language.
            PutRefused: this agent knows it to be wrong; nothing was stored. TooLarge for a payload above the limit.
            AgentError: the file cannot be read.
        """
        return self.running.jobs.put(
            command,
            zone=zone,
            life_s=life_s,
            key=key,
            circle=circle,
            context=context,
            payload=payload,
            wait_for_room=wait_for_room,
        )

    def call(self, command: str, *, timeout: float | None = None, **how: Unpack[PutOptions]) -> asyncio.Future[Any]:
        """Put a job at once; what this gives is done with its result, as a typed value. It is to be awaited, alone or
        with others (`asyncio.gather`); to cancel it does not stop the job.

        Args:
            command: as in `put`.
            timeout: seconds of patience from when the job is durable, None for any.
            how: as in `put`.

        Raises (when it is awaited):
            GrammarError, PutRefused: as `put`.
            JobFailed: the job ended otherwise than complete; its id is `error.job`.
            NotKnownYet: patience ended first; the job goes on.
            AgentError: this agent stopped first; the job goes on when it is started again.
        """
        return self.running.jobs.call(command, timeout=timeout, **how)

    async def job(self, job_id: str) -> JobHandle:
        """A handle to a job of this agent, by its id or the first characters that people type.

        Raises:
            NoSuchJob: none or several.
        """
        return self.running.jobs.handle(await self.running.lookup.find(job_id))

    async def jobs(
        self, *, live: bool | None = True, states: Iterable[str] = (), limit: int | None = None
    ) -> list[JobView]:
        """Jobs of this agent, newest first: live ones by default, finished ones (False) or both (None).

        One whose stored row is damaged is left out, fetched from the neighbours, and named in the log.
        """
        return await self.running.lookup.listed(live=live, states=tuple(states), limit=limit)

    async def dead(self) -> list[JobView]:
        """The dead letters, newest first: jobs of this agent's own that failed and were not put again."""
        found, after, _ = await self.running.lookup.dead()
        while after:
            views, after, _ = await self.running.lookup.dead(after=after)
            found += views
        return found

    async def retry(self, job_id: str, *, life_s: float | None = None) -> JobHandle:
        """Put a job of this agent's own that failed once more: the same text, the old job as its parent. Asking again
        gives the same new job.

        Args:
            job_id: its id, or the first characters that people type.
            life_s: seconds the new one may wait for its start; as long as the old one by default.

        Raises:
            NoSuchJob: none or several.
            PutRefused: it did not fail, or cannot be put again.
        """
        return await self.running.jobs.retry_job(await self.running.lookup.find(job_id), life_s)

    # -- peers --------------------------------------------------------------------------------------------------

    async def invite(
        self,
        peer: str,
        *,
        kind: str | None = None,
        zone: str | None = None,
        urls: Iterable[str] = (),
        ranges: Iterable[str] = (),
    ) -> Invitation:
        """Make an invitation for an agent called `peer`, good from now on; save it with `.save(path)`.

        Raises:
            MeshError: a value is not legal, or there is a peer of that name.
        """
        return await self.running.peering.invite(Wish(peer, kind, zone, tuple(urls), tuple(ranges)))

    async def join(self, path: str | Path) -> PeerRow:
        """Accept an invitation file and begin to dial the agent that wrote it.

        Raises:
            MeshError: it is no invitation, or not for this agent, or not now.
        """
        return await self.running.peering.join(Path(path))

    async def wait_for_peer(
        self, name: str | None = None, *, kind: str | None = None, timeout: float | None = None
    ) -> str:
        """Wait until a link to a peer stands, named or of a kind, or to any.

        Returns:
            The peer's name.

        Raises:
            NotKnownYet: `timeout` seconds passed first.
        """
        engine = self.running.engine

        def found() -> str | None:
            for board in engine.boards:
                if board.open and name in (None, board.name) and kind in (None, board.kind):
                    return board.name
            return None

        try:
            async with asyncio.timeout(timeout):
                await self.running.peering.until(lambda: found() is not None)
        except TimeoutError:
            wanted = name or (f"any {kind}" if kind else "any peer")
            raise NotKnownYet(f"no link to {wanted} after {timeout:g} s", fix="see `mesh peers`") from None
        peer = found()
        assert peer is not None
        return peer

    def run(self) -> None:
        """Run until SIGINT or SIGTERM, as `mesh run` does: for `python handlers.py`.

        Raises:
            SystemExit: it cannot be started, or its store failed; the error is on standard error.
        """
        try:
            run_program(self)
        except MeshError as error:
            fix = f"\nfix: {error.fix}" if error.fix else ""
            raise SystemExit(f"error {error.code}: {error.message}{fix}") from None
