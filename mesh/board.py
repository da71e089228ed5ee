"""A board: the jobs that two peers share in one zone, as this side keeps its part of it.

A board exists from the moment its peer is expected (an invitation was written or accepted), so that jobs can wait
for an agent that has never connected. It has at most one link at a time (R11). Its durable part is a `BoardRow`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from msgpack import packb

from mesh.codec import STORED, unpack
from mesh.errors import FactError
from mesh.facts import Fact, made_ms
from mesh.limits import Limits
from mesh.messages import Message
from mesh.positions import Incarnations
from mesh.replication import Inbox, Outbox


class BoardRow(NamedTuple):
    """What a store keeps of a board. `fingerprint` is None until the peer's key is pinned."""

    id: int
    zone: str
    name: str
    fingerprint: bytes | None
    record: bytes


class Board:
    """One board.

    Attributes:
        id: its number in this store; lanes name it.
        fingerprint: the peer's pinned key, None before it was ever here.
        link: counts the links there were since this store was opened.
        open: a link stands and both sides have exchanged positions on it.
        proved: positions were exchanged since this store was opened, and any full exchange is done (R5).
        credit: unfinished jobs the peer accepts per branch on this link, None before it said so.
        offered: by branch, Requests the peer was offered that are not finished.
        accepted: by branch, unfinished jobs of the peer that we took.
        waiting: by branch, Requests on disk that have no number yet.
        queued: how many Requests began to wait since this store was opened.
        wanted: jobs whose stored row was damaged, to be asked for at every link until the peer gives its copy, or has
            long forgotten it. Kept in the store: an agent that dies meanwhile may have no reason to read those again.
        credits: how many CREDITs came since this store was opened.
        halted: branches whose last Request was refused for lack of room; tried again at the next CREDIT.
        held: branches of which all that waits was found in the store, and another neighbour has not proved itself yet.
        confirms: the highest refusal of the peer that is to be confirmed on this link, 0 without any.
        refusals: numbers that the peer refused and repeats, with how many CREDITs had come when it first said so.
        cards: fingerprints whose card went out on this link.
        keywords: the instructions the peer says it runs; None when it did not say.
        own_loss: this store is an old copy, as the positions on this board showed; kept until its jobs are taken up.
        retired: its peer was revoked; it never has a link again and proves nothing.
        refusing: why the peer is given no credit on this link, "" while it is.
        recovered: the unfinished jobs found in the store were taken up again, once in this opening.
        exchanging, exchange_after, all_sent, told_all, peer_all_sent: how far a full exchange is (R4).
        said_exchanging: whether our HELLO on this link said that a full exchange is under way.
        asked: jobs that were asked for on this link; once each.
        without: bits 2^kind of the facts collected so far that are to be taken without the bytes they name.
        tried: (job, reason) of records that were sent again on this link because the peer asked for more; once each.
        theirs: the openings of the peer's store, as it told them on this link.
        skew_ms, skew_error_ms, skew_level: how far the peer's clock is ahead of ours, by how much that may be wrong
            (None when only its HELLO told), and what follows; see `clocks`.
        heard_ms, pinged_ms: when the link last carried something to us, and when we last asked for a sign of life.
        awaited: jobs that are being fetched for the first of the parked messages.
        owes_credit: a Request was refused for lack of room, and its sender waits for our next CREDIT.
        credited: the highest record that we had refused when we last gave CREDIT on this link, 0 without any.
        told: the highest record of which this link has told the peer that we refused it.
        parked: messages that wait until the store has given what the first of them concerns.
    """

    __slots__ = (
        "accepted",
        "all_sent",
        "asked",
        "awaited",
        "cards",
        "confirms",
        "credit",
        "credit_reason",
        "credited",
        "credits",
        "exchange_after",
        "exchanging",
        "facts",
        "facts_number",
        "fingerprint",
        "halted",
        "heard_ms",
        "held",
        "id",
        "inbox",
        "keywords",
        "kind",
        "last_refusal",
        "link",
        "name",
        "offered",
        "open",
        "outbox",
        "owes_credit",
        "own_loss",
        "paging",
        "parked",
        "peer_all_sent",
        "pinged_ms",
        "proved",
        "queued",
        "recovered",
        "refusals",
        "refusing",
        "retired",
        "said_exchanging",
        "skew_error_ms",
        "skew_level",
        "skew_ms",
        "theirs",
        "told",
        "told_all",
        "tried",
        "waiting",
        "wanted",
        "without",
        "zone",
    )

    def __init__(self, board_id: int, zone: str, name: str, fingerprint: bytes | None, limits: Limits) -> None:
        self.id = board_id
        self.zone = zone
        self.name = name
        self.kind = ""
        self.fingerprint = fingerprint
        self.outbox = Outbox(limits)
        self.inbox = Inbox()
        self.exchanging = False
        self.offered: dict[str, int] = {}
        self.accepted: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.keywords: frozenset[str] | None = None
        self.last_refusal = ""
        self.queued = 0
        self.wanted: set[bytes] = set()
        self.proved = False
        self.recovered = False
        self.retired = False
        self.own_loss = False
        self.said_exchanging = False
        self.skew_ms = 0
        self.skew_error_ms: int | None = None
        self.skew_level = 0
        self.link = 0
        self.credits = 0
        self.close()

    def __repr__(self) -> str:
        return f"<board {self.name}@{self.zone}>"

    def close(self) -> None:
        """Forget everything that belonged to the link; what is kept in the store stays."""
        self.open = False
        self.link += 1
        self.credit: int | None = None
        self.credit_reason = ""
        self.refusing = ""
        self.halted: set[str] = set()
        self.held: set[str] = set()
        self.confirms = 0
        self.refusals: dict[int, int] = {}
        self.cards: set[bytes] = set()
        self.facts: list[Fact | FactError] = []
        self.facts_number = 0
        self.without = 0
        self.owes_credit = False
        self.credited = self.told = 0
        self.parked: deque[Message] = deque()
        self.awaited: set[bytes] = set()
        self.paging = False
        self.all_sent = self.told_all = False
        self.asked: set[bytes] = set()
        self.tried: set[tuple[bytes, str]] = set()
        self.peer_all_sent: int | None = None
        self.exchange_after = 0
        self.theirs = Incarnations(())
        self.heard_ms = 0
        self.pinged_ms = 0

    def tell_refusals(self, upto: int) -> bool:
        """Our refusals up to a record are about to be told.

        Returns:
            Whether one of them is older than the last CREDIT and news to the peer, which waits for the next CREDIT
            after it.
        """
        late = self.told < min(upto, self.credited)
        self.told = max(self.told, upto)
        return late

    def want_no_more(self, before_ms: int) -> None:
        """Do not ask any more for jobs that were made before that time: the peer never held them, or has forgotten."""
        self.wanted = {job_id for job_id in self.wanted if made_ms(job_id) >= before_ms}

    def may_offer(self, branch: str) -> bool:
        """Whether a Request of `branch` may go out now: link, credit and window allow it (R12, R13)."""
        return (
            self.open
            and self.credit is not None
            and self.offered.get(branch, 0) < self.credit
            and branch not in self.halted
            and self.outbox.room
            and not self.outbox.behind
        )

    def row(self) -> BoardRow:
        """The durable part."""
        inbox, outbox = self.inbox, self.outbox
        record = packb(
            [
                outbox.last,
                outbox.kept,
                outbox.home,
                inbox.incarnation,
                inbox.number,
                inbox.home,
                self.exchanging,
                [[number, reason, detail] for number, (reason, detail) in inbox.refused.items()],
                sorted(inbox.superseded),
                self.kind,
                None if self.keywords is None else sorted(self.keywords),
                self.retired,
                self.own_loss,
                [[number, reason, detail] for number, (reason, detail) in inbox.settled.items()],
                sorted(self.wanted),
            ]
        )
        return BoardRow(self.id, self.zone, self.name, self.fingerprint, record)

    @classmethod
    def from_row(cls, row: BoardRow, limits: Limits) -> Board:
        """Read a stored board; its link is closed and nothing of it is proved yet."""
        board = cls(row.id, row.zone, row.name, row.fingerprint, limits)
        (
            last,
            acked,
            outgoing_home,
            incarnation,
            number,
            home,
            exchanging,
            refused,
            superseded,
            kind,
            keywords,
            retired,
            own_loss,
            settled,
            wanted,
        ) = unpack(row.record, STORED)
        board.outbox = Outbox(limits, last=last, acked=acked, home=outgoing_home)
        board.inbox = Inbox((incarnation, number), floor=home)
        board.inbox.refused = _by_number(refused)
        board.inbox.settled = _by_number(settled)
        board.inbox.superseded = frozenset(superseded)
        board.exchanging = exchanging
        board.kind = kind
        board.retired = retired
        board.own_loss = own_loss
        board.wanted = set(wanted)
        board.keywords = None if keywords is None else frozenset(keywords)
        return board


def _by_number(refusals: Iterable[list[Any]]) -> dict[int, tuple[str, str]]:
    return {number: (reason, detail) for number, reason, detail in refusals}


def count(counts: dict[str, int], branch: str, change: int) -> None:
    """Add `change` to the count of `branch`; a count that reaches zero is dropped."""
    value = counts.get(branch, 0) + change
    if value > 0:
        counts[branch] = value
    else:
        counts.pop(branch, None)
