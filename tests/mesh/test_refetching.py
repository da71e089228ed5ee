"""Bytes that turned out damaged come again from the agent they came from, or are done without (R10, R14)."""

from __future__ import annotations

import pytest

from mesh.blobs import name_blob
from mesh.facts import Kind
from mesh.lifecycle import State
from mesh.messages import FactMessage, Unknown, Want
from mesh.storage.memory import MemoryStore
from tests.mesh.blob_mesh import DATA, LARGE, chain, leftovers, result_of, stored
from tests.mesh.pair import Mesh, peer_row

PAYLOAD = name_blob(DATA)
RESULT = str(LARGE.result).encode()


def damaged(mesh: Mesh, name: str) -> None:
    """One slice of each blob of an agent is damaged: a store gives none of what follows."""
    store = mesh[name].store
    for blob in store.blobs:
        store.slices.pop((blob, 64), None)


def damaged_row(mesh: Mesh, name: str, job_id: bytes) -> None:
    """The row of a job is damaged at an agent that starts anew."""
    rows = mesh[name].store.rows
    (row,) = [row for row in rows.values() if row.id == job_id]
    rows[row.seq] = row._replace(record=b"damaged")
    mesh.crash(name)


def read_at_once(mesh: Mesh, name: str) -> None:
    """Commit what waits at one, say nothing of it, and have all that it asked of its store answered in one step."""
    node = mesh[name]
    held = [effects for effects, _ in node.held]
    node.held.clear()
    node.store.apply([effects.batch for effects in held])
    for query in [query for effects in held for query in effects.queries]:
        node.engine.answer(node.store.read(query), mesh.clock(name))
    mesh.step(name)
    mesh.release(name)


def waiting_result(mesh: Mesh) -> bytes:
    """A job from a over b to c, whose result waits at b for a."""
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.finish("c", job_id, LARGE)
    mesh.settle()
    assert stored(mesh, "b", job_id, Kind.OUTCOME) == RESULT
    return job_id


def test_a_damaged_result_is_fetched_again() -> None:
    mesh = chain("a", "b", "c")
    job_id = waiting_result(mesh)
    damaged(mesh, "b")
    mesh.connect("a", "b")
    mesh.settle()
    assert result_of(mesh, "a", job_id) == RESULT
    assert [alarm for alarm in mesh["b"].alarms if 'fetched again from "c"' in alarm]
    assert not mesh["b"].store.blobs, "the damaged one is gone too"
    assert leftovers(mesh) == {}


def test_a_damaged_payload_is_fetched_again_though_the_quota_is_full() -> None:
    mesh = chain("a", "b", "c", blob_quota_bytes=1)
    mesh.cut("b", "c")
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    mesh.settle()
    damaged(mesh, "b")
    mesh.connect("b", "c")
    mesh.settle()
    assert stored(mesh, "c", job_id, Kind.REQUEST) == DATA
    assert len(mesh["b"].store.blobs) == 1
    mesh.finish("c", job_id)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert leftovers(mesh) == {}


@pytest.mark.parametrize("resident", [1, 8_192])
def test_a_restart_meanwhile_begins_anew(resident: int) -> None:
    mesh = chain("a", "b", "c", resident_jobs=resident)
    job_id = waiting_result(mesh)
    mesh.cut("b", "c")
    damaged(mesh, "b")
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.PENDING
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.settle()
    mesh.connect("b", "c")
    mesh.settle()
    assert result_of(mesh, "a", job_id) == RESULT
    assert leftovers(mesh) == {}


def test_a_crash_between_the_new_bytes_and_their_way_on_loses_nothing() -> None:
    """What was owed of the damaged blob is owed of the one that takes its place."""
    mesh = chain("a", "b", "c")
    job_id = waiting_result(mesh)
    damaged(mesh, "b")
    mesh.connect("a", "b")
    while stored(mesh, "b", job_id, Kind.OUTCOME) != RESULT:
        for one, other in ("ab", "ba", "bc", "cb"):
            mesh.deliver(one, other)
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.connect("b", "c")
    mesh.settle()
    mesh.reconnect("b", "c")
    assert result_of(mesh, "a", job_id) == RESULT
    assert leftovers(mesh) == {}


