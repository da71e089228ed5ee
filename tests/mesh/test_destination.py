"""The destination: claim, start, report, end; what a crash means, and who may speak for what."""

from __future__ import annotations

from typing import Any

import pytest

from invitations.fingerprint import fingerprint_text
from mesh.access import Rule
from mesh.ending import Ending
from mesh.errors import NotOurJob
from mesh.facts import VERSION, Cancel, Kind, Outcome, Request
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import REISSUED
from tests.mesh.pair import DONE, START_MS, TEXT, ZONE, Mesh, Pair, card_of, identity_of, signed


def fp(name: str) -> bytes:
    return identity_of(name).fingerprint


def few(handlers: int, **more: Any) -> Pair:
    """A pair whose destination runs so many handlers at once."""
    return Pair(limits={"cluster": Limits(handlers=handlers, **more)})


def put(pair: Pair, jobs: int = 1, text: str = TEXT, **wishes: Any) -> list[bytes]:
    ids = [pair.put("portal.cluster", text, **wishes) for _ in range(jobs)]
    pair.settle()
    return ids


def running(pair: Pair) -> list[bytes]:
    """Jobs that were started, in that order; the list is emptied."""
    ids = [start.job_id for start in pair.cluster.starts]
    pair.cluster.starts.clear()
    return ids


def outcome(pair: Pair, job_id: bytes) -> Outcome:
    """The Outcome, the same at both ends."""
    found = pair.cluster.job(job_id).outcome
    assert found is not None
    assert pair.portal.job(job_id).outcome == found
    return found


def error_of(pair: Pair, job_id: bytes) -> tuple[str, bool]:
    found = outcome(pair, job_id)
    assert found.error is not None
    return found.error[0], found.unknown_effect


# -- one job ------------------------------------------------------------------------------------------------------


def test_a_job_starts_with_its_attempt_durable() -> None:
    pair = Pair()
    pair.put("portal.cluster")
    pair.hold("cluster")
    while pair.wire["portal", "cluster"]:
        pair.down()
    assert not pair.cluster.starts
    pair.release("cluster")
    (start,) = pair.cluster.starts
    job = pair.cluster.job(start.job_id)
    assert (job.state, job.attempt, job.started_ms, start.attempt) == (State.RUNNING, 1, START_MS, 1)
    assert str(start.instruction) == TEXT


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (DONE, "complete"),
        (Ending(State.COMPLETE), "complete"),
        (Ending(State.ERROR, error=("failed", "no")), "error"),
        (Ending(State.ERROR, error=("timeout", "too long"), unknown_effect=True), "error"),
        (Ending(State.CANCELLED), "cancelled"),
    ],
)
def test_how_a_handler_ended_is_told(ending: Ending, state: str) -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.now_ms += 50
    pair.finish("cluster", job_id, ending)
    pair.settle()
    found = outcome(pair, job_id)
    assert (found.state, found.result_type, found.result) == (state, ending.result_type, ending.result)
    assert found.error == (list(ending.error) if ending.error else None)
    assert (found.attempt, found.started_ms, found.ended_ms) == (1, START_MS, START_MS + 50)
    # A handler that was stopped may have done its work or not.
    assert found.unknown_effect is (ending.unknown_effect or ending.state is State.CANCELLED)
    assert pair.states(job_id) == (State(state), State(state))


def test_the_first_end_counts() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.finish("cluster", job_id)
    pair.finish("cluster", job_id, Ending(State.ERROR, error=("failed", "no")))
    pair.settle()
    assert outcome(pair, job_id).state == "complete"


def test_the_end_of_a_job_that_nobody_knows_is_nothing() -> None:
    pair = Pair()
    pair.finish("cluster", b"x" * 26)
    pair.cluster.engine.progress(b"x" * 26, "half", 0.5, START_MS)
    pair.cluster.engine.requeued(b"x" * 26, START_MS)
    pair.step("cluster")
    assert not pair.cluster.store.rows


def test_a_result_that_is_too_large_is_an_error() -> None:
    pair = Pair(limits={"cluster": Limits(result_bytes=5, blob_bytes=10)})
    (job_id,) = put(pair)
    pair.finish("cluster", job_id, Ending(State.COMPLETE, "str", '"123456789"'))
    pair.settle()
    assert outcome(pair, job_id).error == ["failed", "the result has 11 bytes, at most 10 are taken"]


