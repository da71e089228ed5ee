"""Blobs on their way in: room, order, hash, and which fact may be taken (rules R3, R14).

A peer is believed nothing: what it sends was offered, fits the quotas, comes in order and hashes to its name, or its
link is closed and the bytes are dropped. Nothing is acknowledged before it is committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.blobs import HASH_BYTES, SLICE_BYTES, SMALL_BYTES, TRANSFERS, Arriving, Key, Slice
from mesh.board import Board
from mesh.effects import Bytes, Usage
from mesh.errors import FactError
from mesh.facts import ID_BYTES, OUTCOME, REQUEST, Fact, blob_of, depth_of
from mesh.job import Job
from mesh.ledger import Ledger
from mesh.lifecycle import Role, State
from mesh.messages import BlobMessage, Held, SliceMessage, Type, encode
from mesh.quotas import DEEPEST, Quota
from mesh.refetching import fetched_again, lacks, not_there
from mesh.refusals import Refusal
from mesh.room import Room
from mesh.routing import Place
from mesh.sending import READ
from mesh.staging import drop_staged

_KINDS: Final = frozenset({REQUEST, OUTCOME})


class Receiving:
    """What peers send of blobs to one agent."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # -- messages -----------------------------------------------------------------------------------------------

    def offered(self, board: Board, message: BlobMessage, now_ms: int) -> str:
        """A peer is about to send a blob; the job, if this agent has it, is in memory.

        Returns:
            Why the link has to be closed; empty when all is well.
        """
        ledger, blobs = self._ledger, self._ledger.blobs
        key = Key(message.job_id, message.kind, message.hash)
        if len(key.job) != ID_BYTES or key.kind not in _KINDS or len(key.hash) != HASH_BYTES:
            return "a blob that no fact can name"
        if message.depth > (DEEPEST if key.kind == REQUEST else 0):
            return "a blob of a depth that it cannot have"
        arriving = blobs.arriving.get((board.id, key))
        if not message.length:
            # It is not sent after all.
            if arriving is not None:
                self._drop(arriving)
                self._grant_more(board.id)
            return ""
        if message.length > ledger.limits.blob_bytes:
            reason = f'agent "{ledger.name}" takes at most {ledger.limits.blob_bytes} bytes, not {message.length}'
            self._say(board, key, 0, reason)
            return ""
        if self._is_needless(key):
            self._say(board, key, message.length)
            return ""
        if arriving is None:
            blobs.used = True
            arriving = Arriving(0, key, message.length, message.depth, board.id, now_ms)
            blobs.arriving[board.id, key] = arriving
        elif (arriving.length, arriving.depth) != (message.length, message.depth):
            return "a blob that changed its length or depth"
        arriving.link, arriving.at_ms = board.link, now_ms
        arriving.granted = arriving.ready = False
        if sum(one.quota == arriving.quota for one in self._under_way(board)) > TRANSFERS:
            return f"more than {TRANSFERS} blobs of a kind and depth at a time"
        self._grant(arriving)
        return ""

    def _is_needless(self, key: Key) -> bool:
        """Whether nothing would be done with such bytes: the fact that names them is here, or the job is over."""
        job = self._ledger.find(key.job)
        if job is None:
            return False
        if job.facts[REQUEST] is None or job.state is State.DELETED:
            return True
        return job.facts[key.kind] is not None and key not in self._ledger.blobs.missing

    def _under_way(self, board: Board) -> list[Arriving]:
        """What is being sent on the present link of a board."""
        return [one for one in self._ledger.blobs.arriving.values() if self._is_open(one, board) and not one.whole]

    def _is_open(self, arriving: Arriving, board: Board) -> bool:
        return arriving.board == board.id and board.open and arriving.link == board.link

    def sliced(self, board: Board, message: SliceMessage, now_ms: int) -> str:
        """A part of a blob; as `offered`."""
        ledger, blobs = self._ledger, self._ledger.blobs
        key = Key(message.job_id, message.kind, message.hash)
        arriving = blobs.arriving.get((board.id, key))
        size = len(message.data)
        if arriving is None or arriving.link != board.link or not arriving.ready or arriving.whole:
            return "a slice that nobody asked for"
        if message.offset != arriving.held or arriving.held + size > arriving.length:
            return "a slice that does not follow the one before it"
        last = arriving.held + size == arriving.length
        if not size or size > SLICE_BYTES or (size < min(SMALL_BYTES, ledger.limits.slice_bytes) and not last):
            return "a slice of a size that nobody sends"
        arriving.hasher.update(message.data)
        if last and arriving.hasher.digest() != key.hash:
            self._drop(arriving)
            return "the bytes of a blob are not those that its name says"
        ledger.effects.batch.slices.append(Slice(arriving.id, arriving.held, message.data))
        arriving.held += size
        arriving.hashed = arriving.held
        arriving.at_ms = now_ms
        blobs.answers[board.id, key] = arriving
        return ""

    # -- room ---------------------------------------------------------------------------------------------------

    def _grant(self, arriving: Arriving, *, beyond: bool = False) -> bool:
        """Let a blob come if there is room for it; else it waits until there is.

        Args:
            arriving: what is offered.
            beyond: take it though its quota is full.

        Returns:
            Whether it may come now and might not before.
        """
        ledger, blobs = self._ledger, self._ledger.blobs
        board = ledger.boards[arriving.board]
        if arriving.granted or not self._is_open(arriving, board):
            return False
        quota = arriving.quota
        if quota.kind == REQUEST and ledger.room is not Room.ENOUGH:
            # No new jobs are taken, and so no bytes for them (R10).
            return False
        if not arriving.whole:
            taken = blobs.quotas.taken.get(quota, 0) + self._coming(board, quota)
            # It takes the place of a damaged one, or of what a job has whose row is damaged.
            beyond = beyond or arriving.key in blobs.missing or arriving.key.job in ledger.quarantined
            if taken and taken + arriving.length > ledger.limits.blob_quota_bytes and not beyond:
                if blobs.quotas.ask(quota):
                    ledger.effects.queries.append(Usage(quota))
                return False
            if not self._make_room(arriving, board):
                return False
        arriving.granted = True
        if not arriving.id:
            arriving.id = blobs.new_id()
            ledger.effects.batch.blobs.append(arriving.row())
        self._catch_up(arriving)
        return True

    def _coming(self, board: Board, quota: Quota) -> int:
        """Bytes that are let in and not yet counted."""
        arriving = self._ledger.blobs.arriving.values()
        return sum(one.length for one in arriving if one.granted and one.quota == quota and self._is_open(one, board))

    def _make_room(self, arriving: Arriving, board: Board) -> bool:
        """Drop what waits longest for a fact and is not being sent, as far as the newcomer needs its room. Should a
        fact name it after all, it is refused and the bytes come again."""
        others = [
            one
            for one in self._ledger.blobs.arriving.values()
            if one.board == board.id and one is not arriving and one.id
        ]
        taken, limit = sum(map(self._room_of, others)), self._ledger.limits.blob_arriving_bytes
        wanted = self._room_of(arriving)
        for one in sorted(others, key=lambda one: one.at_ms):
            if taken + wanted <= limit:
                break
            offered = self._is_open(one, board)
            # What is being sent, or whose fact comes next: dropped now, each would come again for the other's sake.
            if (one.board, one.key) in self._ledger.blobs.answers or (offered and one.granted):
                continue
            taken -= self._room_of(one)
            self._drop(one)
            if offered and not one.granted:
                # Its sender waits for a word; there is room for it later, from its beginning.
                self._begin_anew(one)
        return not taken or taken + wanted <= limit

    def _room_of(self, arriving: Arriving) -> int:
        # A small one counts as a slice, so that there are not too many of them either.
        return max(arriving.length, self._ledger.limits.slice_bytes)

    def _begin_anew(self, arriving: Arriving) -> Arriving:
        fresh = Arriving(0, arriving.key, arriving.length, arriving.depth, arriving.board, arriving.at_ms)
        fresh.link = arriving.link
        self._ledger.blobs.arriving[arriving.board, arriving.key] = fresh
        return fresh

    def _drop(self, arriving: Arriving) -> None:
        blobs = self._ledger.blobs
        blobs.arriving.pop((arriving.board, arriving.key), None)
        blobs.answers.pop((arriving.board, arriving.key), None)
        if arriving.id:
            self._ledger.effects.batch.dropped.append(arriving.id)

    def usage(self, query: Usage, size: int) -> None:
        """The store says how much of a quota is taken."""
        if self._ledger.blobs.quotas.told(query.quota, size):
            self._grant_more(query.quota.board)

    def grant_all(self) -> None:
        """There may be room again."""
        for arriving in list(self._ledger.blobs.arriving.values()):
            self._grant(arriving)

    def _grant_more(self, board_id: int) -> None:
        for arriving in [one for one in self._ledger.blobs.arriving.values() if one.board == board_id]:
            self._grant(arriving)

    # -- the hash after a restart -------------------------------------------------------------------------------

    def _catch_up(self, arriving: Arriving) -> None:
        """Hash what earlier links and lives brought, some slices at a time, then say that more may come."""
        board = self._ledger.boards[arriving.board]
        if arriving.whole or arriving.hashed == arriving.held:
            arriving.ready = True
            self._ledger.blobs.answers[arriving.board, arriving.key] = arriving
            return
        query = Bytes(arriving.key, arriving.id, arriving.hashed, READ, board.id, board.link)
        self._ledger.effects.queries.append(query)

    def bytes_read(self, query: Bytes, slices: Iterable[Slice]) -> None:
        """The store gave what is to be hashed."""
        arriving = self._ledger.blobs.arriving.get((query.board, query.key))
        board = self._ledger.boards[query.board]
        stale = arriving is None or arriving.id != query.blob or arriving.hashed != query.offset or arriving.ready
        if arriving is None or stale or not self._is_open(arriving, board) or query.link != board.link:
            return
        for part in slices:
            arriving.hasher.update(part.data)
            arriving.hashed += len(part.data)
        if arriving.hashed == query.offset:
            # Damaged: it begins anew.
            self._drop(arriving)
            self._grant(self._begin_anew(arriving))
        else:
            self._catch_up(arriving)

    # -- facts --------------------------------------------------------------------------------------------------

    def refusal(
        self, board: Board, place: Place, facts: Iterable[Fact], without: int, job: Job | None
    ) -> Refusal | None:
        """Why a record that came by `board` cannot be taken: a fact in it names bytes that have to be here first.

        Args:
            place: of this agent on the path.
            facts: those that are new.
            without: bits 2^kind of the facts that are to be taken without their bytes.
            job: as it is held, if it is; one that is deleted, or has ended otherwise, takes no bytes any more.
        """
        for fact in facts:
            name = blob_of(fact.content)
            if name is None or not name.length or without >> fact.kind & 1:
                continue
            key = Key(fact.job_id, fact.kind, name.hash)
            if job is not None and (job.state is State.DELETED or self._is_needless(key)):
                continue
            along = (fact.kind is REQUEST) is (board.name == place.before)
            if along and self._whole(board, fact) is None:
                holds = f'agent "{self._ledger.name}" does not hold the bytes that the fact names'
                return Refusal("no_blob", holds)
        return None

    def _whole(self, board: Board, fact: Fact) -> Arriving | None:
        """The bytes that a fact names, if they came whole, and into the room of its depth: whoever says another depth
        would fill one room by way of another."""
        name = blob_of(fact.content)
        if name is None:
            return None
        arriving = self._ledger.blobs.arriving.get((board.id, Key(fact.job_id, fact.kind, name.hash)))
        there = arriving is not None and arriving.whole and arriving.depth == depth_of(fact.content)
        return arriving if there else None

    def named(self, board: Board, job: Job, fact: Fact) -> None:
        """A fact that came by `board` is held now: the bytes that it names are its own."""
        name = blob_of(fact.content)
        if name is None:
            return
        blobs = self._ledger.blobs
        blobs.used = True
        if not name.length:
            job.holding |= 1 << fact.kind
            return
        arriving = self._whole(board, fact)
        if arriving is None:
            return
        del blobs.arriving[board.id, arriving.key]
        blobs.answers.pop((board.id, arriving.key), None)
        job.holding |= 1 << fact.kind
        # Results that this agent asked for are its own to keep.
        counted = job.role is not Role.ORIGIN
        if counted:
            blobs.quotas.add(arriving.quota, name.length)
        self._ledger.effects.batch.blobs.append(arriving.row()._replace(named=1, counted=int(counted)))
        self._grant_more(board.id)

    def refusal_of_more(
        self, board: Board, job: Job, known: Iterable[Fact], fresh: Iterable[Fact], without: int
    ) -> Refusal | None:
        """As `refusal`, for a job that is held. Of the facts that are `known`, some may bring bytes that are fetched
        again; those are taken if there is no refusal."""
        again = [fact for fact in known if lacks(self._ledger, fact)] if self._ledger.blobs.missing else ()
        refusal = self.refusal(board, job.place, (*fresh, *again) if again else fresh, without, job)
        for fact in again if refusal is None else ():
            board.asked.discard(job.id)
            if without >> fact.kind & 1:
                not_there(self._ledger, job, fact)
            else:
                self.named(board, job, fact)
                fetched_again(self._ledger, job, fact)
        return refusal

    def judged(self, board: Board, facts: Iterable[Fact | FactError], *, taken: bool) -> None:
        """A record was taken, or refused: bytes that its facts name, and that they did not take, wait for no fact on
        this link any more. Of a fact that is held nobody needs them; for one that comes again they are offered again.
        """
        for fact in facts:
            name = None if isinstance(fact, FactError) else blob_of(fact.content)
            if isinstance(fact, FactError) or name is None:
                continue
            arriving = self._ledger.blobs.arriving.get((board.id, Key(fact.job_id, fact.kind, name.hash)))
            if arriving is None or not arriving.whole:
                continue
            if taken:
                self._drop(arriving)
            else:
                arriving.link = -1
                arriving.granted = False
            self._grant_more(board.id)

    # -- letting go ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """At the end of a step, before its rows are stored: let go of what jobs that are over do not need, write down
        what grew, and say so after the commit."""
        ledger, blobs = self._ledger, self._ledger.blobs
        if not blobs.used:
            return
        drop_staged(ledger)
        for job in ledger.dirty.values():
            if not job.live and job.holding:
                self._over(job)
        for job_id in sorted(blobs.damaged):
            # It may have come back, with new bytes, in the step in which its row was read.
            found = ledger.find(job_id)
            holding = 0 if found is None else found.holding
            ledger.effects.batch.unneeded += [(job_id, kind) for kind in _KINDS if not holding >> kind & 1]
        blobs.damaged.clear()
        freed, blobs.quotas.freed = blobs.quotas.freed, set()
        for board_id in sorted(freed):
            self._grant_more(board_id)
        answers, blobs.answers = blobs.answers, {}
        for arriving in answers.values():
            board = ledger.boards[arriving.board]
            ledger.effects.batch.blobs.append(arriving.row())
            if self._is_open(arriving, board):
                self._say(board, arriving.key, arriving.held)

    def _over(self, job: Job) -> None:
        for kind in _KINDS:
            # The origin may be asked to put it once more.
            kept = kind is OUTCOME or (job.role is Role.ORIGIN and job.state is not State.COMPLETE)
            if job.holding >> kind & 1 and (not kept or job.state is State.DELETED):
                job.holding &= ~(1 << kind)
                self._ledger.effects.batch.unneeded.append((job.id, kind))
                source = job.up if kind is REQUEST else job.down
                fact = job.facts[kind]
                name = None if fact is None else blob_of(fact.content)
                if source is not None and fact is not None and name is not None:
                    self._ledger.blobs.quotas.discount(Quota(source.board, kind, depth_of(fact.content)), name.length)

    def sweep(self, now_ms: int) -> None:
        """Drop what no fact has named for an hour, and look again for room for what waits.

        One result of each board comes in though its quota is full: in a ring of hops each could wait for the next.
        """
        beyond: set[int] = set()
        blobs, orphan_ms = self._ledger.blobs, int(self._ledger.limits.blob_orphan_s * 1000)
        for arriving in list(blobs.arriving.values()):
            board = self._ledger.boards[arriving.board]
            if now_ms >= arriving.at_ms + orphan_ms and (arriving.whole or not self._is_open(arriving, board)):
                self._drop(arriving)
            elif not arriving.id and not self._is_open(arriving, board):
                del blobs.arriving[arriving.board, arriving.key]
            else:
                late = arriving.key.kind == OUTCOME and board.id not in beyond
                if not self._grant(arriving) and late and self._grant(arriving, beyond=True):
                    beyond.add(board.id)

    def _say(self, board: Board, key: Key, held: int, reason: str = "") -> None:
        packed = encode(Type.HELD, Held(key.job, key.kind, key.hash, held, reason[:256]))
        self._ledger.effects.send.setdefault(board.id, []).append(packed)
