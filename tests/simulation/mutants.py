"""Planted bugs: each breaks one delivery rule, and the simulation has to find it before its silence counts.

A mutant is a context manager that replaces a function for as long as it lasts. Most change a rule of the engine; some
change the order in which the simulated agent carries effects out, or what its store does. `losses` says whether the
bug can only be seen when a store is lost or restored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from mesh import arrival, dispatch, exchange
from mesh.arrival import Arrival
from mesh.board import Board, count
from mesh.destination import Destination, Ending
from mesh.dispatch import withdraw
from mesh.effects import Batch, Effects
from mesh.engine import Engine
from mesh.exchange import Exchange
from mesh.facts import Kind
from mesh.failpoints import Disk
from mesh.greeting import Greeting
from mesh.hop import Hop
from mesh.host import Host
from mesh.job import Job, Merge
from mesh.lane import Lane
from mesh.ledger import Ledger
from mesh.lifecycle import State
from mesh.origin import Origin
from mesh.positions import Incarnations
from mesh.replication import Inbox, Outbox
from mesh.trust import NO_CARD
from tests.simulation.schedules import Schedule, Slant, as_drawn


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug.

    Attributes:
        name: what people call it.
        plant: makes the context manager.
        losses: whether its schedules lose stores; None to let chance decide.
        slant: makes what it needs happen more often.
        background: what honest agents may do and seldom do, and what it needs to be seen.
    """

    name: str
    plant: Callable[[], AbstractContextManager[None]]
    losses: bool | None
    slant: Slant = as_drawn
    background: Callable[[], AbstractContextManager[None]] = nullcontext


def restored_often(schedule: Schedule) -> Schedule:
    """Stores are put back to old copies all the time, while jobs are short."""
    return replace(
        schedule,
        habits=replace(
            schedule.habits, jobs=14, seconds=12.0, restores=8, losses=3, cancels=0.0, deletes=0.0, cut_every_s=2.0
        ),
        faults=replace(schedule.faults, handler_ms=1_000, down_s=0.5),
    )


def _planted(target: Any, name: str, bad: Any) -> Iterator[None]:
    with patch.object(target, name, bad):
        yield


# -- the order of effects ----------------------------------------------------------------------------------------


@contextmanager
def send_before_commit() -> Iterator[None]:
    """Records leave while their commit is still waiting."""
    good = Host._step

    def step(host: Host) -> None:
        before = len(host._commits)
        good(host)
        for effects, linked in host._commits[before:]:
            for board_id in list(effects.send):
                if host.engine is not None:
                    host._send(board_id, effects.send.pop(board_id), linked)

    yield from _planted(Host, "_step", step)


@contextmanager
def answer_before_commit() -> Iterator[None]:
    """A caller is told that a put is durable before it is."""
    good = Host._step

    def step(host: Host) -> None:
        before = len(host._commits)
        good(host)
        for effects, _ in host._commits[before:]:
            while effects.replies and host.engine is not None:
                reply = effects.replies.pop()
                host._reply(reply.token, reply.result)

    yield from _planted(Host, "_step", step)


@contextmanager
def start_before_commit() -> Iterator[None]:
    """A handler starts before its attempt is durable."""
    good = Host._step

    def step(host: Host) -> None:
        before = len(host._commits)
        good(host)
        for effects, _ in host._commits[before:]:
            while effects.start and host.engine is not None:
                host._start_handler(effects.start.pop())

    yield from _planted(Host, "_step", step)


def _in_two(first: Callable[[Batch], Batch]) -> Callable[[Host, Effects], None]:
    good = Host._commit

    def commit(host: Host, effects: Effects) -> None:
        host.disk.apply([first(effects.batch)])
        if not host._dies():
            good(host, effects)

    return commit


@contextmanager
def watermark_before_data() -> Iterator[None]:
    """The received watermark is durable in a transaction before the rows."""
    commit = _in_two(lambda batch: Batch(boards=batch.boards))
    with _only_while_up():
        yield from _planted(Host, "_commit", commit)


@contextmanager
def _only_while_up() -> Iterator[None]:
    # A commit that breaks off in the middle ends the life of the agent, and what was to follow.
    good = Host._carry_out

    def carry_out(host: Host) -> None:
        with contextlib.suppress(AssertionError, AttributeError):
            good(host)

    with patch.object(Host, "_carry_out", carry_out):
        yield