def test_the_effect_of_a_job_with_too_large_a_result_is_unknown() -> None:
    pair = Pair(limits={"cluster": Limits(result_bytes=5, blob_bytes=10)})
    (job_id,) = put(pair)
    pair.finish("cluster", job_id, Ending(State.COMPLETE, "str", '"123456789"'))
    pair.settle()
    assert outcome(pair, job_id).unknown_effect


@pytest.mark.parametrize("size", [65_300, 80_000])
def test_an_error_of_any_length_ends_its_job(size: int) -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.finish("cluster", job_id, Ending(State.ERROR, error=("failed", "x" * size)))
    pair.settle()
    assert pair.states(job_id) == (State.ERROR, State.ERROR)


@pytest.mark.parametrize("size", [65_300, 80_000])
def test_a_report_of_any_length_is_taken(size: int) -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.cluster.engine.progress(job_id, "x" * size, None, pair.now_ms)
    pair.step("cluster")
    pair.settle()
    assert pair.portal.state(job_id) is State.RUNNING


# -- reports ------------------------------------------------------------------------------------------------------


def test_a_short_job_reports_nothing() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.run_all("cluster")
    pair.wait(1)
    assert (outcome(pair, job_id).number, pair.portal.job(job_id).progress) == (2, None)


def test_a_job_that_lives_longer_is_reported_once() -> None:
    pair = few(1)
    first, second = put(pair, 2)
    pair.wait(0.09)
    assert pair.portal.state(first) is State.PENDING
    pair.wait(0.02)
    assert [pair.portal.state(one) for one in (first, second)] == [State.RUNNING, State.CLAIMED]
    pair.wait(1)
    assert pair.cluster.job(first).version == 2
    # What was said to be claimed is said to be running when it starts.
    pair.finish("cluster", first)
    pair.settle()
    assert pair.portal.state(second) is State.RUNNING


def test_a_handler_reports_at_once() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    for step in (1, 2):
        pair.cluster.engine.progress(job_id, f"step {step}", step / 2, pair.now_ms)
        pair.step("cluster")
        pair.settle()
        progress = pair.portal.job(job_id).progress
        assert progress is not None
        assert (progress.number, progress.message, progress.fraction) == (step + 1, f"step {step}", step / 2)
        assert (progress.state, progress.attempt) == ("running", 1)


def test_a_report_after_the_end_says_nothing() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.run_all("cluster")
    pair.cluster.engine.progress(job_id, "late", None, pair.now_ms)
    pair.step("cluster")
    pair.settle()
    assert pair.portal.job(job_id).progress is None


# -- slots --------------------------------------------------------------------------------------------------------


def test_jobs_start_in_order_as_slots_allow() -> None:
    pair = few(2)
    ids = put(pair, 5)
    assert running(pair) == ids[:2]
    assert [pair.cluster.state(one) for one in ids] == [State.RUNNING] * 2 + [State.CLAIMED] * 3
    pair.finish("cluster", ids[1])
    assert running(pair) == [ids[2]]
    pair.finish("cluster", ids[0])
    pair.finish("cluster", ids[2])
    assert running(pair) == ids[3:]


def test_a_peer_takes_no_more_than_its_share() -> None:
    mesh = Mesh(("a", "z"), ("b", "z"), limits={"z": Limits(handlers=3, handlers_per_peer=2)})
    ids = [mesh.put(f"{name}.z", "idle") for name in "aaaabb"]
    mesh.settle()
    started = [start.job_id for start in mesh["z"].starts]
    assert len(started) == 3
    assert sum(one in ids[:4] for one in started) <= 2


def test_a_handler_that_awaits_a_child_holds_no_slot() -> None:
    pair = few(1)
    first, second = put(pair, 2)
    destination = pair.cluster.engine.destination
    destination.yielded(b"unknown")
    destination.yielded(first)
    pair.step("cluster")
    assert running(pair) == [first, second]
    destination.resumed(first)
    (third,) = put(pair)
    assert pair.cluster.state(third) is State.CLAIMED
    pair.finish("cluster", first)
    pair.finish("cluster", second)
    assert running(pair) == [third]


