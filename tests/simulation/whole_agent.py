"""The whole agent under virtual time: loop, links, handshake, executor and store, with cuts, kills and clean stops.

Only the edges are played: the store's thread is a timer of the loop, sockets are the memory network, the clock is the
loop's. A seed decides when what happens; nothing waits for real time.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import agents.peering
import agents.running
from agents.context import Context
from agents.handlers import Handlers
from agents.running import Running, open_agent
from agents.settings import Settings
from grammar.errors import MeshError
from grammar.identifiers import UserIdentifier
from grammar.openportal import VOCABULARY
from invitations.card import make_card
from invitations.config import AgentSection, Config
from invitations.identity import Identity
from invitations.peers import PeerRow
from mesh.access import Access
from mesh.effects import Batch, Query
from mesh.engine import Engine
from mesh.facts import Kind, short_text
from mesh.job import Job
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.room import Room
from mesh.routing import Place, place_of
from mesh.storage.contract import Store
from mesh.storage.memory import MemoryStore
from mesh.transport.memory import MemoryNetwork

START_MS = 1_700_000_000_000
SKEW_MS: ContextVar[int] = ContextVar("skew_ms", default=0)
"""How far the clock of the agent is off whose task or timer runs: each is started in a context of its own."""
ZONE = "lab"


class LoopWriter:
    """The store's writer without a thread: groups of work, each after a random while, in order.

    One that is `dead` does nothing any more: what was not committed is lost, and nobody is told. `dies` is asked before
    each commit, and between a commit and what follows from it, whether the agent dies there.
    """

    def __init__(
        self, store: Store, random: Random, longest_s: float, dies: Callable[[Store], bool] = lambda store: False
    ) -> None:
        self._store = store
        self._dies = dies
        self._random = random
        self._longest_s = longest_s
        self._queue: list[Callable[[], Callable[[], None]]] = []
        # What is done and was not said yet.
        self._news: deque[Callable[[], None]] = deque()
        self._telling = False
        self._busy = False
        self.dead = False

    async def open(self) -> Any:
        return self._store.open()

    def watch_room(self, tell: Callable[[Room], None]) -> None:
        """Now and then there is no room for new jobs, for a second or so."""
        if self._random.random() < 0.2:
            loop = asyncio.get_running_loop()
            full_s = self._random.uniform(0, 4)
            loop.call_later(full_s, lambda: None if self.dead else tell(Room.DISK_FULL))
            loop.call_later(full_s + 1, lambda: None if self.dead else tell(Room.ENOUGH))

    def commit(self, batch: Batch, done: Callable[[BaseException | None], None]) -> None:
        def work() -> Callable[[], None]:
            self._store.apply([batch])
            return lambda: done(None)

        self._put(work)

    def read(self, query: Query, done: Callable[[Any], None]) -> None:
        def work() -> Callable[[], None]:
            answer = self._store.read(query)
            return lambda: done(answer)

        self._put(work)

    async def call(self, run: Callable[[Store], Any]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def work() -> Callable[[], None]:
            found = run(self._store)
            return lambda: None if future.done() else future.set_result(found)

        self._put(work)
        return await future

    async def answer(self, query: Query) -> Any:
        return await self.call(lambda store: store.read(query))

    async def close(self) -> None:
        if not self.dead:
            await self.call(lambda store: None)
        self.dead = True

    def _put(self, work: Callable[[], Callable[[], None]]) -> None:
        self._queue.append(work)
        if not self._busy:
            self._busy = True
            self._later(self._work)

    def _later(self, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._random.uniform(0, self._longest_s), act)

    def _work(self) -> None:
        if self.dead or self._dies(self._store):
            return
        group, self._queue = self._queue, []
        self._news.extend([work() for work in group])
        self._later(self._go_on)

    def deliver(self) -> None:
        """The loop asks in the midst of a turn. What was committed a moment ago may not have come to it yet."""
        if self._news and self._random.random() < 0.5:
            self._tell()

    def _tell(self) -> None:
        if self._telling:
            return
        self._telling = True
        while self._news and not self.dead and not self._dies(self._store):
            self._news.popleft()()
        self._telling = False

    def _go_on(self) -> None:
        self._tell()
        if self._news:
            return
        self._busy = bool(self._queue)
        if self._busy:
            self._later(self._work)


@dataclass(slots=True)
class Member:
    """One agent of the mesh: its store outlives its lives."""

    settings: Settings
    store: MemoryStore = field(default_factory=MemoryStore)
    skew_ms: int = 0
    copy: MemoryStore | None = None
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: Running | None = None
    writer: LoopWriter | None = None
    callers: list[asyncio.Task[None]] = field(default_factory=list)


class WholeMesh:
    """Agents in a chain or tree, and what their callers were told.

    Attributes:
        effects: how often each user's handler came to its effect.
        told: by job, the final states its callers were told.
        crashes: agents that were killed.
        losses: agents whose store was put back to an old copy.
        failpoint: chance, at each boundary of a commit, that the agent dies there.
    """

    def __init__(self, links: list[tuple[str, str]], seed: int, tasks: asyncio.TaskGroup) -> None:
        self.random = Random(seed)
        self.links = links
        self.network = MemoryNetwork(tasks, lambda: self.random.uniform(0.0, 0.03))
        self.effects: Counter[str] = Counter()
        self.told: dict[bytes, list[str]] = {}
        self.acknowledged: dict[bytes, str] = {}
        self.deleted: set[bytes] = set()
        self.crashes = 0
        self.losses: set[str] = set()
        self.failpoint = self.random.choice((0.0, 0.0, 0.002))
        self._tasks = tasks
        self._commit_s = self.random.choice((0.001, 0.02, 0.1))
        names = sorted({name for ends in links for name in ends})
        self.members = {name: Member(self._settings(name)) for name in names}
        longest = self.random.choice((0, 0, 20_000))
        for name in names:
            self.members[name].skew_ms = self.random.randint(-longest, longest)
            self._pair(name)

    def _settings(self, name: str) -> Settings:
        section = AgentSection(name=name, zone=ZONE, listen="127.0.0.1:1")
        limits = Limits(
            credit_jobs=self.random.choice((2, 20)),
            window_records=self.random.choice((2, 64)),
            resident_jobs=self.random.choice((4, 64)),
            handlers=self.random.choice((2, 16)),
        )
        return Settings(
            Path("/nowhere"), Config(version=1, agent=section), Identity.generate(self.random.randbytes), limits
        )

    def _pair(self, name: str) -> None:
        """Write the pinned peers into a store, as an accepted invitation leaves them."""
        member = self.members[name]
        card = make_card(
            member.settings.identity, name=name, kind="custom", zones=(ZONE,), serial=1, now=START_MS / 1000
        )
        access = Access(name, VOCABULARY, None)
        engine = Engine(card, member.settings.identity.sign, self.random.randbytes, member.settings.limits, access)
        engine.open(member.store.open())
        for one, other in self.links:
            if name in (one, other):
                engine.pair(self._row(other if name == one else one, dials=name == other, key=f"{one}-{other}"))
        member.store.apply([engine.end_step(START_MS).batch])

    def _row(self, peer: str, *, dials: bool, key: str) -> PeerRow:
        settings = self.members[peer].settings
        card = make_card(settings.identity, name=peer, kind="custom", zones=(ZONE,), serial=1, now=START_MS / 1000)
        return PeerRow(
            fingerprint=card.fingerprint,
            zone=ZONE,
            name=peer,
            kind="custom",
            card=card.data,
            link_public=card.link_public,
            pair_key=key.encode().ljust(32, b"."),
            invitation_id=None,
            secret=None,
            urls=(f"memory://{peer}",) if dials else (),
            ranges=(),
            state="pinned",
        )

    # -- life ---------------------------------------------------------------------------------------------------

    def _handlers(self) -> Handlers:
        handlers = Handlers(VOCABULARY)

        async def add_user(user: UserIdentifier, context: Context) -> str:
            await asyncio.sleep(self.random.uniform(0, 1))
            self.effects[user.username] += 1
            if self.random.random() < 0.2:
                await context.progress(0.5, "half way")
            await asyncio.sleep(self.random.uniform(0, 1))
            return f"added {user.username}"

        handlers.add(add_user, keyword=None, right="write", read_only=False, idempotent=True)
        return handlers

    async def start(self, name: str) -> None:
        """Start an agent that is down."""
        member = self.members[name]
        SKEW_MS.set(member.skew_ms)
        async with member.changing:
            if member.running is None:
                member.running = await open_agent(
                    member.settings,
                    self._handlers(),
                    member.store,
                    self.network.host(name),  # type: ignore[arg-type]
                )

    async def stop(self, name: str) -> None:
        """Stop an agent as it is meant to be."""
        member = self.members[name]
        async with member.changing:
            running, member.running = member.running, None
            if running is not None:
                await running.stop()

    async def kill(self, name: str, *, down_s: float | None = None) -> None:
        """Kill an agent: nothing that it does from now on has any effect. It comes back after `down_s`, if given."""
        async with self.members[name].changing:
            await self._kill(name)
        if down_s is not None:
            await asyncio.sleep(down_s)
            await self.start(name)

    async def _kill(self, name: str) -> None:
        member = self.members[name]
        running, member.running = member.running, None
        if running is None:
            return
        self.crashes += 1
        running.stepping._closed = True
        running._writer.dead = True  # type: ignore[attr-defined]
        running.executor._report = lambda job_id, ending: None
        neighbours = [other for ends in self.links if name in ends for other in ends if other != name]
        for other in neighbours:
            self.network.cut(name, other)
        running.jobs.stopped()
        running.watching.stopped()
        await running.executor.close()
        await running.peering.stop()
        for other in neighbours:
            self.network.mend(name, other)

    def dies(self, store: Store) -> bool:
        """Whether the agent of a store dies now; it is back after a while."""
        if self.random.random() >= self.failpoint:
            return False
        name = next((name for name, member in self.members.items() if member.store is store), None)
        if name is None or self.members[name].running is None:
            return False
        self._tasks.create_task(self.kill(name, down_s=self.random.uniform(0, 2)))
        return True

    def keep_copy(self, name: str) -> None:
        """Copy the store of an agent, for `restore`."""
        self.members[name].copy = self.members[name].store.copy()

    async def restore(self, name: str) -> None:
        """Kill an agent and put its store back to the last copy, if there is one."""
        member = self.members[name]
        if member.copy is not None:
            async with member.changing:
                await self._kill(name)
                member.store = member.copy.copy()
                self.losses.add(name)
            await self.start(name)

    # -- callers ------------------------------------------------------------------------------------------------

    async def put(self, path: str, user: str) -> None:
        """Put a job and wait for its end; what happens to the agent meanwhile ends the caller."""
        member = self.members[path.partition(".")[0]]
        running = member.running
        SKEW_MS.set(member.skew_ms)
        if running is None:
            return
        try:
            handle = await running.jobs.put(f"{path} add_user {user}.proj.{path.partition('.')[0]}", key=user)
            self.acknowledged[handle.job_id] = user
            if self.random.random() < 0.1:
                await asyncio.sleep(self.random.uniform(0, 2))
                await handle.cancel()
            elif self.random.random() < 0.1:
                await asyncio.sleep(self.random.uniform(0, 2))
                await handle.delete()
                self.deleted.add(handle.job_id)
                return
            view = await handle.wait(timeout=500)
            self.told.setdefault(handle.job_id, []).append(view.state)
        except (MeshError, AssertionError):
            return

    def trace(self) -> str:
        """A hash over what every store holds, and what callers were told."""
        digest = blake2b(digest_size=16)
        for member in self.members.values():
            for row in member.store.rows.values():
                digest.update(repr(row).encode())
        digest.update(repr(sorted(self.told.items())).encode())
        return digest.hexdigest()

    # -- what must hold -----------------------------------------------------------------------------------------

    def copies(self, name: str) -> dict[bytes, Job]:
        """Every job that the store of an agent holds."""

        def place_on(path: str) -> Place:
            place = place_of(path, name)
            assert place is not None
            return place

        return {row.id: Job.from_row(row, place_on) for row in self.members[name].store.rows.values()}

    def violations(self) -> Iterator[str]:
        """Everything that should not be, once all is up and settled."""
        held = {name: self.copies(name) for name in self.members}
        for job_id in self.acknowledged:
            if not any(job_id in jobs for jobs in held.values()) and not self.losses:
                yield f"1: {short_text(job_id)} is lost"
        for name, jobs in held.items():
            for job_id, job in jobs.items():
                if job.live:
                    yield f"2: {short_text(job_id)} is still {job.state} at {name}"
        for job_id, states in self.told.items():
            if self.losses:
                # Told ahead of a commit, or of a life that was lost: the pure level says what may come of it.
                continue
            known = {job.state for jobs in held.values() if (job := jobs.get(job_id)) is not None}
            if len(known | {State(state) for state in states}) > 1:
                yield f"6: callers of {short_text(job_id)} were told {states}, agents say {known}"
        for job_id in self.deleted:
            for name, jobs in held.items():
                if job_id in jobs and jobs[job_id].state is not State.DELETED and not self.losses:
                    yield f"10: the deleted {short_text(job_id)} is {jobs[job_id].state} at {name}"
        for job_id, user in self.acknowledged.items():
            if job_id in self.deleted or self.losses:
                continue
            copies = [jobs[job_id] for jobs in held.values() if job_id in jobs]
            bodies = {fact.body for job in copies if (fact := job.facts[Kind.OUTCOME]) is not None}
            if len(bodies) > 1:
                yield f"5: {short_text(job_id)} has {len(bodies)} outcomes"
            done = any(job.state is State.COMPLETE for job in copies)
            unknown = any(job.outcome is not None and job.outcome.unknown_effect for job in copies)
            if done and not self.effects[user]:
                yield f"3: {short_text(job_id)} is complete and had no effect"
            if self.effects[user] and not done and not unknown:
                yield f"7: {short_text(job_id)} had its effect and says otherwise"


@contextmanager
def virtual(random: Random, loop: asyncio.AbstractEventLoop, dies: Callable[[Store], bool]) -> Iterator[None]:
    """The clock of every agent is the loop's, but for its skew, chance is the seed's, and no store has a thread."""
    commit_s = random.choice((0.001, 0.02, 0.1))

    def clock_ms() -> int:
        return START_MS + int(loop.time() * 1000) + SKEW_MS.get()

    with (
        patch.object(agents.running, "clock_ms", clock_ms),
        patch.object(agents.running, "Writer", lambda store: LoopWriter(store, random, commit_s, dies)),
        patch.object(agents.running, "os", SimpleNamespace(urandom=random.randbytes)),
        patch.object(agents.peering, "random", random),
    ):
        yield
