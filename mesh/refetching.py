"""Blobs whose bytes turned out damaged: fetched again from the agent that they came from (rules R10, R14).

What a fact names stays owed meanwhile, in the store too, so that an agent which restarts finds out anew. The neighbour
is asked for the job by a WANT and sends the bytes beside its facts, as it did the first time; the new blob takes the
place of the damaged one. Only what was made here, or what the neighbour has not either, is done without.

A neighbour that has forgotten the job says so.
"""

from __future__ import annotations

from mesh.blobs import Key
from mesh.board import Board
from mesh.effects import Lost
from mesh.errors import CorruptRow
from mesh.facts import REQUEST, Fact, Kind, blob_of
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
    source = job.up if kind is REQUEST else job.down
    board = None if source is None else ledger.boards[source.board]
    if board is None or board.retired or not job.holding >> kind & 1:
        ledger.blobs.missing.discard(key)
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


def not_known(ledger: Ledger, board: Board, job_id: bytes) -> bool:
    """The peer of a board, which was asked for a job, has no facts of it. Once nobody is left to ask, whoever waits for
    a job whose row is damaged is told that it does not come back, and damaged bytes are done without.

    Returns:
        Whether a job whose row is damaged does not come back, as is known from now on.
    """
    if job_id not in board.wanted:
        return False
    board.wanted.discard(job_id)
    ledger.touch_board(board)
    job = ledger.find(job_id)
    for fact in () if job is None else job.facts:
        if job is not None and fact is not None and lacks(ledger, fact):
            not_there(ledger, job, fact)
    if asked_elsewhere(ledger, board, job_id) or not ledger.quarantined.give_up(job_id):
        return False
    error = CorruptRow(
        f"the stored row of {ledger.describe(job_id)} is damaged, and no neighbour has a copy",
        fix="find out at its destination whether it was done, then put it again",
    )
    ledger.effects.lost.append(Lost(job_id, error))
    ledger.alarm(f"{error.message}: it stays quarantined; {error.fix}")
    return True


def asked_elsewhere(ledger: Ledger, board: Board, job_id: bytes) -> bool:
    """Whether the peer of another board is still asked for a job."""
    return any(job_id in other.wanted for other in ledger.boards.values() if other is not board and not other.retired)


def key_of(fact: Fact) -> Key:
    """The blob that a fact names, if it names one; else a key that no blob has."""
    name = blob_of(fact.content)
    return Key(fact.job_id, fact.kind, b"" if name is None else name.hash)


def _word(kind: Kind) -> str:
    return "payload" if kind is REQUEST else "result"
