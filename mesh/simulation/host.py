"""One agent of a simulation: a real engine on a disk that survives it, and the shell around both.

The host does what `effects` asks of whoever drives an engine, in that order, and dies between any two effects. Its
commits take a while and take whole groups of steps; its handlers play a caller's program with an effect of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final

from grammar.errors import MeshError
from grammar.instruction import Declaration
from grammar.openportal import VOCABULARY
from invitations.card import make_card
from invitations.identity import Identity
from invitations.peers import PeerRow
from mesh.access import Access
from mesh.board import Board
from mesh.codec import unpack
from mesh.effects import Effects, Query, Start
from mesh.engine import Engine
from mesh.job import Job
from mesh.lifecycle import State
from mesh.messages import Hello, Message, read
from mesh.routing import Place, place_of
from mesh.simulation.disk import Disk
from mesh.simulation.failpoints import Failpoints
from mesh.simulation.history import Alarm
from mesh.simulation.program import CHARGE, Program
from mesh.simulation.setting import SKEW_MS, ZONE, Setting, peer_row_of
from mesh.simulation.wires import GREETING_MS
from mesh.simulation.world import START_MS

_WORDS: Final = VOCABULARY.extended(Declaration(CHARGE, idempotent=False))
_LUMP_MS: Final = 10

Verb = Callable[[Engine, int, int], None]
"""Asks an engine for something: engine, token, time."""


class Host:
    """One agent.

    Args:
        revive: called with its name when it died by chance.

    Attributes:
        engine: None while it is down.
        disk: survives a crash.
        life: how often it was started.
        peer_row: the row under which its neighbours have pinned it.
        points: the assertions at its boundaries.
        skew_ms: how far its clock is off the true time.
        copies: (true time, copy) of its disk, oldest first, to be restored from.
    """

    def __init__(self, name: str, setting: Setting, revive: Callable[[str], None], *, skew_ms: int = 0) -> None:
        self.name = name
        self.skew_ms = skew_ms
        self.life = 0
        self.engine: Engine | None = None
        self._disk = Disk()
        self.copies: list[tuple[int, Disk]] = []
        self._setting = setting
        self._revive = revive
        self._world, self._wires, self._history = setting.world, setting.wires, setting.history
        self.points = Failpoints(name, self._disk, setting.limits, setting.history)
        self._identity = Identity.generate(self._world.random.randbytes)
        self._card = make_card(self._identity, name=name, kind="custom", zones=(ZONE,), serial=1, now=START_MS / 1000)
        self.peer_row = peer_row_of(self._card)
        self._commits: list[tuple[Effects, dict[int, int]]] = []
        self._committing = False
        self._lumping = False
        self._timer_ms: int | None = None
        self._program = Program(name, self, self._world, self._history, setting.faults)
        self._tokens: dict[int, Callable[[bytes | MeshError], None]] = {}
        self._token = count(1)

    @property
    def up(self) -> bool:
        return self.engine is not None

    @property
    def disk(self) -> Disk:
        return self._disk

    @disk.setter
    def disk(self, disk: Disk) -> None:
        self._disk = self.points.disk = disk

    @property
    def clock_ms(self) -> int:
        """What its clock shows."""
        return self._world.now_ms + self.skew_ms

    @property
    def is_level(self) -> bool:
        """Whether nothing is under way: every step is committed, every board is level with its peer."""
        if self.engine is None or self._commits or self._committing or self._lumping:
            return False
        return not any(
            not board.open or board.exchanging or board.outbox.flight or board.outbox.behind or board.inbox.refused
            for board in self.engine.boards
        ) and not (self.engine.ledger.blobs.owing or self.engine.ledger.blobs.arriving)

    @property
    def is_quiet(self) -> bool:
        """Whether it has nothing left to do: it is level, and every job is over."""
        return self.is_level and not any(row.live for row in self.disk.rows.values())

    def board(self, peer: str) -> Board:
        """The board that its engine shares with `peer`."""
        assert self.engine is not None
        board = self.engine.board(ZONE, peer)
        assert board is not None
        return board

    def stored_board(self, peer: str) -> Board | None:
        """The same as it is on disk."""
        for row in self.disk.boards.values():
            if row.name == peer:
                return Board.from_row(row, self._setting.limits)
        return None

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, peers: list[PeerRow]) -> None:
        """Start on what the disk holds. `peers` are paired if they were not in an earlier life, or if that ended
        before its first commit."""
        setting = self._setting
        self.life += 1
        if self.life > 1 and setting.faults.step_ms:
            stepped = self.skew_ms + self._world.random.randint(-setting.faults.step_ms, setting.faults.step_ms)
            # Two agents that are as far off as they may be, and a slow greeting, would look like more than that.
            most = SKEW_MS - GREETING_MS
            self.skew_ms = max(-most, min(most, stepped))
        engine = Engine(
            self._card,
            self._identity.sign,
            self._world.random.randbytes,
            setting.limits,
            Access(self.name, _WORDS, None),
        )
        engine.open(self.disk.open())
        engine.ledger.trust.verifier = setting.verifier
        self.engine = engine
        for peer in peers:
            if engine.board(ZONE, peer.name) is None:
                engine.pair(peer)
        self._step()

    def kill(self) -> None:
        """Its memory, its uncommitted steps, its links and handlers are gone."""
        self._program.end(self._is_over)
        self.engine = None
        self._commits.clear()
        self._committing = self._lumping = False
        self._timer_ms = None
        for wire in self._wires.at(self.name):
            wire.linked[self.name] = 0
            self._wires.down(wire)

    def _is_over(self, job_id: bytes) -> bool:
        row = self.disk.by_id.get(job_id)
        return row is not None and not row.live

    def stop(self) -> None:
        """Stop as it is meant to be: handlers are stopped first, and what it knows is committed."""
        engine = self.engine
        assert engine is not None
        engine.destination.draining = True
        for job_id in self._program.running:
            engine.requeued(job_id, self.clock_ms)
        self._step()
        for effects, _ in self._commits:
            self._commit(effects)
        self.kill()

    def _fall_over(self, error: Exception) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" in {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        self._history.problem("engine", f"{self.name} fell over: {type(error).__name__} {error}{where}")
        self.kill()
        self._revive(self.name)

    def _dies(self) -> bool:
        if self.up and self._world.happens(self._setting.faults.crash):
            self._history.crashes += 1
            self._world.note("dies", self.name)
            self.kill()
            self._revive(self.name)
        return not self.up

    # -- inputs -------------------------------------------------------------------------------------------------

    def ask(self, verb: Verb, reply: Callable[[bytes | MeshError], None]) -> None:
        """Let a caller ask for something; `reply` is called with the answer, unless the agent dies before."""
        token = next(self._token)
        self._tokens[token] = reply

        def act(engine: Engine, now_ms: int) -> None:
            try:
                verb(engine, token, now_ms)
            except MeshError as error:
                self._tokens.pop(token)(error)

        self.input(act)

    def greet(self, peer: str) -> None:
        # A step of its own: what the step sends belongs to the new link, what waits belongs to the old one.
        self._flush()
        self.input(lambda engine, now_ms: engine.greet(self.board(peer), now_ms), at_once=True)

    def greeted(self, peer: str) -> bool:
        return self.engine is not None and self.board(peer).open

    def disconnected(self, peer: str) -> None:
        self.input(lambda engine, _: engine.disconnected(self.board(peer)))

    def arrived(self, peer: str, messages: list[Message]) -> None:
        def take(engine: Engine, now_ms: int) -> None:
            board, rest = self.board(peer), messages
            self.points.arrived(board.id, messages)
            if isinstance(rest[0], Hello):
                engine.connected(board, rest[0], now_ms)
                rest = rest[1:]
            if rest:
                engine.received(board, rest, now_ms)

        self.input(take)

    def input(self, act: Callable[[Engine, int], None], *, at_once: bool = False) -> None:
        """Give the engine an input, if it runs, and end the step; several inputs may share one.

        Args:
            act: called with the engine and the time on this agent's clock.
            at_once: the step ends with this input.
        """
        if self.engine is None:
            return
        try:
            act(self.engine, self.clock_ms)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is a finding, and ends this life
            self._fall_over(error)
            return
        if at_once or (not self._lumping and not self._world.happens(self._setting.faults.lumps)):
            self._step()
        elif not self._lumping:
            self._lumping = True
            life = self.life
            self._world.within(_LUMP_MS, lambda: self._flush() if self.life == life else None)

    def _flush(self) -> None:
        if self._lumping and self.engine is not None:
            self._lumping = False
            self._step()

    # -- steps, in the order of `effects` -----------------------------------------------------------------------

    def _step(self) -> None:
        engine = self.engine
        if engine is None:
            return
        try:
            effects = engine.end_step(self.clock_ms)
        except Exception as error:  # noqa: BLE001 - as above
            self._fall_over(error)
            return
        self._history.alarms += [Alarm(self._world.now_ms, self.name, alarm) for alarm in effects.alarms]
        if effects:
            linked = {
                board.id: self._wires.between(self.name, board.name).linked.get(self.name, 0) for board in engine.boards
            }
            for told in effects.told:
                self._history.tell(told.job_id, State(told.fact.content.state))  # type: ignore[union-attr]
            for board_id, packed in effects.ahead.items():
                self._send(board_id, packed, linked)
            self._commits.append((effects, linked))
            self._commit_next()
        self._set_timer()

    def _send(self, board_id: int, packed: list[bytes], linked: dict[int, int]) -> None:
        assert self.engine is not None
        peer = self.engine.ledger.boards[board_id].name
        messages = [message for message in (read(unpack(one)) for one in packed) if message is not None]
        # Only the link that stood when the step ended may carry what the step sends.
        if messages and self._wires.carry(self.name, peer, linked.get(board_id, 0), messages):
            self._world.note("send", self.name, peer, packed)
            self.points.sending(board_id, peer, messages)

    def _commit_next(self) -> None:
        if self._committing or not self._commits:
            return
        self._committing = True
        life = self.life
        self._world.within(
            self._setting.faults.commit_ms, lambda: self._carry_out() if self.up and self.life == life else None
        )

    def _carry_out(self) -> None:
        life = self.life
        group, self._commits = self._commits, []
        self._committing = False
        if self._dies():
            return
        for effects, _ in group:
            self._commit(effects)
        assert self.engine is not None
        self.engine.committed(group[-1][0].step)
        for effects, linked in group:
            for act in self._aftermath(effects, linked):
                if self.life != life or self._dies():
                    return
                act()
        if self.up and self.life == life:
            self._commit_next()

    def _commit(self, effects: Effects) -> None:
        self.points.committing(effects, self._world.now_ms)
        self.disk.apply([effects.batch])
        for start in effects.start:
            self._history.first_start_ms.setdefault(start.job_id, self.clock_ms)
        self._history.commits += 1
        self._world.note("commit", self.name, [row.id for row in effects.batch.rows])

    def _aftermath(self, effects: Effects, linked: dict[int, int]) -> list[Callable[[], None]]:
        acts: list[Callable[[], None]] = []
        if effects.batch.rows:
            acts.append(lambda: self.points.committed(effects.batch.rows))
        for board_id, packed in (*effects.send.items(), *effects.slices.items()):
            acts.append(lambda board_id=board_id, packed=packed: self._send(board_id, packed, linked))  # type: ignore[misc]
        for start in effects.start:
            acts.append(lambda start=start: self._start_handler(start))  # type: ignore[misc]
        for job_id in effects.stop:
            acts.append(lambda job_id=job_id: self._program.stop(job_id))  # type: ignore[misc]
        for reply in effects.replies:
            acts.append(lambda reply=reply: self._reply(reply.token, reply.result))  # type: ignore[misc]
        for board_id, reason in effects.close:
            acts.append(lambda board_id=board_id, reason=reason: self._close(board_id, reason, linked))  # type: ignore[misc]
        for query in effects.queries:
            acts.append(lambda query=query: self._query(query))  # type: ignore[misc]
        return acts

    def _start_handler(self, start: Start) -> None:
        self.points.starting(start)
        self._program.run(start)

    def _reply(self, token: int, result: bytes | MeshError) -> None:
        self.points.replying(result)
        self._tokens.pop(token)(result)

    def _query(self, query: Query) -> None:
        answer = self.disk.read(query)
        life = self.life

        def tell() -> None:
            if self.life == life:
                self.input(lambda engine, now_ms: engine.answer(answer, now_ms))

        # The store reads after the commits before, and its answer waits for the loop like any other input.
        self._world.within(self._setting.faults.commit_ms, tell)

    def _close(self, board_id: int, reason: str, linked: dict[int, int]) -> None:
        assert self.engine is not None
        wire = self._wires.between(self.name, self.engine.ledger.boards[board_id].name)
        if wire.epoch == linked.get(board_id):
            self._world.note("close", self.name, reason)
            self._wires.down(wire)

    def _set_timer(self) -> None:
        assert self.engine is not None
        deadline = self.engine.next_deadline_ms()
        if deadline is None or (self._timer_ms is not None and self._timer_ms <= deadline):
            return
        self._timer_ms = deadline
        life = self.life

        def ring() -> None:
            if self.life == life and self._timer_ms == deadline:
                self._timer_ms = None
                self.input(lambda engine, now_ms: engine.tick(now_ms), at_once=True)

        self._world.later(max(1, deadline - self.clock_ms), ring)

    # -- what people see ----------------------------------------------------------------------------------------

    def _place_on(self, path: str) -> Place:
        place = place_of(path, self.name)
        assert place is not None, "a stored path names us"
        return place

    def jobs(self) -> dict[bytes, Job]:
        """Every job that the disk holds, whether the agent is up or down."""
        return {row.id: Job.from_row(row, self._place_on) for row in self.disk.rows.values()}