@contextmanager
def acknowledge_on_arrival() -> Iterator[None]:
    """An acknowledgement goes out when the record arrives, not when it is durable."""
    good = Host._step

    def step(host: Host) -> None:
        before = len(host._commits)
        good(host)
        for effects, linked in host._commits[before:]:
            for board_id, packed in list(effects.send.items()):
                acks = [one for one in packed if one[1] == 3]
                effects.send[board_id] = [one for one in packed if one[1] != 3]
                if acks and host.engine is not None:
                    host._send(board_id, acks, linked)

    yield from _planted(Host, "_step", step)


@contextmanager
def half_a_step_committed() -> Iterator[None]:
    """Of several rows that one step changes, the last is committed without the others."""

    def first(batch: Batch) -> Batch:
        return Batch(rows=batch.rows[:1], boards=batch.boards)

    with _only_while_up():
        yield from _planted(Host, "_commit", _in_two(first))


# -- who may end a job -------------------------------------------------------------------------------------------


@contextmanager
def offered_job_expires_where_it_waits() -> Iterator[None]:
    """A hop, or the origin, says expired of a job that it has offered."""
    good_due = Ledger.due_ms

    def due_ms(ledger: Ledger, job: Job) -> int | None:
        due = good_due(ledger, job)
        return job.request.expires_ms if job.live and job.facts[Kind.REQUEST] is not None and job.down else due

    def overdue(ledger: Ledger, job: Job, now_ms: int) -> None:
        hop = Hop(ledger)
        hop._reject(job, "expired", "too late", "", now_ms)

    with patch.object(Ledger, "due_ms", due_ms):
        yield from _planted(Ledger, "overdue", overdue)


@contextmanager
def hop_cancels_what_it_offered() -> Iterator[None]:
    """A hop answers a Cancel itself, though the job has gone on."""

    def cancel(hop: Hop, job: Job, now_ms: int) -> None:
        if job.live and job.down is not None:
            hop._reject(job, "cancelled", "cancelled on the way", "", now_ms)

    yield from _planted(Hop, "cancel", cancel)


@contextmanager
def origin_cancels_what_it_offered() -> Iterator[None]:
    """The origin answers a cancel itself, though the job has gone on."""

    def cancel(origin: Origin, job: Job, now_ms: int) -> None:
        if job.live:
            origin._hop._reject(job, "cancelled", "cancelled here", "", now_ms)

    yield from _planted(Origin, "cancel", cancel)


@contextmanager
def offered_is_not_durable() -> Iterator[None]:
    """The mark that a job was offered is only in memory."""

    def record(lane: Lane) -> list[object]:
        return [lane.board, lane.number, *lane.sent[1:], False, lane.reissued]

    yield from _planted(Lane, "record", record)


@contextmanager
def destination_expires_what_runs() -> Iterator[None]:
    """The destination says expired of a job whose handler runs."""

    def expire(destination: Destination, job: Job, now_ms: int) -> None:
        destination._end(job, Ending(State.EXPIRED), now_ms)

    good = Ledger.due_ms

    def due_ms(ledger: Ledger, job: Job) -> int | None:
        return job.request.expires_ms if job.live and job.up and not job.down else good(ledger, job)

    with patch.object(Ledger, "due_ms", due_ms):
        yield from _planted(Destination, "expire", expire)


@contextmanager
def starts_after_expiry() -> Iterator[None]:
    """Nobody looks at the expiry of a job before its first start."""

    def expire(destination: Destination, job: Job, now_ms: int) -> None: ...

    good = Destination._start

    def start(destination: Destination, job: Job, now_ms: int) -> bool:
        return good(destination, job, min(now_ms, job.request.expires_ms))

    with patch.object(Destination, "_start", start):
        yield from _planted(Destination, "expire", expire)


# -- deletes -----------------------------------------------------------------------------------------------------


@contextmanager
def delete_leaves_no_tombstone() -> Iterator[None]:
    """A delete forgets the row, instead of keeping a tombstone."""
    good = Disk.apply

    def apply(disk: Disk, batches: Any) -> None:
        good(disk, batches)
        deleted = [row for row in disk.rows.values() if list(State)[row.state] is State.DELETED]
        for row in deleted:
            del disk.rows[row.seq], disk._ids[row.id], disk.by_id[row.id]

    yield from _planted(Disk, "apply", apply)


