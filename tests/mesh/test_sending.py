"""Blobs on their way out: what waits for them, what goes on, and what a cut or a crash leaves (R14)."""

from __future__ import annotations

import pytest

from grammar.errors import MeshError
from mesh.blobs import TRANSFERS, Blob, name_blob
from mesh.ending import Ending
from mesh.errors import PutRefused, TooLarge
from mesh.facts import VERSION, Cancel, Kind, Reject
from mesh.lifecycle import State
from mesh.messages import WITHOUT, BlobMessage, FactMessage, Held, SliceMessage
from tests.mesh.blob_mesh import DATA, LARGE, chain, leftovers, payload_key, result_of, small, stored
from tests.mesh.pair import DONE, START_MS, Mesh, Pair, identity_of, peer_row, signed

PAYLOAD = name_blob(DATA)


def kinds(mesh: Mesh, sender: str, receiver: str) -> list[str]:
    """What was delivered from one agent to another, of facts and blobs."""
    wanted = (FactMessage, BlobMessage, SliceMessage, Held)
    return [type(m).__name__ for one, other, m in mesh.seen if (one, other) == (sender, receiver) and type(m) in wanted]


def test_a_payload_is_there_before_its_job() -> None:
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    mesh.settle()
    assert kinds(mesh, "a", "b") == ["BlobMessage"] + ["SliceMessage"] * 16 + ["FactMessage"]
    assert [start.job_id for start in mesh["c"].starts] == [job_id]
    assert {name: stored(mesh, name, job_id, Kind.REQUEST) for name in "abc"} == dict.fromkeys("abc", DATA)
    mesh.run_all("c")
    assert {name: stored(mesh, name, job_id, Kind.REQUEST) for name in "abc"} == dict.fromkeys("abc")
    assert [mesh[name].state(job_id) for name in "abc"] == [State.COMPLETE] * 3
    assert leftovers(mesh) == {}


def test_a_large_result_goes_to_the_origin_and_stays_there() -> None:
    mesh = chain("a", "b", "c", "d")
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    mesh.finish("d", job_id, LARGE)
    mesh.settle()
    assert [mesh[name].state(job_id) for name in "abcd"] == [State.COMPLETE] * 4
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()
    assert [len(mesh[name].store.slices) for name in "bcd"] == [0, 0, 0], "home, so nobody else keeps it"
    assert leftovers(mesh) == {}


def test_a_result_of_a_job_that_is_deleted_goes() -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b")
    mesh.settle()
    mesh.finish("b", job_id, LARGE)
    mesh.settle()
    mesh.delete("a", job_id)
    mesh.settle()
    assert not mesh["a"].store.blobs
    assert not mesh["a"].store.slices


def test_an_empty_payload_needs_no_bytes() -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b", payload=name_blob(b""))
    mesh.settle()
    assert [start.job_id for start in mesh["b"].starts] == [job_id]
    assert mesh["b"].job(job_id).holding >> Kind.REQUEST & 1
    assert kinds(mesh, "a", "b") == ["FactMessage"]


def test_a_payload_that_is_too_large_is_refused_at_once() -> None:
    mesh = chain("a", "b")
    with pytest.raises(TooLarge, match="2001 bytes, at most 2000"):
        mesh.put("a.b", payload=name_blob(bytes(2_001)))
    assert not mesh["a"].store.rows


def test_the_same_key_with_another_payload_is_another_job() -> None:
    mesh = chain("a", "b", result_bytes=50)
    job_id = mesh.put("a.b", key="k", payload=PAYLOAD)
    assert mesh.put("a.b", key="k", payload=PAYLOAD) == job_id
    with pytest.raises(PutRefused, match="was used for another job"):
        mesh.put("a.b", key="k", payload=name_blob(b"other"))


def test_small_jobs_do_not_wait_for_a_payload() -> None:
    mesh = chain("a", "b")
    large = mesh.put("a.b", payload=PAYLOAD)
    quick = mesh.put("a.b", "add_user quick.proj.org")
    assert not mesh["a"].job(large).down.offered  # type: ignore[union-attr]
    mesh.settle()
    assert [start.job_id for start in mesh["b"].starts] == [quick, large]


