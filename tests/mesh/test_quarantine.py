"""Damaged rows: out of every count at once and for good, until a neighbour gives its copy (R10)."""

from __future__ import annotations

import pytest

from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.quarantine import Quarantine
from mesh.storage.columns import row_of
from tests.mesh.pair import Mesh
from tests.mesh.storage.rows import job_id, row


def damage(mesh: Mesh, name: str, job: bytes) -> None:
    """Damage the row of a job at an agent, which starts anew."""
    rows = mesh[name].store.rows
    (damaged,) = [one for one in rows.values() if one.id == job]
    rows[damaged.seq] = damaged._replace(facts=b"damaged")
    mesh.crash(name)


def test_the_copy_of_a_damaged_row_takes_its_number_and_key() -> None:
    quarantine = Quarantine()
    assert quarantine.put(row(7, key="once"))
    assert not quarantine.put(row(7, key="once"))
    assert job_id(7) in quarantine
    assert quarantine.take(job_id(7)) == (7, "once")
    assert job_id(7) not in quarantine
    assert quarantine.take(job_id(7)) == (0, None)


def test_a_job_that_nobody_can_give_back_is_given_up_once() -> None:
    quarantine = Quarantine()
    assert not quarantine.give_up(job_id(7))
    quarantine.put(row(7))
    assert quarantine.give_up(job_id(7))
    assert not quarantine.give_up(job_id(7))
    quarantine.put(row(8, up_board=None, waiting=1))
    assert not quarantine.give_up(job_id(8)), "it never left, and was given up at once"


def test_a_key_that_is_not_text_any_more_is_no_key() -> None:
    quarantine = Quarantine()
    quarantine.put(row_of(row(7)._replace(key=b"a page of something else")))  # type: ignore[arg-type]
    assert quarantine.take(job_id(7)) == (7, None)


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_damaged_row_whose_record_was_never_delivered_takes_no_credit_after_a_restart_either(restarts: int) -> None:
    """It had its number; the peer never heard of it and cannot give it back, and later openings do not read it."""
    mesh = Mesh(("a", "b"), limits={name: Limits(credit_jobs=1) for name in "ab"})
    lost = mesh.put("a.b")
    mesh.cut("a", "b")
    damage(mesh, "a", lost)
    mesh.connect("a", "b")
    mesh.settle()
    for turn in range(restarts + 1):
        if turn:
            mesh.crash("a")
            mesh.connect("a", "b")
        job = mesh.put("a.b")
        mesh.settle()
        mesh.finish("b", job)
        mesh.settle()
        assert mesh["a"].state(job) is State.COMPLETE
        assert mesh["a"].board("b").offered == {}


def test_a_damaged_row_that_comes_back_is_counted_again_until_it_ends() -> None:
    mesh = Mesh(("a", "b"))
    job = mesh.put("a.b")
    mesh.settle()
    damage(mesh, "a", job)
    mesh.connect("a", "b")
    mesh.settle()
    mesh.crash("a")
    mesh.connect("a", "b")
    mesh.settle()
    assert list(mesh["a"].board("b").offered.values()) == [1]
    mesh.finish("b", job)
    mesh.settle()
    assert mesh["a"].state(job) is State.COMPLETE
    assert mesh["a"].board("b").offered == {}


def test_jobs_whose_rows_were_damaged_start_again_in_the_groups_of_a_crash() -> None:
    """R8: they may have been running when the agent died, and nobody knows which one killed it."""
    mesh = Mesh(("a", "b"), limits={"b": Limits(handlers=4)})
    jobs = [mesh.put("a.b") for _ in range(3)]
    mesh.settle()
    assert len(mesh["b"].starts) == 3
    rows = mesh["b"].store.rows
    for row_ in list(rows.values()):
        rows[row_.seq] = row_._replace(facts=b"damaged")
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.settle()
    assert len(mesh["b"].starts) == 1
    mesh.run_all("b")
    assert {mesh["a"].state(job) for job in jobs} == {State.COMPLETE}


def test_a_row_that_is_damaged_again_on_the_same_link_is_asked_for_again() -> None:
    mesh = Mesh(("a", "b"), limits={"a": Limits(resident_jobs=0)})
    job = mesh.put("a.b")
    mesh.settle()
    rows = mesh["a"].store.rows
    for _ in range(2):
        (damaged,) = rows.values()
        rows[damaged.seq] = damaged._replace(facts=b"damaged")
        mesh["a"].engine.ledger.jobs.clear()
        mesh["a"].engine.fetch(job)
        mesh.step("a")
        mesh.settle()
        assert mesh["a"].state(job) is State.PENDING
    mesh.run_all("b")
    assert mesh["a"].state(job) is State.COMPLETE