@contextmanager
def delete_is_not_sticky() -> Iterator[None]:
    """A later fact wakes a deleted job."""
    good = Job.merge

    def merge(job: Job, fact: Any, source: Any, now_ms: int) -> Merge:
        if job.state is State.DELETED and fact.kind in (Kind.OUTCOME, Kind.PROGRESS):
            job.facts[Kind.DELETE] = None
            job.state = State.PENDING
        return good(job, fact, source, now_ms)

    yield from _planted(Job, "merge", merge)


@contextmanager
def delete_does_not_stop_the_start() -> Iterator[None]:
    """The destination starts a job whose Delete it holds."""
    good = Destination._start

    def start(destination: Destination, job: Job, now_ms: int) -> bool:
        if job.state is State.DELETED:
            job.state = State.CLAIMED
        return good(destination, job, now_ms)

    yield from _planted(Destination, "_start", start)


# -- what is remembered ------------------------------------------------------------------------------------------


@contextmanager
def collected_too_early() -> Iterator[None]:
    """Finished jobs are forgotten at once, not at their horizon."""
    good = Ledger.due_ms

    def due_ms(ledger: Ledger, job: Job) -> int | None:
        return job.changed_ms if not job.live else good(ledger, job)

    yield from _planted(Ledger, "due_ms", due_ms)


@contextmanager
def home_told_too_early() -> Iterator[None]:
    """A hop says that an Outcome is at its origin as soon as it has it itself."""

    def home(inbox: Inbox) -> int:
        return inbox.number

    yield from _planted(Inbox, "home", property(home))


@contextmanager
def key_forgotten() -> Iterator[None]:
    """An idempotency key is not looked up."""
    good = Origin.put

    def put(origin: Origin, token: int, put: Any, now_ms: int) -> None:
        good(origin, token, replace(put, key=None), now_ms)

    yield from _planted(Origin, "put", put)


# -- merging -----------------------------------------------------------------------------------------------------


@contextmanager
def version_by_wall_clock() -> Iterator[None]:
    """Of two reports the one with the later time holds."""
    good = Job._replaces

    def replaces(job: Job, fact: Any, held: Any) -> bool:
        if fact.kind is Kind.PROGRESS and held is not None:
            return bool(fact.content.at_ms > held.content.at_ms)
        return good(job, fact, held)

    yield from _planted(Job, "_replaces", replaces)


@contextmanager
def progress_after_outcome() -> Iterator[None]:
    """A report that comes after the Outcome is taken."""
    good = Job.merge

    def merge(job: Job, fact: Any, source: Any, now_ms: int) -> Merge:
        if fact.kind is Kind.PROGRESS and job.facts[Kind.OUTCOME] is not None:
            job.facts[Kind.PROGRESS] = fact
            job.move(State.RUNNING, now_ms)
            return Merge.CHANGED
        return good(job, fact, source, now_ms)

    yield from _planted(Job, "merge", merge)


@contextmanager
def second_outcome_overwrites() -> Iterator[None]:
    """Of two Outcomes the later one holds."""
    good = Job.merge

    def merge(job: Job, fact: Any, source: Any, now_ms: int) -> Merge:
        held = job.facts[Kind.OUTCOME]
        if fact.kind is Kind.OUTCOME and held is not None and held.body != fact.body:
            job.facts[Kind.OUTCOME] = None
            if job.live is False:
                job.state = State.RUNNING
        return good(job, fact, source, now_ms)

    yield from _planted(Job, "merge", merge)


# -- numbers and windows -----------------------------------------------------------------------------------------


@contextmanager
def credit_leaks() -> Iterator[None]:
    """A finished job keeps its credit now and then."""
    good = Ledger._uncount

    def uncount(ledger: Ledger, job: Job) -> None:
        if job.down is not None and job.outcome is not None and job.outcome.error is not None:
            job.down.counted = False
        good(ledger, job)

    yield from _planted(Ledger, "_uncount", uncount)


@contextmanager
def credit_not_asked() -> Iterator[None]:
    """Requests go out without credit."""

    def may_offer(board: Board, branch: str) -> bool:
        return board.open and board.outbox.room and not board.outbox.behind

    yield from _planted(Board, "may_offer", may_offer)


@contextmanager
def window_not_kept() -> Iterator[None]:
    """Records go out however many are not acknowledged."""
    yield from _planted(Outbox, "room", property(lambda outbox: True))


@contextmanager
def resumes_from_what_was_sent() -> Iterator[None]:
    """After a cut a link goes on from the last number sent, not the last one acknowledged."""

    def resume(outbox: Outbox, received: int) -> None:
        outbox.acked = max(outbox.acked, received, outbox.cursor)
        outbox.cursor = outbox.acked
        outbox.flight.clear()
        outbox.flight_bytes = 0

    yield from _planted(Outbox, "resume", resume)