def test_a_payload_takes_its_credit_before_it_goes() -> None:
    mesh = chain("a", "b", credit_jobs=1)
    first = mesh.put("a.b", payload=PAYLOAD)
    second = mesh.put("a.b", payload=name_blob(DATA + b"!"))
    mesh.settle()
    assert [start.job_id for start in mesh["b"].starts] == [first]
    assert [message.job_id for message in mesh.sent("a", "b", BlobMessage)] == [first]
    mesh.run_all("b")
    assert mesh["a"].state(second) is State.COMPLETE
    assert leftovers(mesh) == {}


def test_results_do_not_wait_behind_payloads_that_wait_for_room() -> None:
    """On both sides the room is what running jobs keep, whose results would make it."""
    mesh = chain("a", "b", blob_quota_bytes=1)
    jobs = {
        path: [
            mesh.put(path, f"add_user u{n}.proj.org", payload=name_blob(bytes([n]) * 70)) for n in range(TRANSFERS + 2)
        ]
        for path in ("a.b", "b.a")
    }
    mesh.settle()
    for _ in jobs["a.b"]:
        for name in "ab":
            for start in mesh[name].starts[:]:
                mesh.finish(name, start.job_id, LARGE)
                mesh[name].starts.remove(start)
        mesh.settle()
    assert {mesh[path[0]].state(job_id) for path, ids in jobs.items() for job_id in ids} == {State.COMPLETE}
    assert leftovers(mesh) == {}


def test_few_blobs_and_few_bytes_are_on_their_way() -> None:
    mesh = chain("a", "b", blob_window_bytes=128)
    for n in range(6):
        mesh.put("a.b", payload=name_blob(DATA + bytes([n])))
    sent = held = 0
    while mesh.deliver("a", "b") or mesh.deliver("b", "a"):
        sent = sum(len(m.data) for m in mesh.waiting("a", "b") if isinstance(m, SliceMessage))
        held = max(held, sent)
        deliveries = mesh["a"].engine.ledger.blobs.to[mesh["a"].board("b").id]
        assert len(deliveries.open) <= TRANSFERS
    assert 0 < held <= 128
    mesh.run_all("b")
    assert leftovers(mesh) == {}


@pytest.mark.parametrize("crashed", ["a", "b", "c", None])
def test_what_was_committed_is_not_sent_again(crashed: str | None) -> None:
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    while len(mesh.sent("b", "c", SliceMessage)) < 7:
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
        mesh.deliver("b", "c")
        mesh.deliver("c", "b")
    before = len(mesh.sent("b", "c", SliceMessage))
    if crashed is None:
        mesh.cut("b", "c")
    else:
        mesh.crash(crashed)
    for one, other in (("a", "b"), ("b", "c")):
        mesh.reconnect(one, other)
    mesh.settle()
    assert len(mesh.sent("b", "c", SliceMessage)) == 16, f"{before} of them before"
    assert stored(mesh, "c", job_id, Kind.REQUEST) == DATA
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert leftovers(mesh) == {}


@pytest.mark.parametrize("crashed", ["a", "b", "c"])
def test_a_result_goes_on_after_a_crash(crashed: str) -> None:
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.finish("c", job_id, LARGE)
    while len(mesh.sent("b", "a", SliceMessage)) < 3:
        mesh.deliver("c", "b")
        mesh.deliver("b", "c")
        mesh.deliver("b", "a")
        mesh.deliver("a", "b")
    mesh.crash(crashed)
    for one, other in (("a", "b"), ("b", "c")):
        mesh.reconnect(one, other)
    mesh.settle()
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()
    assert leftovers(mesh) == {}


def test_an_outcome_that_waits_for_its_blob_is_not_home() -> None:
    """The destination has the only other copy: it keeps it until the origin has one."""
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.finish("c", job_id, LARGE)
    mesh.settle()
    assert mesh["b"].state(job_id) is State.COMPLETE
    number = mesh["c"].job(job_id).up.number  # type: ignore[union-attr]
    assert mesh["c"].board("b").outbox.acked >= number > mesh["c"].board("b").outbox.home
    assert stored(mesh, "c", job_id, Kind.OUTCOME) is not None
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.settle()
    mesh.wait(200)
    assert mesh["c"].board("b").outbox.home < number
    mesh.connect("a", "b")
    mesh.settle()
    mesh.reconnect("b", "c")
    assert mesh["c"].board("b").outbox.home >= number
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()
    assert leftovers(mesh) == {}


