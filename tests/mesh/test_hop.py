"""A hop forwards what is for others, or refuses instead of forwarding, never after."""

from __future__ import annotations

from copy import deepcopy

import pytest

from mesh.access import Rule
from mesh.ending import Ending
from mesh.facts import VERSION, Kind, Progress, Request
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import REISSUED, FactMessage
from mesh.storage.memory import MemoryStore
from tests.mesh.pair import START_MS, TEXT, ZONE, Mesh, identity_of, signed

CHAIN = (("a", "b"), ("b", "c"))


def states(mesh: Mesh, job_id: bytes) -> list[str]:
    return [str(node.state(job_id)) if node.knows(job_id) else "-" for node in mesh.nodes.values()]


def why(mesh: Mesh, job_id: bytes) -> tuple[str, str, str]:
    """Who rejected the job, why, and the fix, as the origin sees it."""
    reject = mesh["a"].job(job_id).reject
    assert reject is not None
    return reject.agent, reject.reason, reject.fix


def test_a_job_passes_and_its_outcome_comes_back() -> None:
    mesh = Mesh(*CHAIN, ("c", "d"))
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    mesh.run_all("d")
    assert states(mesh, job_id) == ["complete"] * 4
    assert len({mesh[name].job(job_id).facts[Kind.OUTCOME].body for name in "abcd"}) == 1  # type: ignore[union-attr]


def test_a_hop_forwards_what_it_does_not_know() -> None:
    mesh = Mesh(*CHAIN, access={"b": {"runs": frozenset()}})
    job_id = mesh.put("a.b.c", "dance wild")
    mesh.settle()
    assert states(mesh, job_id) == ["error"] * 3
    outcome = mesh["a"].job(job_id).outcome
    assert outcome is not None
    assert outcome.error == ["unknown_instruction", 'agent "c" has no instruction "dance"']


def test_a_job_waits_at_a_hop_for_the_next_agent() -> None:
    mesh = Mesh(*CHAIN, connected=False)
    mesh.connect("a", "b")
    mesh.settle()
    job_id = mesh.put("a.b.c")
    mesh.settle()
    assert states(mesh, job_id) == ["pending", "pending", "-"]
    mesh.cut("a", "b")
    mesh.connect("b", "c")
    mesh.settle()
    mesh.run_all("c")
    assert states(mesh, job_id) == ["pending", "complete", "complete"]
    mesh.connect("a", "b")
    mesh.settle()
    assert states(mesh, job_id) == ["complete"] * 3


def test_no_route() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.zebra")
    mesh.settle()
    assert states(mesh, job_id) == ["rejected", "rejected", "-"]
    assert why(mesh, job_id) == (
        "b",
        "no_route",
        'correct the path, or invite "zebra" there: mesh invite zebra',
    )


def test_a_block_rule_of_a_hop() -> None:
    mesh = Mesh(*CHAIN, access={"b": {"block": (Rule("a", "add_*"),)}})
    job_id = mesh.put("a.b.c")
    other = mesh.put("a.b.c", "remove_user fred.proj.org")
    mesh.settle()
    assert states(mesh, job_id) == ["rejected", "rejected", "-"]
    assert why(mesh, job_id)[:2] == ("b", "denied")
    assert states(mesh, other) == ["pending", "pending", "running"]


def test_control_instructions_are_for_the_destination_to_refuse() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c", "restart")
    mesh.settle()
    assert states(mesh, job_id) == ["error"] * 3


def test_the_last_hop_refuses_a_request_that_names_another_key() -> None:
    mesh = Mesh(*CHAIN)
    ledger = mesh["a"].engine.ledger
    ledger.trust.pins[ZONE, "b.c"] = identity_of("old c").fingerprint
    job_id = mesh.put("a.b.c")
    mesh.settle()
    assert states(mesh, job_id) == ["rejected", "rejected", "-"]
    assert why(mesh, job_id) == (
        "b",
        "identity_changed",
        "verify who is right, then at the origin: mesh trust b.c --forget",
    )
    assert mesh["b"].alarms == ['a job names another key for "c" than the one this agent has pinned']


def test_a_hop_that_is_not_the_last_does_not_judge_keys() -> None:
    mesh = Mesh(*CHAIN, ("c", "d"))
    mesh["a"].engine.ledger.trust.pins[ZONE, "b.c.d"] = identity_of("old d").fingerprint
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    assert why(mesh, job_id)[0] == "c"


# -- cancel and expiry --------------------------------------------------------------------------------------------


def waiting_at_b() -> tuple[Mesh, bytes]:
    mesh = Mesh(*CHAIN, connected=False)
    mesh.connect("a", "b")
    mesh.settle()
    job_id = mesh.put("a.b.c", life_s=100)
    mesh.settle()
    return mesh, job_id


