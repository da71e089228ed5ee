"""Numbers, credit and the window: what goes out when, what waits on disk, and in which order."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from mesh.dispatch import PAGE, TOLD_REFUSALS
from mesh.effects import Answer, Numbered, Shared, Waiting
from mesh.facts import VERSION, Kind, Reject
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import REISSUED, Ack, CardMessage, Credit, FactMessage, Ping, Want
from mesh.origin import Put
from mesh.storage.memory import MemoryStore
from tests.mesh.pair import START_MS, TEXT, ZONE, Mesh, Pair, identity_of, signed

CHAIN = (("a", "b"), ("b", "c"))


def put(pair: Pair, jobs: int, **wishes: Any) -> list[bytes]:
    return [pair.put("portal.cluster", **wishes) for _ in range(jobs)]


def on_the_wire(mesh: Mesh, sender: str = "portal", receiver: str = "cluster") -> list[int]:
    """Numbers of the records that wait to be delivered."""
    return [one.number for one in mesh.waiting(sender, receiver) if isinstance(one, FactMessage)]


def order(mesh: Mesh, name: str) -> list[bytes]:
    """Jobs in the order in which they came."""
    return [row.id for _, row in sorted(mesh[name].store.rows.items())]


# -- credit -------------------------------------------------------------------------------------------------------


def test_jobs_wait_for_credit_and_go_as_others_end() -> None:
    pair = Pair(limits={"cluster": Limits(credit_jobs=2)})
    ids = put(pair, 5)
    pair.settle()
    board = pair.portal.board("cluster")
    assert (order(pair, "cluster"), board.offered, board.waiting) == (ids[:2], {"0:": 2}, {"0:": 3})
    pair.finish("cluster", ids[0])
    pair.settle()
    assert order(pair, "cluster") == ids[:3]
    pair.run_all("cluster")
    assert order(pair, "cluster") == ids
    assert (board.offered, board.waiting) == ({}, {})
    assert pair.cluster.board("portal").accepted == {}


def test_nobody_overtakes_those_that_wait() -> None:
    pair = Pair(limits={"cluster": Limits(credit_jobs=1)})
    ids = put(pair, 2)
    pair.settle()
    # Credit is free in the very step in which a third one comes.
    pair.portal.board("cluster").offered.clear()
    ids += put(pair, 1)
    pair.run_all("cluster")
    pair.settle()
    pair.run_all("cluster")
    assert order(pair, "cluster") == ids


@pytest.mark.parametrize("who", ["portal", "cluster"])
def test_credit_is_counted_from_the_rows_after_a_crash(who: str) -> None:
    pair = Pair(limits={"cluster": Limits(credit_jobs=2)})
    ids = put(pair, 5)
    pair.settle()
    pair.cluster.starts.clear()
    pair.crash(who)
    assert pair.portal.board("cluster").offered == {"0:": 2}
    assert pair.portal.board("cluster").waiting == {"0:": 3}
    assert pair.cluster.board("portal").accepted == {"0:": 2}
    pair.join()
    assert order(pair, "cluster") == ids[:2]
    for one in ids[:2]:
        pair.finish("cluster", one)
    pair.settle()
    pair.run_all("cluster")
    assert order(pair, "cluster") == ids


def test_an_absent_branch_blocks_no_other() -> None:
    mesh = Mesh(*CHAIN, ("b", "d"), limits={"b": Limits(credit_jobs=2)}, connected=False)
    mesh.connect("a", "b")
    mesh.connect("b", "d")
    mesh.settle()
    for _ in range(4):
        mesh.put("a.b.c")
    through = [mesh.put("a.b.d") for _ in range(4)]
    mesh.settle()
    mesh.run_all("d")
    assert [mesh["a"].state(one) for one in through] == [State.COMPLETE] * 4
    assert mesh["a"].board("b").waiting == {"0:c": 2}


def test_children_draw_on_a_reserve_of_their_own() -> None:
    mesh = Mesh(*CHAIN, limits={"c": Limits(credit_jobs=1), "b": Limits(handlers=4)})
    mesh.put("b.c", "idle")
    blocked = mesh.put("b.c", "idle")
    parent = mesh.put("a.b", "idle")
    mesh.settle()
    child = mesh.put("b.c", "idle", parent=parent)
    mesh.settle()
    assert not mesh["c"].knows(blocked)
    assert mesh["c"].state(child) is State.RUNNING
    assert mesh["b"].board("c").offered == {"0:": 1, "1:": 1}


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_a_waiting_job_that_ends_makes_room_for_nobody_and_no_gap(verb: str) -> None:
    pair = Pair(limits={"cluster": Limits(credit_jobs=1)})
    ids = put(pair, 3)
    pair.settle()
    getattr(pair, verb)("portal", ids[1])
    assert pair.portal.board("cluster").waiting == {"0:": 1}
    pair.run_all("cluster")
    assert order(pair, "cluster") == [ids[0], ids[2]]


def test_only_requests_need_credit() -> None:
    pair = Pair()
    (job_id,) = put(pair, 1)
    pair.settle()
    pair.inject("cluster", "portal", Credit(0, "full"))
    pair.cancel("portal", job_id)
    pair.settle()
    assert pair.cluster.stops == [job_id]


# -- window -------------------------------------------------------------------------------------------------------


def test_at_most_a_window_of_records_is_in_flight() -> None:
    pair = Pair(limits={"portal": Limits(window_records=3)})
    ids = put(pair, 8)
    assert on_the_wire(pair) == [1, 2, 3]
    assert len(pair.portal.board("cluster").outbox.flight) == 3
    pair.down(1)
    pair.up(1)
    assert len(on_the_wire(pair)) == 3
    pair.settle()
    assert order(pair, "cluster") == ids


def test_a_window_of_bytes() -> None:
    pair = Pair(limits={"portal": Limits(window_bytes=1_000)})
    ids = put(pair, 9, options={"note": "x" * 300})
    assert 2 <= len(on_the_wire(pair)) <= 3
    pair.settle()
    assert order(pair, "cluster") == ids


def test_a_slow_peer_costs_disk_and_not_memory() -> None:
    pair = Pair(limits={"portal": Limits(window_records=2, resident_jobs=4)})
    ids = put(pair, 60)
    assert len(pair.portal.engine.ledger.jobs) < 20
    assert len(on_the_wire(pair)) == 2
    pair.settle()
    assert order(pair, "cluster") == ids


def test_what_is_no_request_gets_its_number_without_link_or_window() -> None:
    pair = Pair(limits={"portal": Limits(window_records=1)})
    ids = put(pair, 1)
    pair.part()
    pair.cancel("portal", ids[0])
    outbox = pair.portal.board("cluster").outbox
    assert (outbox.last, outbox.behind, on_the_wire(pair)) == (2, True, [])
    pair.join()
    assert pair.states(ids[0]) == (State.CANCELLED, State.CANCELLED)
    assert not pair.cluster.starts


def test_acknowledgements_and_pongs_need_no_window() -> None:
    pair = Pair(limits={"cluster": Limits(window_records=1)})
    ids = put(pair, 3)
    pair.down(9)
    pair.wire["cluster", "portal"].clear()
    for one in ids:
        pair.finish("cluster", one)
    assert len(on_the_wire(pair, "cluster", "portal")) == 1
    pair.wire["cluster", "portal"].clear()
    pair.put("portal.cluster")
    pair.down(1)
    pair.inject("portal", "cluster", Ping(5))
    assert [type(one).__name__ for one in pair.waiting("cluster", "portal")] == ["Ack", "Pong", "Clock"]


# -- paging -------------------------------------------------------------------------------------------------------


def test_a_backlog_is_paged_from_disk_in_order() -> None:
    pair = Pair(connected=False)
    ids = put(pair, PAGE + 40)
    pair.portal.queries.clear()
    pair.join()
    assert order(pair, "cluster") == ids
    pages = [query for query in pair.portal.queries if isinstance(query, Waiting)]
    assert len(pages) == 2
    assert pair.portal.board("cluster").waiting == {}


def test_what_was_sent_and_lost_is_paged_by_number() -> None:
    pair = Pair()
    ids = put(pair, PAGE + 40)
    pair.part()
    pair.crash("portal")
    pair.join()
    assert order(pair, "cluster") == ids
    assert any(isinstance(query, Numbered) and query.after for query in pair.portal.queries)
    assert not pair.cluster.board("portal").inbox.refused


def test_a_page_of_an_old_link_is_of_no_use_to_the_new_one() -> None:
    # 600 records on disk; the second page is asked for, the link is cut, and the answer comes when the next one
    # stands already: were it sent, the peer's watermark would jump over the first page.
    pair = Pair()
    ids = put(pair, 2 * PAGE + 88)
    pair.part()
    pair.connect("portal", "cluster")
    pair.hold("portal")
    pair.up(9)
    while not any(isinstance(q, Numbered) and q.after for effects, _ in pair.portal.held for q in effects.queries):
        pair.release("portal", 1)
    pair.part()
    pair.connect("portal", "cluster")
    pair.up(9)
    pair.release("portal")
    pair.settle()
    assert order(pair, "cluster") == ids
    assert not pair.portal.closed


def test_a_page_of_an_old_exchange_is_of_no_use_to_the_new_one() -> None:
    pair = Pair()
    ids = put(pair, 2 * PAGE + 88)
    pair.settle()
    pair.run_all("cluster")
    pair.restore("cluster", MemoryStore())
    pair.connect("portal", "cluster")
    pair.hold("portal")
    pair.up(9)
    while not any(isinstance(q, Shared) and q.after for effects, _ in pair.portal.held for q in effects.queries):
        pair.release("portal", 1)
    pair.part()
    pair.connect("portal", "cluster")
    pair.up(9)
    pair.release("portal")
    pair.settle()
    assert set(order(pair, "cluster")) == set(ids)


def test_a_page_whose_link_is_gone_is_dropped() -> None:
    pair = Pair(connected=False)
    ids = put(pair, 3)
    pair.connect("portal", "cluster")
    pair.hold("portal")
    pair.down(1)
    pair.up(9)
    pair.part()
    pair.release("portal")
    assert not pair.portal.job(ids[0]).down.offered  # type: ignore[union-attr]
    pair.join()
    assert order(pair, "cluster") == ids


def test_a_job_that_changes_while_it_is_fetched_goes_out_once_under_its_later_number() -> None:
    pair = Pair()
    ids = put(pair, 3)
    pair.part()
    pair.connect("portal", "cluster")
    pair.hold("portal")
    pair.down(1)
    pair.up(9)
    pair.cancel("portal", ids[1])
    pair.release("portal")
    pair.settle()
    assert pair.cluster.state(ids[1]) is State.CANCELLED
    assert set(order(pair, "cluster")) == set(ids)


def test_many_jobs_of_one_step_share_a_signature() -> None:
    pair = Pair()
    for token in range(70):
        pair.portal.engine.put(1_000 + token, Put(ZONE, "portal.cluster", TEXT), START_MS)
    pair.step("portal")
    signatures = [one.proof[:64] for one in pair.waiting("portal", "cluster") if isinstance(one, FactMessage)]
    assert len(signatures) == 70
    assert (len(set(signatures)), len(set(signatures[:64]))) == (2, 1)
    pair.settle()
    assert len(pair.cluster.store.rows) == 70


# -- cards and marks ----------------------------------------------------------------------------------------------


def test_a_card_goes_out_once_on_each_link_and_before_the_fact() -> None:
    mesh = Mesh(*CHAIN)
    for _ in range(3):
        mesh.put("a.b.c")
    mesh.settle()
    assert len(mesh.sent("b", "c", CardMessage)) == 1
    kinds = [type(message) for one, other, message in mesh.seen if (one, other) == ("b", "c")]
    assert kinds.index(CardMessage) < kinds.index(FactMessage)
    # Nobody is told the card of himself or of his neighbour, whom he has pinned.
    assert not mesh.sent("a", "b", CardMessage)
    mesh.reconnect("b", "c")
    mesh.put("a.b.c")
    mesh.settle()
    assert len(mesh.sent("b", "c", CardMessage)) == 2
    assert identity_of("a").fingerprint in mesh["c"].engine.ledger.trust.cards


def test_a_request_is_marked_only_when_it_is_sent_again_after_a_loss() -> None:
    pair = Pair()
    (job_id,) = put(pair, 1)
    assert not pair.portal.job(job_id).down.reissued  # type: ignore[union-attr]
    pair.part()
    pair.join()
    assert [one.flags & REISSUED for one in pair.sent("portal", "cluster", FactMessage)] == [0]
    pair.restore("cluster", MemoryStore())
    pair.seen.clear()
    pair.join()
    assert [one.flags & REISSUED for one in pair.sent("portal", "cluster", FactMessage)] == [REISSUED]


def test_an_acknowledgement_repeats_only_so_many_refusals() -> None:
    pair = Pair()
    pair.hold("portal")
    for number in range(1, TOLD_REFUSALS + 10):
        pair.inject("portal", "cluster", FactMessage(number, 1, 9, b"", b""))
    acks = [one for one in pair.waiting("cluster", "portal") if isinstance(one, Ack)]
    assert len(acks[-1].refused) == TOLD_REFUSALS
    assert acks[-1].refused[0][0] == 1


@pytest.mark.parametrize("exchange", [False, True])
def test_a_record_that_became_empty_holds_nothing_up(exchange: bool) -> None:
    """The hop has an Outcome for the origin that the window keeps on disk; a Delete from there empties the record."""
    mesh = Mesh(*CHAIN, limits={"b": Limits(window_records=1)})
    ids = [mesh.put("a.b.c") for _ in range(3)]
    mesh.settle()
    if exchange:
        mesh.restore("a", MemoryStore())
        mesh.connect("a", "b")
        mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    for one in ids[1:]:
        mesh.delete("a", one)
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(ids[0]) is State.COMPLETE
    assert [mesh[name].state(one) for name in "abc" for one in ids[1:]] == [State.DELETED] * 6
    outbox = mesh["b"].board("a").outbox
    assert (outbox.flight, outbox.flight_bytes) == ({}, 0)
    # The link goes on.
    (more,) = [mesh.put("a.b.c")]
    mesh.settle()
    mesh.run_all("c")
    assert mesh["a"].state(more) is State.COMPLETE
    assert mesh["a"].job(more).facts[Kind.OUTCOME] is not None


def test_a_job_that_changes_in_the_step_of_its_page_goes_out_once() -> None:
    pair = Pair()
    (job_id,) = put(pair, 1)
    pair.part()
    pair.connect("portal", "cluster")
    pair.down(1)
    pair.hold("portal")
    pair.up(9)
    node = pair.portal
    (asked,) = [query for effects, _ in node.held for query in effects.queries if isinstance(query, Numbered)]
    rows = node.store.read(asked)
    node.held.clear()
    pair.wire["portal", "cluster"].clear()
    node.engine.answer(rows, pair.now_ms)
    node.engine.cancel(77, job_id, pair.now_ms)
    pair.step("portal")
    pair.release("portal")
    assert on_the_wire(pair) == [2, 2]
    pair.settle()
    assert pair.cluster.state(job_id) is State.CANCELLED


def test_a_count_of_waiting_jobs_that_are_not_there_is_dropped() -> None:
    pair = Pair()
    board = pair.portal.board("cluster")
    board.waiting["0:"] = 3
    pair.inject("cluster", "portal", Credit(5, ""))
    assert board.waiting == {}
    (job_id,) = put(pair, 1)
    pair.settle()
    assert pair.cluster.knows(job_id)


@pytest.mark.parametrize("unproved", [(), (7,)])
def test_a_job_that_came_while_the_store_found_none_that_waits_is_looked_for_again(unproved: tuple[int, ...]) -> None:
    """The store was asked for another one, which ended, before it had this one."""
    pair = Pair(connected=False)
    ended = pair.put("portal.cluster")
    engine, board = pair.portal.engine, pair.portal.board("cluster")
    asked = Waiting(board.id, board.link, "0:", 1, 0, unproved, board.queued)
    pair.cancel("portal", ended)
    (job_id,) = put(pair, 1)
    with patch.object(type(engine.ledger), "unproved", lambda _: unproved):
        board.open = True
        engine.answer(Answer(asked, []), pair.now_ms)
    board.open = False
    assert (board.waiting, board.held) == ({"0:": 1}, set())
    pair.join()
    assert pair.cluster.knows(job_id)


def test_a_job_that_ended_while_its_page_was_read_is_not_offered() -> None:
    pair = Pair(connected=False)
    ids = put(pair, 3)
    pair.connect("portal", "cluster")
    pair.down(1)
    pair.hold("portal")
    pair.up(9)
    pair.cancel("portal", ids[1])
    pair.release("portal")
    pair.settle()
    assert order(pair, "cluster") == [ids[0], ids[2]]


def test_a_window_that_is_full_ends_a_page() -> None:
    pair = Pair(connected=False, limits={"portal": Limits(window_records=2)})
    ids = put(pair, 7)
    pair.join()
    assert order(pair, "cluster") == ids
    pair.part()
    more = put(pair, 7)
    pair.join()
    assert order(pair, "cluster") == ids + more


def test_all_sent_is_not_said_on_a_link_that_closed_in_the_same_step() -> None:
    pair = Pair()
    put(pair, 2)
    pair.settle()
    pair.run_all("cluster")
    pair.restore("cluster", MemoryStore())
    pair.connect("portal", "cluster")
    pair.down(1)
    pair.hold("portal")
    pair.up(9)
    node = pair.portal
    (asked,) = [query for effects, _ in node.held for query in effects.queries if isinstance(query, Shared)]
    rows = node.store.read(asked)
    node.held.clear()
    node.engine.answer(rows, pair.now_ms)
    node.engine.disconnected(node.board("cluster"))
    effects = node.engine.end_step(pair.now_ms)
    assert not effects.send
    pair.release("portal")
    pair.reconnect("portal", "cluster")
    assert not node.board("cluster").exchanging


def test_a_request_in_flight_waits_for_the_neighbour_above_after_a_start() -> None:
    """Both stores beside the second board are old copies that agree with each other; only the origin knows the end."""
    mesh = Mesh(*CHAIN)
    early = mesh["c"].store.copy()
    job_id = mesh.put("a.b.c")
    mesh.deliver("a", "b", 9)
    old = mesh["b"].store.copy()
    mesh.settle()
    mesh.run_all("c")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    mesh.restore("b", old)
    mesh.restore("c", early)
    mesh["c"].starts.clear()
    mesh.connect("b", "c")
    mesh.settle()
    assert not mesh["c"].starts
    board = mesh["b"].board("c")
    assert (board.waiting, board.offered) == ({"0:": 1}, {})
    mesh.connect("a", "b")
    mesh.settle()
    assert not mesh["c"].starts
    assert mesh["a"].state(job_id) is mesh["b"].state(job_id) is State.COMPLETE
    assert (board.waiting, board.offered) == ({}, {})


def test_an_exchange_tells_no_request_before_the_neighbour_above_had_its_say() -> None:
    """The store of the destination is gone, and that of the hop is an old copy: only the origin knows the end."""
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    old = mesh["b"].store.copy()
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE
    mesh.restore("c", MemoryStore())
    mesh.connect("b", "c")
    mesh.cut("b", "c")
    mesh.restore("b", old)
    mesh["c"].starts.clear()
    mesh.connect("b", "c")
    mesh.settle()
    assert not mesh["c"].knows(job_id)
    assert (mesh["b"].board("c").waiting, mesh["b"].board("c").offered) == ({"0:": 1}, {})
    mesh.connect("a", "b")
    mesh.settle()
    assert not mesh["c"].starts
    assert [mesh[name].state(job_id) for name in "abc"] == [State.COMPLETE] * 3
    assert (mesh["b"].board("c").waiting, mesh["b"].board("c").offered) == ({}, {})


def test_who_lost_a_row_is_told_no_request_before_the_neighbour_above_had_its_say() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.settle()
    mesh.seen.clear()
    mesh.inject("c", "b", Want(job_id))
    mesh.settle()
    assert not mesh.sent("b", "c", FactMessage)
    mesh.connect("a", "b")
    mesh.settle()
    assert [one.flags & REISSUED for one in mesh.sent("b", "c", FactMessage)] == [REISSUED]


def test_a_request_in_flight_goes_on_once_the_neighbour_above_knows_no_better() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.deliver("a", "b", 9)
    mesh.cut("b", "c")
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.settle()
    assert not mesh["c"].knows(job_id)
    mesh.connect("a", "b")
    mesh.settle()
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE


@pytest.mark.parametrize("first", ["upstream", "downstream"])
@pytest.mark.parametrize("struck", ["", "expired", "cancelled"])
def test_what_waits_at_a_hop_that_was_put_back_is_ended_by_the_destination_alone(first: str, struck: str) -> None:
    """It went on in the future that the hop lost, and the next agent lost its store as well: nobody can tell."""
    mesh = Mesh(("a", "b"), ("b", "c"))
    mesh.cut("b", "c")
    job_id = mesh.put("a.b.c", life_s=5)
    mesh.settle()
    old = mesh["b"].store.copy()
    mesh.put("b.a", "idle")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.connect("b", "c")
    mesh.settle()
    assert [start.job_id for start in mesh["c"].starts] == [job_id]
    mesh.finish("c", job_id)
    mesh.cut("b", "c")
    if struck == "cancelled":
        mesh.cancel("a", job_id)
    mesh.restore("b", old)
    mesh.restore("c", MemoryStore())
    mesh.wait(6 if struck == "expired" else 0)
    ways = [("a", "b"), ("b", "c")]
    for ends in ways if first == "upstream" else ways[::-1]:
        mesh.connect(*ends)
        mesh.settle()
    mesh.run_all("c")
    mesh.wait(60)
    wanted = {"": State.COMPLETE, "expired": State.ERROR, "cancelled": State.CANCELLED}[struck]
    assert [mesh[name].state(job_id) for name in "abc"] == [wanted] * 3
    outcome = mesh["a"].job(job_id).outcome
    assert outcome is not None
    assert outcome.unknown_effect is bool(struck)
    board = mesh["b"].board("c")
    assert board.waiting == board.offered == {}


def test_a_request_that_was_on_its_way_when_a_copy_was_made_goes_marked_from_that_copy() -> None:
    mesh = Mesh(("a", "b"), ("b", "c"))
    job_id = mesh.put("a.b.c", "charge")
    mesh.deliver("a", "b")
    old = mesh["b"].store.copy()
    mesh.put("b.a", "idle")
    mesh.settle()
    mesh.finish("c", job_id)
    for ends in (("a", "b"), ("b", "c")):
        mesh.cut(*ends)
    mesh.restore("b", old)
    mesh.restore("c", MemoryStore())
    for ends in (("a", "b"), ("b", "c")):
        mesh.connect(*ends)
        mesh.settle()
    assert mesh["c"].starts == []
    assert mesh["c"].job(job_id).facts[Kind.OUTCOME] is not None
    assert mesh["a"].job(job_id).outcome.error[0] == "lost"  # type: ignore[union-attr, index]


def test_a_request_that_waits_again_for_the_neighbour_above_goes_marked_to_who_lost_it_meanwhile() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c", "charge")
    mesh.deliver("a", "b")
    mesh.deliver("b", "c", 9)
    mesh.cut("b", "c")
    assert mesh["c"].starts
    # Its number moves on before the next agent has said what became of it.
    mesh.cancel("a", job_id)
    mesh.settle()
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.settle()
    assert mesh["b"].board("c").waiting == {"0:": 1}
    mesh.restore("c", MemoryStore())
    for ends in CHAIN:
        mesh.connect(*ends)
        mesh.settle()
    outcome = mesh["a"].job(job_id).outcome
    assert outcome is not None
    assert outcome.unknown_effect


def test_who_lost_the_end_of_a_job_is_told_it_by_an_agent_that_had_given_the_job_up() -> None:
    """That one holds a Reject of its own beside the Outcome, which is none of the next agent's business."""
    mesh = Mesh(*CHAIN, ("c", "d"))
    old = mesh["c"].store.copy()
    job_id = mesh.put("a.b.c.d")
    mesh.deliver("a", "b", 9)
    mesh.deliver("b", "c", 9)
    mesh.deliver("c", "d", 9)
    mesh.cut("b", "c")
    mesh.restore("c", old)
    mesh["c"].skew_ms = -300_000
    mesh.connect("b", "c")
    mesh.settle()
    assert mesh["a"].job(job_id).reject is not None
    mesh["c"].skew_ms = 0
    mesh.connect("c", "d")
    mesh.settle()
    old = mesh["c"].store.copy()
    mesh.run_all("d")
    assert [mesh[name].state(job_id) for name in "abcd"] == [State.COMPLETE] * 4
    mesh.restore("c", old)
    assert mesh["c"].state(job_id) is State.PENDING
    mesh.connect("b", "c")
    mesh.settle()
    assert mesh["c"].state(job_id) is State.COMPLETE
    mesh.connect("c", "d")
    mesh.settle()
    assert [mesh[name].state(job_id) for name in "abcd"] == [State.COMPLETE] * 4


def test_a_cancel_goes_down_without_the_reject_of_a_hop_that_had_given_the_job_up() -> None:
    """Another copy of its store had done so, and the agent above brings that back."""
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    old = mesh["c"].store.copy()
    mesh.put("b.c", "idle")
    mesh.settle()
    mesh.cut("b", "c")
    mesh.cancel("a", job_id)
    mesh.settle()
    content = Reject(VERSION, job_id, identity_of("b").fingerprint, "b", "expired", "too late", "", START_MS)
    mesh.record("a", "b", signed("b", Kind.REJECT, content))
    assert mesh["b"].job(job_id).reject is not None
    mesh.restore("c", old)
    mesh.connect("b", "c")
    mesh.settle()
    assert mesh["c"].job(job_id).facts[Kind.CANCEL] is not None
    assert mesh.refusals("b", "c") == []