def test_an_origin_that_went_back_learns_the_end_though_its_result_is_gone() -> None:
    """What was home is not kept below; nothing waits for bytes that nobody has, after a crash either."""
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    copy = mesh["a"].store.copy()
    mesh.finish("c", job_id, LARGE)
    mesh.settle()
    assert not mesh["b"].job(job_id).holding
    mesh.restore("a", copy)
    mesh.connect("a", "b")
    mesh.deliver("a", "b")
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert result_of(mesh, "a", job_id) is None
    assert leftovers(mesh) == {}


@pytest.mark.parametrize("resident", [1, 8_192])
def test_a_result_that_is_home_goes_with_the_word_of_it(resident: int) -> None:
    mesh = chain("a", "b", "c", resident_jobs=resident)
    jobs = [mesh.put("a.b.c", f"add_user u{n}.proj.org") for n in range(4)]
    mesh.settle()
    for job_id in jobs:
        mesh.finish("c", job_id, LARGE)
    mesh.settle()
    assert [mesh[name].job(job_id).holding for name in "bc" for job_id in jobs] == [0] * 8
    assert not mesh["b"].store.blobs
    assert not mesh["c"].store.blobs
    assert leftovers(mesh) == {}


def test_a_job_that_reported_is_not_trimmed_before_its_outcome_went() -> None:
    """Its last report has a number that is home; the Outcome has none yet."""
    mesh = chain("a", "b")
    job_id = mesh.put("a.b")
    mesh.settle()
    mesh["b"].engine.progress(job_id, "half", 0.5, mesh.clock("b"))
    mesh.step("b")
    mesh.settle()
    number = mesh["b"].job(job_id).up.number  # type: ignore[union-attr]
    mesh.cut("a", "b")
    mesh.finish("b", job_id, LARGE)
    mesh["b"].engine.ledger.effects.batch.trims.append((mesh["b"].board("a").id, 0, number))
    mesh.step("b")
    assert mesh["b"].job(job_id).outcome is not None
    mesh.connect("a", "b")
    mesh.settle()
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()


def test_a_job_cancelled_while_its_payload_is_on_its_way_ends_at_once() -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b", payload=PAYLOAD)
    mesh.deliver("a", "b")
    mesh.deliver("b", "a")
    mesh.deliver("a", "b", 3)
    mesh.cancel("a", job_id)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.CANCELLED
    assert not mesh["b"].knows(job_id)
    assert not mesh["b"].store.blobs, "the peer was told that the rest does not come"
    assert stored(mesh, "a", job_id, Kind.REQUEST) == DATA, "it may be put once more"
    mesh.delete("a", job_id)
    mesh.settle()
    assert not mesh["a"].store.blobs
    assert leftovers(mesh) == {}


def test_a_job_that_failed_is_put_again_with_its_payload() -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    mesh.finish("b", job_id, Ending(State.ERROR, error=("failed", "no")))
    mesh.settle()
    assert stored(mesh, "b", job_id, Kind.REQUEST) is None

    def retry(payload: Blob | None) -> bytes | MeshError | None:
        return mesh.ask("a", lambda engine, token, now_ms: engine.retry(token, job_id, None, now_ms, payload))

    without = retry(None)
    assert isinstance(without, PutRefused)
    assert "had a payload" in without.message
    again = retry(PAYLOAD)
    assert isinstance(again, bytes)
    mesh.settle()
    assert stored(mesh, "b", again, Kind.REQUEST) == DATA
    mesh.run_all("b")
    assert leftovers(mesh) == {}


def test_a_job_that_expires_while_its_payload_waits_was_never_sent() -> None:
    mesh = chain("a", "b")
    mesh.cut("a", "b")
    job_id = mesh.put("a.b", payload=PAYLOAD, life_s=5)
    mesh.wait(10)
    assert mesh["a"].state(job_id) is State.EXPIRED
    mesh.connect("a", "b")
    mesh.settle()
    assert not mesh["b"].knows(job_id)
    assert leftovers(mesh) == {}