def test_a_cancel_ends_a_job_that_never_went_on() -> None:
    mesh, job_id = waiting_at_b()
    mesh.cancel("a", job_id)
    mesh.settle()
    assert states(mesh, job_id) == ["cancelled", "cancelled", "-"]
    assert why(mesh, job_id)[:2] == ("b", "cancelled")
    mesh.connect("b", "c")
    mesh.settle()
    assert states(mesh, job_id) == ["cancelled", "cancelled", "-"]


def test_a_cancel_and_its_request_in_one_record() -> None:
    mesh = Mesh(*CHAIN, connected=False)
    mesh.connect("a", "b")
    mesh.settle()
    job_id = mesh.put("a.b.c")
    mesh.cut("a", "b")
    mesh.cancel("a", job_id)
    mesh.connect("a", "b")
    mesh.settle()
    assert states(mesh, job_id) == ["cancelled", "cancelled", "-"]


def test_a_cancel_follows_a_job_that_went_on() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.cancel("a", job_id)
    mesh.settle()
    assert mesh["c"].stops == [job_id]
    assert states(mesh, job_id) == ["pending", "pending", "running"]


def test_a_job_expires_where_it_waits() -> None:
    mesh, job_id = waiting_at_b()
    mesh.wait(99)
    assert states(mesh, job_id) == ["pending", "pending", "-"]
    mesh.wait(2)
    assert states(mesh, job_id) == ["expired", "expired", "-"]
    assert why(mesh, job_id) == ("b", "expired", 'see why "c" is not connected: mesh peers')
    mesh.connect("b", "c")
    mesh.settle()
    assert not mesh["c"].knows(job_id)


def test_a_job_that_was_offered_is_not_the_hops_to_expire() -> None:
    mesh, job_id = waiting_at_b()
    mesh.connect("b", "c")
    mesh.deliver("b", "c")
    mesh.deliver("c", "b", 9)
    assert mesh["b"].job(job_id).down.offered  # type: ignore[union-attr]
    mesh.cut("b", "c")
    mesh.wait(200)
    assert states(mesh, job_id) == ["pending", "pending", "-"]
    # The destination says so, since it came too late.
    mesh.connect("b", "c")
    mesh.settle()
    assert states(mesh, job_id) == ["expired"] * 3
    assert mesh["a"].job(job_id).outcome is not None


def test_a_job_that_waits_in_a_store_just_opened_expires_once_its_boards_proved_themselves() -> None:
    mesh, job_id = waiting_at_b()
    mesh.crash("b")
    mesh.wait(200)
    assert mesh["b"].state(job_id) is State.PENDING
    mesh.connect("a", "b")
    mesh.settle()
    mesh.wait(1)
    assert mesh["b"].state(job_id) is State.PENDING
    mesh.connect("b", "c")
    mesh.settle()
    mesh.wait(1)
    assert states(mesh, job_id)[:2] == ["expired", "expired"]
    assert not mesh["c"].starts


# -- a hop whose store was lost -----------------------------------------------------------------------------------


def test_what_a_restored_hop_gets_again_is_its_destinations_to_end() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c", life_s=100)
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    mesh.restore("b", MemoryStore())
    mesh.connect("a", "b")
    mesh.settle()
    mesh.cancel("a", job_id)
    mesh.settle()
    mesh.wait(200)
    assert states(mesh, job_id) == ["pending", "pending", "complete"]
    mesh.connect("b", "c")
    mesh.settle()
    assert states(mesh, job_id) == ["complete"] * 3


def test_the_mark_of_a_reissued_request_travels_on() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c", "charge")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    for name in "bc":
        mesh.restore(name, MemoryStore())
    mesh.connect("b", "c")
    mesh.settle()
    mesh.connect("a", "b")
    mesh.settle()
    assert not mesh["c"].starts
    assert states(mesh, job_id) == ["error"] * 3
    outcome = mesh["a"].job(job_id).outcome
    assert outcome is not None
    assert (outcome.error and outcome.error[0], outcome.unknown_effect) == ("lost", True)


def test_a_reissued_request_waits_for_credit_as_any_other() -> None:
    """R13: a neighbour marks what it lost sight of, too, and that never went on."""
    mesh = Mesh(*CHAIN, limits={"c": Limits(credit_jobs=1)})
    first, other = mesh.put("a.b.c", life_s=600), mesh.put("a.b.c", life_s=600)
    mesh.settle()
    mesh.restore("b", MemoryStore())
    mesh.connect("b", "c")
    mesh.connect("a", "b")
    mesh.settle()
    assert [mesh["c"].knows(job_id) for job_id in (first, other)] == [True, False]
    mesh.run_all("c")
    assert states(mesh, other) == ["complete"] * 3


def test_a_restored_hop_that_forgot_its_peer_says_that_the_effect_is_unknown() -> None:
    mesh = Mesh(("a", "b"))
    content = Request(
        *(VERSION, b"n" * 16, ZONE, "a.b.zebra", identity_of("a").fingerprint, None, TEXT, None, "", ""),
        *(START_MS, START_MS + 60_000, None, None, None),
    )
    fact = signed("a", Kind.REQUEST, content)
    mesh.record("a", "b", fact, flags=REISSUED)
    reject = mesh["b"].job(fact.job_id).reject
    assert reject is not None
    assert (reject.reason, "effect unknown" in reject.message) == ("lost", True)


