"""What is taken of a record, and why the rest is refused: shape, place, zone, size, time, signer, proof.

Much of it is said by a peer with a good key of its own that lies: forged facts of every kind leave no trace.
"""

from __future__ import annotations

from typing import Any

import pytest

from mesh import ledger
from mesh.access import Rule
from mesh.board import count
from mesh.facts import VERSION, Cancel, Delete, Fact, Kind, Outcome, Progress, Reject, Request
from mesh.job import Job
from mesh.lane import HAS
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import END, REISSUED, CardMessage, FactMessage
from mesh.refusals import REASONS, Consequence
from mesh.storage.memory import MemoryStore
from tests.mesh.pair import DONE, START_MS, TEXT, ZONE, Mesh, Pair, card_of, facts_in, identity_of, signed

CHAIN = (("a", "b"), ("b", "c"))


def fp(name: str) -> bytes:
    return identity_of(name).fingerprint


def request(path: str = "portal.cluster", **changes: Any) -> Request:
    names = path.split(".")
    fields = (VERSION, b"n" * 16, ZONE, path, fp(names[0]), None, TEXT, None, "", "")
    return Request(*fields, START_MS, START_MS + 60_000, None, None, None)._replace(**changes)


def asked(signer: str = "portal", path: str = "portal.cluster", **changes: Any) -> Fact:
    return signed(signer, Kind.REQUEST, request(path, **changes))


def outcome(job_id: bytes, signer: str, by: str | None = None, **changes: Any) -> Fact:
    content = Outcome(VERSION, job_id, fp(signer), 9, "complete", None, '"forged"', None, 1, 1, 2, False)
    return signed(by or signer, Kind.OUTCOME, content._replace(**changes))


def progress(job_id: bytes, signer: str, by: str | None = None) -> Fact:
    content = Progress(VERSION, job_id, fp(signer), 9, "running", 1, None, None, START_MS)
    return signed(by or signer, Kind.PROGRESS, content)


def reject(job_id: bytes, agent: str, signer: str | None = None, by: str | None = None) -> Fact:
    name = signer or agent
    content = Reject(VERSION, job_id, fp(name), agent, "no_route", "why", "fix", START_MS)
    return signed(by or name, Kind.REJECT, content)


def cancel(job_id: bytes, signer: str, by: str | None = None) -> Fact:
    return signed(by or signer, Kind.CANCEL, Cancel(VERSION, job_id, fp(signer), START_MS))


def delete(job_id: bytes, signer: str, by: str | None = None) -> Fact:
    return signed(by or signer, Kind.DELETE, Delete(VERSION, job_id, fp(signer), START_MS))


def content(job: Job) -> list[tuple[Kind, bytes]]:
    return [(fact.kind, fact.body) for fact in job.facts if fact is not None]


def refused(fact: Fact, **pair_arguments: Any) -> str:
    """Why the cluster refuses a first record of the portal; nothing of it may stay."""
    pair = Pair(**pair_arguments)
    pair.record("portal", "cluster", fact)
    assert not pair.cluster.store.rows
    (reason,) = pair.refusals("portal", "cluster")
    return reason


# -- the table ----------------------------------------------------------------------------------------------------


def test_what_follows_from_each_reason() -> None:
    again, wait, end = Consequence.SEND_AGAIN, Consequence.WAIT, Consequence.END
    assert {reason for reason, what in REASONS.items() if what is again} == {"no_card", "unknown_job", "no_blob"}
    assert {reason for reason, what in REASONS.items() if what is wait} == {"busy"}
    assert {reason for reason, what in REASONS.items() if what is end} == {
        *("malformed", "bad_proof", "identity_changed", "wrong_zone", "bad_path", "forgotten", "clock", "life")
    }


# -- shape --------------------------------------------------------------------------------------------------------


def test_a_record_of_one_good_request_is_taken() -> None:
    pair = Pair()
    fact = asked()
    pair.record("portal", "cluster", fact)
    assert pair.cluster.state(fact.job_id) is State.RUNNING
    assert pair.refusals("portal", "cluster") == []


@pytest.mark.parametrize(
    ("kind", "body"), [(9, b""), (1, b""), (1, b"\xc1"), (5, b"\x91\x01"), (1, asked().body + b"\x00")]
)
def test_a_record_that_is_no_fact(kind: int, body: bytes) -> None:
    pair = Pair()
    number = pair.cluster.board("portal").inbox.number + 1
    pair.inject("portal", "cluster", FactMessage(number, END, kind, body, b""))
    assert pair.refusals("portal", "cluster") == ["malformed"]
    assert pair.cluster.board("portal").inbox.number == number


