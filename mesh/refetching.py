"""Blobs whose bytes turned out damaged: fetched again from the agent that they came from (rules R10, R14).

What a fact names stays owed meanwhile, in the store too, so that an agent which restarts finds out anew. The neighbour
is asked for the job by a WANT and sends the bytes beside its facts, as it did the first time; the new blob takes the
place of the damaged one. Only what was made here, or what the neighbour has not either, is done without.
"""

from __future__ import annotations

from mesh.blobs import Key
from mesh.facts import Fact, Kind, blob_of
from mesh.job import Job
from mesh.ledger import Ledger


def forget_bytes(ledger: Ledger, job: Job, kind: Kind) -> None:
    """The bytes that a fact of `job` names cannot be had or passed on: whoever waits for them waits no longer."""
    if job.holding >> kind & 1:
        job.holding &= ~(1 << kind)
        ledger.alarm(
            f"the {_word(kind)} of {ledger.describe(job.id)} is lost here: its {kind.name.lower()} goes on without it"
        )
    ledger.touch(job)


def refetch(ledger: Ledger, job: Job, key: Key) -> None:
    """The store does not have the bytes that a fact of `job` names, or has them damaged: get them again, or not."""
    kind = Kind(key.kind)
    source = job.up if kind is Kind.REQUEST else job.down
    board = None if source is None else ledger.boards[source.board]
    if board is None or board.retired or not job.holding >> kind & 1:
        forget_bytes(ledger, job, kind)
        return
    ledger.blobs.missing.add(key)
    ledger.alarm(f'the {_word(kind)} of {ledger.describe(job.id)} is damaged here: fetched again from "{board.name}"')
    ledger.want(board, job.id)


def lacks(ledger: Ledger, fact: Fact) -> bool:
    """Whether the bytes that a fact names, which is held here, are being fetched again."""
    return key_of(fact) in ledger.blobs.missing


def fetched_again(ledger: Ledger, job: Job, fact: Fact) -> None:
    """The bytes that a fact names are here once more: they go on to whom they are owed."""
    key = key_of(fact)
    ledger.blobs.missing.discard(key)
    for board_id in ledger.blobs.owing.get(job.id, ()):
        if ledger.blobs.to[board_id].again(key):
            ledger.pumped[board_id] = ledger.boards[board_id]


def not_there(ledger: Ledger, job: Job, fact: Fact) -> None:
    """The neighbour does not have the bytes either."""
    ledger.blobs.missing.discard(key_of(fact))
    forget_bytes(ledger, job, fact.kind)


def key_of(fact: Fact) -> Key:
    """The blob that a fact names, if it names one; else a key that no blob has."""
    name = blob_of(fact.content)
    return Key(fact.job_id, fact.kind, b"" if name is None else name.hash)


def _word(kind: Kind) -> str:
    return "payload" if kind is Kind.REQUEST else "result"