def test_what_is_damaged_twice_on_one_link_is_asked_for_twice() -> None:
    mesh = chain("a", "b", "c")
    job_id = waiting_result(mesh)
    for times in (1, 2):
        damaged(mesh, "b")
        mesh.connect("a", "b")
        while len(mesh.sent("b", "c", Want)) < times or stored(mesh, "b", job_id, Kind.OUTCOME) != RESULT:
            for one, other in ("ab", "ba", "bc", "cb"):
                mesh.deliver(one, other)
        mesh.cut("a", "b")
    mesh.connect("a", "b")
    mesh.settle()
    assert result_of(mesh, "a", job_id) == RESULT
    assert leftovers(mesh) == {}


def test_bytes_that_nobody_has_are_not_waited_for() -> None:
    mesh = chain("a", "b", "c")
    job_id = waiting_result(mesh)
    for name in "bc":
        damaged(mesh, name)
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert result_of(mesh, "a", job_id) is None
    assert [alarm for alarm in mesh["c"].alarms if "is lost here" in alarm]
    assert leftovers(mesh) == {}


@pytest.mark.parametrize("name", ["b", "c"])
def test_a_job_whose_row_is_damaged_comes_back_with_its_payload_though_the_quota_is_full(name: str) -> None:
    """What is left of it takes up the quota, and gives way to what comes."""
    mesh = chain("a", "b", "c", blob_quota_bytes=1, resident_jobs=1)
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    mesh.settle()
    damaged_row(mesh, name, job_id)
    for link in ("ab", "bc"):
        mesh.cut(*link)
        mesh.connect(*link)
    mesh.settle()
    mesh.finish("c", job_id)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert not mesh[name].store.blobs
    assert leftovers(mesh) == {}


def test_a_row_that_is_found_damaged_in_the_step_that_brings_the_job_back_takes_no_new_bytes_away() -> None:
    """The agent died when the payload had come anew, and not the Request; both are there when the row is read."""
    mesh = chain("a", "b")
    job_id = mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    damaged_row(mesh, "b", job_id)
    mesh.connect("a", "b")
    while not [message for message in mesh.waiting("a", "b") if isinstance(message, FactMessage)]:
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.deliver("b", "a")
    mesh.hold("b")
    mesh.deliver("a", "b", 9)
    read_at_once(mesh, "b")
    assert stored(mesh, "b", job_id, Kind.REQUEST) == DATA
    mesh.reconnect("a", "b")
    mesh.run_all("b")
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert leftovers(mesh) == {}


def test_a_job_whose_row_is_damaged_while_its_payload_goes_on_is_still_owed() -> None:
    """Nobody else speaks of it: what is owed is found at the next start, and the row with it."""
    mesh = chain("a", "b", "c")
    mesh.cut("b", "c")
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    mesh.settle()
    mesh.connect("b", "c")
    mesh.deliver("b", "c")
    mesh.deliver("c", "b", 9)
    assert mesh["b"].store.blobs
    mesh.cut("a", "b")
    damaged_row(mesh, "b", job_id)
    mesh.connect("b", "c")
    mesh.settle()
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.connect("a", "b")
    mesh.settle()
    mesh.finish("c", job_id)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert leftovers(mesh) == {}


# -- a neighbour that has forgotten the job ------------------------------------------------------------------------


def test_who_waits_for_a_damaged_job_is_told_when_the_neighbour_has_forgotten_it() -> None:
    """Offered, and so nobody's to expire: without an answer its caller would wait for ever."""
    mesh = chain("a", "b")
    job_id = mesh.put("a.b")
    mesh.settle()
    damaged_row(mesh, "a", job_id)
    mesh.restore("b", MemoryStore())
    mesh.connect("a", "b")
    mesh["a"].engine.fetch(job_id)
    mesh.step("a")
    mesh.settle()
    ((lost, error),) = mesh["a"].lost
    assert lost == job_id
    assert (error.code, "no neighbour has a copy" in error.message) == ("MESH-E342", True)
    assert mesh["a"].board("b").wanted == set()
    mesh.reconnect("a", "b")
    assert len(mesh.sent("a", "b", Want)) == 1
    assert leftovers(mesh) == {}


def test_a_hop_with_a_damaged_row_asks_the_one_neighbour_though_the_other_has_forgotten_the_job() -> None:
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    damaged_row(mesh, "b", job_id)
    mesh.restore("c", MemoryStore())
    mesh.connect("b", "c")
    mesh["b"].engine.fetch(job_id)
    mesh.step("b")
    mesh.settle()
    assert (mesh["b"].board("a").wanted, mesh["b"].board("c").wanted) == ({job_id}, set())
    assert not mesh["b"].lost
    mesh.connect("a", "b")
    mesh.settle()
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert leftovers(mesh) == {}