def test_nothing_of_a_record_is_taken_if_one_fact_of_it_is_bad() -> None:
    pair = Pair()
    good = asked()
    number = pair.cluster.board("portal").inbox.number + 1
    pair.inject(
        "portal",
        "cluster",
        FactMessage(number, 0, good.kind, good.body, good.proof),
        FactMessage(number, END, 9, b"", b""),
    )
    assert pair.refusals("portal", "cluster") == ["malformed"]
    assert not pair.cluster.store.rows


def test_a_record_is_about_one_job() -> None:
    pair = Pair()
    pair.record("portal", "cluster", asked(), asked(nonce=b"m" * 16))
    assert pair.refusals("portal", "cluster") == ["malformed"]
    assert not pair.cluster.store.rows


def test_a_fact_of_a_job_that_nobody_knows_is_asked_for_with_its_request() -> None:
    pair = Pair()
    for fact in (cancel(b"x" * 26, "portal"), delete(b"x" * 26, "portal"), outcome(b"x" * 26, "cluster")):
        pair.record("portal", "cluster", fact)
    assert pair.refusals("portal", "cluster") == ["unknown_job"] * 3


# -- place, zone, size, time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("wrong_zone", {"zone": "moon"}),
        ("bad_path", {"path": "portal.other"}),
        ("bad_path", {"path": "portal.other.cluster"}),
        ("bad_path", {"path": "cluster.other"}),
        ("bad_path", {"path": "Portal.Cluster"}),
        ("bad_path", {"path": "x" * 20_000}),
        ("malformed", {"instruction": "x" * 4_097}),
        ("malformed", {"options": {"note": "x" * 32_768}}),
        ("clock", {"created_ms": START_MS + 120_001, "expires_ms": START_MS + 200_000}),
        ("life", {"expires_ms": START_MS + 30 * 86_400_000 + 1}),
        ("forgotten", {"created_ms": START_MS - 8_000_000, "expires_ms": START_MS - 7_380_001}),
        ("identity_changed", {"destination": fp("other cluster")}),
    ],
)
def test_a_request_that_cannot_be_taken(reason: str, changes: dict[str, Any]) -> None:
    assert refused(asked(**changes)) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"created_ms": START_MS + 120_000, "expires_ms": START_MS + 200_000},
        {"expires_ms": START_MS + 30 * 86_400_000},
        {"instruction": "x" * 4_096},
        {"destination": fp("cluster")},
    ],
)
def test_a_request_that_just_may_be_taken(changes: dict[str, Any]) -> None:
    pair = Pair()
    pair.record("portal", "cluster", asked(**changes))
    assert pair.refusals("portal", "cluster") == []


def test_a_path_has_at_most_so_many_agents() -> None:
    assert refused(asked(path="portal.cluster.c.d"), limits={"cluster": Limits(path_hops=3)}) == "bad_path"


def test_a_sentence_of_a_refusal_is_short_whatever_the_peer_wrote() -> None:
    pair = Pair()
    for number in range(128):
        pair.record("portal", "cluster", asked(path="x" * 20_000, nonce=number.to_bytes(16, "big")))
    assert all(len(detail) <= 256 for _, detail in pair.cluster.board("portal").inbox.refused.values())


def test_a_job_between_others_does_not_come_back_on_a_third_link() -> None:
    mesh = Mesh(*CHAIN, ("b", "x"))
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.record("x", "b", outcome(job_id, "c"))
    assert mesh.refusals("x", "b") == ["bad_path"]
    mesh.record("x", "b", asked("a", "a.b.c"))
    assert mesh.refusals("x", "b") == ["bad_path"] * 2
    assert mesh["b"].state(job_id) is State.PENDING


def test_more_than_the_credit_and_a_quarter_is_busy_for_each_branch() -> None:
    mesh = Mesh(*CHAIN, ("b", "d"), limits={"b": Limits(credit_jobs=4)}, connected=False)
    mesh.connect("a", "b")
    mesh.settle()
    facts = [asked("a", "a.b.c", nonce=number.to_bytes(16, "big")) for number in range(6)]
    for fact in facts:
        mesh.record("a", "b", fact)
    assert mesh.refusals("a", "b") == ["busy"]
    mesh.record("a", "b", asked("a", "a.b.d"))
    assert mesh.refusals("a", "b") == ["busy"]


