"""What an agent knows, and what the present step changes: the state that the roles share.

The ledger holds the boards, the resident jobs, the cards and pins; and, for the step that runs, which facts have to be
signed, which jobs and boards have to be stored, and what is to be done after the commit. It decides nothing: `origin`,
`hop` and `destination` do, `dispatch` gives numbers, and `engine` ends the step.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from msgpack import Packer

from mesh.access import Access
from mesh.blobs import Blobs
from mesh.board import Board, BoardRow, count
from mesh.effects import Effects, Lost, Query, Told
from mesh.errors import CorruptRow
from mesh.facts import ID_BYTES, REQUEST, Content, Fact, Kind, make, short_text
from mesh.job import Job
from mesh.known import Known
from mesh.lane import Lane
from mesh.lifecycle import Role
from mesh.limits import Limits
from mesh.messages import Type, Want, encode
from mesh.positions import Incarnations
from mesh.proof import BATCH, sign_batch
from mesh.quarantine import Quarantine
from mesh.room import Room
from mesh.routing import Place, place_of
from mesh.row import Row
from mesh.trust import Trust

TRIM: Final = 512
"""Numbers that come home before their jobs are trimmed in one go."""


class Ledger:
    """The shared state of one engine.

    Args:
        name: this agent's name.
        fingerprint: of its identity key.
        sign: gives the Ed25519 signature of its argument.
        random: `random(n)` gives n bytes; every nonce and incarnation comes from it.
        limits, access: what it accepts.
    """

    def __init__(
        self,
        name: str,
        fingerprint: bytes,
        sign: Callable[[bytes], bytes],
        random: Callable[[int], bytes],
        limits: Limits,
        access: Access,
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.random = random
        self.limits = limits
        self.access = access
        self._sign = sign
        self.pack: Callable[[object], bytes] = Packer().pack
        self.trust = Trust()
        self.boards: dict[int, Board] = {}
        self.by_name: dict[tuple[str, str], Board] = {}
        self.incarnations = Incarnations(())
        self.next_number = 1
        self.next_seq = 1
        self.first_seq = 1
        self.known = Known()
        self.keys = Known()
        self.blobs = Blobs()
        self.jobs: dict[bytes, Job] = {}
        self.absent: set[bytes] = set()
        self.pinned: dict[bytes, int] = {}
        self.revoked: set[bytes] = set()
        self.quarantined = Quarantine()
        self.next_due_ms: int | None = None
        self.room = Room.ENOUGH
        """What the store last said of its room: without any, no new job is taken (R10)."""
        self.lazy_boards: dict[int, Board] = {}
        """Boards whose watermarks changed, to be stored with the next commit, for which they are no reason."""
        self.step = 1
        self.durable_step = 0
        self.told: list[Told] = []
        self.ahead: dict[int, list[Fact]] = {}
        """Outcomes that came and nobody has taken yet (see `ahead`): ours, and by board those that go on."""
        self._asked: dict[int, int] = {}
        self._places: dict[str, Place | None] = {}
        self._finished: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self.effects = Effects()
        self.dirty: dict[bytes, Job] = {}
        self.dirty_boards: dict[int, Board] = {}
        self.acks: dict[int, Board] = {}
        self.pumped: dict[int, Board] = {}
        self.roomier: dict[int, Board] = {}
        self.sending: list[tuple[Board, Job, Lane, int]] = []
        self.paged: list[Board] = []
        self._unsigned: list[Fact] = []

    # -- places -------------------------------------------------------------------------------------------------

    def place(self, path: str) -> Place | None:
        """Where this agent stands on `path`; remembered for the paths in use."""
        places = self._places
        if path in places:
            return places[path]
        if len(places) >= 1_024:
            places.clear()
        found = places[path] = place_of(path, self.name)
        return found

    def place_on(self, path: str) -> Place:
        """Our place on a stored path; ValueError if we are not on it."""
        place = self.place(path)
        if place is None:
            raise ValueError("the stored path does not name this agent")
        return place

    # -- boards -------------------------------------------------------------------------------------------------

    def add_board(self, row: BoardRow) -> Board:
        """Take a stored board."""
        board = Board.from_row(row, self.limits)
        self.boards[board.id] = board
        if board.retired:
            self.revoked.add(board.fingerprint or b"")
        else:
            self.by_name[board.zone, board.name] = board
        return board

    def renew(self, board: Board) -> Board:
        """A board for the next peer of that name, in place of a retired one."""
        del self.by_name[board.zone, board.name]
        if board.fingerprint is not None:
            self.revoked.add(board.fingerprint)
        return self.expect(board.zone, board.name, board.kind, None)

    def expect(self, zone: str, name: str, kind: str, fingerprint: bytes | None) -> Board:
        """The board shared with `name` in `zone`, made now if there is none, bound to `fingerprint` once known."""
        board = self.by_name.get((zone, name))
        if board is None:
            board = Board(max(self.boards, default=0) + 1, zone, name, fingerprint, self.limits)
            self.boards[board.id] = board
            self.by_name[zone, name] = board
        if fingerprint is not None:
            board.fingerprint = fingerprint
        board.kind = kind or board.kind
        self.touch_board(board)
        return board

    def touch_board(self, board: Board) -> None:
        """The board's durable part changed in this step."""
        self.dirty_boards[board.id] = board

    def board_of(self, lane: Lane) -> Board:
        return self.boards[lane.board]

    def proved(self, job: Job) -> bool:
        """Whether a stored row may be acted on: it is of this opening, or its boards proved themselves (R5)."""
        return job.seq >= self.first_seq or all(
            board.proved or board.retired for board in map(self.board_of, job.lanes)
        )

    def unproved(self) -> tuple[int, ...]:
        """The boards whose peers did not compare positions in this opening yet (R5)."""
        return tuple(board.id for board in self.by_name.values() if not board.proved)

    # -- jobs ---------------------------------------------------------------------------------------------------

    def find(self, job_id: bytes) -> Job | None:
        """The resident job, if it is resident."""
        return self.jobs.get(job_id)

    def missing(self, job_id: bytes) -> bool:
        """Whether the store has to be asked before anything can be said about `job_id`."""
        return job_id not in self.jobs and job_id not in self.absent and self.known.maybe(job_id)

    def create(self, job_id: bytes, role: Role, place: Place, now_ms: int) -> Job:
        """A job that was not known; the caller merges its Request and touches it."""
        seq, key = self.quarantined.take(job_id)
        if not seq:
            seq = self.next_seq
            self.next_seq += 1
        elif self.blobs.used and role is not Role.ORIGIN:
            self.blobs.damaged.add(job_id)
        job = Job(job_id, seq, role, now_ms)
        job.place, job.key = place, key if role is Role.ORIGIN else None
        self.jobs[job_id] = job
        self.known.add(job_id)
        self.absent.discard(job_id)
        return job

    def adopt(self, row: Row) -> Job | None:
        """Make a stored job resident; a resident one stays as it is, since memory is ahead of the disk.

        A row that does not match its checksum is quarantined: it counts as unknown, and its number is used again for
        the copy that a neighbour sends (R10), and so is its key, which only this agent knows. None is returned then.
        """
        job = self.jobs.get(row.id)
        if job is not None:
            return job
        try:
            job = Job.from_row(row, self.place_on)
        except CorruptRow as error:
            self.absent.add(row.id)
            if self.quarantined.put(row):
                gone = not self._quarantine(row) or row.never_left
                if gone:
                    self.quarantined.give_up(row.id)
                    self.effects.lost.append(Lost(row.id, error))
                remedy = error.fix if gone else "fetched from the neighbours"
                self.effects.alarms.append(f"{error.message}: it is quarantined; {remedy}")
            return None
        self._doubt(job)
        self.jobs[row.id] = job
        return job

    def _doubt(self, job: Job) -> None:
        if job.live and job.role is Role.DESTINATION and job.up is not None and job.seq < self.first_seq:
            # Before it is recovered, its time may be up or a Cancel may come; it may have run in the lost future.
            job.doubtful |= self.boards[job.up.board].own_loss

    def lost(self, board: Board) -> None:
        """This store is an old copy, as a board showed (R4). Some jobs may have been read before that."""
        board.own_loss = True
        for job in self.jobs.values():
            self._doubt(job)

    def _quarantine(self, row: Row) -> bool:
        """Take a damaged row out of the counts, in the store too: another opening may have no reason to read it again;
        and ask the neighbours for their copies.

        Returns:
            Whether one of them may have one; of those that were revoked none is asked.
        """
        self.effects.batch.quarantined.append(row.seq)
        if len(row.id) != ID_BYTES:
            return True
        if self.blobs.used and row.up_board is not None:
            # Its bytes come again with it, or never. (An origin's people may still want to see a result.)
            self.blobs.damaged.add(row.id)
        asked = False
        for board_id, branch in ((row.up_board, row.up_branch), (row.down_board, row.down_branch)):
            board = None if board_id is None else self.boards.get(board_id)
            if board is None:
                continue
            if not board.retired:
                asked = True
                self.want(board, row.id)
            if row.live and branch is not None:
                counts = board.waiting if row.waiting else board.offered
                count(board.accepted if board_id == row.up_board else counts, branch, -1)
                self.pumped[board.id] = self.roomier[board.id] = board
        return asked

    def want(self, board: Board, job_id: bytes) -> None:
        """Ask the peer of `board` for its copy of a job, now or when it is connected (R10)."""
        if job_id not in board.wanted:
            board.wanted.add(job_id)
            self.touch_board(board)
        if board.open and job_id not in board.asked:
            board.asked.add(job_id)
            self.effects.send.setdefault(board.id, []).append(encode(Type.WANT, Want(job_id)))

    def touch(self, job: Job) -> None:
        """The job changed in this step: it gets numbers where facts wait for one, and its row is stored."""
        self.dirty[job.id] = job

    def make(self, job: Job, kind: Kind, content: Content, now_ms: int) -> Fact:
        """Make a fact of our own, merge it, and have it signed at the end of the step."""
        fact = make(kind, content, self.pack)
        self._unsigned.append(fact)
        job.merge(fact, None, now_ms)
        self.changed(job)
        return fact

    def unsigned(self, fact: Fact) -> None:
        """Have a fact signed at the end of the step that makes it."""
        self._unsigned.append(fact)

    def changed(self, job: Job) -> None:
        """The job says something new: store it and tell whoever watches."""
        self.dirty[job.id] = job
        self.effects.changed.append(job.id)

    def due_ms(self, job: Job) -> int | None:
        """When this agent has to look at the job again: its expiry while it may still say so, the time at which a
        silent job gives its credit back (R6), its horizon once it is finished (R7)."""
        if job.facts[REQUEST] is None:
            return job.changed_ms + int(self.limits.life_max_s * 1000)
        expires = job.request.expires_ms
        if not job.live:
            return expires + int(self.limits.horizon_s * 1000)
        if job.role is Role.DESTINATION:
            return None if job.attempt else expires
        lane = job.down
        if lane is None:
            return None
        if not lane.offered:
            return expires
        return expires + int(self.limits.overdue_s * 1000) if lane.counted else None

    def look_by(self, due_ms: int | None) -> None:
        """Some job falls due then: have the store asked at that time, if not before."""
        if due_ms is not None and (self.next_due_ms is None or due_ms < self.next_due_ms):
            self.next_due_ms = due_ms

    # -- the end of a step --------------------------------------------------------------------------------------

    def sign(self) -> None:
        """Give every fact of this step its proof: one signature for up to 64."""
        unsigned = self._unsigned
        for start in range(0, len(unsigned), BATCH):
            batch = unsigned[start : start + BATCH]
            proofs = sign_batch([fact.digest() for fact in batch], self._sign)
            for fact, proof in zip(batch, proofs, strict=True):
                fact.proof = proof

    def store(self) -> None:
        """Write down every touched job and board."""
        rows = self.effects.batch.rows
        for job in self.dirty.values():
            job.step = self.step
            due = self.due_ms(job)
            row = job.row(due, self.pack)
            rows.append(row)
            if row.live:
                self.look_by(due)
            if not row.live:
                self._finished.append(job.id)
        if self.lazy_boards and (self.dirty_boards or self.effects.batch):
            self.dirty_boards |= self.lazy_boards
            self.lazy_boards.clear()
        for board in self.dirty_boards.values():
            self.effects.batch.boards.append(board.row())

    def trim(self, board: Board) -> None:
        """Let go of the facts of jobs that are home, many at a time (R7)."""
        outbox = board.outbox
        if outbox.home - outbox.trimmed >= TRIM:
            self.effects.batch.trims.append((board.id, outbox.trimmed, outbox.home))
            outbox.trimmed = outbox.home

    def end(self) -> Effects:
        """Hand out the effects of the step, and let go of jobs that memory need not hold."""
        effects = self.effects
        effects.step = self.step
        for query in effects.queries:
            self._asked[id(query)] = self.step
        self.step += 1
        self._begin()
        self.absent.clear()
        self._evict()
        return effects

    def answered(self, query: Query) -> None:
        """The answer of a query of an earlier step is here."""
        self._asked.pop(id(query), None)

    def _evict(self) -> None:
        # A job stays until its last change is durable, and no answer is on its way that may have been read before
        # that change: it would bring the job back as it was.
        # Finished jobs go first: nothing is expected of them but an acknowledgement, which does not need the job.
        keep, durable = self.limits.resident_jobs, min((self.durable_step, *self._asked.values()))
        if len(self._finished) > keep // 8:
            waiting = []
            for job_id in self._finished:
                job = self.jobs.get(job_id)
                if job is None or job.live:
                    continue
                if job.step > durable or job_id in self.pinned:
                    waiting.append(job_id)
                else:
                    del self.jobs[job_id]
            self._finished = waiting
        spare = len(self.jobs) - keep
        if spare > 0:
            oldest = list(islice(self.jobs.values(), spare + len(self.pinned)))
            for job in oldest:
                # What was told ahead of its record is told to whoever asks until then.
                told = job.live and job.ahead is not None
                if job.step <= durable and job.id not in self.pinned and not told:
                    del self.jobs[job.id]

    def alarm(self, text: str) -> None:
        self.effects.alarms.append(text)

    def describe(self, job_id: bytes) -> str:
        """How messages to people name a job."""
        return f"job {short_text(job_id)}"