def test_two_neighbours_whose_rows_are_both_damaged_do_not_wait_for_each_other() -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b")
    mesh.settle()
    for name in "ab":
        damaged_row(mesh, name, job_id)
    mesh.connect("a", "b")
    for name in "ab":
        mesh[name].engine.fetch(job_id)
        mesh.step(name)
    mesh.settle()
    assert [len(mesh[name].lost) for name in "ab"] == [1, 1]
    assert leftovers(mesh) == {}


def test_bytes_that_are_owed_of_a_job_that_nobody_has_make_room_for_those_of_others() -> None:
    """A payload is on its way from a hop to the next agent; its row is damaged there, and at the origin too."""
    mesh = chain("a", "b", "c", blob_quota_bytes=1)
    gone = mesh.put("a.b.c", payload=PAYLOAD)
    while not mesh["b"].engine.ledger.blobs.owing:
        for one, other in ("ab", "ba"):
            mesh.deliver(one, other)
    mesh.cut("b", "c")
    later = mesh.put("a.b", payload=name_blob(b"later" * 20))
    mesh.settle()
    assert stored(mesh, "b", gone, Kind.REQUEST) == DATA
    assert stored(mesh, "b", later, Kind.REQUEST) is None, "there is no room for it"
    for name in "ab":
        damaged_row(mesh, name, gone)
    mesh.connect("a", "b")
    mesh.connect("b", "c")
    mesh.settle()
    assert [lost for lost, _ in mesh["b"].lost] == [gone]
    assert stored(mesh, "b", gone, Kind.REQUEST) is None
    mesh.finish("b", later)
    mesh.settle()
    assert mesh["a"].state(later) is State.COMPLETE
    assert leftovers(mesh) == {}
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.connect("b", "c")
    mesh.settle()
    assert leftovers(mesh) == {}, "nothing is owed after a restart either"


def test_damaged_bytes_of_a_job_that_the_neighbour_has_forgotten_are_done_without() -> None:
    mesh = chain("a", "b", "c")
    job_id = waiting_result(mesh)
    damaged(mesh, "b")
    mesh.cut("b", "c")
    store = mesh["c"].store
    for seq in [row.seq for row in store.rows.values() if row.id == job_id]:
        store.rows[seq] = store.rows[seq]._replace(facts=None)
    mesh.crash("c")
    mesh.connect("b", "c")
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert result_of(mesh, "a", job_id) is None
    assert leftovers(mesh) == {}


def test_nobody_is_believed_that_was_not_asked() -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b")
    mesh.settle()
    mesh.inject("b", "a", Unknown(job_id))
    assert not mesh["a"].lost
    mesh.run_all("b")
    assert mesh["a"].state(job_id) is State.COMPLETE


def test_bytes_that_were_asked_of_a_peer_that_is_revoked_are_not_waited_for() -> None:
    mesh = chain("a", "b", "c", resident_jobs=1)
    job_id = waiting_result(mesh)
    mesh.cut("b", "c")
    damaged(mesh, "b")
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.PENDING
    mesh["b"].engine.revoke([peer_row(mesh["c"].card)])
    mesh.step("b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert result_of(mesh, "a", job_id) is None
    assert not mesh["b"].engine.ledger.blobs.missing
    assert leftovers(mesh) == {}


@pytest.mark.parametrize("found", ["before", "by", "after"])
def test_who_waits_for_a_damaged_job_is_told_when_the_neighbour_is_revoked(found: str) -> None:
    """Before the revocation, by it, or in a later life: there is nobody to ask any more."""
    mesh = chain("a", "b")
    job_id = mesh.put("a.b")
    mesh.settle()
    if found != "after":
        damaged_row(mesh, "a", job_id)
    if found == "before":
        mesh["a"].engine.fetch(job_id)
        mesh.step("a")
        assert not mesh["a"].lost
    mesh["a"].engine.revoke([peer_row(mesh["b"].card)])
    mesh.step("a")
    if found == "after":
        damaged_row(mesh, "a", job_id)
        mesh["a"].engine.fetch(job_id)
        mesh.step("a")
    assert [lost for lost, _ in mesh["a"].lost] == [job_id]