# -- signers ------------------------------------------------------------------------------------------------------


def test_a_neighbours_request_under_another_key() -> None:
    pair = Pair()
    pair.inject("portal", "cluster", CardMessage(card_of("portal", key="mallory").data))
    pair.record("portal", "cluster", asked("mallory", origin=fp("mallory")))
    assert pair.refusals("portal", "cluster") == ["identity_changed"]
    assert pair.cluster.alarms == ['"portal" brought a fact of "portal" under another key than the one pinned']


def test_a_request_whose_proof_does_not_hold() -> None:
    assert refused(asked("mallory")) == "bad_proof"


def test_a_far_origin_needs_its_card_first_and_is_pinned_by_it() -> None:
    mesh = Mesh(*CHAIN)
    fact = asked("far", "far.b.c")
    mesh.record("a", "b", fact)
    assert mesh.refusals("a", "b") == ["bad_path"]
    fact = asked("far", "far.a.b.c")
    mesh.record("a", "b", fact)
    assert mesh.refusals("a", "b")[1:] == ["no_card"]
    mesh.inject("a", "b", CardMessage(card_of("far").data))
    mesh.record("a", "b", fact)
    assert mesh["b"].state(fact.job_id) is State.PENDING
    mesh.inject("a", "b", CardMessage(card_of("far", key="mallory").data))
    mesh.record("a", "b", asked("mallory", "far.a.b.c", origin=fp("mallory")))
    assert mesh.refusals("a", "b")[2:] == ["identity_changed"]
    mesh.crash("b")
    assert mesh["b"].engine.ledger.trust.pins[ZONE, "a.far"] == fp("far")


def test_cards_of_a_peer_are_bounded() -> None:
    pair = Pair(limits={"cluster": Limits(cards_per_peer=3)})
    for number in range(9):
        pair.inject("portal", "cluster", CardMessage(card_of(f"far-{number}").data))
    pair.inject("portal", "cluster", CardMessage(b"no card"))
    assert len(pair.cluster.engine.ledger.trust.cards) == 3


FORGED = {
    "outcome by the hop": lambda job: outcome(job, "b"),
    "outcome with the destination's name and the hop's proof": lambda job: outcome(job, "c", by="b"),
    "outcome by a stranger": lambda job: outcome(job, "mallory"),
    "progress by the hop": lambda job: progress(job, "b"),
    "progress with the hop's proof": lambda job: progress(job, "c", by="b"),
    "reject in the destination's name": lambda job: reject(job, "c"),
    "reject in the name of a stranger": lambda job: reject(job, "mallory"),
    "reject of the hop by another key": lambda job: reject(job, "b", signer="mallory"),
    "reject of the hop with another proof": lambda job: reject(job, "b", by="mallory"),
    "reject in the origin's own name": lambda job: reject(job, "a", by="b"),
    "cancel by the hop": lambda job: cancel(job, "b"),
    "cancel in the origin's name": lambda job: cancel(job, "a", by="b"),
    "delete by the hop": lambda job: delete(job, "b"),
    "delete in the origin's name": lambda job: delete(job, "a", by="b"),
}


@pytest.mark.parametrize("forge", FORGED)
def test_a_hop_forges_nothing_upstream(forge: str) -> None:
    mesh = Mesh(*CHAIN)
    # The keys of all are known: one job went through before.
    mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    mesh.inject("b", "a", CardMessage(card_of("mallory").data))
    job_id = mesh.put("a.b.c")
    mesh.settle()
    before = content(mesh["a"].job(job_id))
    mesh.record("b", "a", FORGED[forge](job_id))
    assert len(mesh.refusals("b", "a")) == 1
    assert content(mesh["a"].job(job_id)) == before
    assert mesh["a"].state(job_id) is State.PENDING
    assert len(mesh["a"].told) == 1
    # And the true Outcome still comes through.
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE


@pytest.mark.parametrize("forge", ["cancel by the hop", "cancel in the origin's name", "delete by the hop",
                                   "delete in the origin's name", "reject in the origin's own name"])  # fmt: skip