def test_a_handler_that_awaits_a_child_leaves_the_share_of_its_peer_to_others() -> None:
    pair = Pair(limits={"cluster": Limits(handlers=8, handlers_per_peer=1)})
    first, second = put(pair, 2)
    destination = pair.cluster.engine.destination
    assert running(pair) == [first]
    destination.yielded(first)
    destination.yielded(first)
    pair.step("cluster")
    assert running(pair) == [second]
    destination.resumed(first)
    pair.finish("cluster", second)
    destination.resumed(first)
    (third,) = put(pair)
    assert pair.cluster.state(third) is State.CLAIMED
    destination.yielded(first)
    pair.finish("cluster", first)
    assert running(pair) == [third]


def test_one_that_runs_alone_after_crashes_lets_others_run_while_it_awaits_a_child() -> None:
    pair = few(1)
    (suspect,) = put(pair)
    running(pair)
    pair.crash("cluster")
    pair.join()
    assert running(pair) == [suspect]
    assert pair.cluster.job(suspect).alone == 1
    (child,) = put(pair)
    assert pair.cluster.state(child) is State.CLAIMED
    pair.cluster.engine.destination.yielded(suspect)
    pair.step("cluster")
    assert pair.cluster.job(suspect).alone == 0
    assert pair.cluster.state(child) is State.RUNNING
    pair.cluster.engine.destination.resumed(suspect)
    pair.finish("cluster", child)
    pair.finish("cluster", suspect)
    pair.settle()
    assert pair.states(suspect) == (State.COMPLETE, State.COMPLETE)


def test_who_goes_on_beside_one_that_runs_alone_ends_its_solitude() -> None:
    """A death of the agent would say nothing about it."""
    pair = few(1)
    first, second = put(pair, 2)
    pair.cluster.engine.destination.yielded(first)
    pair.step("cluster")
    running(pair)
    pair.crash("cluster")
    pair.join()
    assert running(pair) == [first]
    destination = pair.cluster.engine.destination
    destination.yielded(first)
    pair.step("cluster")
    assert running(pair) == [second]
    assert [pair.cluster.job(one).alone for one in (first, second)] == [0, 1]
    destination.resumed(first)
    pair.step("cluster")
    assert [pair.cluster.job(one).alone for one in (first, second)] == [0, 0]


def test_a_draining_agent_starts_nothing() -> None:
    pair = Pair()
    pair.cluster.engine.destination.draining = True
    (job_id,) = put(pair)
    assert pair.cluster.state(job_id) is State.CLAIMED
    pair.cluster.engine.destination.draining = False
    pair.step("cluster")
    assert running(pair) == [job_id]


def test_a_claimed_job_that_left_memory_is_fetched_when_its_turn_comes() -> None:
    pair = few(1, resident_jobs=2)
    ids = put(pair, 30)
    assert len(pair.cluster.engine.ledger.jobs) < 20
    pair.run_all("cluster")
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)
    assert [pair.cluster.job(one).attempt for one in ids] == [1] * 30


def test_a_job_deleted_while_it_runs_frees_its_slot() -> None:
    pair = few(2, resident_jobs=8)
    ids = put(pair, 2)
    for one in ids:
        pair.delete("portal", one)
    pair.settle()
    for one in ids:
        pair.finish("cluster", one)
    (job_id,) = put(pair)
    assert pair.cluster.state(job_id) is State.RUNNING


# -- expiry -------------------------------------------------------------------------------------------------------


def test_a_job_that_comes_too_late_is_expired() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster", life_s=10)
    pair.now_ms += 10_001
    pair.settle()
    assert pair.states(job_id) == (State.EXPIRED, State.EXPIRED)
    found = outcome(pair, job_id)
    assert (found.attempt, found.started_ms, found.unknown_effect) == (0, 0, False)


def test_a_job_that_waits_for_a_slot_expires() -> None:
    pair = few(1)
    first, second = put(pair, 2, life_s=10)
    pair.wait(11)
    assert pair.portal.state(first) is State.RUNNING
    assert pair.states(second) == (State.EXPIRED, State.EXPIRED)


def test_a_job_whose_time_is_up_when_its_turn_comes_is_not_started() -> None:
    pair = few(1)
    first, second = put(pair, 2, life_s=10)
    pair.now_ms += 10_001
    pair.finish("cluster", first)
    pair.settle()
    assert pair.states(second) == (State.EXPIRED, State.EXPIRED)
    assert running(pair) == [first]


def test_a_job_that_started_once_does_not_expire() -> None:
    pair = Pair()
    (job_id,) = put(pair, life_s=10)
    pair.wait(100)
    pair.crash("cluster")
    pair.wait(100)
    pair.join()
    assert running(pair) == [job_id]


