"""The origin's part: make, cancel and delete jobs (rules R6, R7, R9).

A put is answered once the job is durable. What the origin can know to be wrong is refused at once, and nothing of it
is stored. The same idempotency key gives the same job for as long as the origin keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from hashlib import blake2b
from typing import Final, NamedTuple

from grammar.destination import Destination
from grammar.errors import MeshError
from grammar.names import nearest
from mesh.access import BUILT_IN
from mesh.blobs import Blob
from mesh.board import Board
from mesh.effects import ByKey, Reply
from mesh.errors import Busy, Denied, NotOurJob, PutRefused, TooLarge, UnknownForPeer, UnknownPeer
from mesh.facts import (
    CANCEL,
    DELETE,
    NONCE_BYTES,
    REQUEST,
    VERSION,
    Cancel,
    Delete,
    Request,
    id_text,
    make,
    short_text,
)
from mesh.hop import Hop
from mesh.job import Job
from mesh.lane import HAS, NEVER, Lane
from mesh.ledger import Ledger
from mesh.lifecycle import Role, State
from mesh.room import Room, refused_put
from mesh.routing import Place, route_down
from mesh.row import Row
from mesh.staging import keep

MAX_KEY: Final = 128
RETRIED: Final = frozenset({State.ERROR, State.REJECTED, State.EXPIRED, State.CANCELLED})
"""States from which a job may be put once more."""


class Put(NamedTuple):
    """A wish for a job.

    Attributes:
        zone: the zone it travels in.
        path: dotted path, this agent first.
        instruction: its text.
        life_s: how long it may wait for its first start, in seconds; None for the default.
        key: idempotency key, or None.
        circle, context: the namespace it acts in.
        parent: the job on whose behalf this one is put, or None.
        repeats: a job of this agent that is put once more by this, or None; it is named as the parent, and its rights
            are the origin's own.
        payload: bytes that go with it, or None (R14).
        today: what words such as `this_week` in the instruction count from; they travel as dates then.
        options: further settings, as the instruction's destination understands them.
    """

    zone: str
    path: str
    instruction: str
    life_s: float | None = None
    key: str | None = None
    circle: str = ""
    context: str = ""
    parent: bytes | None = None
    repeats: bytes | None = None
    options: Mapping[str, object] | None = None
    payload: Blob | None = None
    today: date | None = None


class Origin:
    """The jobs that start at this agent."""

    def __init__(self, ledger: Ledger, hop: Hop) -> None:
        self._ledger = ledger
        self._hop = hop
        self._by_key: dict[str, list[tuple[int, Put, int]]] = {}

    # -- put ----------------------------------------------------------------------------------------------------

    def put(self, token: int, put: Put, now_ms: int) -> None:
        """Make a job; the reply under `token` comes with the commit.

        Raises:
            PutRefused: the origin knows it to be wrong; nothing is stored.
            GrammarError: the path or the instruction is not of the language.
        """
        place, board, text = self._check(put, now_ms)
        key = put.key
        if key is None:
            self._make(token, put, place, board, text, now_ms)
            return
        if not 0 < len(key) <= MAX_KEY or not key.isprintable():
            raise PutRefused(f"an idempotency key has 1 to {MAX_KEY} printable characters")
        if key in self._by_key:
            self._by_key[key].append((token, put, now_ms))
        elif self._ledger.keys.maybe(hash_of_key(key)):
            self._by_key[key] = [(token, put, now_ms)]
            self._ledger.effects.queries.append(ByKey(key))
        else:
            self._make(token, put, place, board, text, now_ms)

    def keyed(self, key: str, row: Row | None, now_ms: int) -> None:
        """The store says which job was put with `key`, if any."""
        held = None if row is None else self._ledger.adopt(row)
        sent_and_damaged = held is None and row is not None and not row.never_left
        for token, put, _ in self._by_key.pop(key, ()):
            try:
                place, board, text = self._check(put, now_ms)
                if sent_and_damaged:
                    # Its copy is on the way from the neighbour: another job would be the same work a second time.
                    raise PutRefused(
                        f'the stored row of the job that was put with the key "{key}" is damaged',
                        fix="put it again in a moment; if the neighbours do not have it either, with a new key",
                    )
                if held is None:
                    held = self._make(token, put, place, board, text, now_ms)
                    continue
                payload = None if put.payload is None else list(put.payload.name)
                if (held.request.path, held.request.instruction, held.request.payload) != (put.path, text, payload):
                    raise PutRefused(
                        f'the key "{key}" was used for another job, {self._ledger.describe(held.id)}',
                        fix="use a new key for a new job",
                    )
                self._ledger.effects.replies.append(Reply(token, held.id))
            except MeshError as error:
                self._ledger.effects.replies.append(Reply(token, error))

    def _make(self, token: int, put: Put, place: Place, board: Board, text: str, now_ms: int) -> Job:
        ledger = self._ledger
        if ledger.room is not Room.ENOUGH:
            raise refused_put(ledger.room, ledger.name)
        life_s = ledger.limits.life_s if put.life_s is None else put.life_s
        parent = self._parent(put)
        content = Request(
            VERSION,
            ledger.random(NONCE_BYTES),
            put.zone,
            put.path,
            ledger.fingerprint,
            self._destination(place, board, put.zone),
            text,
            None if put.payload is None else list(put.payload.name),
            put.circle,
            put.context,
            now_ms,
            now_ms + int(life_s * 1000),
            dict(put.options) if put.options else None,
            put.repeats if parent is None else parent.id,
            None if parent is None else self._lineage(parent),
        )
        fact = make(REQUEST, content, ledger.pack)
        if len(fact.body) > ledger.limits.request_bytes:
            raise TooLarge(f"the request has {len(fact.body)} bytes, at most {ledger.limits.request_bytes} are taken")
        job = ledger.create(fact.job_id, Role.ORIGIN, place, now_ms)
        job.down = Lane(board.id)
        ledger.unsigned(fact)
        job.merge(fact, None, now_ms)
        job.key = put.key
        if put.key is not None:
            ledger.keys.add(hash_of_key(put.key))
        if put.payload is not None:
            keep(ledger, job, fact, put.payload, now_ms)
        ledger.changed(job)
        ledger.effects.replies.append(Reply(token, job.id))
        return job

    def _parent(self, put: Put) -> Job | None:
        if put.parent is None:
            return None
        parent = self._ledger.find(put.parent)
        if parent is None or parent.role is not Role.DESTINATION:
            raise PutRefused(
                "the parent is not a job that runs here", fix="put a child from within its parent's handler"
            )
        return parent

    def _destination(self, place: Place, board: Board, zone: str) -> bytes | None:
        if len(place.names) == 2:
            return board.fingerprint
        return self._ledger.trust.pins.get((zone, route_down(place.names, 0, len(place.names) - 1)))

    def _lineage(self, parent: Job) -> list[list[bytes]]:
        ledger = self._ledger
        fact = parent.facts[REQUEST]
        card = ledger.trust.cards.get(parent.request.origin)
        if fact is None or card is None:
            raise PutRefused("the parent's request is not at hand", fix="put the job without a parent")
        lineage = [[fact.body, fact.proof, card.data], *(parent.request.lineage or [])]
        if len(lineage) > ledger.limits.children_depth:
            raise PutRefused(
                f"jobs may be {ledger.limits.children_depth} deep, this one would be deeper",
                fix="put it without a parent, or raise children_depth under [limits]",
            )
        return lineage

    def _check(self, put: Put, now_ms: int) -> tuple[Place, Board, str]:
        ledger, limits = self._ledger, self._ledger.limits
        place = ledger.place(put.path)
        if place is None or place.index:
            names = Destination.parse(put.path).agents
            raise PutRefused(
                f'the path starts with "{names[0]}", and this agent is "{ledger.name}"',
                fix=f'start it with "{ledger.name}", or put the job at "{names[0]}"',
            )
        if len(place.names) > limits.path_hops:
            raise PutRefused(f"a path has at most {limits.path_hops} agents, this one has {len(place.names)}")
        board = self._first_hop(put.zone, place.names[1])
        if len(put.instruction.encode()) > limits.instruction_bytes:
            raise TooLarge(f"an instruction has at most {limits.instruction_bytes} bytes")
        text = self._instruction(put, place, board)
        if put.payload is not None and put.payload.name.length > limits.blob_bytes:
            raise TooLarge(
                f"the payload has {put.payload.name.length} bytes, at most {limits.blob_bytes} are taken",
                fix="put the bytes where the destination can fetch them, and say where",
            )
        if put.life_s is not None and not 0.001 <= put.life_s <= limits.life_max_s:
            raise PutRefused(f"a job may wait between 0.001 and {limits.life_max_s:.0f} seconds, not {put.life_s}")
        beyond = place.names[2] if len(place.names) > 2 else ""
        parent = self._parent(put)
        depth = 0 if parent is None else parent.depth + 1
        waiting = board.waiting.get(f"{depth}:{beyond}", 0)
        if waiting >= limits.waiting_jobs:
            raise Busy(
                f'{waiting} jobs wait for "{board.name}" already',
                fix=f'wait until some are through, or see why "{board.name}" is not connected: mesh peers',
            )
        return place, board, text

    def _first_hop(self, zone: str, name: str) -> Board:
        board = self._ledger.by_name.get((zone, name))
        if board is not None:
            return board
        elsewhere = [other for other, known in self._ledger.by_name if known == name]
        if elsewhere:
            raise UnknownPeer(
                f'"{name}" is a peer in zone "{elsewhere[0]}", not in "{zone}"',
                fix=f"add --zone {elsewhere[0]}",
            )
        close = nearest(name, [known for known_zone, known in self._ledger.by_name if known_zone == zone])
        raise UnknownPeer(
            f'agent "{self._ledger.name}" has no peer "{name}" in zone "{zone}"',
            fix=f'did you mean "{close}"?' if close else f"invite it first: mesh invite {name}",
        )

    def _instruction(self, put: Put, place: Place, board: Board) -> str:
        """The canonical text, checked as far as this agent can know (PROTOCOL.md 12)."""
        ledger = self._ledger
        vocabulary = ledger.access.vocabulary
        instruction = vocabulary.read(put.instruction)
        keyword = instruction.keyword
        direct = len(place.names) == 2
        if direct and board.keywords is not None and keyword not in board.keywords and keyword not in BUILT_IN:
            close = nearest(keyword, board.keywords)
            raise UnknownForPeer(
                f'"{board.name}" has no instruction "{keyword}"',
                fix=f'did you mean "{close}"?' if close else "see what it has: mesh peers --json",
            )
        for portal in instruction.portals:
            denial = ledger.access.claims(portal, ledger.fingerprint, None, None)
            if denial is not None:
                raise Denied(denial.message)
        return str(instruction if put.today is None else instruction.resolved(put.today))

    # -- retry --------------------------------------------------------------------------------------------------

    def retry(self, token: int, job: Job, life_s: float | None, now_ms: int, *, payload: Blob | None = None) -> None:
        """Put a job that failed once more: the same text, a new life, the old one as its parent. The key is made of the
        old id, so that asking twice puts one.

        Args:
            life_s: how long it may wait; None for as long as the old one.
            payload: that of the old one, if it is still here.

        Raises:
            NotOurJob: this agent is not its origin.
            PutRefused: it is not over, or there is nothing to repeat; or as `put`.
        """
        self._ours(job)
        ledger, request = self._ledger, job.request
        named = ledger.describe(job.id)
        if job.state not in RETRIED:
            told = "is not over" if job.live else f"is {job.state}"
            fix = f"see it: mesh watch {named.split()[-1]}" if job.live else "put a new one"
            raise PutRefused(f"{named} {told}: only one that failed is put again", fix=fix)
        if request.lineage:
            parent = f"{short_text(request.parent)}" if request.parent is not None else "its parent"
            raise PutRefused(
                f"{named} was put by the handler of job {parent}, and has its rights from there",
                fix="retry that one, where it was put",
            )
        if request.payload is not None and (payload is None or list(payload.name) != request.payload):
            raise PutRefused(
                f"{named} had a payload, which is not here any more", fix="put a new one, with its payload"
            )
        lasted_s = (request.expires_ms - request.created_ms) / 1000
        wish = Put(
            request.zone,
            request.path,
            request.instruction,
            life_s=min(lasted_s, ledger.limits.life_max_s) if life_s is None else life_s,
            key=retry_key(job.id),
            circle=request.circle,
            context=request.context,
            payload=payload,
            repeats=job.id,
            options=request.options,
        )
        self.put(token, wish, now_ms)

    # -- cancel and delete --------------------------------------------------------------------------------------

    def cancel(self, job: Job, now_ms: int) -> None:
        """Ask for a job to be stopped; nothing happens to one that is over.

        Raises:
            NotOurJob: this agent is not its origin.
        """
        self._ours(job)
        if not job.live or job.facts[CANCEL] is not None:
            return
        if job.down is not None and not job.down.offered and self._ledger.proved(job):
            self._hop.refuse(job, "cancelled", "cancelled before it was sent", "", now_ms)
        else:
            self._ledger.make(job, CANCEL, Cancel(VERSION, job.id, self._ledger.fingerprint, now_ms), now_ms)

    def delete(self, job: Job, now_ms: int) -> None:
        """Stop and forget a job; a tombstone stays until its horizon.

        Raises:
            NotOurJob: this agent is not its origin.
        """
        self._ours(job)
        if job.facts[DELETE] is not None:
            return
        lane = job.down
        unsent = lane is not None and not lane.offered and self._ledger.proved(job)
        self._ledger.make(job, DELETE, Delete(VERSION, job.id, self._ledger.fingerprint, now_ms), now_ms)
        if unsent and lane is not None:
            lane.sent = [HAS] * len(lane.sent)
        elif lane is not None and not lane.offered:
            # An unproved store says that it was never offered: the Delete goes with its Request, to be understood.
            lane.sent[REQUEST] = NEVER

    def _ours(self, job: Job) -> None:
        if job.role is not Role.ORIGIN:
            maker = job.place.names[0] if job.place.names else "another agent"
            raise NotOurJob(
                f'{self._ledger.describe(job.id)} was made by "{maker}"',
                fix="only the agent that put a job can cancel, delete or retry it",
            )


def retry_key(job_id: bytes) -> str:
    """The idempotency key of the job that repeats `job_id`."""
    return f"retry {id_text(job_id)}"


def hash_of_key(key: str) -> bytes:
    """The 20 bytes by which a key is remembered in a filter."""
    return blake2b(key.encode(), digest_size=20).digest()