def test_a_hop_forges_nothing_downstream(forge: str) -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    before = content(mesh["c"].job(job_id))
    mesh.record("b", "c", FORGED[forge](job_id))
    assert len(mesh.refusals("b", "c")) == 1
    assert content(mesh["c"].job(job_id)) == before
    assert not mesh["c"].stops


def test_a_hop_cannot_hand_the_destination_its_own_outcome() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.record("b", "c", outcome(job_id, "c", by="b"))
    assert mesh.refusals("b", "c") == ["bad_proof"]
    assert mesh["c"].state(job_id) is State.RUNNING


def test_only_the_destination_that_the_request_names_reports() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.inject("cluster", "portal", CardMessage(card_of("cluster", key="mallory").data))
    for fact in (outcome(job_id, "mallory"), progress(job_id, "mallory")):
        pair.record("cluster", "portal", fact)
    assert pair.refusals("cluster", "portal") == ["bad_proof"] * 2


def test_a_far_destination_that_comes_with_another_key() -> None:
    mesh = Mesh(*CHAIN)
    mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    mesh["a"].engine.ledger.trust.pins[ZONE, "b.c"] = fp("c")
    job_id = mesh.put("a.b.c")
    # The Request does not name the key, as if it was put before the pin.
    mesh.settle()
    assert mesh["a"].job(job_id).request.destination == fp("c")
    mesh.inject("b", "a", CardMessage(card_of("c", key="mallory").data))
    mesh.record("b", "a", outcome(job_id, "mallory"))
    assert mesh.refusals("b", "a") == ["bad_proof"]


def test_on_first_sight_the_hop_is_believed_and_then_no_more() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    other = mesh.put("a.b.c")
    mesh.settle()
    mesh.inject("b", "a", CardMessage(card_of("c").data), CardMessage(card_of("c", key="mallory").data))
    mesh.record("b", "a", progress(job_id, "c"))
    mesh.record("b", "a", outcome(other, "mallory"))
    assert mesh.refusals("b", "a") == ["identity_changed"]
    assert mesh["a"].alarms == ['"b" brought a fact of "c" under another key than the one pinned']


# -- what is known already ----------------------------------------------------------------------------------------


def test_a_record_that_comes_twice_is_taken_once() -> None:
    pair = Pair()
    fact = asked()
    pair.record("portal", "cluster", fact)
    pair.record("portal", "cluster", fact)
    assert [start.attempt for start in pair.cluster.starts] == [1]
    assert len(pair.cluster.store.rows) == 1


def test_a_reissued_request_that_is_known_is_answered_with_all_there_is() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    fact = pair.portal.job(job_id).facts[Kind.REQUEST]
    assert fact is not None
    before = len(pair.sent("cluster", "portal", FactMessage))
    pair.record("portal", "cluster", fact, flags=REISSUED)
    pair.settle()
    again = pair.sent("cluster", "portal", FactMessage)[before:]
    assert [Kind(message.kind) for message in again] == [Kind.OUTCOME]
    assert not pair.cluster.starts


def test_a_request_of_a_deleted_job_is_answered_with_the_delete() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.cluster.engine.ledger  # noqa: B018
    request_fact = pair.portal.job(job_id).facts[Kind.REQUEST]
    assert request_fact is not None
    pair.delete("portal", job_id)
    pair.settle()
    before = len(pair.sent("cluster", "portal", FactMessage))
    pair.record("portal", "cluster", request_fact)
    pair.settle()
    again = pair.sent("cluster", "portal", FactMessage)[before:]
    assert [Kind(message.kind) for message in again] == [Kind.DELETE]
    assert pair.states(job_id) == (State.DELETED, State.DELETED)


@pytest.mark.parametrize("late", ["outcome", "progress", "cancel", "reject"])
def test_a_tombstone_takes_and_drops_every_later_fact(late: str) -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.delete("a", job_id)
    mesh.settle()
    mesh.inject("b", "a", CardMessage(card_of("c").data))
    fact = {
        "outcome": outcome(job_id, "c"),
        "progress": progress(job_id, "c"),
        "cancel": cancel(job_id, "a"),
        "reject": reject(job_id, "b"),
    }[late]
    mesh.record("b", "a", fact)
    assert mesh.refusals("b", "a") == []
    assert mesh["a"].state(job_id) is State.DELETED
    assert [kind for kind, _ in content(mesh["a"].job(job_id))] == [Kind.REQUEST, Kind.DELETE]