# -- cancel and delete --------------------------------------------------------------------------------------------


def test_cancelled_before_the_start() -> None:
    pair = few(1)
    first, second = put(pair, 2)
    pair.cancel("portal", second)
    pair.settle()
    found = outcome(pair, second)
    assert (found.state, found.attempt, found.unknown_effect) == ("cancelled", 0, False)
    pair.finish("cluster", first)
    assert running(pair) == [first]


def test_cancelled_in_the_same_record_as_its_request() -> None:
    pair = Pair(connected=False)
    job_id = pair.put("portal.cluster")
    pair.crash("portal")
    pair.cancel("portal", job_id)
    pair.join()
    assert not pair.cluster.starts
    assert outcome(pair, job_id).state == "cancelled"


def test_cancelled_while_running() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.cancel("portal", job_id)
    pair.settle()
    assert pair.cluster.stops == [job_id]
    assert pair.cluster.state(job_id) is State.RUNNING
    pair.finish("cluster", job_id, Ending(State.CANCELLED))
    pair.settle()
    found = outcome(pair, job_id)
    assert (found.state, found.started_ms, found.unknown_effect) == ("cancelled", START_MS, True)


def test_a_cancel_that_crosses_the_completion_changes_nothing() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.cancel("portal", job_id)
    pair.finish("cluster", job_id)
    pair.settle()
    assert outcome(pair, job_id).state == "complete"
    assert pair.states(job_id) == (State.COMPLETE, State.COMPLETE)
    assert not pair.cluster.stops


def test_deleted_before_the_start() -> None:
    pair = few(1)
    first, second = put(pair, 2)
    pair.delete("portal", second)
    pair.settle()
    pair.finish("cluster", first)
    assert running(pair) == [first]


def test_deleted_while_running() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.delete("portal", job_id)
    pair.settle()
    assert pair.cluster.stops == [job_id]
    pair.finish("cluster", job_id, Ending(State.CANCELLED))
    pair.settle()
    assert pair.cluster.job(job_id).outcome is None
    pair.crash("cluster")
    pair.join()
    assert pair.states(job_id) == (State.DELETED, State.DELETED)
    assert not running(pair)


# -- crashes ------------------------------------------------------------------------------------------------------


def test_a_claimed_job_starts_after_a_crash_once_its_board_proved_itself() -> None:
    pair = few(1)
    ids = put(pair, 2)
    pair.crash("cluster")
    assert not running(pair)
    pair.join()
    started = running(pair)
    assert started == [ids[0]]
    assert pair.cluster.job(ids[0]).attempt == 2
    assert pair.cluster.job(ids[1]).attempt == 0


def test_a_job_that_is_not_idempotent_ends_interrupted() -> None:
    pair = Pair()
    (job_id,) = put(pair, text="charge")
    pair.crash("cluster")
    pair.join()
    assert error_of(pair, job_id) == ("interrupted", True)
    assert not running(pair)


def test_a_job_that_is_not_idempotent_and_had_not_started_runs() -> None:
    pair = few(1)
    _, job_id = put(pair, 2, text="charge")
    pair.crash("cluster")
    pair.join()
    assert running(pair) == [job_id]


def test_what_was_running_restarts_in_groups_a_quarter_as_large() -> None:
    pair = few(64)
    ids = put(pair, 64)
    sizes = [len(running(pair))]
    for _ in range(3):
        pair.crash("cluster")
        pair.join()
        sizes.append(len(running(pair)))
    assert sizes == [64, 16, 4, 1]
    # Those that never ran in the last life had not crashed again: they are in the larger groups.
    crashes = sorted((pair.cluster.job(one).crashes for one in ids), reverse=True)
    assert crashes[0] == 3


def test_the_next_of_a_group_starts_when_one_ends() -> None:
    pair = few(4)
    ids = put(pair, 4)
    running(pair)
    pair.crash("cluster")
    pair.join()
    started: list[bytes] = []
    while one := running(pair):
        assert len(one) == 1
        started += one
        pair.finish("cluster", one[0])
        pair.settle()
    assert started == ids
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)


def test_others_wait_while_a_suspect_runs_alone() -> None:
    pair = few(4)
    (suspect,) = put(pair)
    pair.crash("cluster")
    pair.join()
    assert running(pair) == [suspect]
    (other,) = put(pair)
    assert pair.cluster.state(other) is State.CLAIMED
    pair.finish("cluster", suspect)
    assert running(pair) == [other]


