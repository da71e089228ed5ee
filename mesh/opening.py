"""The opening of a store: what it tells, and how an engine takes it up (rules R4, R5).

A new incarnation is committed with the first step. Only counts and indexes are taken up; the jobs themselves stay on
disk until something concerns them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from invitations.card import Card
from mesh.blobs import BlobRow
from mesh.board import BoardRow
from mesh.known import Known
from mesh.ledger import Ledger
from mesh.messages import Position
from mesh.origin import hash_of_key
from mesh.positions import INCARNATION_BYTES, Incarnations
from mesh.sending import take_up_blobs
from mesh.trust import Trust


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a store tells at its opening; everything else is fetched when it is needed.

    Attributes:
        boards, cards, pins, portals, incarnations: as they were committed.
        last_seq, last_number: the highest ones in use.
        ids: of all jobs, finished ones too; read once, in any order.
        keys: idempotency keys of the jobs that have one.
        waiting, offered, accepted: counts of live jobs by (board, branch).
        strays: finished jobs that came by one board and are not yet known to be home, in the order of their number on
            the other: (board they go up, number there, board they came by).
        next_due_ms: the earliest time at which a job falls due, None without any.
        blobs: those that no fact names yet, and those that are owed to a board.
        last_blob: the highest number of a blob in use.
        counted: bytes counted in the quotas for blobs: (board, kind, depth, bytes).
    """

    boards: tuple[BoardRow, ...] = ()
    cards: tuple[tuple[bytes, bytes], ...] = ()
    pins: tuple[tuple[str, str, bytes], ...] = ()
    portals: tuple[tuple[str, str, bytes], ...] = ()
    incarnations: tuple[Position, ...] = ()
    last_seq: int = 0
    last_number: int = 0
    ids: Iterable[bytes] = ()
    keys: Iterable[str] = ()
    waiting: tuple[tuple[int, str, int], ...] = ()
    offered: tuple[tuple[int, str, int], ...] = ()
    accepted: tuple[tuple[int, str, int], ...] = ()
    strays: tuple[tuple[int, int, int], ...] = ()
    next_due_ms: int | None = None
    blobs: tuple[BlobRow, ...] = ()
    last_blob: int = 0
    counted: tuple[tuple[int, int, int, int], ...] = ()


def take_up(ledger: Ledger, snapshot: Snapshot, card: Card) -> None:
    """Begin on what the store holds.

    Args:
        ledger: still empty.
        snapshot: what the store told.
        card: this agent's own.
    """
    for row in snapshot.boards:
        ledger.add_board(row)
    ledger.trust = Trust(snapshot.cards, snapshot.pins, snapshot.portals)
    ledger.trust.cards[ledger.fingerprint] = card
    ledger.next_seq = ledger.first_seq = snapshot.last_seq + 1
    last = max((board.outbox.last for board in ledger.boards.values()), default=0)
    ledger.next_number = max(last, snapshot.last_number) + 1
    ledger.incarnations = Incarnations(snapshot.incarnations).opened(
        ledger.random(INCARNATION_BYTES), ledger.next_number
    )
    ledger.effects.batch.incarnations = ledger.incarnations.entries
    ledger.known = Known(snapshot.ids)
    ledger.keys = Known(hash_of_key(key) for key in snapshot.keys)
    for board_id, branch, jobs in snapshot.waiting:
        ledger.boards[board_id].waiting[branch] = jobs
    for board_id, branch, jobs in snapshot.offered:
        ledger.boards[board_id].offered[branch] = jobs
    for board_id, branch, jobs in snapshot.accepted:
        ledger.boards[board_id].accepted[branch] = jobs
    for upstream, number, downstream in snapshot.strays:
        # Their numbers downstream are not known any more: `home` stands still there until all of them are home.
        ledger.boards[upstream].outbox.relayed[number] = (downstream, 0)
        ledger.boards[downstream].inbox.strays += 1
    ledger.next_due_ms = snapshot.next_due_ms
    take_up_blobs(ledger, snapshot.blobs, snapshot.last_blob, snapshot.counted)
