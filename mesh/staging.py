"""Blobs that are made here: stored with their fact, or some slices at a time ahead of it (rule R14).

One commit of 4 MiB holds up every small job behind it. So a shell may store a result before it tells how the handler
ended: each piece is a commit of its own, and that of the fact merely names what is there. Until then the bytes are
nobody's: a row of ours that is not named. They go with the step in which their handler ended otherwise, and with the
first step after a crash, which runs the handler anew.
"""

from __future__ import annotations

from typing import Final

from mesh.blobs import Blob, BlobRow, Key, Name, cut
from mesh.facts import OUTCOME, Fact, depth_of
from mesh.job import Job
from mesh.ledger import Ledger

OURS: Final = 0
"""Stands for a board in the row of a blob that was made here."""


def stage(ledger: Ledger, job_id: bytes, name: Name, offset: int, data: bytes, now_ms: int) -> None:
    """Store bytes of the result of a job whose handler runs, with this step.

    Args:
        name: of the whole result.
        offset: where `data` stands in it: what precedes it was given before, and ends a slice.
    """
    blobs = ledger.blobs
    key = Key(job_id, OUTCOME, name.hash)
    row = blobs.staged.get(key)
    if row is None and not offset:
        row = BlobRow(blobs.new_id(), job_id, key.kind, name.hash, name.length, 0, OURS, 0, 0, 0, None, now_ms)
    if row is None or row.held != offset or job_id not in ledger.pinned:
        # The handler was taken away meanwhile, or its result is not known here: the fact brings all of it.
        return
    row = row._replace(held=offset + len(data))
    blobs.staged[key] = row
    ledger.effects.batch.blobs.append(row)
    ledger.effects.batch.slices += cut(row.id, data, ledger.limits.slice_bytes, offset)


def keep(ledger: Ledger, job: Job, fact: Fact, blob: Blob, now_ms: int) -> None:
    """Store the bytes that a fact of our own names, in the commit of that fact: what is there of them is named."""
    kind, depth = fact.kind, depth_of(fact.content)
    job.holding |= 1 << kind
    if not blob.data:
        return
    blobs, batch, name = ledger.blobs, ledger.effects.batch, blob.name
    key = Key(job.id, kind, name.hash)
    row = blobs.staged.get(key)
    if row is not None and row.held == name.length:
        del blobs.staged[key]
        batch.blobs.append(row._replace(named=1, at_ms=now_ms))
        return
    size = name.length
    row = BlobRow(blobs.new_id(), job.id, kind, name.hash, size, depth, OURS, size, 1, 0, None, now_ms)
    batch.blobs.append(row)
    batch.slices += cut(row.id, blob.data, ledger.limits.slice_bytes)


def drop_staged(ledger: Ledger) -> None:
    """At the end of a step: what was stored for handlers that do not run any more, and no fact has named, goes."""
    staged = ledger.blobs.staged
    for key in [key for key in staged if key.job not in ledger.pinned]:
        ledger.effects.batch.dropped.append(staged.pop(key).id)