def test_an_outcome_that_comes_before_its_request_finds_its_way_up() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    mesh.restore("b", MemoryStore())
    mesh.connect("b", "c")
    mesh.settle()
    mesh.connect("a", "b")
    mesh.settle()
    assert states(mesh, job_id) == ["complete"] * 3


def test_a_restored_hop_takes_its_own_reject_back() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.zebra")
    mesh.settle()
    mesh.restore("b", MemoryStore())
    mesh.connect("a", "b")
    mesh.settle()
    assert states(mesh, job_id) == ["rejected", "rejected", "-"]


@pytest.mark.parametrize("order", ["ab first", "bc first"])
def test_a_restored_hop_heals_with_a_job_under_way(order: str) -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.wait(1)
    mesh.restore("b", MemoryStore())
    for ends in CHAIN if order == "ab first" else CHAIN[::-1]:
        mesh.connect(*ends)
        mesh.settle()
    assert states(mesh, job_id) == ["running"] * 3
    mesh.run_all("c")
    assert states(mesh, job_id) == ["complete"] * 3
    assert mesh["c"].job(job_id).attempt == 1


def test_a_cancel_that_ended_a_job_at_a_restored_hop_follows_it_if_it_had_gone_on() -> None:
    mesh = Mesh(*CHAIN)
    # Nothing that was acknowledged to the origin is lost with it, nor an opening: it does not notice.
    copy = mesh["b"].store.copy()
    job_id = mesh.put("a.b.c")
    mesh.deliver("a", "b")
    mesh.cut("a", "b")
    mesh.settle()
    mesh.restore("b", copy)
    mesh.connect("a", "b")
    mesh.settle()
    mesh.cancel("a", job_id)
    mesh.settle()
    assert states(mesh, job_id) == ["cancelled", "cancelled", "running"]
    mesh.connect("b", "c")
    mesh.settle()
    assert mesh["c"].stops == [job_id]
    mesh.finish("c", job_id, Ending(State.CANCELLED))
    mesh.settle()
    assert states(mesh, job_id) == ["cancelled"] * 3
    assert all(mesh[name].job(job_id).facts[Kind.CANCEL] is not None for name in "abc")


@pytest.mark.parametrize("known", [True, False])
def test_a_job_that_its_destination_reported_on_is_not_ended_by_a_hop_that_says_that_it_waits(known: bool) -> None:
    """It went on in the future that the store of the hop lost."""
    mesh = Mesh(*CHAIN)
    mesh.cut("b", "c")
    job_id = mesh.put("a.b.c", life_s=5)
    report = Progress(VERSION, job_id, mesh["c"].identity.fingerprint, 2, "running", 1, None, None, START_MS)
    if known:
        mesh.settle()
        mesh.record("a", "b", signed("c", Kind.PROGRESS, report))
    else:
        mesh.wire["a", "b"].clear()
        request = mesh["a"].job(job_id).facts[Kind.REQUEST]
        assert request is not None
        mesh.record("a", "b", request, signed("c", Kind.PROGRESS, report))
    mesh.wait(10)
    assert mesh["b"].state(job_id) is State.RUNNING
    assert mesh["b"].job(job_id).reject is None
    mesh.connect("b", "c")
    mesh.settle()
    assert [one.flags & REISSUED for one in mesh.sent("b", "c", FactMessage) if one.kind == Kind.REQUEST] == [REISSUED]
    assert states(mesh, job_id) == ["error"] * 3


@pytest.mark.parametrize("copy", ["old", "none"])
@pytest.mark.parametrize("first", ["upstream", "downstream"])
def test_a_restored_hop_does_not_say_further_down_that_it_refused_a_job(copy: str, first: str) -> None:
    """The next agent never heard of the job, and would refuse the record with an alarm."""
    mesh = Mesh(("a", "b"), ("b", "c"))
    mesh.cut("b", "c")
    mesh.settle()
    job_id = mesh.put("a.b.c")
    mesh.settle()
    store = deepcopy(mesh["b"].store) if copy == "old" else MemoryStore()
    mesh.cancel("a", job_id)
    mesh.settle()
    assert mesh["b"].state(job_id) is State.CANCELLED
    mesh.restore("b", store)
    ways = [("a", "b"), ("b", "c")]
    for ends in ways if first == "upstream" else ways[::-1]:
        mesh.connect(*ends)
        mesh.settle()
    assert mesh["b"].state(job_id) is State.CANCELLED
    assert not mesh["c"].knows(job_id)
    assert mesh.refusals("b", "c") == []
    assert all("lost what" in alarm for alarm in mesh["c"].alarms)
