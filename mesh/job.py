"""One job at one agent: its facts, its place on the path, and what each neighbour has of it.

A job is a join of signed facts (PROTOCOL.md 6): merging is commutative, associative and idempotent, and no
clock decides it. Around the facts lies what only this agent knows: its role, the state people see, the attempts of
the handler, and one *lane* per board that shares the job.

A job does nothing by itself: it is changed by the roles in `origin`, `hop` and `destination`, and turned into a `Row`
that a store keeps. A row carries a checksum of its content, so that a damaged one is noticed before it is used (R10).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final
from zlib import crc32

from msgpack import packb

from mesh.codec import STORED, unpack
from mesh.errors import CodecError, CorruptRow, FactError
from mesh.facts import (
    CANCEL,
    DELETE,
    OUTCOME,
    PROGRESS,
    REJECT,
    REQUEST,
    Fact,
    Kind,
    Outcome,
    Progress,
    Reject,
    Request,
    decode,
    event_of,
    short_text,
)
from mesh.lane import HAS, NEVER, SLOTS, Lane
from mesh.lifecycle import LIVE, Role, State, advance
from mesh.routing import Place
from mesh.row import Row

UPWARD: Final = frozenset({PROGRESS, OUTCOME, REJECT})
"""Kinds that travel towards the origin; the others travel towards the destination."""
_ROLES: Final = tuple(Role)
_STATES: Final = tuple(State)
_ROLE_NUMBERS: Final = MappingProxyType({role: number for number, role in enumerate(_ROLES)})
_STATE_NUMBERS: Final = MappingProxyType({state: number for number, state in enumerate(_STATES)})

PlaceOn = Callable[[str], Place]
"""Gives this agent's place on a path; ValueError if it has none there."""
_NOWHERE: Final = Place((), 0)
_REFETCHED: Final = "a running agent fetches it from its neighbours; if it does not come back, put it again"
# What `Row._make` does, without a step in Python for each row.
_new: Final[Callable[[type[Row], tuple[Any, ...]], Row]] = tuple.__new__
_BLOBS: Final = 14
"""Columns of a row before its blobs."""


class Merge(IntEnum):
    """What a fact did to a job."""

    SAME = 0
    CHANGED = 1
    KEPT = 3
    """The peer holds another Reject than the one that is kept, and has to be told."""
    CONFLICT = 2
    """A second, different Outcome: kept as evidence, not shown."""