def test_a_suspect_to_be_alone_waits_for_the_others() -> None:
    mesh = Mesh(("a", "z"), ("b", "z"), limits={"z": Limits(handlers=4)})
    suspect = mesh.put("a.z", "idle")
    mesh.settle()
    mesh.crash("z")
    mesh.connect("b", "z")
    mesh.settle()
    other = mesh.put("b.z", "idle")
    mesh.settle()
    mesh.connect("a", "z")
    mesh.settle()
    assert [start.job_id for start in mesh["z"].starts] == [other]
    mesh.finish("z", other)
    assert [start.job_id for start in mesh["z"].starts] == [other, suspect]


def test_a_job_that_kills_the_agent_twice_while_alone_is_poisoned() -> None:
    pair = few(4)
    (job_id,) = put(pair)
    for _ in range(2):
        pair.crash("cluster")
        pair.join()
        assert running(pair) == [job_id]
    pair.crash("cluster")
    pair.join()
    assert not running(pair)
    assert error_of(pair, job_id) == ("poisoned", True)
    assert pair.cluster.job(job_id).attempt == 3


def test_a_crash_before_the_start_was_durable_does_not_count() -> None:
    pair = few(4)
    (job_id,) = put(pair)
    for _ in range(5):
        pair.crash("cluster")
        pair.hold("cluster")
        pair.connect("portal", "cluster")
        pair.down(9)
    pair.crash("cluster")
    pair.join()
    assert running(pair) == [job_id]
    assert (pair.cluster.job(job_id).crashes, pair.cluster.job(job_id).alone) == (1, 1)


def test_a_clean_stop_does_not_count() -> None:
    pair = few(4)
    (job_id,) = put(pair)
    for _ in range(5):
        pair.cluster.engine.destination.draining = True
        pair.cluster.engine.requeued(job_id, pair.now_ms)
        pair.step("cluster")
        pair.crash("cluster")
        pair.join()
        assert running(pair) == [job_id]
    job = pair.cluster.job(job_id)
    assert (job.crashes, job.alone, job.attempt) == (0, 0, 6)


def test_a_clean_stop_of_a_suspect_takes_its_trial_back() -> None:
    pair = few(4)
    (job_id,) = put(pair)
    pair.crash("cluster")
    pair.join()
    assert pair.cluster.job(job_id).alone == 1
    pair.cluster.engine.destination.draining = True
    pair.cluster.engine.requeued(job_id, pair.now_ms)
    pair.step("cluster")
    assert (pair.cluster.state(job_id), pair.cluster.job(job_id).alone) == (State.CLAIMED, 0)


def test_a_job_that_is_over_is_not_requeued() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.finish("cluster", job_id)
    pair.cluster.engine.requeued(job_id, pair.now_ms)
    pair.step("cluster")
    assert pair.cluster.state(job_id) is State.COMPLETE


@pytest.mark.parametrize("stop", ["crash", "clean"])
def test_a_job_that_was_being_cancelled_does_not_run_again(stop: str) -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.cancel("portal", job_id)
    pair.settle()
    running(pair)
    if stop == "clean":
        pair.cluster.engine.destination.draining = True
        pair.cluster.engine.requeued(job_id, pair.now_ms)
        pair.step("cluster")
    pair.crash("cluster")
    pair.join()
    assert not running(pair)
    found = outcome(pair, job_id)
    assert (found.state, found.started_ms > 0, found.unknown_effect) == ("cancelled", True, True)


def test_a_suspect_that_is_cancelled_is_not_tried() -> None:
    pair = few(4)
    first, second = put(pair, 2)
    pair.crash("cluster")
    pair.join()
    assert running(pair) == [first]
    pair.cancel("portal", second)
    pair.settle()
    found = outcome(pair, second)
    assert (found.state, found.unknown_effect) == ("cancelled", True)
    pair.finish("cluster", first)
    assert not running(pair)


def test_after_a_loss_at_the_peer_nothing_runs_twice() -> None:
    pair = few(4)
    old = pair.portal.store.copy()
    ids = put(pair, 6)
    started = running(pair)
    pair.restore("portal", old)
    pair.join()
    pair.run_all("cluster")
    for one in started:
        pair.finish("cluster", one)
    pair.settle()
    pair.run_all("cluster")
    assert [pair.cluster.job(one).attempt for one in ids] == [1] * 6
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)