@pytest.mark.parametrize("payload", [PAYLOAD, None])
def test_a_hop_that_gets_its_own_refusal_back_offers_nothing(payload: Blob | None) -> None:
    """It refused in a life that its store lost, in which the job was never offered further either."""
    mesh = chain("a", "b", "c")
    mesh.cut("b", "c")
    job_id = mesh.put("a.b.c", payload=payload)
    mesh.settle()
    copy = mesh["b"].store.copy()
    mesh.cancel("a", job_id)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.CANCELLED
    mesh.restore("b", copy)
    mesh.connect("a", "b")
    mesh.settle()
    mesh.connect("b", "c")
    mesh.settle()
    assert not mesh["c"].knows(job_id)
    assert mesh["b"].state(job_id) is State.CANCELLED
    assert leftovers(mesh) == {}


def test_a_payload_that_is_there_lets_no_job_go_on_before_the_store_proved_itself() -> None:
    """What was cancelled in the life that the store lost does not run."""
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    while len(mesh.sent("b", "c", SliceMessage)) < 7:
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
        mesh.deliver("b", "c")
        mesh.deliver("c", "b")
    copy = mesh["b"].store.copy()
    mesh.cut("b", "c")
    mesh.cancel("a", job_id)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.CANCELLED
    mesh.restore("b", copy)
    mesh.connect("b", "c")
    mesh.settle()
    assert stored(mesh, "c", job_id, Kind.REQUEST) == DATA
    assert not mesh["c"].knows(job_id)
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["b"].state(job_id) is State.CANCELLED
    assert not mesh["c"].starts
    assert leftovers(mesh) == {}


@pytest.mark.parametrize("crashed", ["b", "c"])
def test_a_payload_that_is_there_has_its_job_go_on_once_the_store_proved_itself(crashed: str) -> None:
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    while len(mesh.sent("b", "c", SliceMessage)) < 7:
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
        mesh.deliver("b", "c")
        mesh.deliver("c", "b")
    mesh.crash(crashed)
    mesh.cut("a", "b")
    mesh.connect("b", "c")
    mesh.settle()
    assert mesh["c"].knows(job_id) is (crashed == "c")
    mesh.connect("a", "b")
    mesh.settle()
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert leftovers(mesh) == {}


def test_bytes_that_are_gone_everywhere_hold_up_no_fact() -> None:
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.finish("c", job_id, LARGE)
    mesh.settle()
    for name in "bc":
        mesh[name].store.slices.clear()
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert result_of(mesh, "a", job_id) is None
    assert not mesh["a"].job(job_id).holding
    assert [alarm for alarm in mesh["b"].alarms if "is lost here" in alarm]
    assert leftovers(mesh) == {}


def test_a_job_whose_payload_is_gone_ends_at_the_destination() -> None:
    mesh = chain("a", "b", "c")
    mesh.cut("b", "c")
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    mesh.settle()
    for name in "ab":
        mesh[name].store.slices.clear()
    mesh.connect("b", "c")
    mesh.settle()
    outcome = mesh["a"].job(job_id).outcome
    assert outcome is not None
    assert outcome.error == ["failed", "the payload of the job was lost on its way: put it again"]
    assert not outcome.unknown_effect
    assert not mesh["c"].starts


def test_a_lost_store_is_given_its_jobs_back_with_their_bytes() -> None:
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c", payload=PAYLOAD)
    mesh.settle()
    mesh["c"].starts.clear()
    mesh.restore("b", type(mesh["b"].store)())
    mesh.connect("b", "c")
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["b"].job(job_id).state in (State.PENDING, State.CLAIMED, State.RUNNING)
    mesh.finish("c", job_id, LARGE)
    mesh.settle()
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()


def test_a_finished_job_goes_back_to_a_lost_destination_without_its_bytes() -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    mesh.finish("b", job_id, LARGE)
    mesh.settle()
    mesh.restore("b", type(mesh["b"].store)())
    mesh.connect("a", "b")
    mesh.settle()
    again = [m for m in mesh.sent("a", "b", FactMessage) if m.flags & WITHOUT]
    assert {m.kind for m in again} == {Kind.REQUEST, Kind.OUTCOME}
    assert mesh["b"].state(job_id) is State.COMPLETE
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()
    assert leftovers(mesh) == {}


def test_a_peer_that_takes_less_ends_the_job_before_it_was_offered() -> None:
    limits = small("a") | small("b", blob_bytes=100)
    mesh = Mesh(("a", "b"), limits=limits)
    job_id = mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    reject = mesh["a"].job(job_id).reject
    assert reject is not None
    assert (reject.reason, reject.agent) == ("too_large", "a")
    assert 'agent "b" takes at most 100 bytes, not 1024' in reject.message
    assert leftovers(mesh) == {}