class Job:
    """A job as this agent holds it. Mutable, owned by the engine; nobody outside keeps a reference across a step.

    `holding` has bit 2^kind set while the bytes that its fact of that kind names are here (rule R14).
    """

    __slots__ = (
        "ahead",
        "alone",
        "arrived",
        "attempt",
        "changed_ms",
        "crashes",
        "doubtful",
        "down",
        "evidence",
        "facts",
        "holding",
        "id",
        "key",
        "live",
        "place",
        "role",
        "seq",
        "started_ms",
        "state",
        "step",
        "up",
        "version",
    )

    def __init__(self, job_id: bytes, seq: int, role: Role, now_ms: int) -> None:
        self.id = job_id
        self.seq = seq
        self.role = role
        self.state = State.PENDING
        self.live = True
        self.changed_ms = now_ms
        self.version = 1
        self.attempt = 0
        self.started_ms = 0
        self.crashes = 0
        self.alone = 0
        self.ahead: Fact | None = None
        self.doubtful = False
        self.holding = 0
        self.arrived = 0
        self.step = 0
        self.key: str | None = None
        self.up: Lane | None = None
        self.down: Lane | None = None
        self.facts: list[Fact | None] = [None] * SLOTS
        self.evidence: list[bytes] = []
        self.place = _NOWHERE

    def __repr__(self) -> str:
        return f"<job {short_text(self.id)} {self.role} {self.state}>"

    @property
    def request(self) -> Request:
        """The content of the Request. A tombstone that never saw one has none; ask `facts[REQUEST]` first."""
        fact = self.facts[1]
        assert fact is not None, "the job has no request"
        return fact.content  # type: ignore[return-value]

    @property
    def outcome(self) -> Outcome | None:
        fact = self.facts[OUTCOME]
        return None if fact is None else fact.content  # type: ignore[return-value]

    @property
    def reject(self) -> Reject | None:
        fact = self.facts[REJECT]
        return None if fact is None else fact.content  # type: ignore[return-value]

    @property
    def progress(self) -> Progress | None:
        fact = self.facts[PROGRESS]
        return None if fact is None else fact.content  # type: ignore[return-value]

    @property
    def lanes(self) -> tuple[Lane, ...]:
        up, down = self.up, self.down
        if up is None:
            return () if down is None else (down,)
        return (up,) if down is None else (up, down)

    @property
    def depth(self) -> int:
        """How many parents the job has: 0 for one that a person or program put."""
        lineage = self.request.lineage
        return len(lineage) if lineage else 0

    @property
    def branch(self) -> str:
        """What our credit at the next agent is counted by."""
        return self.place.branch(self.depth)

    @property
    def branch_above(self) -> str:
        """What the credit of the agent before is counted by, at this one."""
        return self.place.branch_above(self.depth)

    def lane_of(self, board: int) -> Lane | None:
        """The lane of `board`, if it shares the job."""
        if self.down is not None and self.down.board == board:
            return self.down
        return self.up if self.up is not None and self.up.board == board else None

    def merge(self, fact: Fact, source: Lane | None, now_ms: int) -> Merge:
        """Join one verified fact.

        Args:
            fact: a fact of this job whose signer was checked by the caller.
            source: the lane it came by; None when it was made here.
            now_ms: shown as the time of the change; it decides nothing.

        Returns:
            CHANGED when the job says something new now, SAME when it was known or comes too late, KEPT when ours is
            the one to keep and the peer has to be told, CONFLICT when it is a second Outcome.
        """
        kind = fact.kind
        if source is not None:
            source.sent[kind] = HAS
        held = self.facts[kind]
        if held is not None and held.body == fact.body:
            return Merge.SAME
        if self.state is State.DELETED and kind is not REQUEST:
            return Merge.SAME
        if kind is OUTCOME and held is not None:
            self.evidence = self.evidence or [fact.body, fact.proof]
            return Merge.CONFLICT
        if not self._replaces(fact, held):
            stale = kind is REJECT or (kind is PROGRESS and source is self.up)
            if source is not None and held is not None and stale:
                # Both sides keep the same one: the peer is told ours.
                source.sent[kind] = NEVER
                return Merge.KEPT
            return Merge.SAME
        # Which facts are held depends on the facts alone, so both sides of a board come to hold the same; the state
        # follows where the table has the move, and stays where it has none.
        event = event_of(fact.content)
        state = None if event is None else advance(self.role, self.state, event)
        self.facts[kind] = fact
        self._spread(kind, source)
        if state is not None:
            self.move(state, now_ms)
        if isinstance(fact.content, Outcome):
            self.version = fact.content.number
            self._drop(PROGRESS)
        elif isinstance(fact.content, Progress):
            self.version = fact.content.number
        elif kind is DELETE:
            for other in (CANCEL, PROGRESS, OUTCOME, REJECT):
                self._drop(other)
        return Merge.CHANGED

    def _replaces(self, fact: Fact, held: Fact | None) -> bool:
        """Whether `fact` is kept beside, or instead of, the one of its kind."""
        if isinstance(fact.content, Progress):
            if self.facts[OUTCOME] is not None:
                return False
            if held is not None:
                assert isinstance(held.content, Progress)
                return (fact.content.number, fact.digest()) > (held.content.number, held.digest())
        if fact.kind is REJECT and held is not None:
            return fact.digest() < held.digest()
        return held is None

    def move(self, state: State, now_ms: int) -> None:
        """Set the state after an event; the caller asked the lifecycle table."""
        self.state = state
        self.live = state in LIVE
        self.changed_ms = now_ms

    def hold(self, fact: Fact) -> None:
        """Keep a report of our own about the present state, which it does not change."""
        self.facts[fact.kind] = fact
        self._spread(fact.kind, None)

    def _spread(self, kind: Kind, source: Lane | None) -> None:
        # Requests, cancels and deletes travel down; reports, outcomes and rejects travel up. What comes from one side
        # goes on to the other, whatever it is: who said it has lost its store.
        if source is None:
            target = self.up if kind in UPWARD else self.down
        else:
            target = self.up if source is self.down else self.down
        if kind is REJECT and target is not None and target is self.down and target.sent[REQUEST] == HAS:
            # It goes down only with a Request, which would have the job run if it came alone.
            return
        if kind is CANCEL and target is not None and target is self.down and not target.offered and not self.live:
            # Refused here instead of forwarded: the next agent never hears of the job.
            return
        if target is not None and target is not source:
            target.sent[kind] = NEVER

    def _drop(self, kind: Kind) -> None:
        self.facts[kind] = None
        for lane in self.lanes:
            lane.sent[kind] = HAS

    # -- rows ---------------------------------------------------------------------------------------------------

    def row(self, due_ms: int | None, pack: Callable[[object], bytes] = packb) -> Row:
        """The job as a store keeps it; every fact of it must have its proof.

        Args:
            due_ms: when somebody has to look at it again.
            pack: what packs it. A `Packer` that is kept does so in half the time of a new one.
        """
        # Our own documents, read back by `_read` alone: packed without the checks that a peer's bytes get.
        facts = pack([(int(f.kind), f.body, f.proof) for f in self.facts if f is not None])
        up, down, outcome = self.up, self.down, self.facts[OUTCOME]
        columns = self._columns(due_ms)
        record = pack(
            (
                self.seq,
                columns[2],
                columns[3],
                self.changed_ms,
                self.version,
                self.attempt,
                self.started_ms,
                self.crashes,
                self.alone,
                None if up is None else up.record(),
                None if down is None else down.record(),
                self.evidence,
                None if outcome is None else outcome.digest(),
                crc32(facts),
                self.doubtful,
                due_ms,
                self.key,
                self.holding,
            )
        )
        return _new(Row, (*columns, record, facts, crc32(record, crc32(self.id))))

    def _columns(self, due_ms: int | None) -> tuple[Any, ...]:
        """Everything of a row but its blobs: it follows from the blobs."""
        up, down, live = self.up, self.down, self.live
        counted = live and self.facts[REQUEST] is not None
        return (
            self.seq,
            self.id,
            _ROLE_NUMBERS[self.role],
            _STATE_NUMBERS[self.state],
            int(live),
            None if up is None else up.board,
            0 if up is None else up.number,
            None if down is None else down.board,
            0 if down is None else down.number,
            self.branch_above if counted and up is not None and up.counted else None,
            self.branch if counted and down is not None and (down.waiting or down.counted) else None,
            int(down is not None and down.waiting),
            due_ms,
            self.key,
        )

    @classmethod
    def from_row(cls, row: Row, place_on: PlaceOn) -> Job:
        """Read a stored job.

        Args:
            row: what the store kept; its facts may be gone (trimmed).
            place_on: gives our place on a Request's path.

        Raises:
            CorruptRow: a checksum does not match, a part is not readable, or a column says something else than the
                blobs; the row must be quarantined.
        """
        try:
            return cls._read(row, place_on)
        except (CorruptRow, CodecError, FactError, ValueError, TypeError, IndexError, KeyError) as error:
            what = f"the stored row of job {row.called} is not readable: {error}"
            what = error.message if isinstance(error, CorruptRow) else what
            if row.never_left:
                raise CorruptRow(f"{what}, and it had not left this agent", fix="put it again") from error
            raise CorruptRow(what, fix=_REFETCHED) from error

    @classmethod
    def _read(cls, row: Row, place_on: PlaceOn) -> Job:
        if crc32(row.record, crc32(row.id)) != row.check:
            raise CorruptRow(f"the stored row of job {row.called} is damaged")
        (
            seq,
            role,
            state,
            changed,
            version,
            attempt,
            started,
            crashes,
            alone,
            up,
            down,
            evidence,
            digest,
            checksum,
            doubtful,
            due_ms,
            key,
            holding,
        ) = unpack(row.record)
        job = cls(row.id, seq, _ROLES[role], changed)
        job.state = _STATES[state]
        job.live = job.state in LIVE
        job.version, job.attempt, job.started_ms = version, attempt, started
        job.crashes, job.alone, job.evidence = crashes, alone, evidence
        job.doubtful, job.holding = doubtful, holding
        job.up = None if up is None else Lane.from_record(up)
        job.down = None if down is None else Lane.from_record(down)
        job.key = key
        if row.facts is not None:
            if crc32(row.facts) != checksum:
                raise CorruptRow(f"the stored facts of job {short_text(row.id)} are damaged")
            for kind, body, proof in unpack(row.facts, STORED):
                job.facts[kind] = fact = decode(kind, body, proof)
                if fact.job_id != row.id or (kind == OUTCOME and fact.digest() != digest):
                    raise CorruptRow(f"the stored facts of job {short_text(row.id)} are others")
            if job.facts[REQUEST] is not None:
                job.place = place_on(job.request.path)
        elif job.live:
            raise CorruptRow(f"the stored facts of job {short_text(row.id)} are gone")
        stored: tuple[object, ...] = row
        if stored[:_BLOBS] != job._columns(due_ms):
            raise CorruptRow(f"the stored columns of job {short_text(row.id)} are damaged")
        return job
