"""The shared state of an engine: boards, places, resident jobs, quarantine, due times, trimming."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.effects import Batch
from mesh.facts import Kind
from mesh.ledger import TRIM, Ledger
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.routing import Place
from mesh.row import Row
from tests.mesh.pair import START_MS, ZONE, Mesh, Pair, identity_of

LIFE_MS = 3_600_000
HORIZON_MS = int(Limits().horizon_s * 1000)


def ledger_of(pair: Pair) -> Ledger:
    return pair.portal.engine.ledger


def row_of(mesh: Mesh, name: str, job_id: bytes) -> Row:
    (row,) = [row for row in mesh[name].store.rows.values() if row.id == job_id]
    return row


# -- places and boards --------------------------------------------------------------------------------------------


def test_the_place_on_a_path_is_remembered_for_the_paths_in_use() -> None:
    ledger = ledger_of(Pair())
    assert ledger.place("portal.cluster") == Place(("portal", "cluster"), 0)
    assert ledger.place("portal.cluster") is ledger.place("portal.cluster")
    assert ledger.place("a.b") is None
    for number in range(2_000):
        ledger.place(f"portal.agent-{number}")
    assert len(ledger._places) <= 1_024


def test_a_stored_path_names_us() -> None:
    ledger = ledger_of(Pair())
    assert ledger.place_on("portal.cluster") == Place(("portal", "cluster"), 0)
    with pytest.raises(ValueError, match="does not name this agent"):
        ledger.place_on("a.b")


def test_a_board_exists_from_the_moment_its_peer_is_expected() -> None:
    pair = Pair()
    ledger = ledger_of(pair)
    board = ledger.expect(ZONE, "new", "instance", None)
    assert (board.id, board.fingerprint, board.kind) == (2, None, "instance")
    assert ledger.expect(ZONE, "new", "", b"f" * 20) is board
    assert (board.fingerprint, board.kind) == (b"f" * 20, "instance")
    assert ledger.expect("moon", "new", "", None) is not board
    pair.step("portal")
    pair.crash("portal")
    again = pair.portal.board("new")
    assert (again.id, again.fingerprint, again.kind) == (2, b"f" * 20, "instance")


# -- memory -------------------------------------------------------------------------------------------------------


def test_finished_jobs_leave_memory_first_and_running_ones_never() -> None:
    pair = Pair(limits={"cluster": Limits(resident_jobs=8, handlers=3)})
    for _ in range(40):
        pair.put("portal.cluster")
    pair.settle()
    running = set(pair.cluster.engine.destination.running)
    assert len(running) == 3
    assert running <= set(pair.cluster.engine.ledger.jobs)
    assert len(pair.cluster.engine.ledger.jobs) <= 8 + 3
    pair.run_all("cluster")
    assert all(row.state == list(State).index(State.COMPLETE) for row in pair.cluster.store.rows.values())
    assert len(pair.cluster.engine.ledger.jobs) <= 8


def test_a_job_stays_until_its_last_change_is_durable() -> None:
    # An answer of the store that was read before that commit may still be on its way.
    pair = Pair(limits={"cluster": Limits(resident_jobs=8)})
    ids = [pair.put("portal.cluster") for _ in range(4)]
    pair.settle()
    pair.hold("cluster")
    for one in ids:
        pair.finish("cluster", one)
    ledger = pair.cluster.engine.ledger
    assert all(ledger.jobs[one].state is State.COMPLETE for one in ids)
    stale = row_of(pair, "cluster", ids[0])
    assert ledger.adopt(stale) is ledger.jobs[ids[0]]
    pair.release("cluster")
    pair.settle()
    assert [pair.cluster.state(one) for one in ids] == [State.COMPLETE] * 4


def test_what_is_known_and_not_resident_is_missing() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    ledger = ledger_of(pair)
    assert not ledger.missing(job_id)
    ledger.jobs.clear()
    assert ledger.missing(job_id)
    ledger.absent.add(job_id)
    assert not ledger.missing(job_id)
    assert not ledger.missing(b"x" * 26)


# -- quarantine ---------------------------------------------------------------------------------------------------


def damage(pair: Pair, name: str, **changes: Any) -> None:
    store = pair[name].store
    store.rows = {seq: row._replace(**changes) for seq, row in store.rows.items()}


@pytest.mark.parametrize("changes", [{"record": b"nonsense"}, {"facts": b"nonsense"}])
def test_a_damaged_row_is_quarantined_and_its_copy_comes_back_from_the_neighbour(changes: dict[str, bytes]) -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    (seq,) = pair.cluster.store.rows
    damage(pair, "cluster", **changes)
    pair.crash("cluster")
    pair.join()
    (alarm,) = set(pair.cluster.alarms)
    assert (job_id[6:10].hex() in alarm, "quarantined" in alarm) == (True, True)
    assert list(pair.cluster.store.rows) == [seq]
    # It may have run before: idempotent, so it runs again.
    assert [start.job_id for start in pair.cluster.starts] == [job_id]
    pair.run_all("cluster")
    assert pair.states(job_id) == (State.COMPLETE, State.COMPLETE)


def test_a_damaged_row_of_the_origin_comes_back_too() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    damage(pair, "portal", record=b"nonsense")
    pair.crash("portal")
    pair.join()
    pair.finish("cluster", job_id)
    pair.settle()
    assert pair.states(job_id) == (State.COMPLETE, State.COMPLETE)
    assert len(pair.portal.store.rows) == 1


def test_a_damaged_row_that_never_left_is_told_once_and_asked_for_nowhere_else() -> None:
    pair = Pair()
    pair.part()
    job_id = pair.put("portal.cluster", life_s=60.0)
    damage(pair, "portal", facts=b"nonsense")
    pair.crash("portal")
    pair.join()
    pair.wait(120.0)
    (alarm,) = pair.portal.alarms
    assert (job_id[6:10].hex() in alarm, "put it again" in alarm) == (True, True)
    assert not pair.cluster.knows(job_id)
    ((lost, error),) = pair.portal.lost
    assert lost == job_id
    assert (error.code, error.fix) == ("MESH-E342", "put it again")


@pytest.mark.parametrize("name", ["portal", "cluster"])
def test_a_damaged_row_that_a_neighbour_has_is_not_lost(name: str) -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.part()
    damage(pair, name, record=b"nonsense")
    pair.crash(name)
    pair[name].engine.fetch(job_id)
    pair.step(name)
    assert pair[name].alarms
    assert not pair[name].lost


def test_a_job_that_waits_behind_one_that_both_sides_have_lost_goes_on() -> None:
    """The place of a damaged row is free at once, here and for the peer."""
    pair = Pair(limits={"cluster": Limits(credit_jobs=1)})
    lost, waits = pair.put("portal.cluster"), pair.put("portal.cluster")
    pair.settle()
    for name in ("portal", "cluster"):
        pair[name].store.rows = {
            seq: row._replace(record=b"nonsense") if row.id == lost else row
            for seq, row in pair[name].store.rows.items()
        }
        pair.crash(name)
    pair.join()
    pair.run_all("cluster")
    assert pair.portal.state(waits) is State.COMPLETE
    assert pair.portal.board("cluster").offered == pair.cluster.board("portal").accepted == {}


def test_a_damaged_row_is_taken_out_of_the_counts_once() -> None:
    pair = Pair()
    job_id, _ = pair.put("portal.cluster"), pair.put("portal.cluster")
    pair.settle()
    damaged = row_of(pair, "cluster", job_id)._replace(record=b"nonsense")
    ledger = pair.cluster.engine.ledger
    del ledger.jobs[job_id]
    assert [ledger.adopt(damaged), ledger.adopt(damaged)] == [None, None]
    assert pair.cluster.board("portal").accepted == {"0:": 1}
    assert len(ledger.effects.alarms) == 1


# -- due times ----------------------------------------------------------------------------------------------------


def test_who_may_say_expired_is_who_has_a_due_time() -> None:
    pair = Pair(connected=False)
    job_id = pair.put("portal.cluster")
    assert row_of(pair, "portal", job_id).due_ms == START_MS + LIFE_MS
    pair.cluster.engine.destination.draining = True
    pair.join()
    # Offered: the portal only gives its credit back when nothing was heard for long (R6).
    overdue_ms = int(Limits().overdue_s * 1000)
    assert row_of(pair, "portal", job_id).due_ms == START_MS + LIFE_MS + overdue_ms
    assert row_of(pair, "cluster", job_id).due_ms == START_MS + LIFE_MS
    pair.cluster.engine.destination.draining = False
    pair.step("cluster")
    assert row_of(pair, "cluster", job_id).due_ms is None
    pair.run_all("cluster")
    for name in ("portal", "cluster"):
        assert row_of(pair, name, job_id).due_ms == START_MS + LIFE_MS + HORIZON_MS


def test_what_is_over_and_past_its_horizon_is_collected() -> None:
    mesh = Mesh(("a", "b"), ("b", "c"))
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    mesh.wait((LIFE_MS + HORIZON_MS) / 1000 - 120)
    assert all(node.knows(job_id) for node in mesh.nodes.values())
    mesh.wait(240)
    # The origin keeps it for people to look up.
    assert [node.knows(job_id) for node in mesh.nodes.values()] == [True, False, False]


def test_a_live_job_is_never_collected() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.wait(4 * 3_600)
    assert pair.states(job_id) == (State.RUNNING, State.RUNNING)


def test_a_job_that_is_silent_for_too_long_gives_its_credit_back() -> None:
    pair = Pair(limits={"cluster": Limits(credit_jobs=1)})
    first, second = pair.put("portal.cluster", life_s=10), pair.put("portal.cluster", life_s=30 * 86_400)
    pair.part()
    pair.wait(10 + Limits().overdue_s + 1)
    assert pair.portal.state(first) is State.PENDING
    assert pair.portal.board("cluster").offered == {}
    pair.crash("portal")
    assert pair.portal.board("cluster").offered == {}
    pair.join()
    pair.run_all("cluster")
    assert pair.states(second) == (State.COMPLETE, State.COMPLETE)
    assert pair.states(first) == (State.EXPIRED, State.EXPIRED)
    assert pair.portal.board("cluster").offered == {}


# -- trimming -----------------------------------------------------------------------------------------------------


def test_jobs_that_are_home_are_trimmed_many_at_a_time() -> None:
    pair = Pair()
    for _ in range(TRIM + 5):
        pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    trimmed = [row for row in pair.cluster.store.rows.values() if row.facts is None]
    assert TRIM <= len(trimmed) <= TRIM + 5
    assert all(row.facts is not None for row in pair.portal.store.rows.values())
    # De-duplication goes on: the same Request again starts nothing.
    job_id = trimmed[0].id
    request = pair.portal.job(job_id).facts[Kind.REQUEST]
    assert request is not None
    pair.crash("cluster")
    pair.join()
    pair.record("portal", "cluster", request)
    pair.settle()
    assert not pair.cluster.starts
    assert pair.refusals("portal", "cluster") == []


# -- the end of a step --------------------------------------------------------------------------------------------


def test_a_step_in_which_nothing_happens_does_nothing() -> None:
    pair = Pair()
    pair.step("portal")
    assert not pair.portal.engine.end_step(START_MS)


def test_watermarks_alone_are_no_reason_for_a_commit() -> None:
    pair = Pair()
    pair.put("portal.cluster")
    pair.down()
    pair.hold("portal")
    pair.up()
    assert all(not effects.batch for effects, _ in pair.portal.held)
    pair.portal.held.clear()
    pair.cancel("portal", b"x" * 26)
    assert pair.portal.board("cluster").outbox.acked == 1


def test_watermarks_go_along_with_the_next_commit() -> None:
    pair = Pair()
    pair.put("portal.cluster")
    pair.settle()
    pair.put("portal.cluster")
    boards = pair.portal.store.open().boards
    assert len(boards) == 1
    pair.crash("portal")
    assert pair.portal.board("cluster").outbox.acked == 1


def test_two_agents_share_nothing() -> None:
    one, other = Pair(), Pair()
    one.put("portal.cluster")
    assert not other.portal.store.rows
    assert Batch().rows == []
    assert ledger_of(one).fingerprint == ledger_of(other).fingerprint == identity_of("portal").fingerprint