def test_a_job_that_somebody_asked_for_before_the_loss_showed_may_have_run_all_the_same() -> None:
    mesh = Mesh(("a", "b"), ("b", "c"))
    mesh["c"].engine.destination.draining = True
    job_id = mesh.put("a.b.c")
    mesh.settle()
    old = mesh["c"].store.copy()
    mesh["c"].engine.destination.draining = False
    mesh.put("c.b", "idle")
    mesh.settle()
    assert [start.job_id for start in mesh["c"].starts] == [job_id]
    mesh.cut("b", "c")
    mesh.cancel("a", job_id)
    mesh.settle()
    mesh.restore("c", old)
    # A person at the wrong agent: nothing happens but that the job is in memory.
    assert isinstance(mesh.cancel("c", job_id), NotOurJob)
    mesh.connect("b", "c")
    mesh.settle()
    outcome = mesh["a"].job(job_id).outcome
    assert outcome is not None
    assert outcome.unknown_effect


def test_suspects_stay_suspects_when_a_board_proves_itself_again() -> None:
    pair = few(16)
    ids = put(pair, 16)
    old = pair.portal.store.copy()
    pair.cancel("portal", ids[-1])
    pair.settle()
    running(pair)
    pair.crash("cluster")
    pair.join()
    group = running(pair)
    assert len(group) == 4
    # The portal is restored from an older copy: a full exchange proves the board a second time.
    pair.restore("portal", old)
    pair.join()
    assert running(pair) == []


# -- reissued -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "runs"), [(TEXT, True), ("charge", False), ("dance", True)])
def test_a_request_that_was_acknowledged_and_is_not_known(text: str, runs: bool) -> None:
    pair = Pair()
    (fact,) = (signed("portal", Kind.REQUEST, request(text)),)
    pair.record("portal", "cluster", fact, flags=REISSUED)
    job = pair.cluster.job(fact.job_id)
    if text == "dance":
        assert job.outcome is not None
        assert job.outcome.error is not None
        assert job.outcome.error[0] == "unknown_instruction"
        return
    assert job.state is (State.RUNNING if runs else State.ERROR)
    if not runs:
        assert job.outcome is not None
        assert (job.outcome.error and job.outcome.error[0], job.outcome.unknown_effect) == ("lost", True)


def request(text: str, path: str = "portal.cluster", **changes: Any) -> Request:
    names = path.split(".")
    fields = (VERSION, b"n" * 16, ZONE, path, fp(names[0]), fp(names[-1]), text, None, "", "")
    return Request(*fields, START_MS, START_MS + 60_000, None, None, None)._replace(**changes)


# -- what may run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "access", "kind"),
    [
        ("dance wild", {}, "unknown_instruction"),
        ("add_user", {}, "bad_argument"),
        ("add_user fred", {}, "bad_argument"),
        (TEXT, {"runs": frozenset({"remove_user"})}, "unknown_instruction"),
        ("restart", {}, "denied"),
        (TEXT, {"block": (Rule("portal", "*"),)}, "denied"),
        (TEXT, {"allow": (Rule("waldur", "*"),)}, "denied"),
        (TEXT, {"portals": {"org": b"x" * 20}}, "denied"),
    ],
)
def test_what_does_not_run(text: str, access: dict[str, Any], kind: str) -> None:
    pair = Pair(access={"cluster": access})
    fact = signed("portal", Kind.REQUEST, request(text))
    pair.record("portal", "cluster", fact)
    found = pair.cluster.job(fact.job_id).outcome
    assert found is not None
    assert (found.error and found.error[0], found.attempt, found.unknown_effect) == (kind, 0, False)
    assert found.error is not None
    assert "cluster" in found.error[1]
    assert not pair.cluster.starts


def owned(mesh: Mesh, origin: str, text: str = TEXT) -> str:
    """What the agent z says to a job of `origin`: the state, or why it was denied."""
    job_id = mesh.put(f"{origin}.z", text)
    mesh.settle()
    mesh.run_all("z")
    found = mesh["z"].job(job_id).outcome
    assert found is not None
    return found.state if found.error is None else found.error[1]


STAR = (("a", "z"), ("b", "z"), ("org", "z"))


def test_the_first_origin_that_uses_a_portal_speaks_for_it_for_good() -> None:
    mesh = Mesh(*STAR)
    assert owned(mesh, "a") == "complete"
    assert "another origin used it here first" in owned(mesh, "b")
    assert owned(mesh, "b", "add_user fred.proj.other") == "complete"
    mesh.crash("z")
    for name in ("a", "b"):
        mesh.connect(name, "z")
    mesh.settle()
    assert "another origin used it here first" in owned(mesh, "b")
    assert owned(mesh, "a") == "complete"


