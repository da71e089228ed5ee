"""Results stored ahead of their facts: what the Outcome takes over, and what goes when there is none (R14)."""

from __future__ import annotations

import pytest

from mesh.blobs import name_blob
from mesh.ending import Ending
from mesh.facts import Kind
from mesh.lifecycle import State
from mesh.staging import stage
from tests.mesh.blob_mesh import LARGE, chain, leftovers, result_of, stored
from tests.mesh.pair import DONE, Mesh

TEXT = str(LARGE.result).encode()
BLOB = name_blob(TEXT)
RESULT = LARGE._replace(result=BLOB)
PART = 256


def running() -> tuple[Mesh, bytes]:
    """Two agents, and a job whose handler runs at the second."""
    mesh = chain("a", "b")
    job_id = mesh.put("a.b")
    mesh.settle()
    return mesh, job_id


def store(mesh: Mesh, job_id: bytes, *parts: int) -> None:
    """Store these parts of the result, each with a step of its own."""
    for part in parts:
        data = TEXT[part * PART : (part + 1) * PART]
        stage(mesh["b"].engine.ledger, job_id, BLOB.name, part * PART, data, mesh.clock("b"))
        mesh.step("b")


def test_the_outcome_names_what_is_there() -> None:
    """The commit of the fact has no bytes in it, so that no small job waits for them."""
    mesh, job_id = running()
    store(mesh, job_id, 0, 1, 2)
    assert stored(mesh, "b", job_id, Kind.OUTCOME) is None
    store(mesh, job_id, 3)
    assert stored(mesh, "b", job_id, Kind.OUTCOME) == TEXT
    before = dict(mesh["b"].store.slices)
    mesh.finish("b", job_id, RESULT)
    assert mesh["b"].store.slices == before
    mesh.settle()
    assert mesh["a"].state(job_id) == State.COMPLETE
    assert result_of(mesh, "a", job_id) == TEXT
    assert not mesh["b"].store.slices
    assert leftovers(mesh) == {}


def test_each_part_is_a_commit_of_its_own() -> None:
    mesh, job_id = running()
    for part in range(4):
        store(mesh, job_id, part)
        (row,) = mesh["b"].store.blobs.values()
        assert (row.named, row.held) == (0, min((part + 1) * PART, len(TEXT)))
        assert sum(len(one.data) for one in mesh["b"].store.slices.values()) == row.held


def test_the_outcome_brings_all_of_what_is_not_whole() -> None:
    mesh, job_id = running()
    store(mesh, job_id, 0, 1)
    mesh.finish("b", job_id, RESULT)
    mesh.settle()
    assert result_of(mesh, "a", job_id) == TEXT
    assert leftovers(mesh) == {}
    assert not mesh["b"].store.slices


@pytest.mark.parametrize("ending", [DONE, Ending(State.ERROR, error=("failed", "too late")), Ending(State.CANCELLED)])
def test_what_no_outcome_names_goes_with_the_handler(ending: Ending) -> None:
    mesh, job_id = running()
    store(mesh, job_id, 0, 1, 2, 3)
    mesh.finish("b", job_id, ending)
    assert not mesh["b"].store.blobs
    mesh.settle()
    assert leftovers(mesh) == {}


def test_what_a_deleted_job_stored_goes_with_its_handler() -> None:
    mesh, job_id = running()
    store(mesh, job_id, 0, 1, 2, 3)
    mesh.delete("a", job_id)
    mesh.settle()
    mesh.finish("b", job_id, RESULT)
    assert not mesh["b"].store.blobs
    assert not mesh["b"].store.slices


def test_a_clean_stop_takes_along_what_was_stored() -> None:
    mesh, job_id = running()
    store(mesh, job_id, 0, 1)
    mesh["b"].engine.requeued(job_id, mesh.clock("b"))
    mesh.step("b")
    assert not mesh["b"].store.blobs


@pytest.mark.parametrize("parts", [1, 4])
def test_a_crash_before_the_outcome_leaves_nothing(parts: int) -> None:
    mesh, job_id = running()
    store(mesh, job_id, *range(parts))
    mesh.crash("b")
    mesh.start("b")
    mesh.step("b")
    assert not mesh["b"].store.blobs
    assert not mesh["b"].store.slices
    mesh.connect("a", "b")
    mesh.settle()
    store(mesh, job_id, 0, 1, 2, 3)
    mesh.finish("b", job_id, RESULT)
    mesh.settle()
    assert result_of(mesh, "a", job_id) == TEXT
    assert leftovers(mesh) == {}


def test_nothing_is_stored_for_a_handler_that_was_taken_away() -> None:
    mesh, job_id = running()
    mesh.finish("b", job_id, DONE)
    store(mesh, job_id, 0)
    assert not mesh["b"].store.blobs


def test_a_part_that_does_not_follow_is_left_to_the_outcome() -> None:
    mesh, job_id = running()
    store(mesh, job_id, 1, 0, 2, 0)
    (row,) = mesh["b"].store.blobs.values()
    assert row.held == PART
    mesh.finish("b", job_id, RESULT)
    mesh.settle()
    assert result_of(mesh, "a", job_id) == TEXT
    assert leftovers(mesh) == {}
