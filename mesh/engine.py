"""The engine: the whole agent without the world (CONTRIBUTING.md, "Where things are").

It takes inputs (a put, messages of a peer, the end of a handler, what the store found, the time) and gives `Effects`.
It never waits, reads no clock, draws no random number but by what it was given: a seed gives the same run again.

The duties of whoever drives it:

1. Call `open` once with what the store holds, then feed inputs, each with the time in milliseconds of Unix time.
2. After each input, or after many that wait at once, carry out what is `early`, then call `end_step` and carry its
   effects out in the order that `effects` names. Steps may be carried out while later ones are computed, but their
   commits keep their order.
3. Say `committed` when the batch of a step is durable, and `answer` every query, after the commits before it.
4. Call `tick` at `next_deadline_ms`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from grammar.errors import MeshError
from invitations.card import Card
from invitations.peers import InvitationRow, PeerRow
from mesh.access import Access
from mesh.ahead import take_early
from mesh.arrival import Arrival
from mesh.blobs import Blob
from mesh.board import Board
from mesh.clocks import Clocks
from mesh.counting import overdue, uncount
from mesh.destination import Destination
from mesh.dispatch import acknowledge, build_records, number_all, page, pump
from mesh.effects import (
    Answer,
    AtNumber,
    ById,
    ByKey,
    Bytes,
    Due,
    Early,
    Effects,
    Numbered,
    Reply,
    Revoked,
    Shared,
    Unfinished,
    Usage,
    Waiting,
)
from mesh.ending import Ending
from mesh.errors import NoSuchJob
from mesh.exchange import Exchange
from mesh.facts import REQUEST
from mesh.greeting import Greeting
from mesh.hop import Hop
from mesh.job import Job
from mesh.ledger import Ledger
from mesh.lifecycle import Role
from mesh.limits import Limits
from mesh.liveness import Liveness
from mesh.messages import Hello, Message
from mesh.opening import Snapshot, take_up
from mesh.origin import Origin, Put
from mesh.receiving import Receiving
from mesh.revocation import revoke, settle
from mesh.room import Room
from mesh.row import Row
from mesh.sending import bytes_read, fetched, pump_blobs
from mesh.shortage import Shortage

DUE_PAGE: Final = 512


class Engine:
    """One agent's boards and jobs.

    Args:
        card: this agent's own card.
        sign: gives the Ed25519 signature of its argument under the key of that card.
        random: `random(n)` gives n bytes.
        limits, access: what it accepts and runs.
    """

    def __init__(
        self,
        card: Card,
        sign: Callable[[bytes], bytes],
        random: Callable[[int], bytes],
        limits: Limits,
        access: Access,
    ) -> None:
        self.card = card
        self.ledger = Ledger(card.name, card.fingerprint, sign, random, limits, access)
        self.destination = Destination(self.ledger)
        self._hop = Hop(self.ledger)
        self._origin = Origin(self.ledger, self._hop)
        self._receiving = Receiving(self.ledger)
        self._arrival = Arrival(self.ledger, self.destination, self._hop, self._receiving)
        clocks = Clocks(self.ledger)
        self._greeting = Greeting(self.ledger, clocks)
        self._liveness = Liveness(self.ledger, self._greeting, clocks)
        self._exchange = Exchange(self.ledger, self._greeting, clocks, self._arrival, self._hop, self._receiving)
        self._shortage = Shortage(self.ledger, self._greeting)
        self._wanted: dict[bytes, list[Callable[[Job | None], None]]] = {}
        self._due_asked = False
        self._collect_ms = 0

    # -- opening ------------------------------------------------------------------------------------------------

    def open(self, snapshot: Snapshot) -> None:
        """Begin on what the store holds: a new incarnation is committed with the first step (R4)."""
        take_up(self.ledger, snapshot, self.card)

    def show(self, card: Card) -> None:
        """Use a newer card of our own from now on: a zone was added."""
        self.card = self.ledger.trust.cards[card.fingerprint] = card

    # -- peers --------------------------------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        """What this agent accepts."""
        return self.ledger.limits

    @property
    def boards(self) -> tuple[Board, ...]:
        """The board of every peer, in the order in which they were made."""
        return tuple(self.ledger.by_name.values())

    def zone_of(self, job_id: bytes) -> str:
        """The zone of a job whose handler runs."""
        return self.ledger.jobs[job_id].request.zone

    def board(self, zone: str, name: str) -> Board | None:
        """The board shared with `name` in `zone`, if there is one."""
        return self.ledger.by_name.get((zone, name))

    def expect(self, invitation: InvitationRow) -> None:
        """An invitation was written: jobs may be put for its agent from now on."""
        self.ledger.effects.batch.invitations.append(invitation)
        self.ledger.expect(invitation.zone, invitation.name, invitation.kind or "", None)

    def pair(self, peer: PeerRow, invitation: InvitationRow | None = None) -> Board:
        """Pin a peer, with the invitation it used, in one commit (section 6)."""
        batch = self.ledger.effects.batch
        batch.peers.append(peer)
        if invitation is not None:
            batch.invitations.append(invitation)
        if self.ledger.trust.learn(peer.card) is not None:
            batch.cards.append((peer.fingerprint, peer.card))
        return self.ledger.expect(peer.zone, peer.name, peer.kind, peer.fingerprint)

    def revoke(self, peers: Iterable[PeerRow]) -> None:
        """Make peers strangers again, by their revoked rows: their links close, their keys start no job here, and
        what only they could end is ended as lost (R6)."""
        for peer in peers:
            self.ledger.effects.batch.peers.append(peer)
            self.ledger.revoked.add(peer.fingerprint)
            board = self.board(peer.zone, peer.name)
            if board is not None:
                revoke(self.ledger, board)

    def trust(self, zone: str, route: str, fingerprint: bytes) -> None:
        """Believe that the agent at `route` has this key from now on; no bytes forget the one that is pinned, so that
        the next one seen is. Jobs that name the old key are refused by the last hop and end."""
        self.ledger.trust.repin(zone, route, fingerprint)
        self.ledger.effects.batch.pins.append((zone, route, fingerprint))

    def greet(self, board: Board, now_ms: int) -> None:
        """Begin a new link of `board`: what is sent on that board from this step on belongs to the new link, and
        starts with our HELLO. An older link of the board is replaced (R11)."""
        self._greeting.hello(board, self.ledger.access.told, now_ms)

    def connected(self, board: Board, hello: Hello, now_ms: int) -> None:
        """The peer's HELLO arrived on the link that `greet` began, and its other end was admitted."""
        self._greeting.connected(board, hello, now_ms)

    def disconnected(self, board: Board) -> None:
        """The link of `board` is gone."""
        self._greeting.disconnected(board)

    def received(self, board: Board, messages: list[Message], now_ms: int) -> None:
        """Messages came over the link of `board`."""
        if board.open:
            self._exchange.received(board, messages, now_ms)

    # -- jobs ---------------------------------------------------------------------------------------------------

    def put(self, token: int, put: Put, now_ms: int) -> None:
        """Make a job; its id is replied under `token`, once durable.

        Raises:
            PutRefused, GrammarError: the origin knows it to be wrong; nothing is stored.
        """
        self._origin.put(token, put, now_ms)

    def cancel(self, token: int, job_id: bytes, now_ms: int) -> None:
        """Ask for a job to be stopped; replied under `token` once that wish is durable."""
        self._command(token, job_id, lambda job: self._origin.cancel(job, now_ms))

    def delete(self, token: int, job_id: bytes, now_ms: int) -> None:
        """Stop and forget a job; replied under `token` once the tombstone is durable."""
        self._command(token, job_id, lambda job: self._origin.delete(job, now_ms))

    def retry(self, token: int, job_id: bytes, life_s: float | None, now_ms: int, payload: Blob | None = None) -> None:
        """Put a job that failed once more; the id of the new one is replied under `token` once that is durable. The
        same job retried again gives the same new one."""
        self._on_job(token, job_id, lambda job: self._origin.retry(token, job, life_s, now_ms, payload=payload))

    def fetch(self, job_id: bytes) -> None:
        """Read the stored row of a job, which somebody saw is damaged: it is quarantined and asked for (R10)."""
        self._with_job(job_id, lambda _: None)

    def _command(self, token: int, job_id: bytes, act: Callable[[Job], None]) -> None:
        def run(job: Job) -> None:
            act(job)
            self.ledger.effects.replies.append(Reply(token, job_id))

        self._on_job(token, job_id, run)

    def _on_job(self, token: int, job_id: bytes, act: Callable[[Job], None]) -> None:
        def run(job: Job | None) -> None:
            try:
                if job is None or job.facts[REQUEST] is None:
                    raise NoSuchJob("this agent has no such job, or only remembers that it is over")
                act(job)
            except MeshError as error:
                self.ledger.effects.replies.append(Reply(token, error))

        self._with_job(job_id, run)

    def _with_job(self, job_id: bytes, run: Callable[[Job | None], None]) -> None:
        if not self.ledger.missing(job_id):
            run(self.ledger.find(job_id))
            return
        self._wanted.setdefault(job_id, []).append(run)
        self.ledger.effects.queries.append(ById((job_id,)))

    def early(self) -> Early | None:
        """What came since the last call and does not wait for the end of its step; None for nothing."""
        return take_early(self.ledger)

    # -- handlers -----------------------------------------------------------------------------------------------

    def finished(self, job_id: bytes, ending: Ending, now_ms: int) -> None:
        """The handler of a job ended."""
        job = self.ledger.find(job_id)
        if job is not None:
            self.destination.finished(job, ending, now_ms)

    def requeued(self, job_id: bytes, now_ms: int) -> None:
        """The handler of a job was stopped by a clean stop of this agent."""
        job = self.ledger.find(job_id)
        if job is not None:
            self.destination.requeued(job, now_ms)

    def progress(self, job_id: bytes, message: str | None, fraction: float | None, now_ms: int) -> None:
        """The handler of a job reports."""
        job = self.ledger.find(job_id)
        if job is not None:
            self.destination.progress(job, message, fraction, now_ms)

    def committed(self, step: int) -> None:
        """The batch of a step, and of all before it, is durable: what it changed need not stay in memory."""
        self.ledger.durable_step = step

    # -- the store ----------------------------------------------------------------------------------------------

    def room(self, room: Room, now_ms: int) -> None:
        """The store says how much room it has left, from now on."""
        self._shortage.told(room, now_ms)
        self._receiving.grant_all()

    def answer(self, answer: Answer, now_ms: int) -> None:
        """The store found this for a query of an earlier step."""
        query = answer.query
        self.ledger.answered(query)
        match query:
            case ById():
                self._found(query.ids, answer.rows, now_ms)
            case ByKey():
                self._origin.keyed(query.key, answer.rows[0] if answer.rows else None, now_ms)
            case Numbered() | Waiting() | Shared():
                page(self.ledger, query, answer.rows)
            case AtNumber():
                self._refused(query, answer.rows, now_ms)
            case Revoked():
                settle(self.ledger, self._hop, self.destination, query, answer.rows, now_ms)
            case Unfinished():
                self._recover(query, answer.rows, now_ms)
            case Due():
                self._fall_due(answer, now_ms)
            case Bytes():
                if query.blob:
                    self._receiving.bytes_read(query, answer.slices)
                else:
                    bytes_read(self.ledger, query, answer.slices)
            case Usage():
                self._receiving.usage(query, answer.size)

    def _found(self, ids: tuple[bytes, ...], rows: list[Row], now_ms: int) -> None:
        ledger = self.ledger
        for row in rows:
            ledger.adopt(row)
        for job_id in ids:
            if job_id not in ledger.jobs:
                ledger.absent.add(job_id)
            self.destination.fetched(job_id)
            fetched(ledger, job_id)
            for run in self._wanted.pop(job_id, ()):
                run(ledger.find(job_id))
        for board in ledger.boards.values():
            if board.awaited and board.awaited.issubset(ids):
                board.awaited = set()
                self._exchange.drain(board, now_ms)

    def _refused(self, query: AtNumber, rows: list[Row], now_ms: int) -> None:
        board = self.ledger.boards[query.board]
        jobs = [job for row in rows if (job := self.ledger.adopt(row)) is not None]
        for number, reason, detail in query.refused:
            for job in jobs:
                self._exchange.refused(board, job, (number, reason, detail), query.credits, now_ms)
        self._exchange.confirm(board, query.refused)
        if query.link == board.link:
            board.outbox.acknowledge(query.received)

    def _recover(self, query: Unfinished, rows: list[Row], now_ms: int) -> None:
        board = self.ledger.boards[query.board]
        for row in rows:
            if row.seq >= self.ledger.first_seq:
                continue
            job = self.ledger.adopt(row)
            if job is not None:
                self.destination.recover(job, now_ms, own_loss=board.own_loss)
        if len(rows) < query.limit:
            board.own_loss = False
            self.ledger.touch_board(board)
        else:
            self.ledger.effects.queries.append(Unfinished(query.board, rows[-1].seq, query.limit))

    def _fall_due(self, answer: Answer, now_ms: int) -> None:
        self._due_asked = False
        # What was stored since the store was asked may fall due before what it found.
        self.ledger.look_by(answer.next_ms)
        for row in answer.rows:
            job = self.ledger.adopt(row)
            if job is None or not job.live or not self.ledger.proved(job) or job.request.expires_ms > now_ms:
                continue
            if job.role is Role.DESTINATION:
                self.destination.expire(job, now_ms)
            elif job.down is not None and job.down.offered:
                overdue(self.ledger, job, now_ms)
            else:
                self._hop.expire(job, now_ms)

    # -- time ---------------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do, if nothing else happens before."""
        due = None if self._due_asked else self.ledger.next_due_ms
        watched = (self.destination.next_deadline_ms(), self._liveness.next_deadline_ms())
        times = (due, self._collect_ms, *watched, self._shortage.next_deadline_ms())
        return min((time for time in times if time is not None), default=None)

    def tick(self, now_ms: int) -> None:
        """Do what time asks for."""
        self.destination.report(now_ms)
        self._liveness.watch(now_ms)
        self._shortage.tick(now_ms)
        ledger = self.ledger
        if ledger.next_due_ms is not None and ledger.next_due_ms <= now_ms and not self._due_asked:
            self._due_asked, ledger.next_due_ms = True, None
            ledger.effects.queries.append(Due(now_ms, DUE_PAGE, ledger.first_seq, ledger.unproved()))
        if now_ms >= self._collect_ms:
            self._collect_ms = now_ms + int(ledger.limits.collect_s * 1000)
            ledger.effects.batch.collect_ms = now_ms
            self._receiving.sweep(now_ms)

    # -- the end of a step --------------------------------------------------------------------------------------

    def end_step(self, now_ms: int) -> Effects:
        """Close the step: fill free slots, sign, number, store, pack; see `effects` for what to do with it."""
        ledger = self.ledger
        self.destination.fill(now_ms)
        uncount(ledger)
        number_all(ledger)
        ledger.sign()
        build_records(ledger)
        for board in (*ledger.paged, *ledger.pumped.values()):
            self._greeting.stepped(board)
        acknowledge(ledger)
        # Behind the refusals it answers, or it would be taken for an older word.
        self._greeting.credit_again()
        for board in ledger.pumped.values():
            pump(ledger, board)
            pump_blobs(ledger, board)
        self._receiving.settle()
        ledger.store()
        return ledger.end()
