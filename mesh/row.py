"""The form in which a job is stored; `Job.row` fills one, `Job.from_row` reads it."""

from __future__ import annotations

from typing import NamedTuple

from mesh.facts import short_text


class Row(NamedTuple):
    """What a store keeps of a job: the two blobs are the truth, the other columns are there to find it. `check` covers
    the id and the record, the record covers the facts, and the columns follow from both.

    Both checksums are CRC-32, as file systems have them: they are there for disks that fail. Against whoever can write
    to the store no hash without a key would help, and BLAKE2b took half of the time that a row took. (It binds the
    facts all the same: a Request to the id, an Outcome to its digest in the record.)

    `due_ms` is when a live job may be expired by this agent (None when it may not) or when a finished one may be
    collected. `waiting` is 1 while the Request has no number on `down_board` yet. The branches are there while the job
    is counted in them: an unfinished job that waits, or takes credit. `facts` is None once trimmed.
    """

    seq: int
    id: bytes
    role: int
    state: int
    live: int
    up_board: int | None
    up_number: int
    down_board: int | None
    down_number: int
    up_branch: str | None
    down_branch: str | None
    waiting: int
    due_ms: int | None
    key: str | None
    record: bytes
    facts: bytes | None
    check: int

    @property
    def never_left(self) -> bool:
        """Whether nobody else has the job, so that nobody can send a copy of it: it was made here and still waits for
        its first number. (One that a neighbour gave back has no number either, and does not wait.)"""
        return self.up_board is None and not self.down_number and self.waiting == 1

    @property
    def called(self) -> str:
        """How people are told of it when it is damaged: by the id of its job, whatever that has become, unless it is
        gone too."""
        columns: tuple[object, ...] = self
        seq, job_id = columns[:2]
        return short_text(job_id) if type(job_id) is bytes and job_id else f"number {seq}"
