"""Outcomes that go on before their commit: who is told, what is believed, and that many at once wait for it."""

from __future__ import annotations

import pytest

from mesh.ahead import AHEAD
from mesh.facts import Fact
from mesh.lifecycle import State
from mesh.messages import Ahead
from tests.mesh.pair import Mesh
from tests.mesh.test_arrival import CHAIN, outcome, progress


def test_an_outcome_is_told_at_the_origin_before_the_commit() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.hold("b")
    mesh.hold("a")
    mesh.finish("c", job_id)
    mesh.deliver("c", "b", 9)
    assert [type(message) for message in mesh.waiting("b", "a")] == []
    mesh.release("b")
    mesh.deliver("b", "a", 9)
    assert [told.job_id for told in mesh["a"].told] == [job_id]
    assert mesh["a"].state(job_id) is State.PENDING


def test_a_hop_passes_an_outcome_on_before_its_own_commit() -> None:
    mesh = Mesh(*CHAIN)
    mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    # The card of the destination has gone ahead by now.
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.hold("b")
    mesh.finish("c", job_id)
    mesh.deliver("c", "b", 9)
    (message,) = mesh.waiting("b", "a")
    assert isinstance(message, Ahead)
    told = len(mesh["a"].told)
    mesh.deliver("b", "a")
    assert [one.job_id for one in mesh["a"].told[told:]] == [job_id]
    # Told, and nothing kept: the hop may die now.
    assert mesh["a"].state(job_id) is State.PENDING
    mesh.crash("b")
    for ends in CHAIN:
        mesh.connect(*ends)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE


def test_what_was_told_ahead_is_told_once() -> None:
    mesh = Mesh(*CHAIN, ("c", "d"))
    for _ in range(2):
        mesh["a"].told.clear()
        mesh.put("a.b.c.d")
        mesh.settle()
        mesh.run_all("d")
        assert len(mesh["a"].told) == 1
    assert len(mesh.sent("b", "a", Ahead)) == 1


def ahead_of(mesh: Mesh, fact: Fact, proof: bytes | None = None) -> int:
    mesh["a"].told.clear()
    mesh.inject("b", "a", Ahead(fact.body, fact.proof if proof is None else proof))
    return len(mesh["a"].told)


def test_what_comes_ahead_is_checked_like_any_fact() -> None:
    mesh = Mesh(*CHAIN)
    mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    assert ahead_of(mesh, outcome(job_id, "b")) == 0
    assert ahead_of(mesh, outcome(job_id, "c", by="b")) == 0
    assert ahead_of(mesh, outcome(job_id, "c"), b"") == 0
    assert ahead_of(mesh, outcome(b"x" * 26, "c")) == 0
    assert ahead_of(mesh, progress(job_id, "c")) == 0
    assert ahead_of(mesh, outcome(job_id, "c")) == 1
    mesh.run_all("c")
    assert ahead_of(mesh, outcome(job_id, "c")) == 0


def test_nothing_is_believed_ahead_that_comes_from_the_wrong_side() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.inject("a", "b", Ahead(outcome(job_id, "c").body, outcome(job_id, "c").proof))
    assert not mesh.waiting("b", "a")


@pytest.mark.parametrize(("count", "passed"), [(1, 1), (AHEAD, AHEAD), (AHEAD + 1, 0)])
def test_where_many_come_in_one_step_they_wait_for_their_records(count: int, passed: int) -> None:
    mesh = Mesh(*CHAIN)
    mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    jobs = [mesh.put("a.b.c") for _ in range(count)]
    mesh.settle()
    for job_id in jobs:
        mesh.finish("c", job_id)
    mesh.hold("b")
    mesh.inject("c", "b", *mesh.waiting("c", "b"))
    mesh.wire["c", "b"].clear()
    assert len([message for message in mesh.waiting("b", "a") if isinstance(message, Ahead)]) == passed
    mesh.release("b")
    mesh["a"].told.clear()
    mesh.settle()
    assert sorted(told.job_id for told in mesh["a"].told) == sorted(jobs)
    assert {mesh["a"].state(job_id) for job_id in jobs} == {State.COMPLETE}
