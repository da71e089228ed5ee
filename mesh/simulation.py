"""A whole mesh in one process, in virtual time, decided by a seed.

Real engines and real stores; only the world is played: links that deliver late and are cut, handlers that take a
while, commits that take a while, agents that die between any two effects and come back. The same seed gives the same
run, to the last message (`trace` is a hash over all of it).

    run = Simulation([("portal", "cluster")], seed=7)
    run.random_life(jobs=20, seconds=30)
    run.heal()
    print(violations(run), run.trace)         # from mesh.verdict

It is public: give it your own topology and your own faults. What must hold whatever happened is checked by `verdict`.
"""

from __future__ import annotations

import random as random_module
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count as counter

from grammar.errors import MeshError
from grammar.openportal import VOCABULARY
from invitations.card import make_card
from invitations.identity import Identity
from invitations.peers import PeerRow
from mesh.access import Access
from mesh.codec import unpack
from mesh.destination import Ending
from mesh.effects import Effects, Start
from mesh.engine import Engine
from mesh.job import Job, Row
from mesh.lifecycle import TERMINAL, Role, State
from mesh.limits import Limits
from mesh.messages import Hello, read
from mesh.origin import Put
from mesh.storage.memory import MemoryStore

START_MS = 1_700_000_000_000
ZONE = "lab"


@dataclass(slots=True)
class Faults:
    """How the world behaves. Times in milliseconds, chances between 0 and 1.

    Attributes:
        delay_ms: longest time a message travels.
        commit_ms: longest time a commit takes.
        handler_ms: longest time a handler takes.
        crash: chance, at each boundary between two effects, that the agent dies there.
        cut_every_s, crash_every_s: mean time between cuts of a link and between deaths of an agent; 0 for never.
        down_s: longest time that a link or an agent stays down.
        cancels, deletes: share of the jobs that are cancelled, or deleted, at a random moment.
        life_s: how long jobs may wait.
    """

    delay_ms: int = 40
    commit_ms: int = 15
    handler_ms: int = 2_000
    crash: float = 0.002
    cut_every_s: float = 6.0
    crash_every_s: float = 8.0
    down_s: float = 5.0
    cancels: float = 0.1
    deletes: float = 0.05
    life_s: float = 3_600.0


@dataclass(slots=True)
class Node:
    """One agent: its store survives a crash, its engine does not. `life` counts the times it was started."""

    name: str
    identity: Identity
    store: MemoryStore
    skew_ms: int = 0
    engine: Engine | None = None
    life: int = 0
    commits: list[Effects] = field(default_factory=list)
    committing: bool = False
    timer_ms: int | None = None
    running: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class Wire:
    """A link between two agents; `epoch` changes with every cut, so that what was on its way is lost."""

    ends: tuple[str, str]
    allowed: bool = True
    up: bool = False
    epoch: int = 0
    greeted: set[str] = field(default_factory=set)
    busy_until: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Told:
    """What a caller was told of a job."""

    path: str
    acknowledged: bool = False
    deleted: bool = False
    states: list[str] = field(default_factory=list)


