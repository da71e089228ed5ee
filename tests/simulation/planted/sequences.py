"""Planted bugs in numbers, windows, credit, refusals, and what is remembered and merged (R2, R3, R7, R12, R13)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mesh import arrival, counting, exchange
from mesh.arrival import Arrival
from mesh.board import Board, count
from mesh.dispatch import withdraw
from mesh.engine import Engine
from mesh.exchange import Exchange
from mesh.facts import Kind
from mesh.job import Job, Merge
from mesh.lane import Lane
from mesh.ledger import Ledger
from mesh.lifecycle import State
from mesh.origin import Origin
from mesh.replication import Inbox, Outbox
from mesh.trust import NO_CARD
from tests.simulation.planted.planting import planted

# -- what is remembered -------------------------------------------------------------------------------------------


@contextmanager
def collected_too_early() -> Iterator[None]:
    """Finished jobs are forgotten at once, not at their horizon."""
    good = Ledger.due_ms

    def due_ms(ledger: Ledger, job: Job) -> int | None:
        return job.changed_ms if not job.live else good(ledger, job)

    yield from planted(Ledger, "due_ms", due_ms)


@contextmanager
def home_told_too_early() -> Iterator[None]:
    """A hop says that an Outcome is at its origin as soon as it has it itself."""

    def home(inbox: Inbox) -> int:
        return inbox.number

    yield from planted(Inbox, "home", property(home))


@contextmanager
def key_forgotten() -> Iterator[None]:
    """An idempotency key is not looked up."""
    good = Origin.put

    def put(origin: Origin, token: int, put: Any, now_ms: int) -> None:
        good(origin, token, put._replace(key=None), now_ms)

    yield from planted(Origin, "put", put)


# -- merging ------------------------------------------------------------------------------------------------------


@contextmanager
def version_by_wall_clock() -> Iterator[None]:
    """Of two reports the one with the later time holds."""
    good = Job._replaces

    def replaces(job: Job, fact: Any, held: Any) -> bool:
        if fact.kind is Kind.PROGRESS and held is not None:
            return bool(fact.content.at_ms > held.content.at_ms)
        return good(job, fact, held)

    yield from planted(Job, "_replaces", replaces)


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

    yield from planted(Job, "merge", merge)


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

    yield from planted(Job, "merge", merge)


# -- numbers and windows ------------------------------------------------------------------------------------------


@contextmanager
def credit_leaks() -> Iterator[None]:
    """A finished job keeps its credit now and then."""
    good = counting._uncount

    def uncount(ledger: Ledger, job: Job) -> None:
        if job.down is not None and job.outcome is not None and job.outcome.error is not None:
            job.down.counted = False
        good(ledger, job)

    yield from planted(counting, "_uncount", uncount)


@contextmanager
def credit_not_asked() -> Iterator[None]:
    """Requests go out without credit."""

    def may_offer(board: Board, branch: str) -> bool:
        return board.open and board.outbox.room and not board.outbox.behind

    yield from planted(Board, "may_offer", may_offer)


@contextmanager
def window_not_kept() -> Iterator[None]:
    """Records go out however many are not acknowledged."""
    yield from planted(Outbox, "room", property(lambda outbox: True))


@contextmanager
def resumes_from_what_was_sent() -> Iterator[None]:
    """After a cut a link goes on from the last number sent, not the last one acknowledged."""

    def resume(outbox: Outbox, received: int, first: int) -> None:
        outbox.acked = max(outbox.acked, received, outbox.cursor)
        outbox.cursor = outbox.acked
        outbox.flight.clear()
        outbox.flight_bytes = 0

    yield from planted(Outbox, "resume", resume)


@contextmanager
def resumes_from_the_start() -> Iterator[None]:
    """After a cut everything is sent again, the acknowledged too."""

    def resume(outbox: Outbox, received: int, first: int) -> None:
        outbox.cursor = 0
        outbox.flight.clear()
        outbox.flight_bytes = 0

    yield from planted(Outbox, "resume", resume)


@contextmanager
def acknowledged_facts_left_out() -> Iterator[None]:
    """A record carries only what was never sent, not all above the acknowledged number."""

    def carry(lane: Lane, number: int, acked: int, waiting: Sequence[int] = ()) -> None:
        lane.number = number
        lane.sent = [number if sent == 0 and n not in waiting else sent for n, sent in enumerate(lane.sent)]

    yield from planted(Lane, "carry", carry)


@contextmanager
def refusal_said_once() -> Iterator[None]:
    """A refusal is told in one acknowledgement and not repeated."""
    good = Inbox.refusals

    def refusals(inbox: Inbox, most: int) -> list[list[object]]:
        told = good(inbox, most)
        inbox.refused.clear()
        return told

    yield from planted(Inbox, "refusals", refusals)


@contextmanager
def refusal_ignored() -> Iterator[None]:
    """What the peer refuses is taken for received."""

    def refused(exchange: Exchange, board: Board, job: Job, refusal: Any, credits: int, now_ms: int) -> None: ...

    yield from planted(Exchange, "refused", refused)


@contextmanager
def refused_keeps_its_credit() -> Iterator[None]:
    """A Request that was refused goes on counting as offered."""

    def bad(board: Board, job: Job, lane: Lane) -> None:
        counted = lane.counted
        withdraw(board, job, lane)
        if counted:
            count(board.offered, job.branch, 1)

    yield from planted(exchange, "withdraw", bad)


@contextmanager
def stingy() -> Iterator[None]:
    """No bug: receivers take less than the credit they gave, so that Requests are refused as busy."""
    yield from planted(arrival, "SLACK", 0.5)


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

    yield from planted(Arrival, "take", take)


@contextmanager
def numbers_used_again() -> Iterator[None]:
    """A store just opened gives out numbers that it gave before."""
    good = Engine.open

    def opened(engine: Engine, snapshot: Any) -> None:
        good(engine, replace(snapshot, last_number=max(0, snapshot.last_number - 2)))
        ledger = engine.ledger
        ledger.next_number = max(1, ledger.next_number - 2)

    yield from planted(Engine, "open", opened)