@contextmanager
def resumes_from_the_start() -> Iterator[None]:
    """After a cut everything is sent again, the acknowledged too."""

    def resume(outbox: Outbox, received: int) -> None:
        outbox.cursor = 0
        outbox.flight.clear()
        outbox.flight_bytes = 0

    yield from _planted(Outbox, "resume", resume)


@contextmanager
def acknowledged_facts_left_out() -> Iterator[None]:
    """A record carries only what was never sent, not all above the acknowledged number."""

    def carry(lane: Lane, number: int, acked: int) -> None:
        lane.number = number
        lane.sent = [number if sent == 0 else sent for sent in lane.sent]

    yield from _planted(Lane, "carry", carry)


@contextmanager
def refusal_said_once() -> Iterator[None]:
    """A refusal is told in one acknowledgement and not repeated."""
    good = Inbox.refusals

    def refusals(inbox: Inbox, most: int) -> list[list[object]]:
        told = good(inbox, most)
        inbox.refused.clear()
        return told

    yield from _planted(Inbox, "refusals", refusals)


@contextmanager
def refusal_ignored() -> Iterator[None]:
    """What the peer refuses is taken for received."""

    def refused(exchange: Exchange, board: Board, job: Job, refusal: Any, credits: int, now_ms: int) -> None: ...

    yield from _planted(Exchange, "refused", refused)


@contextmanager
def refused_keeps_its_credit() -> Iterator[None]:
    """A Request that was refused goes on counting as offered."""

    def bad(board: Board, job: Job, lane: Lane) -> None:
        counted = lane.counted
        withdraw(board, job, lane)
        if counted:
            count(board.offered, job.branch, 1)

    yield from _planted(exchange, "withdraw", bad)


@contextmanager
def stingy() -> Iterator[None]:
    """No bug: receivers take less than the credit they gave, so that Requests are refused as busy."""
    yield from _planted(arrival, "SLACK", 0.5)


@contextmanager
def forgetful() -> Iterator[None]:
    """No bug: receivers say of some jobs, once, that they do not know the signer of a record."""
    good = Arrival.take
    refused: set[tuple[str, str, bytes]] = set()

    def take(taker: Arrival, board: Board, number: int, facts: Any, **rest: Any) -> Any:
        at = (taker._ledger.name, board.name, facts[0].job_id)
        if at[2][-1] % 3 == 0 and at not in refused:
            refused.add(at)
            return arrival.Refusal(NO_CARD, "once")
        return good(taker, board, number, facts, **rest)

    yield from _planted(Arrival, "take", take)


@contextmanager
def numbers_used_again() -> Iterator[None]:
    """A store just opened gives out numbers that it gave before."""
    good = Engine.open

    def opened(engine: Engine, snapshot: Any) -> None:
        good(engine, replace(snapshot, last_number=max(0, snapshot.last_number - 2)))
        ledger = engine.ledger
        ledger.next_number = max(1, ledger.next_number - 2)

    yield from _planted(Engine, "open", opened)


# -- attempts ----------------------------------------------------------------------------------------------------


@contextmanager
def attempt_not_counted() -> Iterator[None]:
    """The attempt and `running` are not durable before the handler starts."""
    good = Destination._start

    def start(destination: Destination, job: Job, now_ms: int) -> bool:
        started = good(destination, job, now_ms)
        if started:
            job.attempt -= 1
            job.state = State.CLAIMED
        return started

    yield from _planted(Destination, "_start", start)


@contextmanager
def interrupted_runs_again() -> Iterator[None]:
    """After a crash a job runs again though it is not idempotent."""
    yield from _planted(Destination, "_is_idempotent", lambda destination, job: True)


@contextmanager
def cancel_ignored_before_start() -> Iterator[None]:
    """A Cancel that reaches the destination before the start is not looked at."""

    def cancel(destination: Destination, job: Job, now_ms: int, *, known_lost: bool = False) -> None:
        if known_lost or job.id not in destination.running:
            return
        destination._ledger.effects.stop.append(job.id)

    yield from _planted(Destination, "cancel", cancel)


@contextmanager
def slot_leaks() -> Iterator[None]:
    """A handler that was cancelled keeps its slot."""
    good = Destination.finished

    def finished(destination: Destination, job: Job, ending: Ending, now_ms: int) -> None:
        if ending.state is State.CANCELLED and job.live:
            destination._end(job, ending, now_ms)
        else:
            good(destination, job, ending, now_ms)

    yield from _planted(Destination, "finished", finished)


