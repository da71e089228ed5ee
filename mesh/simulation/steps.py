"""The steps of a simulated agent: a real engine on a disk, and its effects carried out in the order of `effects`.

Commits take a while and take whole groups of steps, and the agent may die between any two effects. Who starts it,
dials it and talks to it is in `host`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from grammar.errors import MeshError
from mesh.board import Board
from mesh.codec import unpack
from mesh.effects import Effects, Query, Start
from mesh.engine import Engine
from mesh.lifecycle import Role, State
from mesh.messages import read
from mesh.simulation.disk import Disk, role_of
from mesh.simulation.failpoints import Failpoints
from mesh.simulation.history import Alarm
from mesh.simulation.program import Program
from mesh.simulation.setting import Setting
from mesh.simulation.wires import Wire

_LUMP_MS: Final = 10


class Steps:
    """An engine and what it stands on.

    Args:
        name: the agent's.
        seat: what tells it from another one that runs on a copy of the same store.
        revive: called when it died by chance.

    Attributes:
        engine: None while it is down.
        disk: survives a crash.
        life: how often it was started.
        points: the assertions at its boundaries.
        program: its handlers.
        skew_ms: how far its clock is off the true time.
    """

    def __init__(self, name: str, seat: str, setting: Setting, revive: Callable[[], None], *, skew_ms: int) -> None:
        self.name = name
        self.seat = seat
        self.skew_ms = skew_ms
        self.life = 0
        self.engine: Engine | None = None
        self._disk = Disk()
        self._setting = setting
        self._revive = revive
        self._world, self._wires, self._history = setting.world, setting.wires, setting.history
        self.points = Failpoints(seat, self._disk, setting.limits, setting.history)
        self.program: Program
        self._commits: list[tuple[Effects, dict[int, int]]] = []
        self._committing = False
        self._lumping = False
        self._timer_ms: int | None = None
        self._tokens: dict[int, Callable[[bytes | MeshError], None]] = {}

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.engine is not None

    @property
    def disk(self) -> Disk:
        return self._disk

    @disk.setter
    def disk(self, disk: Disk) -> None:
        self._disk = self.points.disk = disk
        self.points.forget()

    @property
    def clock_ms(self) -> int:
        """What its clock shows."""
        return self._world.now_ms + self.skew_ms

    def wire_of(self, board: Board) -> Wire:
        """The wire that carries the links of a board."""
        return self._wires.between(self.name, board.name, board.zone)

    # -- death --------------------------------------------------------------------------------------------------

    def kill(self, *, clean: bool = False) -> None:
        """Its memory, its uncommitted steps, its links and handlers are gone."""
        self.program.end(self.is_over, clean=clean)
        self.points.died()
        self.engine = None
        self._commits.clear()
        self._committing = self._lumping = False
        self._timer_ms = None
        for wire in self._wires.at(self.name):
            wire.linked[self.seat] = 0
            if wire.seated[self.name].seat == self.seat:
                self._wires.down(wire)

    def is_over(self, job_id: bytes) -> bool:
        """Whether the store holds a job that ended."""
        row = self.disk.by_id.get(job_id)
        return row is not None and not row.live

    def die(self, why: str) -> None:
        """Die at once, and come back later."""
        self._history.crashes += 1
        self._world.note(why, self.seat)
        self.kill()
        self._revive()

    def _dies(self) -> bool:
        if self.up and self._world.happens(self._setting.faults.crash):
            self.die("dies")
        return not self.up

    def _fall_over(self, error: Exception) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" in {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        self._history.problem("engine", f"{self.seat} fell over: {type(error).__name__} {error}{where}")
        self.kill()
        self._revive()

    # -- inputs -------------------------------------------------------------------------------------------------

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
            early, effects = engine.early(), engine.end_step(self.clock_ms)
        except Exception as error:  # noqa: BLE001 - as above
            self._fall_over(error)
            return
        if effects.alarms:
            self._history.alarms += [Alarm(self._world.now_ms, self.name, alarm) for alarm in effects.alarms]
        linked = {board.id: self.wire_of(board).linked.get(self.seat, 0) for board in engine.boards}
        if early is not None:
            for told in early.told:
                self._history.tell(told.job_id, State(told.fact.content.state))  # type: ignore[union-attr]
                self._tell_parents(told.job_id)
            for board_id, packed in early.ahead.items():
                self._send(board_id, packed, linked)
        if effects:
            self._commits.append((effects, linked))
            self._commit_next()
        self._set_timer()

    def _send(self, board_id: int, packed: Sequence[bytes], linked: dict[int, int]) -> None:
        assert self.engine is not None
        board = self.engine.ledger.boards[board_id]
        messages = [message for message in (read(unpack(one)) for one in packed) if message is not None]
        # Only the link that stood when the step ended may carry what the step sends.
        size = sum(map(len, packed))
        wire = self.wire_of(board)
        if messages and self._wires.carry(self.name, wire, linked.get(board_id, 0), messages, size):
            self._world.note("send", self.seat, board.name, packed)
            self.points.sending(board_id, board.name, messages)

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
        self.points.durable(effects.batch.rows, self._world.now_ms)
        for start in effects.start:
            self.program.began(start)
            self._history.first_start_ms.setdefault(start.job_id, self.clock_ms)
        self._history.commits += 1
        self._world.note("commit", self.seat, [row.id for row in effects.batch.rows])

    def _aftermath(self, effects: Effects, linked: dict[int, int]) -> list[Callable[[], None]]:
        acts: list[Callable[[], None]] = []
        if effects.batch.rows:
            acts.append(lambda: self._committed(effects))
        for board_id, packed in (*effects.send.items(), *effects.slices.items()):
            acts.append(lambda board_id=board_id, packed=packed: self._send(board_id, packed, linked))  # type: ignore[misc]
        for start in effects.start:
            acts.append(lambda start=start: self._start_handler(start))  # type: ignore[misc]
        for job_id in effects.stop:
            acts.append(lambda job_id=job_id: self.program.stop(job_id))  # type: ignore[misc]
        for reply in effects.replies:
            acts.append(lambda reply=reply: self._reply(reply.token, reply.result))  # type: ignore[misc]
        for board_id, reason in effects.close:
            acts.append(lambda board_id=board_id, reason=reason: self._close(board_id, reason, linked))  # type: ignore[misc]
        for query in effects.queries:
            acts.append(lambda query=query: self._query(query))  # type: ignore[misc]
        return acts

    def _committed(self, effects: Effects) -> None:
        self.points.committed(effects.batch.rows)
        for row in effects.batch.rows:
            if not row.live and role_of(row) is Role.ORIGIN:
                self._tell_parents(row.id)

    def _tell_parents(self, job_id: bytes) -> None:
        # A handler hears of it in a turn of its own, as everything that gives the engine an input.
        self._world.later(0, lambda: self.program.over(job_id))

    def _start_handler(self, start: Start) -> None:
        self.points.starting(start, self._world.now_ms)
        self.program.run(start)

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
        wire = self.wire_of(self.engine.ledger.boards[board_id])
        if wire.epoch == linked.get(board_id):
            self._world.note("close", self.seat, reason)
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
