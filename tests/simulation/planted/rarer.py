"""Planted bugs that only the rarer faults show: a second zone, children, poison, damaged rows, clones, revoked keys,
strangers, and what a handler owes to its effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from grammar.errors import MeshError
from mesh import arrival, job
from mesh.board import Board
from mesh.destination import Destination
from mesh.errors import CorruptRow
from mesh.greeting import Greeting
from mesh.job import Job
from mesh.ledger import Ledger
from mesh.routing import Place
from mesh.simulation.history import History
from mesh.simulation.wires import Wire, Wires
from tests.simulation.planted.planting import planted


@contextmanager
def zone_not_looked_at() -> Iterator[None]:
    """A Request is taken in whatever zone it comes; only an agent that smuggles sends one."""
    good = arrival.misplaced

    def misplaced(*about: Any) -> Any:
        refusal = good(*about)
        return None if refusal is not None and refusal.reason == "wrong_zone" else refusal

    yield from planted(arrival, "misplaced", misplaced)


@contextmanager
def damaged_rows_are_believed() -> Iterator[None]:
    """The checksums of a stored row are not compared."""

    class Same(int):
        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    def same(data: bytes, start: int = 0) -> int:
        return Same(good(data, start))

    good = job.crc32
    read = Job._read.__func__  # type: ignore[attr-defined]

    def from_row(cls: type[Job], row: Any, place_on: Any) -> Job:
        try:
            with patch.object(job, "crc32", same):
                return read(cls, row, place_on)
        except (MeshError, ValueError, TypeError, IndexError, KeyError) as error:
            raise CorruptRow(str(error)) from error

    yield from planted(Job, "from_row", classmethod(from_row))


@contextmanager
def clone_is_let_in() -> Iterator[None]:
    """A store that a later one of the same agent replaced may come back."""
    good = Greeting.connected

    def connected(greeting: Greeting, board: Board, hello: Any, now_ms: int) -> None:
        board.inbox.superseded = frozenset()
        good(greeting, board, hello, now_ms)

    yield from planted(Greeting, "connected", connected)


@contextmanager
def who_waits_keeps_its_slot() -> Iterator[None]:
    """A handler that waits for a child holds its slot meanwhile."""
    with patch.object(Destination, "resumed", lambda destination, job_id: None):
        yield from planted(Destination, "yielded", lambda destination, job_id: None)


@contextmanager
def children_draw_on_the_credit_of_their_parents() -> Iterator[None]:
    """Credit is not counted by depth."""

    good, good_above = Place.branch, Place.branch_above
    with patch.object(Place, "branch_above", lambda place, depth: good_above(place, 0)):
        yield from planted(Place, "branch", lambda place, depth: good(place, 0))


@contextmanager
def suspects_restart_in_mass() -> Iterator[None]:
    """After a crash everything that was running starts at once."""
    yield from planted(Destination, "_group", lambda destination: 1_000)


@contextmanager
def whoever_was_there_is_poison() -> Iterator[None]:
    """Every death of the agent counts as one in which the job ran alone."""
    good = Destination.recover

    def recover(destination: Destination, job: Job, now_ms: int, *, own_loss: bool) -> None:
        if job.attempt and not job.alone:
            job.alone = job.crashes + 1
        good(destination, job, now_ms, own_loss=own_loss)

    yield from planted(Destination, "recover", recover)


@contextmanager
def revoked_key_starts_jobs() -> Iterator[None]:
    """What a revoked key has put runs all the same."""
    good = Destination._may_run

    def may_run(destination: Destination, job: Job, instruction: Any) -> Any:
        with patch.object(destination._ledger, "revoked", set[bytes]()):
            return good(destination, job, instruction)

    with patch.object(Destination, "disown", lambda destination, job, peer, now_ms: None):
        yield from planted(Destination, "_may_run", may_run)


@contextmanager
def invited_peer_gets_another_board() -> Iterator[None]:
    """What was put for an agent before it came stays behind on a board that never has a link."""
    good = Ledger.expect

    def expect(ledger: Ledger, zone: str, name: str, kind: str, fingerprint: bytes | None) -> Board:
        board = ledger.by_name.get((zone, name))
        if board is not None and board.fingerprint is None and fingerprint is not None:
            del ledger.by_name[zone, name]
        return good(ledger, zone, name, kind, fingerprint)

    yield from planted(Ledger, "expect", expect)


@contextmanager
def effect_and_outcome_in_two_transactions() -> Iterator[None]:
    """A handler writes its effect without the job id as guard: what is done twice happens twice."""
    good = History.affected

    def affected(history: History, job_id: bytes, *, idempotent: bool) -> None:
        good(history, job_id, idempotent=False)

    yield from planted(History, "affected", affected)


@contextmanager
def replay_accepted() -> Iterator[None]:
    """A frame is taken twice, as by a link whose nonces do not count."""
    good = Wires.carry

    def carry(wires: Wires, sender: str, wire: Wire, epoch: int, messages: list[Any], size: int) -> bool:
        return good(wires, sender, wire, epoch, messages, size) and good(wires, sender, wire, epoch, messages, size)

    yield from planted(Wires, "carry", carry)