def test_facts_of_a_trimmed_job_are_taken_and_dropped() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    done = mesh["c"].job(job_id).facts[Kind.OUTCOME]
    assert done is not None
    store = mesh["b"].store
    store.rows = {seq: row._replace(facts=None) for seq, row in store.rows.items()}
    mesh.crash("b")
    for ends in CHAIN:
        mesh.connect(*ends)
    mesh.settle()
    mesh.record("c", "b", done)
    assert mesh.refusals("c", "b") == []
    assert mesh["b"].job(job_id).facts[Kind.OUTCOME] is None


def test_two_outcomes_of_one_destination_raise_an_alarm() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    first = pair.portal.job(job_id).outcome
    other = outcome(job_id, "cluster", state="error", result=None, error=["failed", "other"])
    pair.record("cluster", "portal", other)
    assert pair.refusals("cluster", "portal") == []
    assert pair.portal.alarms == [f"job {job_id[6:10].hex()} has two outcomes: the first one committed here is kept"]
    job = pair.portal.job(job_id)
    assert (job.outcome, job.evidence) == (first, [other.body, other.proof])


def test_an_outcome_overrides_a_hops_reject() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.record("b", "a", reject(job_id, "b"))
    assert mesh["a"].state(job_id) is State.REJECTED
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE


# -- a destination that lost its store ----------------------------------------------------------------------------


def test_a_reissued_job_past_its_time_is_lost_and_not_expired() -> None:
    pair = Pair()
    fact = asked()
    pair.now_ms += 60_001
    pair.record("portal", "cluster", fact, flags=REISSUED)
    job = pair.cluster.job(fact.job_id)
    assert job.outcome is not None
    assert job.outcome.unknown_effect


def test_a_reissued_job_with_a_cancel_has_an_unknown_effect() -> None:
    pair = Pair()
    fact = asked()
    pair.record("portal", "cluster", fact, cancel(fact.job_id, "portal"), flags=REISSUED)
    job = pair.cluster.job(fact.job_id)
    assert (job.state, job.outcome and job.outcome.unknown_effect) == (State.CANCELLED, True)


def test_a_reissued_job_with_a_cancel_and_a_report_of_its_lost_life_has_an_unknown_effect() -> None:
    """The report moves the job to claimed, and the Cancel then ended it as if it had never run."""
    pair = Pair()
    fact = asked()
    claimed = Progress(VERSION, fact.job_id, fp("cluster"), 2, "claimed", 0, None, None, START_MS)
    facts = (cancel(fact.job_id, "portal"), signed("cluster", Kind.PROGRESS, claimed))
    pair.record("portal", "cluster", fact, *facts, flags=REISSUED)
    job = pair.cluster.job(fact.job_id)
    assert (job.state, job.outcome and job.outcome.unknown_effect) == (State.CANCELLED, True)


def test_a_destination_that_lost_its_store_counts_on_from_what_the_origin_knows() -> None:
    """The hop lost its store too, and passes on what it has from the origin."""
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    for number in range(3):
        mesh["c"].engine.progress(job_id, f"step {number}", None, mesh.now_ms)
        mesh.step("c")
        mesh.settle()
    before = mesh["a"].job(job_id).version
    for name in "bc":
        mesh.restore(name, MemoryStore())
    mesh.connect("a", "b")
    mesh.connect("b", "c")
    mesh.settle()
    mesh["c"].engine.progress(job_id, "again", None, mesh.now_ms)
    mesh.step("c")
    mesh.settle()
    reports = [mesh[name].job(job_id).progress for name in "abc"]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0] is not None
    assert (reports[0].message, reports[0].number > before) == ("again", True)


def test_an_end_that_the_agent_above_brought_itself_is_home_though_it_comes_again_from_below() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    job = mesh["b"].engine.ledger.find(job_id)
    fact = mesh["c"].job(job_id).facts[Kind.OUTCOME]
    assert job is not None
    assert job.up is not None
    assert fact is not None
    # As after an exchange: a record for `a` that turned out to hold nothing it had not brought itself.
    job.up.sent[Kind.OUTCOME] = HAS
    job.up.number = mesh["b"].board("a").outbox.home + 5
    mesh.record("c", "b", fact)
    assert not mesh["b"].board("c").inbox.away


