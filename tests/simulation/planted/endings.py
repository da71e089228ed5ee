"""Planted bugs in who ends, deletes and starts a job (R6, R8, R9)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mesh import engine
from mesh.destination import Destination
from mesh.ending import Ending
from mesh.facts import Kind
from mesh.hop import Hop
from mesh.job import Job, Merge
from mesh.lane import Lane
from mesh.ledger import Ledger
from mesh.lifecycle import State
from mesh.origin import Origin
from mesh.simulation.disk import Disk
from tests.simulation.planted.planting import planted

# -- who may end a job --------------------------------------------------------------------------------------------


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
        yield from planted(engine, "overdue", overdue)


@contextmanager
def hop_cancels_what_it_offered() -> Iterator[None]:
    """A hop answers a Cancel itself, though the job has gone on."""

    def cancel(hop: Hop, job: Job, now_ms: int) -> None:
        if job.live and job.down is not None:
            hop._reject(job, "cancelled", "cancelled on the way", "", now_ms)

    yield from planted(Hop, "cancel", cancel)


@contextmanager
def origin_cancels_what_it_offered() -> Iterator[None]:
    """The origin answers a cancel itself, though the job has gone on."""

    def cancel(origin: Origin, job: Job, now_ms: int) -> None:
        if job.live:
            origin._hop._reject(job, "cancelled", "cancelled here", "", now_ms)

    yield from planted(Origin, "cancel", cancel)


@contextmanager
def offered_is_not_durable() -> Iterator[None]:
    """The mark that a job was offered is only in memory."""

    good = Lane.record

    def record(lane: Lane) -> list[object]:
        written = good(lane)
        written[-5] = False
        return written

    yield from planted(Lane, "record", record)


@contextmanager
def destination_expires_what_runs() -> Iterator[None]:
    """The destination says expired of a job whose handler runs."""

    def expire(destination: Destination, job: Job, now_ms: int) -> None:
        destination._end(job, Ending(State.EXPIRED), now_ms)

    good = Ledger.due_ms

    def due_ms(ledger: Ledger, job: Job) -> int | None:
        return job.request.expires_ms if job.live and job.up and not job.down else good(ledger, job)

    with patch.object(Ledger, "due_ms", due_ms):
        yield from planted(Destination, "expire", expire)


@contextmanager
def starts_after_expiry() -> Iterator[None]:
    """Nobody looks at the expiry of a job before its first start."""

    def expire(destination: Destination, job: Job, now_ms: int) -> None: ...

    good = Destination._start

    def start(destination: Destination, job: Job, now_ms: int) -> bool:
        return good(destination, job, min(now_ms, job.request.expires_ms))

    with patch.object(Destination, "_start", start):
        yield from planted(Destination, "expire", expire)


# -- deletes ------------------------------------------------------------------------------------------------------


@contextmanager
def delete_leaves_no_tombstone() -> Iterator[None]:
    """A delete forgets the row, instead of keeping a tombstone."""
    good = Disk.apply

    def apply(disk: Disk, batches: Any) -> None:
        good(disk, batches)
        deleted = [row for row in disk.rows.values() if list(State)[row.state] is State.DELETED]
        for row in deleted:
            del disk.rows[row.seq], disk._ids[row.id], disk.by_id[row.id]

    yield from planted(Disk, "apply", apply)


@contextmanager
def delete_is_not_sticky() -> Iterator[None]:
    """A later fact wakes a deleted job."""
    good = Job.merge

    def merge(job: Job, fact: Any, source: Any, now_ms: int) -> Merge:
        if job.state is State.DELETED and fact.kind in (Kind.OUTCOME, Kind.PROGRESS):
            job.facts[Kind.DELETE] = None
            job.state = State.PENDING
        return good(job, fact, source, now_ms)

    yield from planted(Job, "merge", merge)


@contextmanager
def delete_does_not_stop_the_start() -> Iterator[None]:
    """The destination starts a job whose Delete it holds."""
    good = Destination._start

    def start(destination: Destination, job: Job, now_ms: int) -> bool:
        if job.state is State.DELETED:
            job.state = State.CLAIMED
        return good(destination, job, now_ms)

    yield from planted(Destination, "_start", start)


# -- attempts -----------------------------------------------------------------------------------------------------


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

    yield from planted(Destination, "_start", start)


@contextmanager
def interrupted_runs_again() -> Iterator[None]:
    """After a crash a job runs again though it is not idempotent."""
    yield from planted(Destination, "_is_idempotent", lambda destination, job: True)


@contextmanager
def cancel_ignored_before_start() -> Iterator[None]:
    """A Cancel that reaches the destination before the start is not looked at."""

    def cancel(destination: Destination, job: Job, now_ms: int, *, known_lost: bool = False) -> None:
        if known_lost or job.id not in destination.running:
            return
        destination._ledger.effects.stop.append(job.id)

    yield from planted(Destination, "cancel", cancel)


@contextmanager
def slot_leaks() -> Iterator[None]:
    """A handler that was cancelled keeps its slot."""
    good = Destination.finished

    def finished(destination: Destination, job: Job, ending: Ending, now_ms: int) -> None:
        if ending.state is State.CANCELLED and job.live:
            destination._end(job, ending, now_ms)
        else:
            good(destination, job, ending, now_ms)

    yield from planted(Destination, "finished", finished)
