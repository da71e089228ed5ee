"""No room in the store (rule R10): new jobs are refused here and from peers, everything else goes on, and so do they
once there is room."""

from __future__ import annotations

import pytest

from mesh.dispatch import TOLD_REFUSALS
from mesh.errors import Busy, DiskFull, StoreAtLimit
from mesh.lifecycle import State
from mesh.messages import Ack, Credit
from mesh.room import Room
from tests.mesh.pair import Mesh, Pair


def tell(mesh: Mesh, name: str, room: Room) -> None:
    """The store of an agent says what room it has."""
    mesh[name].engine.room(room, mesh.clock(name))
    mesh.step(name)
    mesh.settle()


@pytest.mark.parametrize(("room", "error"), [(Room.DISK_FULL, DiskFull), (Room.STORE_FULL, StoreAtLimit)])
def test_a_put_is_refused_and_nothing_of_it_is_kept(room: Room, error: type[Busy]) -> None:
    pair = Pair()
    tell(pair, "portal", room)
    with pytest.raises(error):
        pair.put("portal.cluster")
    with pytest.raises(error):
        pair.put("portal.cluster", key="once")
    assert not pair.portal.store.rows
    tell(pair, "portal", Room.ENOUGH)
    job = pair.put("portal.cluster", key="once")
    pair.settle()
    pair.run_all("cluster")
    assert pair.states(job) == (State.COMPLETE, State.COMPLETE)


def test_a_put_whose_job_is_there_already_is_answered() -> None:
    pair = Pair()
    job = pair.put("portal.cluster", key="once")
    tell(pair, "portal", Room.DISK_FULL)
    assert pair.put("portal.cluster", key="once") == job


def test_a_peer_is_told_to_wait_and_goes_on_by_itself() -> None:
    pair = Pair()
    tell(pair, "cluster", Room.DISK_FULL)
    board = pair.portal.board("cluster")
    assert (board.credit, board.credit_reason) == (0, 'the disk of agent "cluster" is full (disk_full)')
    assert pair.cluster.board("portal").refusing == board.credit_reason
    job = pair.put("portal.cluster")
    pair.settle()
    assert not pair.cluster.knows(job)
    assert board.waiting == {"0:": 1}
    tell(pair, "cluster", Room.ENOUGH)
    assert (board.credit_reason, pair.cluster.board("portal").refusing) == ("", "")
    pair.run_all("cluster")
    assert pair.states(job) == (State.COMPLETE, State.COMPLETE)


def test_a_request_that_was_on_its_way_is_refused_as_busy_and_comes_again() -> None:
    pair = Pair()
    job = pair.put("portal.cluster")
    pair.cluster.engine.room(Room.DISK_FULL, pair.clock("cluster"))
    pair.step("cluster")
    pair.settle()
    assert not pair.cluster.knows(job)
    assert pair.portal.board("cluster").last_refusal.startswith("busy: the disk")
    assert pair.portal.state(job) is State.PENDING
    tell(pair, "cluster", Room.ENOUGH)
    pair.run_all("cluster")
    assert pair.states(job) == (State.COMPLETE, State.COMPLETE)


def test_room_that_comes_in_the_step_of_a_refusal_is_said_behind_the_refusal() -> None:
    """Said before it only, CREDIT would look older than the refusal, and its sender would wait for another one."""
    pair = Pair()
    job = pair.put("portal.cluster")
    engine, messages = pair.cluster.engine, pair.waiting("portal", "cluster")
    pair.wire["portal", "cluster"].clear()
    engine.room(Room.DISK_FULL, pair.clock("cluster"))
    pair.step("cluster")
    engine.received(pair.cluster.board("portal"), messages, pair.clock("cluster"))
    engine.room(Room.ENOUGH, pair.clock("cluster"))
    pair.step("cluster")
    said = [message for message in pair.waiting("cluster", "portal") if isinstance(message, Ack | Credit)]
    assert said[-2:] == [
        Ack(1, 0, [[1, "busy", 'the disk of agent "cluster" is full (disk_full)']]),
        Credit(20_000, ""),
    ]
    pair.settle()
    pair.run_all("cluster")
    assert pair.states(job) == (State.COMPLETE, State.COMPLETE)


