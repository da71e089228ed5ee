"""Blobs: bytes too many for a fact, which names them by hash and length (rule R14). Values, and what is known of them.

A Request may name a payload, an Outcome a result; the bytes travel the way of their fact, beside the sequence:

    sender                               receiver
    the bytes are durable
    BLOB job kind hash length     --->   room in the quotas? a place on the disk
                                  <---   HELD n   (0, or what an earlier link brought)
    SLICE offset data ...         --->   commits them in order
                                  <---   HELD n   after each commit; the last one after the hash was found right
    the fact gets its number      --->   commits the fact: it *names* the blob now

Where a blob lives, who drops it, and what a crash leaves:

* *Ours* from the commit of the put, or of the Outcome, that made it (the bytes may be stored before: `staging`);
  *arriving* from the first BLOB until a fact names it, kept per (board, job) so that no peer can spoil what another one
  sends; *named* from then on.
* A payload goes when the job is over here (at the origin only if it is complete: it may be put again), a result when it
  is home, or the job is deleted or collected. What arrives and is named by no fact goes an hour after its last slice,
  earlier if its room is needed.
* `owed` on its row says to which board it has yet to go, from the commit that finds so until the commit that numbers
  the fact: whoever restarts goes on. The receiver's row counts committed slices: a cut link or a crash on either side
  costs what was in flight. A hash that was being computed is computed anew from the disk.
* `holding` on the job says, in the commit of the fact, whether its bytes are here. Where they are not, or nobody needs
  them (a Request of a job that is over; a fact on its way back to one that lost it), the fact travels WITHOUT them: no
  fact ever waits for bytes that nobody has.

Schedules that lost or stuck a job, and what prevents them:

* The Outcome waits for its blob at a hop, and the hop tells downstream that it is home: the destination lets go of the
  only other copy. So `home` counts what is still owed (`Delivery.arrived`), after a restart too.
* A finished job keeps an older number, that of its last report, and is trimmed by it before its Outcome was numbered.
  So no job with something owed is trimmed.
* In a full exchange the Request must not wait for the result: a restored origin would expire what was offered. So only
  the facts that end the job wait, upward; downward the Request goes first and everything waits with it.
* The quota of a peer is full of payloads, and the results that would end their jobs wait for it: two quotas, and a
  result now and then beyond its own.
* It is full of payloads of jobs whose handlers wait for children, and the payload of a child, or of a child's child
  that comes back the same way, waits for it: a quota, and a number of ways, for each depth of children. So BLOB tells
  the depth, and a Request of another depth than its bytes came under is refused.
* A result is home and its bytes are dropped, the row still says that they are held, and after a crash the job owes what
  it has not: `holding` and the bytes go in one commit.
* All that may be on its way are payloads that wait for room, and the results that would make it wait behind them, on
  both sides of a link: so each kind has its own number of ways.
* A row is found damaged in the step that brings the job back, whose bytes came before: they are dropped with what was
  left of it. So what goes is decided at the end of the step, by what the job holds.
* A row, or a slice, is damaged, and what is left of it fills the quota into which it is to come back: so that comes in
  beyond it, and takes its place. It stays owed meanwhile, for nobody else speaks of a job whose payload is on its way.
* Nobody has the job of such a row, since the neighbour's is damaged too, and what is owed of it keeps the room of all
  that comes behind. So it is let go once nobody is left to ask.
* A Request waits for its payload with `waiting` set: the small jobs behind it wait too. So it takes its credit, and
  waits apart; it is not offered meanwhile, and may still expire or be cancelled here.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Final, NamedTuple

from mesh.quotas import Quota, Quotas

HASH_BYTES: Final = 32
SLICE_BYTES: Final = 49_152
"""Longest slice that is taken."""
SMALL_BYTES: Final = 4_096
"""Shortest slice that is taken, but for the last one of a blob; less where our own are shorter."""
TRANSFERS: Final = 4
"""Payloads of one depth on their way at a time, and as many results, each way of a link."""


class Name(NamedTuple):
    """How a fact names a blob: BLAKE2b-256 and length in bytes."""

    hash: bytes
    length: int


class Key(NamedTuple):
    """A blob of one job: `kind` is that of the fact that names it."""

    job: bytes
    kind: int
    hash: bytes


class Blob(NamedTuple):
    """Bytes with their name."""

    name: Name
    data: bytes


class BlobRow(NamedTuple):
    """What a store keeps of a blob beside its slices.

    Attributes:
        id: its number in this store.
        job, kind, hash, length: whose it is, and its name.
        depth: how many parents its job has, at most `DEEPEST`; 0 for a result.
        board: by which board it came; 0 for one made here.
        held: bytes that are here; the blob is whole, and its hash was found right, when that is its length.
        named: 1 once a fact that is held names it.
        counted: 1 if it is counted in its quota.
        owed: the board it has yet to be sent to.
        at_ms: when it last grew, or was offered.
    """

    id: int
    job: bytes
    kind: int
    hash: bytes
    length: int
    depth: int
    board: int
    held: int
    named: int
    counted: int
    owed: int | None
    at_ms: int


class Slice(NamedTuple):
    """A part of a blob, as it is stored and sent."""

    blob: int
    offset: int
    data: bytes


class Owing(NamedTuple):
    """The blobs of that key are owed to `board` from now on; to nobody if None."""

    key: Key
    board: int | None


class Homed(NamedTuple):
    """A result of `length` bytes that came by board `source` (0: made here) and went up to `board` is home there."""

    board: int
    source: int
    length: int


def name_blob(data: bytes) -> Blob:
    """Name bytes. Takes a millisecond per MiB, and lets other threads run meanwhile."""
    return Blob(Name(blake2b(data, digest_size=HASH_BYTES).digest(), len(data)), data)


def cut(blob: int, data: bytes, size: int, offset: int = 0) -> list[Slice]:
    """Cut bytes of blob number `blob`, which stand at `offset` in it, into slices of `size` bytes."""
    return [Slice(blob, offset + start, data[start : start + size]) for start in range(0, len(data), size)]


class Arriving:
    """A blob that a peer sends, and that no fact names yet.

    Attributes:
        id, key, length, depth, board, held, at_ms: as in its row; `held` runs ahead of the commit by one step.
        link: the link of the board on which it was offered last.
        granted: there is room for it; it is told so by a HELD.
        hasher: over the first `hashed` bytes.
        ready: the hasher has caught up, and slices may come.
    """

    __slots__ = (
        "at_ms",
        "board",
        "depth",
        "granted",
        "hashed",
        "hasher",
        "held",
        "id",
        "key",
        "length",
        "link",
        "ready",
    )

    def __init__(self, blob: int, key: Key, length: int, depth: int, board: int, at_ms: int, *, held: int = 0) -> None:
        self.id = blob
        self.key = key
        self.length = length
        self.depth = depth
        self.board = board
        self.held = held
        self.at_ms = at_ms
        self.link = -1
        self.granted = False
        self.ready = False
        self.hashed = 0
        self.hasher = blake2b(digest_size=HASH_BYTES)

    @property
    def whole(self) -> bool:
        return self.held == self.length

    @property
    def quota(self) -> Quota:
        return Quota(self.board, self.key.kind, self.depth)

    def row(self) -> BlobRow:
        key, told = self.key, (self.length, self.depth, self.board, self.held)
        return BlobRow(self.id, key.job, key.kind, key.hash, *told, 0, 0, None, self.at_ms)


class Delivery:
    """A blob that is owed to a peer.

    Attributes:
        key, length, depth: as in its row.
        arrived: (board, number) of the record that brought the Outcome which waits for it; number 0 for one from
            before the store was opened; None for a payload, or an Outcome made here.
        held: what the peer has said that it has committed, on this link; None before its first word.
        sent: how far slices were sent.
        reading: bytes that are being read to be sent.
    """

    __slots__ = ("arrived", "depth", "held", "key", "length", "reading", "sent")

    def __init__(self, key: Key, length: int, depth: int = 0, arrived: tuple[int, int] | None = None) -> None:
        self.key = key
        self.length = length
        self.depth = depth
        self.arrived = arrived
        self.restart()

    def restart(self) -> None:
        """Forget what belonged to a link."""
        self.held: int | None = None
        self.sent = 0
        self.reading = 0

    @property
    def way(self) -> tuple[int, int]:
        """What it waits behind: others of its kind and depth."""
        return self.key.kind, self.depth

    @property
    def flight(self) -> int:
        """Bytes that are on their way, or about to be."""
        return 0 if self.held is None else self.sent - self.held + self.reading


class Deliveries:
    """What is owed to the peer of one board.

    Attributes:
        due: everything that is owed, oldest first. Durable, as `owed` of its row.
        link: the link that the rest is about.
        queue: by kind and depth, what was not offered on it yet, in order.
        open: what is on its way, at most `TRANSFERS` of a kind and depth.
        held: what the peer has whole; its fact may be numbered.
    """

    __slots__ = ("due", "held", "link", "open", "queue")

    def __init__(self) -> None:
        self.due: dict[Key, Delivery] = {}
        self.link = -1
        self.queue: dict[tuple[int, int], dict[Key, None]] = {}
        self.open: dict[Key, Delivery] = {}
        self.held: set[Key] = set()

    def on(self, link: int) -> Deliveries:
        """This, about `link`: what was under way on an older one is begun again."""
        if link != self.link:
            self.link = link
            self.queue = {}
            self.open.clear()
            self.held.clear()
            for delivery in self.due.values():
                delivery.restart()
                self.enqueue(delivery)
        return self

    def enqueue(self, delivery: Delivery) -> None:
        """Have it offered when its turn comes."""
        self.queue.setdefault(delivery.way, {})[delivery.key] = None

    def next(self) -> Key | None:
        """Take the next one that may be offered out of the queue: payloads that wait for room leave way for results,
        and for payloads of children, which may be what makes that room."""
        ways = Counter(delivery.way for delivery in self.open.values())
        for way, queue in self.queue.items():
            if queue and ways[way] < TRANSFERS:
                key = next(iter(queue))
                del queue[key]
                return key
        return None

    def waits(self, key: Key) -> bool:
        """Whether a blob was not offered on the link yet, and is to be."""
        return any(key in queue for queue in self.queue.values())

    def again(self, key: Key) -> bool:
        """Offer a blob that is owed, and that nothing was being done about; says whether there is such a one."""
        idle = key in self.due and key not in self.open and key not in self.held and not self.waits(key)
        if idle:
            self.due[key].restart()
            self.enqueue(self.due[key])
        return idle

    @property
    def flight(self) -> int:
        return sum(delivery.flight for delivery in self.open.values())


class Blobs:
    """What one engine knows of blobs that are on their way; of those that lie still only their jobs know.

    Attributes:
        used: whether a blob was ever seen since the store was opened; while not, nobody need look for any.
        next_id: the next blob's number.
        arriving: by board and key.
        quotas: how much room is taken.
        to: by board, what is owed.
        owing: by job, the boards to which blobs of it are owed.
        results: by board and number of each Outcome that went up there with its result in a blob, until it is home:
            the job, the board that brought it (0 if it was made here), and the length.
        settled: jobs that are being fetched since a peer has their blob, or nobody has.
        homed: jobs that are being fetched since their result is home, each with what that says.
        missing: blobs of facts that are held, whose bytes turned out damaged, and that are being fetched again.
        damaged: jobs whose row was found damaged in this step, or that a neighbour gave back since it was: bytes that
            they do not hold at its end are nobody's.
        answers: what was offered or sent in this step, to be answered after its commit.
        staged: what was stored of results ahead of their facts; see `staging`.
    """

    def __init__(self) -> None:
        self.used = False
        self.next_id = 1
        self.arriving: dict[tuple[int, Key], Arriving] = {}
        self.quotas = Quotas()
        self.to: dict[int, Deliveries] = {}
        self.owing: dict[bytes, set[int]] = {}
        self.results: dict[int, dict[int, tuple[bytes, int, int]]] = {}
        self.settled: set[bytes] = set()
        self.homed: dict[bytes, Homed] = {}
        self.missing: set[Key] = set()
        self.damaged: set[bytes] = set()
        self.answers: dict[tuple[int, Key], Arriving] = {}
        self.staged: dict[Key, BlobRow] = {}

    def new_id(self) -> int:
        """A number for a new blob."""
        self.used = True
        self.next_id += 1
        return self.next_id - 1

    def owe(self, board: int, delivery: Delivery) -> None:
        """Note that a blob is owed to a board."""
        self.used = True
        deliveries = self.to.setdefault(board, Deliveries())
        deliveries.due[delivery.key] = delivery
        deliveries.enqueue(delivery)
        self.owing.setdefault(delivery.key.job, set()).add(board)

    def settle(self, board: int, key: Key) -> Delivery | None:
        """A blob is not owed any more; returns what was known of it."""
        deliveries = self.to[board]
        delivery = deliveries.due.pop(key, None)
        deliveries.open.pop(key, None)
        deliveries.held.discard(key)
        boards = self.owing.get(key.job, set())
        if not any(other.job == key.job for other in deliveries.due):
            boards.discard(board)
        if not boards:
            self.owing.pop(key.job, None)
        return delivery