def test_a_result_that_the_agent_above_does_not_take_ends_the_job_without_it() -> None:
    limits = small("a", blob_bytes=100) | small("b")
    mesh = Mesh(("a", "b"), limits=limits)
    job_id = mesh.put("a.b")
    mesh.settle()
    mesh.finish("b", job_id, LARGE)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert result_of(mesh, "a", job_id) is None
    assert leftovers(mesh) == {}


def test_a_revoked_peer_is_owed_nothing() -> None:
    pair = Pair(limits=small("portal", "cluster"))
    job_id = pair.put("portal.cluster", payload=PAYLOAD)
    pair.deliver("portal", "cluster")
    pair.deliver("cluster", "portal")
    before = pair.portal.board("cluster")
    pair.portal.engine.revoke([peer_row(pair.cluster.card)])
    pair.step("portal")
    blobs = pair.portal.engine.ledger.blobs
    assert not blobs.to[before.id].due
    assert not before.offered
    down = pair.portal.job(job_id).down
    assert down is not None
    assert (down.board, down.waiting) == (pair.portal.board("cluster").id, True), "for who is invited next"


@pytest.mark.parametrize("held", [5_000, 500])
def test_a_peer_that_holds_what_it_was_not_sent_is_a_liar(held: int) -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b", payload=PAYLOAD)
    mesh.deliver("a", "b")
    mesh.deliver("b", "a")
    mesh.inject("b", "a", Held(*payload_key(job_id), held, ""))
    assert mesh["a"].closed == ["a blob that was not sent"]
    mesh.reconnect("a", "b")
    mesh.run_all("b")
    assert mesh["a"].state(job_id) is State.COMPLETE


def test_news_of_a_blob_that_nobody_sends_is_passed_over() -> None:
    mesh = chain("a", "b")
    mesh.inject("b", "a", Held(b"j" * 26, 1, b"h" * 32, 5, ""), Held(b"j" * 26, 1, b"h" * 32, 0, "too large"))
    assert mesh["a"].closed == []


def test_a_store_that_is_full_of_old_records_sends_them_first() -> None:
    mesh = chain("a", "b", window_records=1)
    mesh.cut("a", "b")
    jobs = [mesh.put("a.b", f"add_user u{n}.proj.org", payload=name_blob(bytes([n]) * 200)) for n in range(4)]
    mesh.connect("a", "b")
    mesh.settle()
    mesh.run_all("b")
    assert [mesh["a"].state(job_id) for job_id in jobs] == [State.COMPLETE] * 4
    assert leftovers(mesh) == {}


def test_jobs_that_left_memory_get_their_numbers() -> None:
    mesh = chain("a", "b", "c", resident_jobs=1)
    jobs = [mesh.put("a.b.c", f"add_user u{n}.proj.org", payload=name_blob(bytes([n]) * 200)) for n in range(6)]
    mesh.settle()
    for job_id in jobs:
        mesh.finish("c", job_id, LARGE if job_id != jobs[0] else DONE)
        mesh.settle()
    assert [mesh["a"].state(job_id) for job_id in jobs] == [State.COMPLETE] * 6
    assert all(result_of(mesh, "a", job_id) is not None for job_id in jobs[1:])
    assert leftovers(mesh) == {}


def test_a_reject_that_was_not_sent_yet_goes_with_the_outcome_that_waits_for_its_blob() -> None:
    """A Cancel that b had lost goes up before them, under another number than the Reject had."""
    mesh = chain("a", "b", "c", "d")
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    mesh.cut("a", "b")
    gone = Reject(VERSION, job_id, identity_of("c").fingerprint, "c", "lost", "gone", "", START_MS)
    mesh.record("c", "b", signed("c", Kind.REJECT, gone))
    mesh.finish("d", job_id, LARGE)
    mesh.settle()
    stop = Cancel(VERSION, job_id, identity_of("a").fingerprint, START_MS)
    mesh.record("c", "b", signed("a", Kind.CANCEL, stop))
    mesh.settle()
    mesh.connect("a", "b")
    mesh.settle()
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()
    assert mesh["a"].job(job_id).reject == gone
    assert leftovers(mesh) == {}