class Simulation:
    """A mesh of engines under faults.

    Args:
        links: pairs of agent names; the mesh may be a chain, a star, any tree.
        seed: decides everything.
        faults: how the world behaves.
        limits: what the agents accept.
    """

    def __init__(
        self,
        links: Sequence[tuple[str, str]],
        *,
        seed: int,
        faults: Faults | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._random = random_module.Random(seed)  # noqa: S311 - a replay needs a seed, not a secret
        self.faults = faults or Faults()
        self.limits = limits or Limits()
        self.now_ms = START_MS
        self._order = counter()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._hash = blake2b(digest_size=16)
        self._calm = False
        self.wires = {frozenset(ends): Wire(ends) for ends in links}
        names = sorted({name for ends in links for name in ends})
        self.nodes = {name: Node(name, Identity.generate(self._random.randbytes), MemoryStore()) for name in names}
        self._cards = {name: self._card(node) for name, node in self.nodes.items()}
        self.told: dict[bytes, Told] = {}
        self.starts: Counter[bytes] = Counter()
        self.started_by: dict[bytes, set[str]] = {}
        self.first_start_ms: dict[bytes, int] = {}
        self.effects_done: dict[bytes, int] = {}
        self.crashes = 0
        self.alarms: list[str] = []
        self.problems: list[str] = []
        self._tokens: dict[int, tuple[str, Callable[[bytes | MeshError], None]]] = {}
        self._token = counter(1)
        self._observed: dict[tuple[str, bytes], State] = {}
        for name in names:
            self.start(name)
        for wire in self.wires.values():
            self._later(self._random.randint(0, 200), lambda wire=wire: self._dial(wire))  # type: ignore[misc]

    @property
    def trace(self) -> str:
        """A hash over everything that was sent, committed and started."""
        return self._hash.hexdigest()

    # -- driving ------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let `seconds` of virtual time pass."""
        end = self.now_ms + int(seconds * 1000)
        while self._events and self._events[0][0] <= end:
            self.now_ms, _, event = heappop(self._events)
            event()
        self.now_ms = end

    def random_life(self, *, jobs: int, seconds: float) -> None:
        """Put `jobs` jobs on random paths, cancel and delete some, cut links and kill agents, for `seconds`."""
        faults, draw = self.faults, self._random
        horizon = int(seconds * 1000)
        for _ in range(jobs):
            self._later(draw.randint(0, horizon), self._random_put)
        if faults.cut_every_s:
            for _ in range(int(seconds / faults.cut_every_s * len(self.wires))):
                wire = draw.choice(list(self.wires.values()))
                self._later(draw.randint(0, horizon), lambda wire=wire: self.cut(*wire.ends))  # type: ignore[misc]
        if faults.crash_every_s:
            for _ in range(int(seconds / faults.crash_every_s * len(self.nodes))):
                name = draw.choice(list(self.nodes))
                self._later(draw.randint(0, horizon), lambda name=name: self.crash(name))  # type: ignore[misc]
        self.run(seconds)

    def heal(self, seconds: float = 60.0) -> None:
        """End all faults, bring everything up, and give the mesh `seconds` to settle."""
        self._calm = True
        for name, node in self.nodes.items():
            if node.engine is None:
                self.start(name)
        for wire in self.wires.values():
            wire.allowed = True
            if not wire.up:
                self._dial(wire)
        self.run(seconds)

    def put(self, origin: str, path: str, text: str | None = None, **wishes: object) -> None:
        """Put a job at `origin`; `told` records what comes of it."""
        node = self.nodes[origin]
        if node.engine is None:
            return
        token = next(self._token)

        def reply(result: bytes | MeshError) -> None:
            if isinstance(result, bytes):
                self.told.setdefault(result, Told(path)).acknowledged = True

        self._tokens[token] = (origin, reply)
        put = Put(ZONE, path, text or f"add_user fred.proj.{origin}", life_s=self.faults.life_s, **wishes)  # type: ignore[arg-type]
        try:
            node.engine.put(token, put, self._clock(node))
        except MeshError as error:
            self.problems.append(f"put refused: {error}")
        self._step(node)

    def cancel(self, origin: str, job_id: bytes) -> None:
        """Cancel a job at its origin."""
        node = self.nodes[origin]
        if node.engine is not None:
            token = next(self._token)
            self._tokens[token] = (origin, lambda _: None)
            node.engine.cancel(token, job_id, self._clock(node))
            self._step(node)

    def delete(self, origin: str, job_id: bytes) -> None:
        """Delete a job at its origin; a delete that was not acknowledged is neither promised nor excluded."""
        node = self.nodes[origin]
        if node.engine is not None:
            token = next(self._token)
            told = self.told[job_id]
            told.acknowledged = False

            def reply(result: bytes | MeshError) -> None:
                told.deleted = isinstance(result, bytes)

            self._tokens[token] = (origin, reply)
            node.engine.delete(token, job_id, self._clock(node))
            self._step(node)

    # -- faults -------------------------------------------------------------------------------------------------

    def crash(self, name: str, *, down_s: float | None = None) -> None:
        """Kill an agent: its memory, its uncommitted steps, its links and handlers are gone."""
        node = self.nodes[name]
        if node.engine is None or self._calm:
            return
        self.crashes += 1
        node.engine = None
        node.commits.clear()
        node.committing = False
        node.running.clear()
        for wire in self.wires.values():
            if name in wire.ends:
                self._down(wire)
        for key in [key for key in self._observed if key[0] == name]:
            del self._observed[key]
        down = self._random.uniform(0.1, self.faults.down_s) if down_s is None else down_s
        self._later(int(down * 1000), lambda: self.start(name))

    def cut(self, one: str, other: str, *, down_s: float | None = None) -> None:
        """Cut a link; everything on its way is lost."""
        wire = self.wires[frozenset((one, other))]
        if self._calm:
            return
        wire.allowed = False
        self._down(wire)
        down = self._random.uniform(0.05, self.faults.down_s) if down_s is None else down_s

        def back() -> None:
            wire.allowed = True
            self._dial(wire)

        self._later(int(down * 1000), back)

    def start(self, name: str) -> None:
        """Start an agent on what its store holds."""
        node = self.nodes[name]
        if node.engine is not None:
            return
        node.life += 1
        access = Access(name, VOCABULARY, None)
        engine = Engine(self._cards[name], node.identity.sign, self._random.randbytes, self.limits, access)
        engine.open(node.store.open())
        node.engine = engine
        for other in self._neighbours(name):
            # Paired in an earlier life, unless that ended before its first commit.
            if engine.board(ZONE, other) is None:
                engine.pair(self._peer_row(other))
        self._step(node)
        for wire in self.wires.values():
            if name in wire.ends:
                self._later(self._random.randint(1, 100), lambda wire=wire: self._dial(wire))  # type: ignore[misc]

    # -- the world ----------------------------------------------------------------------------------------------

    def _card(self, node: Node):  # type: ignore[no-untyped-def]
        return make_card(node.identity, name=node.name, kind="custom", zones=(ZONE,), serial=1, now=START_MS / 1000)

    def _neighbours(self, name: str) -> list[str]:
        return [next(iter(ends - {name})) for ends in self.wires if name in ends]

    def _peer_row(self, name: str) -> PeerRow:
        card = self._cards[name]
        return PeerRow(
            fingerprint=card.fingerprint,
            zone=ZONE,
            name=name,
            kind="custom",
            card=card.data,
            link_public=card.link_public,
            pair_key=None,
            invitation_id=None,
            secret=None,
            urls=(),
            ranges=(),
            state="pinned",
        )

    def _later(self, delay_ms: int, event: Callable[[], None]) -> None:
        heappush(self._events, (self.now_ms + delay_ms, next(self._order), event))

    def _clock(self, node: Node) -> int:
        return self.now_ms + node.skew_ms

    def _note(self, *parts: object) -> None:
        self._hash.update(repr((self.now_ms, *parts)).encode())

    def _random_put(self) -> None:
        names = self._random_path()
        node = self.nodes[names[0]]
        if node.engine is None:
            return
        before = set(self.told)
        self.put(names[0], ".".join(names))
        draw = self._random.random()
        delay = self._random.randint(0, 6_000)

        def meddle(act: Callable[[str, bytes], None]) -> None:
            new = [job_id for job_id in self.told if job_id not in before and self.told[job_id].path == ".".join(names)]
            if new and self.told[new[0]].acknowledged:
                act(names[0], new[0])

        if draw < self.faults.cancels:
            self._later(delay, lambda: meddle(self.cancel))
        elif draw < self.faults.cancels + self.faults.deletes:
            self._later(delay, lambda: meddle(self.delete))

    def _random_path(self) -> list[str]:
        path = [self._random.choice(list(self.nodes))]
        wanted = self._random.randint(2, 5)
        while len(path) < wanted:
            onward = sorted(
                next(iter(ends - {path[-1]}))
                for ends in self.wires
                if path[-1] in ends and not ends - {path[-1]} <= set(path)
            )
            if not onward:
                break
            path.append(self._random.choice(onward))
        return path

    # -- links --------------------------------------------------------------------------------------------------

    def _dial(self, wire: Wire) -> None:
        ends = [self.nodes[name] for name in wire.ends]
        if wire.up or not wire.allowed or any(node.engine is None for node in ends):
            return
        wire.up = True
        wire.epoch += 1
        wire.greeted.clear()
        wire.busy_until.clear()
        self._note("up", wire.ends)
        for node, other in (ends, reversed(ends)):
            engine = node.engine
            if engine is None:
                return
            board = engine.board(ZONE, other.name)
            assert board is not None
            engine.greet(board, self._clock(node))
            self._step(node)

    def _down(self, wire: Wire) -> None:
        if not wire.up:
            return
        wire.up = False
        wire.epoch += 1
        self._note("down", wire.ends)
        for name in wire.ends:
            engine = self.nodes[name].engine
            other = wire.ends[0] if wire.ends[1] == name else wire.ends[1]
            if engine is not None:
                board = engine.board(ZONE, other)
                assert board is not None
                engine.disconnected(board)
                self._step(self.nodes[name])
        if wire.allowed:
            self._later(self._random.randint(50, 500), lambda: self._dial(wire))

    def _send(self, node: Node, board_id: int, packed: list[bytes], epoch: int | None = None) -> None:
        assert node.engine is not None
        other = node.engine.ledger.boards[board_id].name
        wire = self.wires[frozenset((node.name, other))]
        if not wire.up or (epoch is not None and wire.epoch != epoch):
            return
        sent_in = wire.epoch
        arrives = max(self.now_ms + self._random.randint(1, self.faults.delay_ms), wire.busy_until.get(node.name, 0))
        wire.busy_until[node.name] = arrives
        self._note("send", node.name, other, packed)

        def arrive() -> None:
            if wire.up and wire.epoch == sent_in:
                self._arrive(self.nodes[other], node.name, packed)

        self._later(arrives - self.now_ms, arrive)

    def _arrive(self, node: Node, sender: str, packed: list[bytes]) -> None:
        engine = node.engine
        if engine is None:
            return
        board = engine.board(ZONE, sender)
        assert board is not None
        messages = [message for message in (read(unpack(one)) for one in packed) if message is not None]
        if messages and isinstance(messages[0], Hello):
            engine.connected(board, messages.pop(0), self._clock(node))  # type: ignore[arg-type]
        if messages:
            engine.received(board, messages, self._clock(node))
        self._step(node)

    # -- steps, in the order of `effects` -----------------------------------------------------------------------

    def _step(self, node: Node) -> None:
        engine = node.engine
        if engine is None:
            return
        effects = engine.end_step(self._clock(node))
        self.alarms += [f"{node.name}: {alarm}" for alarm in effects.alarms]
        if effects:
            for told in effects.told:
                self._tell(node, told.job_id, str(told.fact.content.state))  # type: ignore[union-attr]
            for board_id, packed in effects.ahead.items():
                self._send(node, board_id, packed)
            node.commits.append(effects)
            self._commit_next(node)
        self._set_timer(node)

    def _commit_next(self, node: Node) -> None:
        if node.committing or not node.commits:
            return
        node.committing = True
        life = node.life

        def commit() -> None:
            if node.engine is None or node.life != life:
                return
            self._carry_out(node, life)

        self._later(self._random.randint(0, self.faults.commit_ms), commit)

    def _dies(self, node: Node) -> bool:
        if self._calm or self._random.random() >= self.faults.crash:
            return False
        self.crash(node.name)
        return True

    def _carry_out(self, node: Node, life: int) -> None:
        group, node.commits = node.commits, []
        node.committing = False
        if self._dies(node):
            return
        node.store.apply([effects.batch for effects in group])
        self._note("commit", node.name, [row.id for effects in group for row in effects.batch.rows])
        for effects in group:
            for step in self._aftermath(node, effects):
                if node.life != life or node.engine is None or self._dies(node):
                    return
                step()
        if node.engine is not None and node.life == life:
            self._commit_next(node)

    def _aftermath(self, node: Node, effects: Effects) -> list[Callable[[], None]]:
        steps: list[Callable[[], None]] = []
        for row in effects.batch.rows:
            steps.append(lambda row=row: self._observe(node, row))  # type: ignore[misc]
        for board_id, packed in effects.send.items():
            steps.append(lambda board_id=board_id, packed=packed: self._send(node, board_id, packed))  # type: ignore[misc]
        for start in effects.start:
            steps.append(lambda start=start: self._run_handler(node, start))  # type: ignore[misc]
        for job_id in effects.stop:
            steps.append(lambda job_id=job_id: self._stop_handler(node, job_id))  # type: ignore[misc]
        for reply in effects.replies:
            steps.append(lambda reply=reply: self._tokens.pop(reply.token)[1](reply.result))  # type: ignore[misc]
        for query in effects.queries:
            steps.append(lambda query=query: self._ask(node, query))  # type: ignore[misc]
        for board_id, reason in effects.close:
            steps.append(lambda board_id=board_id, reason=reason: self._closed(node, board_id, reason))  # type: ignore[misc]
        return steps

    def _ask(self, node: Node, query) -> None:  # type: ignore[no-untyped-def]
        assert node.engine is not None
        node.engine.answer(node.store.read(query), self._clock(node))
        self._step(node)

    def _closed(self, node: Node, board_id: int, reason: str) -> None:
        assert node.engine is not None
        other = node.engine.ledger.boards[board_id].name
        self._note("close", node.name, other, reason)
        self._down(self.wires[frozenset((node.name, other))])

    def _set_timer(self, node: Node) -> None:
        assert node.engine is not None
        deadline = node.engine.next_deadline_ms()
        if deadline is None or (node.timer_ms is not None and node.timer_ms <= deadline):
            return
        node.timer_ms = deadline
        life = node.life

        def ring() -> None:
            if node.engine is None or node.life != life or node.timer_ms != deadline:
                return
            node.timer_ms = None
            node.engine.tick(self._clock(node))
            self._step(node)

        self._later(max(1, deadline - self._clock(node)), ring)

    # -- handlers -----------------------------------------------------------------------------------------------

    def _run_handler(self, node: Node, start: Start) -> None:
        job_id, life = start.job_id, node.life
        self._note("start", node.name, job_id, start.attempt)
        self.starts[job_id] += 1
        self.started_by.setdefault(job_id, set()).add(node.name)
        self.first_start_ms.setdefault(job_id, self.now_ms)
        node.running[job_id] = start.attempt

        def done() -> None:
            if node.engine is None or node.life != life or node.running.pop(job_id, None) is None:
                return
            self.effects_done[job_id] = self.effects_done.get(job_id, 0) + 1
            ending = Ending(State.COMPLETE, "str", f'"done {start.attempt}"')
            node.engine.finished(job_id, ending, self._clock(node))
            self._step(node)

        self._later(self._random.randint(0, self.faults.handler_ms), done)

    def _stop_handler(self, node: Node, job_id: bytes) -> None:
        if node.running.pop(job_id, None) is not None and node.engine is not None:
            node.engine.finished(job_id, Ending(State.CANCELLED), self._clock(node))
            self._step(node)

    # -- what people see ----------------------------------------------------------------------------------------

    def _observe(self, node: Node, row: Row) -> None:
        state = list(State)[row.state]
        before = self._observed.get((node.name, row.id))
        if before is not None and before in TERMINAL and state is not before:
            allowed = state is State.DELETED or before in (State.REJECTED, State.EXPIRED, State.CANCELLED)
            if not allowed:
                self.problems.append(f"8: {node.name} saw {row.id.hex()[12:20]} go from {before} to {state}")
        self._observed[node.name, row.id] = state
        if row.role == list(Role).index(Role.ORIGIN):
            told = self.told.setdefault(row.id, Told(""))
            if not told.path:
                told.path = self._job(node, row).request.path
            if state in TERMINAL:
                self._tell(node, row.id, str(state))

    def _tell(self, node: Node, job_id: bytes, state: str) -> None:
        states = self.told.setdefault(job_id, Told("")).states
        if not states or states[-1] != state:
            states.append(state)

    def _job(self, node: Node, row: Row) -> Job:
        assert node.engine is not None
        return Job.from_row(row, node.engine.ledger.names_of)

    def jobs(self, name: str) -> dict[bytes, Job]:
        """Every job that the store of an agent holds."""
        node = self.nodes[name]
        return {row.id: self._job(node, row) for row in node.store.rows.values()}
