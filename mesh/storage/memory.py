"""A store in memory, for tests and simulations; the durable one answers the same suite of tests.

It can be copied at any moment, which is how a simulation restores an agent from an old copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from invitations.peers import InvitationRow, PeerRow
from mesh.blobs import BlobRow, Key, Slice
from mesh.board import BoardRow
from mesh.effects import (
    Answer,
    AtNumber,
    Batch,
    ById,
    ByKey,
    Bytes,
    Due,
    Numbered,
    Query,
    Revoked,
    Shared,
    Unfinished,
    Usage,
    Waiting,
)
from mesh.messages import Position
from mesh.opening import Snapshot
from mesh.quotas import Quota
from mesh.room import Room
from mesh.row import Row
from mesh.storage.columns import DELETED, DESTINATION, HASH_BYTES, HOP, ORIGIN, number_on, outbox_of


class MemoryStore:
    """A `Store` that forgets when the process ends. `keep_jobs` finished jobs of our own stay after their horizon."""

    def __init__(self, *, keep_jobs: int = 100_000) -> None:
        self._keep_jobs = keep_jobs
        self.rows: dict[int, Row] = {}
        self.blobs: dict[int, BlobRow] = {}
        self.slices: dict[tuple[int, int], Slice] = {}
        self._ids: dict[bytes, int] = {}
        self._boards: dict[int, BoardRow] = {}
        self._incarnations: tuple[Position, ...] = ()
        self._cards: dict[bytes, bytes] = {}
        self._pins: dict[tuple[str, str], bytes] = {}
        self._portals: dict[tuple[str, str], bytes] = {}
        self._peers: dict[tuple[bytes, str], PeerRow] = {}
        self._invitations: dict[bytes, InvitationRow] = {}

    @property
    def path(self) -> None:
        return None

    def copy(self) -> MemoryStore:
        """A store with the same content, sharing nothing that changes."""
        twin = MemoryStore(keep_jobs=self._keep_jobs)
        for name, value in vars(self).items():
            setattr(twin, name, dict(value) if isinstance(value, dict) else value)
        return twin

    def open(self) -> Snapshot:
        live = [row for row in self.rows.values() if row.live]
        homes = {board.id: outbox_of(board).home for board in self._boards.values()}
        strays = sorted(
            (row.up_board, row.up_number, row.down_board)
            for row in self.rows.values()
            if row.role == HOP
            and not row.live
            and row.down_board is not None
            and row.up_board is not None
            and row.up_number > homes[row.up_board]
        )
        return Snapshot(
            boards=tuple(self._boards.values()),
            cards=tuple(self._cards.items()),
            pins=tuple((zone, route, pinned) for (zone, route), pinned in self._pins.items()),
            portals=tuple((zone, portal, pinned) for (zone, portal), pinned in self._portals.items()),
            incarnations=self._incarnations,
            last_seq=max(self.rows, default=0),
            last_number=max((max(row.up_number, row.down_number) for row in self.rows.values()), default=0),
            ids=list(self._ids),
            keys=[row.key for row in self.rows.values() if row.key is not None],
            waiting=_counted((row.down_board, row.down_branch) for row in live if row.waiting),
            offered=_counted((row.down_board, row.down_branch) for row in live if not row.waiting),
            accepted=_counted((row.up_board, row.up_branch) for row in live),
            strays=tuple(strays),
            next_due_ms=min((row.due_ms for row in live if row.due_ms is not None), default=None),
            blobs=tuple(blob for blob in self.blobs.values() if not blob.named or blob.owed is not None),
            last_blob=max(self.blobs, default=0),
            counted=tuple((*quota, size) for quota, size in self._counted_bytes().items()),
        )

    def apply(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._apply(batch)

    def room(self) -> Room:
        return Room.ENOUGH

    def tidy(self) -> None:
        """Nothing was left for later."""

    def settle(self) -> None:
        """Nobody reads beside it."""

    def _apply(self, batch: Batch) -> None:
        for seq in self.rows.keys() & batch.quarantined:
            self.rows[seq] = self.rows[seq]._replace(up_branch=None, down_branch=None, due_ms=None)
        for row in batch.rows:
            self.rows[row.seq] = row
            self._ids[row.id] = row.seq
        for board in batch.boards:
            self._boards[board.id] = board
        if batch.incarnations is not None:
            self._incarnations = batch.incarnations
        self._cards.update(batch.cards)
        for zone, route, pinned in batch.pins:
            self._pins[zone, route] = pinned
        for zone, portal, pinned in batch.portals:
            self._portals[zone, portal] = pinned
        for peer in batch.peers:
            self._peers[peer.fingerprint, peer.zone] = peer
        for invitation in batch.invitations:
            self._invitations[invitation.id] = invitation
        if batch.has_blobs:
            self._apply_blobs(batch)
        owed = {blob.job for blob in self.blobs.values() if blob.owed is not None}
        for board_id, after, upto in batch.trims:
            for seq, row in self.rows.items():
                numbered = row.up_board == board_id and after < row.up_number <= upto
                if numbered and not row.live and row.state != DELETED and row.id not in owed:
                    self.rows[seq] = row._replace(facts=None)
                    self._drop_blobs(blob for blob in self.blobs.values() if blob.job == row.id)
        if batch.collect_ms is not None:
            self._collect(batch.collect_ms)

    def _collect(self, now_ms: int) -> None:
        over = [row for row in self.rows.values() if not row.live and row.due_ms is not None and row.due_ms <= now_ms]
        over.sort(key=lambda row: (row.due_ms, row.seq))
        ours = [row for row in over if row.role == ORIGIN]
        spare = sum(1 for row in self.rows.values() if row.role == ORIGIN and not row.live) - self._keep_jobs
        gone = [row for row in over if row.role != ORIGIN] + ours[: max(0, spare)]
        for row in gone:
            del self.rows[row.seq]
            del self._ids[row.id]
            self._drop_blobs(blob for blob in self.blobs.values() if blob.job == row.id)

    def _apply_blobs(self, batch: Batch) -> None:
        for blob in batch.blobs:
            older = [
                one for one in self._of_key(Key(blob.job, blob.kind, blob.hash)) if one.named and one.id != blob.id
            ]
            if blob.named and older:
                self._drop_blobs(older)
                self.blobs[blob.id] = blob._replace(owed=older[0].owed if blob.owed is None else blob.owed)
            else:
                self.blobs[blob.id] = blob
        for part in batch.slices:
            self.slices[part.blob, part.offset] = part
        for key, board in batch.owing:
            for blob in self._of_key(key):
                if blob.named:
                    self.blobs[blob.id] = blob._replace(owed=board)
        for job, kind in batch.unneeded:
            of_job = [blob for blob in self.blobs.values() if (blob.job, blob.kind) == (job, kind)]
            self._drop_blobs(blob for blob in of_job if blob.named and blob.owed is None)
        self._drop_blobs(self.blobs[number] for number in batch.dropped if number in self.blobs)

    def _drop_blobs(self, blobs: Iterable[BlobRow]) -> None:
        for blob in list(blobs):
            del self.blobs[blob.id]
            for place in [place for place in self.slices if place[0] == blob.id]:
                del self.slices[place]

    def _of_key(self, key: Key) -> list[BlobRow]:
        found = [blob for blob in self.blobs.values() if (blob.job, blob.kind, blob.hash) == key]
        return sorted(found, key=lambda blob: (-blob.named, blob.id))

    def _counted_bytes(self) -> Counter[Quota]:
        counts: Counter[Quota] = Counter()
        for blob in self.blobs.values():
            if blob.counted:
                counts[Quota(blob.board, blob.kind, blob.depth)] += blob.length
        return counts

    def _read_slices(self, query: Bytes) -> tuple[Slice, ...]:
        whole = [blob.id for blob in self._of_key(query.key) if blob.held == blob.length]
        number = query.blob or (whole[0] if whole else 0)
        found: list[Slice] = []
        offset = query.offset
        while len(found) < query.limit and (part := self.slices.get((number, offset))) is not None:
            found.append(part)
            offset += len(part.data)
        return tuple(found)

    def read(self, query: Query) -> Answer:
        rows = self.rows.values()
        next_ms = None
        match query:
            case ById():
                found = [self.rows[self._ids[job_id]] for job_id in query.ids if job_id in self._ids]
            case ByKey():
                found = sorted((row for row in rows if row.key == query.key), reverse=True)[:1]
            case Numbered():
                found = [row for row in rows if query.after < number_on(row, query.board) <= query.upto]
                found.sort(key=lambda row: (number_on(row, query.board), row.seq))
                found = found[: query.limit]
            case AtNumber():
                wanted = {number for number, _, _ in query.refused}
                found = [row for row in rows if number_on(row, query.board) in wanted]
                found.sort(key=lambda row: (number_on(row, query.board), row.seq))
            case Waiting():
                found = [
                    row
                    for row in rows
                    if row.waiting
                    and (row.down_board, row.down_branch) == (query.board, query.branch)
                    and not _is_unproved(row, query)
                ]
                found = sorted(found)[: query.limit]
            case Shared() | Revoked():
                found = [
                    row
                    for row in rows
                    if query.board in (row.up_board, row.down_board) and row.facts is not None and row.seq > query.after
                ]
                found = sorted(found)[: query.limit]
            case Unfinished():
                found = [
                    row
                    for row in rows
                    if row.live and row.role == DESTINATION and row.up_board == query.board and row.seq > query.after
                ]
                found = sorted(found)[: query.limit]
            case Due():
                due = sorted(
                    (row.due_ms, row.seq)
                    for row in rows
                    if row.live and row.due_ms is not None and not _is_unproved(row, query)
                )
                found = [self.rows[seq] for due_ms, seq in due if due_ms <= query.now_ms][: query.limit]
                later = due[len(found) :]
                next_ms = later[0][0] if later else None
            case Bytes():
                return Answer(query, [], slices=self._read_slices(query))
            case Usage():
                return Answer(query, [], size=self._counted_bytes()[query.quota])
        return Answer(query, found, next_ms)

    def list_jobs(self, *, live: bool | None, states: Sequence[int], after: int, limit: int) -> list[Row]:
        found = [
            row
            for row in self.rows.values()
            if (live is None or bool(row.live) is live)
            and (not states or row.state in states)
            and (not after or row.seq < after)
        ]
        return sorted(found, reverse=True)[:limit]

    def find_short(self, prefix: bytes, limit: int) -> list[Row]:
        found = [row for row in self.rows.values() if row.id[-HASH_BYTES:].startswith(prefix)]
        return sorted(found, key=lambda row: row.id, reverse=True)[:limit]

    def peers(self) -> list[PeerRow]:
        return list(self._peers.values())

    def invitations(self) -> list[InvitationRow]:
        return list(self._invitations.values())

    def close(self) -> None:
        """Nothing to close; the content stays."""


def _is_unproved(row: Row, query: Due | Waiting) -> bool:
    return row.seq < query.first_seq and (row.up_board in query.unproved or row.down_board in query.unproved)


def _counted(pairs: Iterable[tuple[int | None, str | None]]) -> tuple[tuple[int, str, int], ...]:
    counts = Counter(pairs)
    return tuple(
        (board, branch, jobs) for (board, branch), jobs in counts.items() if board is not None and branch is not None
    )
