"""Planted bugs that show when a store was lost or restored (R4, R5, R7)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mesh import arrival, dispatch, exchange
from mesh.board import Board
from mesh.destination import Destination
from mesh.engine import Engine
from mesh.greeting import Greeting
from mesh.hop import Hop
from mesh.job import Job
from mesh.lane import Lane
from mesh.ledger import Ledger
from mesh.positions import Incarnations
from mesh.replication import Outbox
from tests.simulation.planted.planting import planted


@contextmanager
def loss_not_noticed() -> Iterator[None]:
    """Positions are not compared at connect."""
    yield from planted(Greeting, "_lost", lambda greeting, board, hello, theirs: "")


@contextmanager
def no_full_exchange() -> Iterator[None]:
    """After a loss was noticed the link goes on as if nothing had happened."""

    def exchange_all(greeting: Greeting, board: Board, theirs: Incarnations) -> None:
        board.outbox.resume(board.outbox.last, 1)
        board.inbox.start((theirs.current, theirs.first - 1))
        greeting._prove(board)

    yield from planted(Greeting, "_exchange_all", exchange_all)


@contextmanager
def home_before_it_is_told_again() -> Iterator[None]:
    """What the peer says is home in a full exchange counts of numbers from before it."""
    good = Outbox.restart

    def restart(outbox: Outbox, first: int) -> None:
        good(outbox, first)
        outbox.renumbering = False

    yield from planted(Outbox, "restart", restart)


@contextmanager
def reissued_not_marked() -> Iterator[None]:
    """A Request that was acknowledged once travels again as if it were new."""
    good = dispatch.resend

    def resend(lane: Lane, job: Job) -> None:
        good(lane, job)
        lane.reissued = False

    with patch.object(arrival, "resend", resend), patch.object(exchange, "resend", resend):
        yield from planted(dispatch, "resend", resend)


@contextmanager
def rows_act_before_they_are_proved() -> Iterator[None]:
    """What is found in a store just opened starts at once."""
    good = Engine.open

    def opened(engine: Engine, snapshot: Any) -> None:
        good(engine, snapshot)
        for board in engine.ledger.boards.values():
            engine._greeting._prove(board)

    with patch.object(Ledger, "proved", lambda ledger, job: True):
        yield from planted(Engine, "open", opened)


@contextmanager
def lost_job_expires() -> Iterator[None]:
    """A destination that lost its store says expired of a job that may have run."""
    good = Destination.claim

    def claim(destination: Destination, job: Job, now_ms: int, *, known_lost: bool, damaged: bool = False) -> None:
        good(destination, job, now_ms, known_lost=False, damaged=damaged)

    yield from planted(Destination, "claim", claim)


@contextmanager
def what_comes_back_counts_as_new() -> Iterator[None]:
    """A hop that lost its store forwards what may have gone on before as if it were new."""
    good = Hop.forward

    def forward(hop: Hop, job: Job, now_ms: int, *, reissued: bool) -> None:
        good(hop, job, now_ms, reissued=False)

    yield from planted(Hop, "forward", forward)
