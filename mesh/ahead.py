"""Outcomes that go on before our own commit of them (rule R1): to the next agent, or to who waits at the origin.

It makes a job early by a commit at each hop, and costs the agent above a message and a check more, since the record
comes all the same. So it is done where few Outcomes come at once. Where many do, everybody waits for processors, and
the messages would take a twelfth of their time.
"""

from __future__ import annotations

from typing import Final

from mesh.effects import Early, Told
from mesh.facts import Fact, Outcome
from mesh.job import Job
from mesh.ledger import Ledger
from mesh.lifecycle import Role
from mesh.messages import Ahead, Type, encode

AHEAD: Final = 8
"""Outcomes that came at once and that are passed on ahead of their records on one board; of more than that, none."""


def told_ahead(ledger: Ledger, job: Job, fact: Fact) -> None:
    """An Outcome came, durable at its destination: have the waiter told of it, or the next agent."""
    content = fact.content
    assert isinstance(content, Outcome)
    if type(content.result) is list or (job.ahead is not None and job.ahead.body == fact.body):
        # It came ahead of its record, which brings it once more; or it waits for its blob at the next agent.
        return
    job.ahead = fact
    if job.role is Role.ORIGIN:
        ledger.told.append(Told(job.id, fact))
    elif job.up is not None:
        board = ledger.boards[job.up.board]
        if board.open and content.signer in board.cards:
            ledger.ahead.setdefault(board.id, []).append(fact)


def take_early(ledger: Ledger) -> Early | None:
    """What came since this was called last; of what is to be passed on only what is not too much."""
    told, ahead = ledger.told, ledger.ahead
    if not told and not ahead:
        return None
    ledger.told, ledger.ahead = [], {}
    return Early(
        told,
        {
            board_id: [encode(Type.AHEAD, Ahead(fact.body, fact.proof)) for fact in facts]
            for board_id, facts in ahead.items()
            if len(facts) <= AHEAD
        },
    )
