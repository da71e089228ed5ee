"""What a step of the engine wants done, as a value with an order (rule R1).

    1. durable:        `batch`, in one commit
    2. after commit:   `send`, `slices` (behind whatever else waits for the same link), `start`, `stop`, `replies`,
                       `changed`, `lost`, `close`, `alarms`
    3. reads:          `queries`, answered after all commits before them; the answer is an input like any other

Outcomes, which are durable at their destination, do not wait for that: they are `Early`.

A shell that keeps this order keeps every promise; one that sends before it commits breaks the first one, and the
simulation finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from grammar.errors import MeshError
from grammar.instruction import Instruction
from invitations.peers import InvitationRow, PeerRow
from mesh.blobs import BlobRow, Key, Owing, Slice
from mesh.board import BoardRow
from mesh.facts import Fact
from mesh.messages import Position
from mesh.quotas import Quota
from mesh.row import Row


@dataclass(slots=True)
class Batch:
    """Everything one step makes durable. A store applies it whole or not at all.

    Attributes:
        rows: jobs, whole, to be inserted or replaced by `seq`.
        boards: boards, to be inserted or replaced by `id`.
        incarnations: the list of openings, when it changed.
        cards: (fingerprint, card bytes).
        pins: (zone, route, fingerprint): who an agent down a route is.
        portals: (zone, portal, fingerprint): which origin speaks for a portal.
        peers, invitations: rows of the peer book.
        trims: (board, after, upto): facts of finished jobs numbered so on that upstream board may go (R7).
        quarantined: rows by `seq` that turned out damaged: until they are replaced they are in no count, wait for
            nothing and never fall due; before `rows`.
        collect_ms: finished jobs whose horizon lies before this may be forgotten, or None.
        blobs, slices: blobs, to be inserted or replaced by `id`, and parts of them, to be added. One that a fact names
            takes the place of an older one of its key that was named, and is owed to whom that one was.
        owing: to whom blobs are owed from now on; after `blobs`.
        unneeded: all blobs of a job that a fact of that kind names may go, but those that are owed; after `owing`.
        dropped: blobs by number that may go.
    """

    rows: list[Row] = field(default_factory=list)
    boards: list[BoardRow] = field(default_factory=list)
    incarnations: tuple[Position, ...] | None = None
    cards: list[tuple[bytes, bytes]] = field(default_factory=list)
    pins: list[tuple[str, str, bytes]] = field(default_factory=list)
    portals: list[tuple[str, str, bytes]] = field(default_factory=list)
    peers: list[PeerRow] = field(default_factory=list)
    invitations: list[InvitationRow] = field(default_factory=list)
    trims: list[tuple[int, int, int]] = field(default_factory=list)
    quarantined: list[int] = field(default_factory=list)
    collect_ms: int | None = None
    blobs: list[BlobRow] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    owing: list[Owing] = field(default_factory=list)
    unneeded: list[tuple[bytes, int]] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)

    @property
    def has_blobs(self) -> bool:
        """Whether anything in it is about blobs."""
        return bool(self.blobs or self.slices or self.owing or self.unneeded or self.dropped)

    def __bool__(self) -> bool:
        return bool(
            self.rows
            or self.boards
            or self.incarnations
            or self.cards
            or self.pins
            or self.portals
            or self.peers
            or self.invitations
            or self.trims
            or self.quarantined
            or self.collect_ms is not None
            or self.has_blobs
        )


class ById(NamedTuple):
    """Rows of these jobs."""

    ids: tuple[bytes, ...]


class ByKey(NamedTuple):
    """The job that was put with this idempotency key; the newest, if the row of another was damaged before it left
    this agent, so that it was put again."""

    key: str


class Numbered(NamedTuple):
    """Jobs of a board with a number above `after` and up to `upto`, in order of that number. `link` counts the links
    of the board: an answer that comes on a later one than it was asked for is of no use."""

    board: int
    link: int
    after: int
    upto: int
    limit: int


class AtNumber(NamedTuple):
    """The jobs that have one of these numbers on a board: the peer refused them as [number, reason, detail], before
    it sent any CREDIT after the first `credits`. With them it acknowledged everything up to `received`, on that link;
    that counts once they are dealt with: a job that changes before goes on with the Request that was refused."""

    board: int
    credits: int
    refused: tuple[tuple[int, str, str], ...]
    link: int = 0
    received: int = 0


class Waiting(NamedTuple):
    """Jobs whose Request has no number on a board yet, in the order they came. Jobs before `first_seq` that share one
    of the boards `unproved` are left out: that neighbour may know that they ended (R5). `queued` is `Board.queued` when
    it was asked."""

    board: int
    link: int
    branch: str
    limit: int
    first_seq: int = 0
    unproved: tuple[int, ...] = ()
    queued: int = 0


class Shared(NamedTuple):
    """All jobs of a board that still have their facts, in the order they came, after `after`."""

    board: int
    link: int
    after: int
    limit: int


class Revoked(NamedTuple):
    """As `Shared`, for a board whose peer was revoked."""

    board: int
    after: int
    limit: int


class Unfinished(NamedTuple):
    """Live jobs of a board that end here, in the order they came, after `after`."""

    board: int
    after: int
    limit: int


class Due(NamedTuple):
    """Live jobs that this agent has to expire by `now_ms`, earliest first, with the time of the next one. Jobs before
    `first_seq` that share one of the boards `unproved` are left out: they prove themselves first (R5)."""

    now_ms: int
    limit: int
    first_seq: int
    unproved: tuple[int, ...]


class Bytes(NamedTuple):
    """Slices of a blob from `offset` on, at most `limit`: of blob number `blob`, or, if that is 0, of the whole one
    with this key. None, or fewer, when they are not there or are damaged. `board` and `link` say for whom they are
    read."""

    key: Key
    blob: int
    offset: int
    limit: int
    board: int = 0
    link: int = 0


class Usage(NamedTuple):
    """How many bytes are counted in a quota for blobs; answered in `Answer.size`."""

    quota: Quota


Query = ById | ByKey | Numbered | AtNumber | Waiting | Shared | Revoked | Unfinished | Due | Bytes | Usage


class Answer(NamedTuple):
    """What the store found for a query; `next_ms` only for `Due`, `slices` for `Bytes`, `size` for `Usage`."""

    query: Query
    rows: list[Row]
    next_ms: int | None = None
    slices: tuple[Slice, ...] = ()
    size: int = 0


class Start(NamedTuple):
    """Run the handler of a job: `attempt` is durable, `instruction` is parsed and allowed."""

    job_id: bytes
    attempt: int
    instruction: Instruction


class Told(NamedTuple):
    """An Outcome that may be told to whoever waits at the origin, though it is not committed here yet."""

    job_id: bytes
    fact: Fact


class Lost(NamedTuple):
    """A job that nobody will hear of again, and why."""

    job_id: bytes
    error: MeshError


class Reply(NamedTuple):
    """The answer to a put, cancel or delete, true once the commit is."""

    token: int
    result: bytes | MeshError


class Early(NamedTuple):
    """What came in the step that goes on, and waits neither for its end nor for its commit."""

    told: Sequence[Told]
    """For whoever waits at the origin."""
    ahead: Mapping[int, Sequence[bytes]]
    """For the next agents: packed messages by board."""


@dataclass(slots=True)
class Effects:
    """The outcome of one step; see the head of this file for the order.

    `step` numbers the step, for `Engine.committed`. `send` and `slices` hold packed messages by board; `changed` the
    ids of jobs that say something new; `lost` jobs of our own that are gone; `close` boards whose link is to be closed,
    with the reason.
    """

    step: int = 0
    batch: Batch = field(default_factory=Batch)
    send: dict[int, list[bytes]] = field(default_factory=dict)
    slices: dict[int, list[bytes]] = field(default_factory=dict)
    start: list[Start] = field(default_factory=list)
    stop: list[bytes] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    close: list[tuple[int, str]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.batch
            or self.send
            or self.slices
            or self.start
            or self.stop
            or self.replies
            or self.changed
            or self.lost
            or self.close
            or self.alarms
            or self.queries
        )
