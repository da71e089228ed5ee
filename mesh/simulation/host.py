"""One agent of a simulation: it is started and stopped, dialled and asked; its clock is off, its store is copied.

What the engine inside does, and dies of, is in `steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from grammar.errors import MeshError
from invitations.card import make_card
from invitations.identity import Identity
from invitations.peers import PeerRow
from mesh.access import Access
from mesh.board import Board
from mesh.engine import Engine
from mesh.errors import CorruptRow
from mesh.job import Job
from mesh.messages import Hello, Message
from mesh.origin import Put
from mesh.routing import Place, place_of
from mesh.simulation.disk import Disk
from mesh.simulation.program import WORDS, Program
from mesh.simulation.setting import SKEW_MS, Setting, invitation_of, peer_row_of
from mesh.simulation.steps import Steps
from mesh.simulation.wires import GREETING_MS, Wire
from mesh.simulation.world import START_MS

Verb = Callable[[Engine, int, int], None]
"""Asks an engine for something: engine, token, time."""


class _AnyZone(dict[tuple[str, str], Board]):
    """The boards of a smuggler: a peer is found under its name, whatever the zone of its link."""

    def get(self, key: tuple[str, str], default: Board | None = None) -> Board | None:  # type: ignore[override]
        found = super().get(key)
        return found or next((board for (_, name), board in self.items() if name == key[1]), default)


class Host(Steps):
    """One agent.

    Args:
        revive: called with its name when it died by chance.
        smuggles: it forwards jobs into any zone, which no honest agent does.
        twin: the agent whose identity it has, if it runs on a copy of its store.

    Attributes:
        copies: (true time, copy) of its disk, oldest first, to be restored from.
        strangers: agents that it has invited and not yet pinned, by zone and name.
    """

    def __init__(
        self,
        name: str,
        setting: Setting,
        revive: Callable[[str], None],
        *,
        skew_ms: int = 0,
        smuggles: bool = False,
        twin: Host | None = None,
    ) -> None:
        seat = name if twin is None else f"{name}'"
        super().__init__(name, seat, setting, lambda: revive(name), skew_ms=skew_ms)
        self.copies: list[tuple[int, Disk]] = []
        self.strangers: dict[tuple[str, str], None] = {}
        self._smuggles = smuggles
        self._zones = tuple(sorted({wire.zone for wire in setting.wires.at(name)}))
        self._identity: Identity = Identity.generate(self._world.random.randbytes) if twin is None else twin._identity
        self._card = make_card(
            self._identity, name=name, kind="custom", zones=self._zones, serial=1, now=START_MS / 1000
        )
        self.program = Program(name, self, setting)
        self._token = count(1)

    @property
    def fingerprint(self) -> bytes:
        """Of its identity key."""
        return self._card.fingerprint

    @property
    def is_level(self) -> bool:
        """Whether nothing is under way: every step is committed, every board is level with its peer."""
        if self.engine is None or self._commits or self._committing or self._lumping:
            return False
        return not any(
            not board.open or board.exchanging or board.outbox.flight or board.outbox.behind or board.inbox.refused
            for board in self.engine.boards
            if not self.wire_of(board).revoked
        ) and not (self.engine.ledger.blobs.owing or self.engine.ledger.blobs.arriving)

    @property
    def is_quiet(self) -> bool:
        """Whether it has nothing left to do: it is level, every job is over, and no handler runs. (One that a restored
        store had run again goes on when a neighbour tells that the job ended in the life before.)"""
        return self.is_level and not self.program.running and not any(row.live for row in self.disk.rows.values())

    def board(self, wire: Wire) -> Board:
        """The board that its engine shares with the other end of a wire."""
        assert self.engine is not None
        board = self.engine.board(wire.zone, wire.other(self.name))
        assert board is not None
        return board

    def stored_board(self, wire: Wire) -> Board | None:
        """The same as it is on disk."""
        for row in self.disk.boards.values():
            if (row.zone, row.name) == (wire.zone, wire.other(self.name)):
                return Board.from_row(row, self._setting.limits)
        return None

    def peer_row(self, zone: str) -> PeerRow:
        """The row under which its neighbours pin it."""
        return peer_row_of(self._card, zone)

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, peers: Iterable[PeerRow]) -> None:
        """Start on what the disk holds. `peers` are paired if they were not in an earlier life, or if that ended
        before its first commit; those that are strangers still are only expected."""
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
            Access(self.name, WORDS, None),
        )
        engine.open(self.disk.open())
        engine.ledger.trust.verifier = setting.verifier
        engine.ledger.revoked.update(row.fingerprint for row in self.disk.peers() if row.state == "revoked")
        self.engine = engine
        for peer in peers:
            board = engine.ledger.by_name.get((peer.zone, peer.name))
            if (peer.zone, peer.name) in self.strangers:
                if board is None:
                    engine.expect(invitation_of(peer.name, peer.zone))
            elif board is None or (board.fingerprint is None and peer.fingerprint not in engine.ledger.revoked):
                engine.pair(peer)
        if self._smuggles:
            engine.ledger.by_name = _AnyZone(engine.ledger.by_name)
        self._step()

    def stop(self) -> None:
        """Stop as it is meant to be: handlers are stopped first, and what it knows is committed."""
        engine = self.engine
        assert engine is not None
        engine.destination.draining = True
        for job_id in tuple(engine.destination.running):
            engine.requeued(job_id, self.clock_ms)
        self._step()
        for effects, _ in self._commits:
            self._commit(effects)
        self.kill(clean=True)

    # -- its peers ----------------------------------------------------------------------------------------------

    def admits(self, wire: Wire) -> bool:
        peer = wire.other(self.name)
        if self.engine is None or (wire.zone, peer) in self.strangers:
            return False
        return self.board(wire).fingerprint is not None

    def admit(self, peer: PeerRow) -> None:
        """An agent that was invited comes: its key is pinned."""
        if self.strangers.pop((peer.zone, peer.name), peer) is None:
            self.input(lambda engine, _: self._pair(engine, peer))

    def _pair(self, engine: Engine, peer: PeerRow) -> None:
        engine.pair(peer)

    def greet(self, wire: Wire, epoch: int) -> None:
        # A step of its own: what the step sends belongs to the new link, what waits belongs to the old one.
        self._flush()
        wire.linked[self.seat] = epoch
        self.input(lambda engine, now_ms: engine.greet(self.board(wire), now_ms), at_once=True)

    def greeted(self, wire: Wire) -> bool:
        return self.engine is not None and self.board(wire).open

    def disconnected(self, wire: Wire) -> None:
        if self.admits(wire):
            self.input(lambda engine, _: engine.disconnected(self.board(wire)))

    def arrived(self, wire: Wire, messages: list[Message]) -> None:
        if not self.admits(wire):
            return

        def take(engine: Engine, now_ms: int) -> None:
            board, rest = self.board(wire), messages
            self.points.arrived(board.id, messages)
            if isinstance(rest[0], Hello):
                before = None if board.exchanging else board.inbox.incarnation
                engine.connected(board, rest[0], now_ms)
                self.points.connected(board, before, rest[0])
                rest = rest[1:]
            if rest:
                engine.received(board, rest, now_ms)

        self.input(take)

    # -- its callers --------------------------------------------------------------------------------------------

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

    def put(self, wish: Put, reply: Callable[[bytes | MeshError], None]) -> None:
        """Let a caller put a job; the history learns what was wished and answered."""
        history = self._history

        def replied(result: bytes | MeshError) -> None:
            if isinstance(result, bytes):
                told = history.of(result)
                told.path, told.zone, told.text, told.key = wish.path, wish.zone, wish.instruction, wish.key
                told.acknowledged = True
                told.depth = max(told.depth, history.of(wish.parent).depth + 1 if wish.parent else 0)
                if wish.key is not None:
                    history.keys.setdefault((self.name, wish.key), set()).add(result)
            reply(result)

        self.ask(lambda engine, token, now_ms: engine.put(token, wish, now_ms), replied)

    def has_quarantined(self, job_id: bytes) -> bool:
        """Whether its engine, in this life, found the row of a job to be damaged."""
        return self.engine is not None and job_id in self.engine.ledger.quarantined

    # -- what people see ----------------------------------------------------------------------------------------

    def zone_of(self, job_id: bytes) -> str:
        """The zone of a job whose handler runs."""
        assert self.engine is not None
        return self.engine.zone_of(job_id)

    def jobs(self) -> dict[bytes, Job]:
        """Every job that the disk holds, but for rows that are damaged."""

        def place_on(path: str) -> Place:
            place = place_of(path, self.name)
            if place is None:
                raise ValueError("the stored path does not name this agent")
            return place

        found = {}
        for row in self.disk.rows.values():
            try:
                found[row.id] = Job.from_row(row, place_on)
            except CorruptRow:
                if row.id not in self.disk.damaged:
                    raise
        return found