# -- stores that were lost ---------------------------------------------------------------------------------------


@contextmanager
def loss_not_noticed() -> Iterator[None]:
    """Positions are not compared at connect."""
    yield from _planted(Greeting, "_lost", lambda greeting, board, hello, theirs: "")


@contextmanager
def no_full_exchange() -> Iterator[None]:
    """After a loss was noticed the link goes on as if nothing had happened."""

    def exchange_all(greeting: Greeting, board: Board, theirs: Incarnations) -> None:
        board.outbox.resume(board.outbox.last)
        board.inbox.start((theirs.current, theirs.first - 1))
        greeting._prove(board)

    yield from _planted(Greeting, "_exchange_all", exchange_all)


@contextmanager
def reissued_not_marked() -> Iterator[None]:
    """A Request that was acknowledged once travels again as if it were new."""
    good = dispatch.resend

    def resend(lane: Lane, job: Job) -> None:
        good(lane, job)
        lane.reissued = False

    with patch.object(arrival, "resend", resend), patch.object(exchange, "resend", resend):
        yield from _planted(dispatch, "resend", resend)


@contextmanager
def rows_act_before_they_are_proved() -> Iterator[None]:
    """What is found in a store just opened starts at once."""
    good = Engine.open

    def opened(engine: Engine, snapshot: Any) -> None:
        good(engine, snapshot)
        for board in engine.ledger.boards.values():
            engine._greeting._prove(board)

    with patch.object(Ledger, "proved", lambda ledger, job: True):
        yield from _planted(Engine, "open", opened)


@contextmanager
def lost_job_expires() -> Iterator[None]:
    """A destination that lost its store says expired of a job that may have run."""
    good = Destination.claim

    def claim(destination: Destination, job: Job, now_ms: int, *, known_lost: bool) -> None:
        good(destination, job, now_ms, known_lost=False)

    yield from _planted(Destination, "claim", claim)


@contextmanager
def what_comes_back_counts_as_new() -> Iterator[None]:
    """A hop that lost its store forwards what may have gone on before as if it were new."""
    good = Hop.forward

    def forward(hop: Hop, job: Job, now_ms: int, *, reissued: bool) -> None:
        good(hop, job, now_ms, reissued=False)

    yield from _planted(Hop, "forward", forward)


SLANTS = MappingProxyType({"second_outcome_overwrites": restored_often})
BACKGROUNDS = MappingProxyType(
    {"refusal_said_once": forgetful, "refusal_ignored": forgetful, "refused_keeps_its_credit": stingy}
)
"""What some mutants need to be seen, and is no bug by itself."""


MUTANTS = MappingProxyType(
    {
        plant.__name__: Mutant(
            plant.__name__,
            plant,
            losses,
            SLANTS.get(plant.__name__, as_drawn),
            BACKGROUNDS.get(plant.__name__, nullcontext),
        )
        for losses, plants in (
            (
                False,
                (
                    *(send_before_commit, acknowledge_on_arrival, answer_before_commit, start_before_commit),
                    *(watermark_before_data, half_a_step_committed),
                    *(offered_job_expires_where_it_waits, hop_cancels_what_it_offered),
                    *(origin_cancels_what_it_offered, offered_is_not_durable, destination_expires_what_runs),
                    *(starts_after_expiry, delete_leaves_no_tombstone, delete_is_not_sticky),
                    *(delete_does_not_stop_the_start, collected_too_early, home_told_too_early, key_forgotten),
                    *(version_by_wall_clock, credit_leaks, credit_not_asked),
                    *(window_not_kept, resumes_from_what_was_sent, resumes_from_the_start),
                    *(acknowledged_facts_left_out, refusal_said_once, refusal_ignored, refused_keeps_its_credit),
                    *(numbers_used_again, attempt_not_counted, interrupted_runs_again, cancel_ignored_before_start),
                    slot_leaks,
                ),
            ),
            (
                True,
                (
                    *(
                        second_outcome_overwrites,
                        progress_after_outcome,
                        loss_not_noticed,
                        no_full_exchange,
                        reissued_not_marked,
                    ),
                    *(rows_act_before_they_are_proved, lost_job_expires, what_comes_back_counts_as_new),
                ),
            ),
        )
        for plant in plants
    }
)
