"""Meshes whose limits are so small that a few hundred bytes are a blob of many slices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mesh.blobs import Key, name_blob
from mesh.ending import Ending
from mesh.facts import Kind, Outcome
from mesh.lifecycle import State
from mesh.limits import Limits
from tests.mesh.pair import Mesh

SMALL = Limits(
    result_bytes=50,
    blob_bytes=2_000,
    slice_bytes=64,
    blob_window_bytes=256,
    blob_quota_bytes=100_000,
    blob_arriving_bytes=8_000,
)
DATA = bytes(range(256)) * 4
LARGE = Ending(State.COMPLETE, "str", '"' + "x" * 1_000 + '"')


def small(*names: str, **changes: Any) -> dict[str, Limits]:
    """Small limits for agents of these names."""
    return dict.fromkeys(names, replace(SMALL, **changes))


def chain(*names: str, **changes: Any) -> Mesh:
    """A chain of agents with small limits."""
    links = [(names[n], names[n + 1]) for n in range(len(names) - 1)]
    return Mesh(*links, limits=small(*names, **changes))


def payload_key(job_id: bytes, data: bytes = DATA) -> Key:
    return Key(job_id, Kind.REQUEST, name_blob(data).name.hash)


def stored(mesh: Mesh, name: str, job_id: bytes, kind: Kind) -> bytes | None:
    """The whole blob of a job that the store of an agent has, None if it has none."""
    store = mesh[name].store
    for blob in store.blobs.values():
        if (blob.job, blob.kind) == (job_id, kind) and blob.held == blob.length:
            parts = sorted((place, part.data) for place, part in store.slices.items() if place[0] == blob.id)
            return b"".join(data for _, data in parts)
    return None


def result_of(mesh: Mesh, name: str, job_id: bytes) -> bytes | None:
    """The bytes of the result that an agent has, after a look at what its Outcome names."""
    outcome = mesh[name].job(job_id).outcome
    assert isinstance(outcome, Outcome)
    data = stored(mesh, name, job_id, Kind.OUTCOME)
    assert data is None or outcome.result == list(name_blob(data).name)
    return data


def leftovers(mesh: Mesh) -> dict[str, Any]:
    """What is left under way at each agent: empty when all is well."""
    found: dict[str, Any] = {}
    for name, node in mesh.nodes.items():
        blobs = node.engine.ledger.blobs
        under_way = [blobs.arriving, blobs.owing, blobs.answers, blobs.settled, blobs.homed]
        under_way += [part for one in blobs.to.values() for part in (one.due, one.open, one.held)]
        under_way += [[blob for blob in node.store.blobs.values() if not blob.named or blob.owed is not None]]
        under_way += [one for board in node.engine.boards for one in (board.offered, board.waiting, board.inbox.away)]
        if any(under_way):
            found[name] = under_way
    return found