def test_a_fact_is_no_larger_than_what_it_may_carry() -> None:
    pair = Pair(limits={"portal": Limits(result_bytes=100, request_bytes=1_000)})
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.record("cluster", "portal", outcome(job_id, "cluster", result='"' + "x" * 20_000 + '"'))
    assert pair.refusals("cluster", "portal") == ["malformed"]
    assert pair.portal.job(job_id).outcome is None


def test_a_finished_job_that_was_trimmed_is_forgotten_to_one_that_lost_its_store() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    request_fact = pair.portal.job(job_id).facts[Kind.REQUEST]
    assert request_fact is not None
    store = pair.cluster.store
    store.rows = {seq: row._replace(facts=None) for seq, row in store.rows.items()}
    pair.crash("cluster")
    pair.join()
    pair.record("portal", "cluster", request_fact, flags=REISSUED)
    assert pair.refusals("portal", "cluster") == ["forgotten"]
    assert not pair.cluster.starts


@pytest.mark.interpreted
@pytest.mark.parametrize("died", [False, True], ids=["in memory", "on disk"])
def test_a_job_that_was_trimmed_is_over_for_those_too_who_do_not_know_that_it_went_on(
    died: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agents above were put back to copies which agree with each other that the job was never passed on."""
    monkeypatch.setattr(ledger, "TRIM", 1)
    mesh = Mesh(*CHAIN)
    old = mesh["b"].store.copy()
    job_id = mesh.put("a.b.c")
    sent = mesh["a"].store.copy()
    mesh.settle()
    mesh.run_all("c")
    for _ in range(2):
        mesh.put("a.b.c", "idle")
        mesh.settle()
        mesh.run_all("c")
    assert next(row for row in mesh["c"].store.rows.values() if row.id == job_id).facts is None
    mesh.restore("a", sent)
    mesh.restore("b", old)
    if died:
        mesh.crash("c")
    for ends in CHAIN[::-1]:
        mesh.connect(*ends)
        mesh.settle()
    assert not mesh["c"].starts
    job = mesh["a"].job(job_id)
    assert job.state is (State.REJECTED if died else State.COMPLETE)
    assert (job.reject is not None and job.reject.reason == "forgotten") is died


def test_of_two_rejects_both_sides_keep_the_same() -> None:
    mesh = Mesh(*CHAIN, ("c", "d"))
    mesh.put("a.b.c.d")
    mesh.settle()
    mesh.run_all("d")
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    mesh.inject("b", "a", CardMessage(card_of("c").data))
    low, high = sorted((reject(job_id, "b"), reject(job_id, "c")), key=Fact.digest)
    mesh.record("b", "a", low)
    mesh.record("b", "a", high)
    kept = mesh["a"].job(job_id).facts[Kind.REJECT]
    assert kept is not None
    assert kept.body == low.body
    mesh.settle()
    assert mesh["a"].board("b").open


def test_a_delete_of_a_job_that_waits_at_a_hop_goes_no_further() -> None:
    mesh = Mesh(*CHAIN, connected=False)
    mesh.connect("a", "b")
    mesh.settle()
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.delete("a", job_id)
    mesh.settle()
    assert [mesh[name].state(job_id) for name in "ab"] == [State.DELETED] * 2
    mesh.connect("b", "c")
    mesh.settle()
    assert not mesh["c"].knows(job_id)


@pytest.mark.parametrize("kind", ["outcome", "progress", "request"])
def test_what_a_hop_has_rejected_does_not_go_on_because_the_next_agent_speaks_of_it(kind: str) -> None:
    mesh = Mesh(*CHAIN, access={"b": {"block": (Rule("a", "add_*"),)}})
    job_id = mesh.put("a.b.c")
    mesh.settle()
    asked_for = mesh["a"].job(job_id).facts[Kind.REQUEST]
    assert asked_for is not None
    fact = {"outcome": outcome(job_id, "c"), "progress": progress(job_id, "c"), "request": asked_for}[kind]
    mesh.record("c", "b", fact)
    mesh.settle()
    assert not mesh["c"].knows(job_id)
    assert mesh["a"].state(job_id) is State.REJECTED
    assert mesh["b"].job(job_id).down is None


@pytest.mark.parametrize("first", ["a", "c"])
@pytest.mark.parametrize("state", ["live", "over", "deleted", "cancelled"])
def test_a_hop_that_lost_its_store_learns_of_a_job_from_both_sides(first: str, state: str) -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.cut("b", "c")
    if state == "over":
        mesh.finish("c", job_id)
    elif state == "deleted":
        mesh.delete("a", job_id)
    elif state == "cancelled":
        mesh.cancel("a", job_id)
    mesh.restore("b", MemoryStore())
    for ends in CHAIN if first == "a" else CHAIN[::-1]:
        mesh.connect(*ends)
        mesh.settle()
    if state == "cancelled":
        assert mesh["c"].stops == [job_id]
        mesh.finish("c", job_id, DONE._replace(state=State.CANCELLED, result=None, result_type=None))
        mesh.settle()
    elif state == "live":
        mesh.run_all("c")
    wanted = {"deleted": State.DELETED, "cancelled": State.CANCELLED}.get(state, State.COMPLETE)
    assert [mesh[name].state(job_id) for name in "abc"] == [wanted] * 3
    assert len({tuple(content(mesh[name].job(job_id))) for name in "abc"}) == 1
    assert mesh["b"].board("a").accepted == mesh["b"].board("c").offered == {}


def test_a_destination_that_was_put_back_learns_of_its_end_from_a_hop_that_lost_its_store_too() -> None:
    """The hop noticed what the destination lost, and forgot it; the origin has not."""
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    old = mesh["c"].store.copy()
    mesh.finish("c", job_id)
    mesh.settle()
    mesh.cut("a", "b")
    mesh.cut("b", "c")
    mesh.restore("b", MemoryStore())
    mesh.restore("c", old)
    for ends in CHAIN:
        mesh.connect(*ends)
        mesh.settle()
    assert mesh["c"].starts == []
    assert [mesh[name].state(job_id) for name in "abc"] == [State.COMPLETE] * 3
    assert len({tuple(content(mesh[name].job(job_id))) for name in "abc"}) == 1
    assert mesh["b"].alarms == [alarm for alarm in mesh["b"].alarms if "two outcomes" not in alarm]


def test_an_end_that_a_hop_learns_from_above_goes_on_to_a_destination_that_was_put_back() -> None:
    """The copies of the two agree, so that they exchange nothing but what changes."""
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    old = {name: mesh[name].store.copy() for name in "bc"}
    mesh.finish("c", job_id)
    mesh.settle()
    for ends in CHAIN:
        mesh.cut(*ends)
    for name, store in old.items():
        mesh.restore(name, store)
    for ends in CHAIN:
        mesh.connect(*ends)
        mesh.settle()
    mesh.run_all("c")
    assert [mesh[name].state(job_id) for name in "abc"] == [State.COMPLETE] * 3
    assert len({tuple(content(mesh[name].job(job_id))) for name in "abc"}) == 1
    assert not any("two outcomes" in alarm for name in "abc" for alarm in mesh[name].alarms)


# -- a Cancel or Delete before its Request (rule R9) --------------------------------------------------------------
#
# It does not wait here. Until the Request is acknowledged each record carries it too; afterwards a receiver that does
# not know it refuses the record as `unknown_job`, and its sender sends everything again. So a Request never comes
# without the Delete or Cancel that its sender holds: what waits, waits there, durably and without a cap.


def early(pair: Pair, verb: str) -> bytes:
    """A job whose Cancel or Delete arrives alone: the cluster never took its Request, though that is acknowledged."""
    job_id = pair.put("portal.cluster")
    pair.wire["portal", "cluster"].clear()
    number = pair.portal.board("cluster").outbox.last
    # As after the answer to a refusal that the store was still asked about.
    pair.cluster.board("portal").inbox.take(number)
    pair.portal.board("cluster").outbox.acknowledge(number)
    getattr(pair, verb)("portal", job_id)
    assert facts_in(pair.waiting("portal", "cluster")) == [verb]
    pair.down(99)
    assert pair.refusals("portal", "cluster") == ["unknown_job"]
    assert not pair.cluster.knows(job_id)
    return job_id


@pytest.mark.parametrize("verb", ["cancel", "delete"])
@pytest.mark.parametrize("struck", ["", "portal", "cluster", "both"])
def test_a_job_stopped_before_its_request_came_never_starts(verb: str, struck: str) -> None:
    """Nor does it after a crash of either side, in between or afterwards."""
    pair = Pair()
    job_id = early(pair, verb)
    for name in ("portal", "cluster"):
        if struck in (name, "both"):
            pair.crash(name)
    if struck:
        pair.join()
    pair.settle()
    wanted = State.DELETED if verb == "delete" else State.CANCELLED
    assert pair.states(job_id) == (wanted, wanted)
    pair.crash("cluster")
    pair.join()
    assert not pair.cluster.starts
    assert pair.states(job_id) == (wanted, wanted)


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_a_full_exchange_never_brings_a_request_without_its_delete_or_cancel(verb: str) -> None:
    """The destination lost its store with the job in it; who holds the wish sends it in the record of the Request."""
    pair = Pair(limits={"cluster": Limits(handlers=1)})
    pair.put("portal.cluster")
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.cluster.starts.clear()
    pair.part()
    getattr(pair, verb)("portal", job_id)
    pair.restore("cluster", MemoryStore())
    pair.join()
    pair.run_all("cluster")
    records = [one for one in pair.sent("portal", "cluster", FactMessage) if one.kind in (Kind.DELETE, Kind.CANCEL)]
    assert records, "it was sent"
    wanted = State.DELETED if verb == "delete" else State.CANCELLED
    assert pair.states(job_id) == (wanted, wanted)
    assert job_id not in {start.job_id for start in pair.cluster.starts}


def test_a_stranger_cannot_make_anything_wait() -> None:
    """A Delete of a job that is not known takes no room here, however many come: nothing of it is stored."""
    pair = Pair()
    for number in range(50):
        pair.record("portal", "cluster", delete(bytes([number]) * 26, "portal"))
    assert not pair.cluster.store.rows


def test_a_request_that_waits_to_be_offered_again_waits_no_longer_once_the_peer_brings_it() -> None:
    """Otherwise the store would give it as waiting for ever, and what else is said of it a new number each time."""
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    board = pair.portal.board("cluster")
    job = pair.portal.engine.ledger.find(job_id)
    assert job is not None
    assert job.down is not None
    # As after a refusal of a Request that was offered in an earlier life of the peer's store.
    count(board.offered, job.branch, -1)
    count(board.waiting, job.branch, 1)
    job.down.offered = job.down.reissued = job.down.waiting = True
    job.down.counted = False
    fact = job.facts[Kind.REQUEST]
    assert fact is not None
    pair.record("cluster", "portal", fact, flags=REISSUED)
    pair.settle()
    assert (job.down.waiting, job.down.counted) == (False, True)
    assert (board.waiting, board.offered) == ({}, {job.branch: 1})


def test_a_job_whose_row_was_damaged_may_have_run_though_its_request_comes_for_the_first_time() -> None:
    """The agent died before it acknowledged it: the peer cannot know that it was here."""
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.down()
    assert pair.cluster.state(job_id) is State.RUNNING
    pair.part()
    store = pair.cluster.store
    store.rows = {seq: row._replace(facts=b"nonsense") for seq, row in store.rows.items()}
    pair.crash("cluster")
    pair.cancel("portal", job_id)
    pair.join()
    outcome = pair.portal.job(job_id).outcome
    assert outcome is not None
    assert (outcome.state, outcome.unknown_effect) == ("cancelled", True)


@pytest.mark.parametrize("text", [TEXT, "charge"])
def test_a_report_of_its_own_tells_a_destination_that_its_store_is_an_old_copy(text: str) -> None:
    """The neighbour lost its store as well, so that only the origin has something to tell."""
    mesh = Mesh(*CHAIN, limits={"c": Limits(handlers=1)})
    first = mesh.put("a.b.c")
    job_id = mesh.put("a.b.c", text, life_s=5)
    mesh.settle()
    old = mesh["c"].store.copy()
    mesh.finish("c", first)
    mesh.wait(1)
    assert mesh["a"].state(job_id) is State.RUNNING
    mesh.cut("a", "b")
    mesh.finish("c", job_id)
    mesh.settle()
    mesh.cut("b", "c")
    mesh.restore("b", MemoryStore())
    mesh.restore("c", old)
    # Nothing starts before its time is up: another job, taken up before it, keeps the only slot.
    for ends in (("b", "c"), ("a", "b")):
        mesh.connect(*ends)
        mesh.settle()
    mesh.wait(6)
    mesh.run_all("c")
    outcome = mesh["a"].job(job_id).outcome
    assert outcome is not None
    assert (outcome.error or [""])[0] == "lost"
    assert outcome.unknown_effect
    assert job_id not in [start.job_id for start in mesh["c"].starts]