def test_a_neighbour_of_kind_portal_speaks_for_its_name() -> None:
    mesh = Mesh(*STAR, kinds={"org": "portal"})
    assert "a portal of that name is its neighbour" in owned(mesh, "a")
    assert owned(mesh, "org") == "complete"


def test_a_neighbour_of_another_kind_does_not() -> None:
    mesh = Mesh(*STAR)
    assert owned(mesh, "a") == "complete"
    assert "another origin used it here first" in owned(mesh, "org")


def test_the_operators_word_comes_first() -> None:
    mesh = Mesh(*STAR, kinds={"org": "portal"}, access={"z": {"portals": {"org": fp("b")}}})
    assert "its operator named another origin for it" in owned(mesh, "org")
    assert owned(mesh, "b") == "complete"
    refused = owned(mesh, "a")
    assert refused.endswith(f'its operator sets org = "{fingerprint_text(fp("a"))}" under [access.portals]')


def test_a_refused_instruction_pins_no_portal() -> None:
    mesh = Mesh(*STAR)
    assert owned(mesh, "a") == "complete"
    refused = owned(mesh, "b", "add_local_user fred.proj.new:fred:proj")
    assert refused == "complete"
    assert owned(mesh, "b", "add_user anna.proj.new") == "complete"
    assert "first" in owned(mesh, "a", "add_user anna.proj.new")


def test_a_portal_of_which_another_speaks_is_not_pinned_by_the_way() -> None:
    # One instruction, two portals: what it may not do for the second it does not do for the first either.
    mesh = Mesh(*STAR)
    assert owned(mesh, "a", "add_user fred.proj.two") == "complete"
    assert "first" in owned(mesh, "b", "submit b.z add_user fred.proj.two")
    assert (ZONE, "two") in mesh["z"].engine.ledger.trust.portals
    assert mesh["z"].engine.ledger.trust.portals[ZONE, "two"] == fp("a")


# -- children -----------------------------------------------------------------------------------------------------


def family(text: str = "add_local_user fred.proj.org:fred:proj") -> tuple[Mesh, bytes]:
    """portal -> cluster -> account: the cluster puts a child for a job of the portal; z has given org to the portal."""
    mesh = Mesh(("portal", "cluster"), ("cluster", "account"), access={"account": {"portals": {"org": fp("portal")}}})
    parent = mesh.put("portal.cluster")
    mesh.settle()
    job_id = mesh.put("cluster.account", text, parent=parent)
    mesh.settle()
    return mesh, job_id


def test_a_child_speaks_for_the_portal_of_its_root() -> None:
    mesh, job_id = family()
    assert mesh["account"].state(job_id) is State.RUNNING


def test_without_its_parent_it_does_not() -> None:
    mesh, _ = family()
    job_id = mesh.put("cluster.account", "add_local_user fred.proj.org:fred:proj")
    mesh.settle()
    found = mesh["account"].job(job_id).outcome
    assert found is not None
    assert found.error is not None
    assert found.error[0] == "denied"


def test_the_root_speaks_for_the_portals_of_its_own_instruction_only() -> None:
    mesh, job_id = family("add_local_user fred.proj.new:fred:proj")
    assert mesh["account"].state(job_id) is State.RUNNING
    assert mesh["account"].engine.ledger.trust.portals[ZONE, "new"] == fp("cluster")


def test_a_root_whose_instruction_cannot_be_read_speaks_for_no_portal() -> None:
    mesh, _ = family()
    root = signed("portal", Kind.REQUEST, request("ADD USER", destination=fp("cluster")))
    lineage = [[root.body, root.proof, card_of("portal").data]]
    child = request("add_local_user fred.proj.org:fred:proj", "cluster.account", parent=root.job_id, lineage=lineage)
    fact = signed("cluster", Kind.REQUEST, child)
    mesh.record("cluster", "account", fact)
    found = mesh["account"].job(fact.job_id).outcome
    assert found is not None
    assert found.error is not None
    assert found.error[0] == "denied"