def test_room_is_said_again_behind_refusals_that_found_no_place_in_an_acknowledgement() -> None:
    pair = Pair()
    jobs = [pair.put("portal.cluster") for _ in range(TOLD_REFUSALS + 2)]
    pair.cluster.engine.room(Room.DISK_FULL, pair.clock("cluster"))
    pair.step("cluster")
    while pair.wire["portal", "cluster"]:
        pair.down()
    assert len(pair.refusals("portal", "cluster")) == len(jobs)
    pair.cluster.engine.room(Room.ENOUGH, pair.clock("cluster"))
    pair.step("cluster")
    # In few steps, so that the last two refusals are told when all others are confirmed.
    while messages := pair.waiting("cluster", "portal"):
        pair.wire["cluster", "portal"].clear()
        pair.inject("cluster", "portal", *messages)
        if messages := pair.waiting("portal", "cluster"):
            pair.wire["portal", "cluster"].clear()
            pair.inject("portal", "cluster", *messages)
    assert not pair.portal.board("cluster").waiting
    pair.run_all("cluster")
    assert {pair.states(job) for job in jobs} == {(State.COMPLETE, State.COMPLETE)}


def test_a_new_link_is_told_too() -> None:
    pair = Pair()
    tell(pair, "cluster", Room.STORE_FULL)
    pair.reconnect("portal", "cluster")
    assert pair.sent("cluster", "portal", Credit)[-1] == Credit(
        0, 'the store of agent "cluster" is as large as it may be (store_full)'
    )


def test_what_ends_jobs_is_still_taken() -> None:
    mesh = Mesh(("a", "b"), ("b", "c"))
    done, cancelled, deleted = (mesh.put("a.b.c") for _ in range(3))
    mesh.settle()
    for name in "abc":
        mesh[name].engine.room(Room.DISK_FULL, mesh.clock(name))
        mesh.step(name)
    mesh.settle()
    mesh.cancel("a", cancelled)
    mesh.delete("a", deleted)
    mesh.settle()
    assert set(mesh["c"].stops) == {cancelled, deleted}
    mesh.run_all("c")
    for name in "abc":
        assert mesh[name].state(done) is State.COMPLETE
        assert mesh[name].state(cancelled) in (State.CANCELLED, State.COMPLETE)
        assert mesh[name].state(deleted) is State.DELETED
        assert not any(board.outbox.flight for board in mesh[name].engine.boards), "all of it is acknowledged"


def test_a_full_exchange_brings_ended_jobs_though_there_is_no_room() -> None:
    pair = Pair()
    job = pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    pair.restore("portal", type(pair.portal.store)())
    pair.portal.engine.room(Room.DISK_FULL, pair.clock("portal"))
    pair.join()
    assert pair.portal.state(job) is State.COMPLETE, "else its id would be unknown here for ever"


def test_the_store_is_asked_again_at_a_deadline_and_collects_at_once() -> None:
    pair = Pair()
    engine, now = pair.portal.engine, pair.now_ms
    engine.tick(now)
    engine.room(Room.DISK_FULL, now)
    assert engine.end_step(now).batch.collect_ms == now
    for turn in range(1, 4):
        due = now + turn * int(engine.limits.room_s * 1000)
        assert engine.next_deadline_ms() == due
        engine.tick(due)
        assert engine.end_step(due).batch.collect_ms == due
    engine.room(Room.ENOUGH, due)
    later = due + int(engine.limits.room_s * 1000)
    engine.end_step(due)
    engine.tick(later)
    assert engine.end_step(later).batch.collect_ms is None


def test_a_clock_that_is_set_back_does_not_put_it_off() -> None:
    pair = Pair()
    engine, now = pair.portal.engine, pair.now_ms
    engine.room(Room.DISK_FULL, now)
    engine.end_step(now)
    engine._collect_ms = now
    engine.tick(now - 3_600_000)
    assert engine.end_step(now - 3_600_000).batch.collect_ms == now - 3_600_000


def test_it_is_said_once() -> None:
    pair = Pair()
    tell(pair, "cluster", Room.DISK_FULL)
    tell(pair, "cluster", Room.DISK_FULL)
    assert [alarm for alarm in pair.cluster.alarms if "disk_full" in alarm] == [
        'the disk of agent "cluster" is full (disk_full): no new jobs are taken until there is room, '
        "only what ends others"
    ]
    tell(pair, "cluster", Room.STORE_FULL)
    assert "store_full" in pair.cluster.alarms[-1]
    assert pair.portal.board("cluster").credit_reason.endswith("(store_full)")