def test_a_lineage_that_does_not_hold_is_not_believed() -> None:
    mesh, _ = family()
    child = request("add_local_user fred.proj.org:fred:proj", "cluster.account", parent=b"x" * 26)
    child = child._replace(lineage=[[b"no fact", b"no proof", card_of("portal").data]])
    fact = signed("cluster", Kind.REQUEST, child)
    mesh.record("cluster", "account", fact)
    found = mesh["account"].job(fact.job_id).outcome
    assert found is not None
    assert found.error == ["denied", 'agent "account" does not believe the lineage of the job']


def test_a_parent_named_without_lineage_gives_no_rights() -> None:
    mesh, _ = family()
    child = request("add_local_user fred.proj.org:fred:proj", "cluster.account", parent=b"x" * 26)
    fact = signed("cluster", Kind.REQUEST, child)
    mesh.record("cluster", "account", fact)
    found = mesh["account"].job(fact.job_id).outcome
    assert found is not None
    assert found.error is not None
    assert found.error[0] == "denied", "the portal is another's"


def test_a_cancel_forged_by_a_hop_does_not_stop_a_job() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.record("portal", "cluster", signed("cluster", Kind.CANCEL, Cancel(VERSION, job_id, fp("cluster"), START_MS)))
    assert not pair.cluster.stops
    assert pair.refusals("portal", "cluster") == ["bad_proof"]


def test_a_job_that_is_not_idempotent_is_not_run_again_after_a_clean_stop() -> None:
    pair = Pair()
    (job_id,) = put(pair, text="charge")
    pair.cluster.engine.destination.draining = True
    pair.cluster.engine.requeued(job_id, pair.now_ms)
    pair.step("cluster")
    pair.settle()
    assert error_of(pair, job_id) == ("interrupted", True)


def test_an_error_of_a_second_attempt_leaves_the_effect_of_the_first_unknown() -> None:
    pair = Pair()
    (job_id,) = put(pair)
    pair.crash("cluster")
    pair.join()
    pair.finish("cluster", job_id, Ending(State.ERROR, error=("failed", "no")))
    pair.settle()
    assert error_of(pair, job_id) == ("failed", True)


def test_a_suspect_that_left_memory_is_fetched_when_its_turn_comes() -> None:
    pair = few(4, resident_jobs=2)
    ids = put(pair, 4)
    running(pair)
    pair.crash("cluster")
    pair.join()
    pair.cluster.engine.ledger.jobs = {
        job_id: job for job_id, job in pair.cluster.engine.ledger.jobs.items() if job_id == ids[0]
    }
    pair.run_all("cluster")
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)


@pytest.mark.parametrize("crash", [False, True])
def test_a_row_that_is_damaged_while_it_waits_holds_no_slot_up(crash: bool) -> None:
    pair = few(1)
    ids = put(pair, 3)
    running(pair)
    if crash:
        pair.crash("cluster")
        pair.join()
        running(pair)
    store = pair.cluster.store
    damaged = ids[1]
    store.rows = {seq: row._replace(check=0) if row.id == damaged else row for seq, row in store.rows.items()}
    pair.cluster.engine.ledger.jobs.pop(damaged)
    pair.finish("cluster", ids[0])
    pair.settle()
    assert ids[2] in {start.job_id for start in pair.cluster.starts}
    # The neighbour's copy comes back, and its turn comes again.
    pair.run_all("cluster")
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)


def test_a_peer_that_has_its_share_leaves_the_rest_to_others() -> None:
    mesh = Mesh(("a", "z"), ("b", "z"), limits={"z": Limits(handlers=5, handlers_per_peer=2)})
    ids = [mesh.put("a.z", "idle") for _ in range(4)]
    mesh.settle()
    assert [start.job_id for start in mesh["z"].starts] == ids[:2]
    other = mesh.put("b.z", "idle")
    mesh.settle()
    assert mesh["z"].starts[-1].job_id == other
    mesh.finish("z", ids[0])
    assert mesh["z"].starts[-1].job_id == ids[2]


@pytest.mark.parametrize("ran", [True, False])
def test_who_may_not_run_a_job_again_says_that_it_ran_before(ran: bool) -> None:
    """It was revoked between two lives of the destination."""
    pair = Pair(connected=ran)
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.crash("cluster")
    pair.cluster.engine.ledger.revoked.add(identity_of("portal").fingerprint)
    pair.join()
    pair.settle()
    found = pair.cluster.job(job_id).outcome
    assert found is not None
    assert found.error is not None
    assert (found.error[0], found.unknown_effect) == ("denied", ran)
