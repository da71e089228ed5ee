"""The talk on a link: records in order, acknowledgements, refusals until they are confirmed."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.codec import unpack
from mesh.effects import AtNumber, ById
from mesh.errors import FactError, MessageError
from mesh.exchange import MAX_FACTS, MAX_REFUSED
from mesh.facts import VERSION, Cancel, Fact, Kind, Request, decode
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import (
    END,
    Ack,
    Bye,
    CardMessage,
    Confirm,
    Credit,
    FactMessage,
    Hello,
    Identify,
    Ping,
    Pong,
    Type,
    Want,
    read,
)
from mesh.proof import leaf_of, sign_batch
from mesh.room import Room
from tests.mesh.pair import START_MS, TEXT, ZONE, Mesh, Pair, card_of, facts_in, identity_of, signed

CHAIN = (("a", "b"), ("b", "c"))


def fp(name: str) -> bytes:
    return identity_of(name).fingerprint


def asked(path: str = "portal.cluster", **changes: Any) -> Fact:
    names = path.split(".")
    content = Request(
        *(VERSION, b"n" * 16, ZONE, path, fp(names[0]), None, TEXT, None, "", ""),
        *(START_MS, START_MS + 60_000, None, None, None),
    )._replace(**changes)
    return signed(names[0], Kind.REQUEST, content)


def message(fact: Fact, number: int, flags: int = END) -> FactMessage:
    return FactMessage(number, flags, fact.kind, fact.body, fact.proof)


# -- records and acknowledgements ---------------------------------------------------------------------------------


def test_an_acknowledgement_follows_the_commit() -> None:
    pair = Pair()
    pair.put("portal.cluster")
    pair.hold("cluster")
    pair.down()
    assert pair.waiting("cluster", "portal") == []
    pair.release("cluster")
    (ack,) = pair.waiting("cluster", "portal")
    assert ack == Ack(1, 1, [])


def test_many_records_in_a_step_are_acknowledged_once() -> None:
    pair = Pair()
    for _ in range(5):
        pair.put("portal.cluster")
    messages = pair.waiting("portal", "cluster")
    pair.wire["portal", "cluster"].clear()
    pair.inject("portal", "cluster", *messages)
    assert [one for one in pair.waiting("cluster", "portal") if isinstance(one, Ack)] == [Ack(5, 5, [])]


def test_a_record_that_comes_again_is_acknowledged_again_and_nothing_else() -> None:
    pair = Pair()
    pair.put("portal.cluster")
    (sent,) = pair.waiting("portal", "cluster")
    pair.settle()
    rows = dict(pair.cluster.store.rows)
    pair.inject("portal", "cluster", sent)
    assert pair.waiting("cluster", "portal") == [Ack(1, 1, [])]
    assert pair.cluster.store.rows == rows


def test_a_job_moves_to_a_new_number_when_it_changes() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.cancel("portal", job_id)
    numbers = [one.number for one in pair.waiting("portal", "cluster") if isinstance(one, FactMessage)]
    # The first record is on its way already; the second carries what is not acknowledged, the Request again.
    assert numbers == [1, 2, 2]
    assert pair.portal.board("cluster").outbox.last == 2
    pair.settle()
    assert pair.cluster.stops == [job_id]


def test_an_acknowledgement_of_what_was_never_sent_closes_the_link() -> None:
    pair = Pair()
    pair.inject("cluster", "portal", Ack(1, 0, []))
    assert pair.portal.closed == ["an acknowledgement of what was never sent"]
    assert not pair.portal.board("cluster").open


def test_the_facts_of_a_record_are_taken_together() -> None:
    pair = Pair()
    fact = asked()
    cancel = signed("portal", Kind.CANCEL, Cancel(VERSION, fact.job_id, fp("portal"), START_MS))
    pair.inject("portal", "cluster", message(fact, 1, 0))
    assert not pair.cluster.store.rows
    assert not pair.waiting("cluster", "portal")
    pair.inject("portal", "cluster", message(cancel, 1))
    assert pair.cluster.state(fact.job_id) is State.CANCELLED
    assert not pair.cluster.starts


def test_a_record_that_was_cut_off_leaves_nothing() -> None:
    pair = Pair()
    fact = asked()
    pair.inject("portal", "cluster", message(fact, 1, 0))
    pair.part()
    pair.join()
    pair.inject("portal", "cluster", message(asked(nonce=b"m" * 16), 1))
    assert len(pair.cluster.store.rows) == 1
    assert not pair.cluster.knows(fact.job_id)


def test_a_record_is_ended_before_the_next_one_begins() -> None:
    pair = Pair()
    pair.inject("portal", "cluster", message(asked(), 1, 0), message(asked(nonce=b"m" * 16), 2))
    assert pair.cluster.closed == ["a record that was not ended before the next one began"]
    assert not pair.cluster.store.rows


def test_a_record_has_only_so_many_facts() -> None:
    pair = Pair()
    pair.inject("portal", "cluster", *[message(asked(), 1, 0)] * (MAX_FACTS + 1))
    assert pair.cluster.closed == ["too many facts under one number"]


# -- refusals -----------------------------------------------------------------------------------------------------


def test_a_refusal_is_repeated_until_it_is_confirmed() -> None:
    pair = Pair()
    pair.put("portal.cluster")
    pair.wire["portal", "cluster"].clear()
    bad = asked(zone="moon")
    pair.hold("portal")
    pair.inject("portal", "cluster", message(bad, 1))
    for token in range(3):
        pair.inject("portal", "cluster", message(bad, 1), Ping(token))
    acks = [one for one in pair.waiting("cluster", "portal") if isinstance(one, Ack)]
    assert len(acks) == 4
    assert {one.refused[0][1] for one in acks} == {"wrong_zone"}
    pair.up(9)
    # Taken note of, and said so only after the commit.
    assert not [one for one in pair.waiting("portal", "cluster") if isinstance(one, Confirm)]
    pair.release("portal")
    pair.settle()
    assert pair.cluster.board("portal").inbox.refused == {}


def test_a_refusal_is_repeated_at_connect_and_after_a_crash() -> None:
    pair = Pair()
    fact = asked(zone="moon")
    pair.record("portal", "cluster", fact)
    pair.crash("cluster")
    assert pair.refusals("portal", "cluster") == ["wrong_zone"]
    pair.seen.clear()
    pair.join()
    assert pair.sent("cluster", "portal", Ack)[0].refused[0][:2] == [1, "wrong_zone"]
    assert pair.refusals("portal", "cluster") == []


def test_a_refusal_that_was_confirmed_by_a_store_that_is_lost_counts_again() -> None:
    """The copy holds the number that was refused: no position says that it lost anything."""
    pair, job_id = refused_by_cluster(Limits(life_max_s=10), life_s=60)
    old = pair.portal.store.copy()
    pair.settle()
    assert (pair.portal.state(job_id), pair.refusals("portal", "cluster")) == (State.REJECTED, [])
    pair.restore("portal", old)
    pair.join()
    assert (pair.portal.state(job_id), pair.refusals("portal", "cluster")) == (State.REJECTED, [])


def test_a_confirmation_comes_behind_all_that_was_numbered_before_it() -> None:
    """So the next record shows the peer that whoever lost the confirmation would be found out."""
    pair = Pair(limits={"portal": Limits(window_records=1), "cluster": Limits(life_max_s=10)})
    good = pair.put("portal.cluster", life_s=5)
    pair.settle()
    pair.put("portal.cluster", life_s=60)
    pair.cancel("portal", good)
    pair.down()
    pair.up(9)
    said = [one for one in pair.waiting("portal", "cluster") if isinstance(one, FactMessage | Confirm)]
    assert [(type(one), one.number) for one in said] == [(FactMessage, 3), (Confirm, 2)]
    pair.settle()
    assert pair.refusals("portal", "cluster") == []


def test_a_job_that_changes_before_its_refusal_is_known_goes_on_with_its_request() -> None:
    """The greeting says that the record was taken note of, the first acknowledgement that it was refused."""
    pair = Pair(limits={"cluster": Limits(life_max_s=10)})
    job_id = pair.put("portal.cluster", life_s=60)
    pair.down()
    pair.crash("portal")
    pair.connect("portal", "cluster")
    pair.deliver("portal", "cluster")
    pair.up()
    assert pair.portal.board("cluster").open
    pair.seen.clear()
    pair.cancel("portal", job_id)
    pair.settle()
    said = [(fact.number, Kind(fact.kind)) for fact in pair.sent("portal", "cluster", FactMessage)]
    assert said[:2] == [(2, Kind.REQUEST), (2, Kind.CANCEL)]
    assert pair.portal.state(job_id) is State.REJECTED


def test_refusals_are_confirmed_together_though_some_concern_jobs_on_disk() -> None:
    """The highest one is confirmed: one CONFIRM is all that an idle link ever carries."""
    pair = Pair()
    for _ in range(2):
        pair.put("portal.cluster")
    pair.wire["portal", "cluster"].clear()
    del pair.portal.board("cluster").outbox.flight[1]
    pair.inject("cluster", "portal", Ack(2, 0, [[1, "life", "too long"], [2, "life", "too long"]]))
    confirmed = [one.number for one in pair.waiting("portal", "cluster") if isinstance(one, Confirm)]
    assert confirmed == [2]
    assert {row.state for row in pair.portal.store.rows.values()} == {tuple(State).index(State.REJECTED)}


def refused_by_cluster(limits: Limits, **wishes: Any) -> tuple[Pair, bytes]:
    """A job that the portal's limits allow and the cluster's do not."""
    pair = Pair(limits={"cluster": limits})
    job_id = pair.put("portal.cluster", **wishes)
    return pair, job_id


@pytest.mark.parametrize("crash", [None, "before", "after"])
def test_a_job_that_the_peer_never_held_ends_at_its_sender(crash: str | None) -> None:
    pair, job_id = refused_by_cluster(Limits(life_max_s=10), life_s=60)
    if crash == "before":
        # The refusal meets a portal that knows of it only by its number.
        pair.hold("portal")
        pair.down()
        pair.up()
        pair.crash("portal")
        pair.join()
        assert any(isinstance(query, AtNumber) for query in pair.portal.queries)
    pair.settle()
    if crash == "after":
        pair.crash("portal")
        pair.join()
    job = pair.portal.job(job_id)
    assert job.state is State.REJECTED
    assert job.reject is not None
    assert (job.reject.agent, job.reject.reason) == ("portal", "life")
    assert job.reject.message == 'agent "cluster" takes jobs that wait at most 10 s'
    assert not pair.cluster.store.rows
    assert pair.refusals("portal", "cluster") == []
    assert pair.portal.board("cluster").offered == {}


def test_a_hop_that_is_refused_rejects_in_its_own_name() -> None:
    mesh = Mesh(*CHAIN, limits={"c": Limits(life_max_s=10)})
    job_id = mesh.put("a.b.c", life_s=60)
    mesh.settle()
    reject = mesh["a"].job(job_id).reject
    assert reject is not None
    assert (reject.agent, reject.reason, mesh["a"].state(job_id)) == ("b", "life", State.REJECTED)


def test_a_refusal_counts_only_while_the_job_has_that_number() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.cancel("portal", job_id)
    pair.settle()
    pair.inject("cluster", "portal", Ack(2, 0, [[1, "life", "late"]]))
    assert pair.portal.state(job_id) is State.PENDING


def test_an_unknown_reason_ends_the_job() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.wire["portal", "cluster"].clear()
    pair.inject("cluster", "portal", Ack(1, 0, [[1, "weather", "it rains"]]))
    reject = pair.portal.job(job_id).reject
    assert reject is not None
    assert (reject.reason, reject.message) == ("weather", "it rains")


def test_a_job_that_is_over_meanwhile_is_not_offered_again() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.wire["portal", "cluster"].clear()
    pair.delete("portal", job_id)
    pair.wire["portal", "cluster"].clear()
    number = pair.portal.board("cluster").outbox.last
    pair.inject("cluster", "portal", Ack(number, 0, [[number, "wrong_zone", ""]]))
    pair.settle()
    assert pair.portal.state(job_id) is State.DELETED
    assert not pair.cluster.knows(job_id)


def test_an_outcome_that_is_not_taken_raises_an_alarm_and_stays() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.finish("cluster", job_id)
    pair.wire["cluster", "portal"].clear()
    number = pair.cluster.board("portal").outbox.last
    pair.inject("portal", "cluster", Ack(number, 0, [[number, "bad_proof", "x" * 9_999]]))
    pair.settle()
    (alarm,) = pair.cluster.alarms
    assert alarm.startswith(f'"portal" did not take job {job_id[6:10].hex()}: bad_proof: xxx')
    assert len(alarm) < 350
    assert pair.cluster.state(job_id) is State.COMPLETE


def test_a_missing_card_is_sent_again_with_its_facts() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    # The origin's store lost the card of the destination, say; the hop believes that it went out.
    mesh["b"].board("a").cards.add(fp("c"))
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert mesh.refusals("b", "a") == []
    assert len(mesh.sent("b", "a", CardMessage)) == 1


def test_a_missing_card_heals_after_a_reconnect_too() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh["b"].board("a").cards.add(fp("c"))
    mesh.finish("c", job_id)
    while not mesh.refusals("b", "a"):
        mesh.deliver("c", "b")
        mesh.deliver("b", "a")
    mesh.cut("a", "b")
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE


def test_a_fact_of_an_unknown_job_is_sent_again_with_its_request() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.part()
    pair.cluster.store.rows.clear()
    pair.cluster.store._ids.clear()
    pair.crash("cluster")
    pair.cancel("portal", job_id)
    pair.join()
    assert pair.cluster.knows(job_id)
    assert pair.cluster.state(job_id) is State.CANCELLED
    assert pair.states(job_id) == (State.CANCELLED, State.CANCELLED)


def test_busy_waits_for_the_next_credit() -> None:
    pair = Pair(limits={"cluster": Limits(credit_jobs=1, handlers=1)})
    ids = [pair.put("portal.cluster")]
    pair.settle()
    for _ in range(2):
        # Both sides count at different moments: the portal believes that it has credit.
        pair.portal.board("cluster").offered.clear()
        ids.append(pair.put("portal.cluster"))
        pair.settle()
    board = pair.portal.board("cluster")
    assert (board.halted, board.last_refusal.split(":")[0]) == ({"0:"}, "busy")
    assert not pair.cluster.knows(ids[2])
    pair.run_all("cluster")
    assert [pair.portal.state(one) for one in ids] == [State.COMPLETE] * 3
    assert board.halted == set()


def taken_and_lost(**wishes: Any) -> tuple[Pair, bytes]:
    """A job that ran at cluster, whose store was put back, before portal heard a word of it, to a copy that knows all
    that portal has heard; and is full now."""
    pair = Pair()
    copy = pair.cluster.store.copy()
    job_id = pair.put("portal.cluster", **wishes)
    pair.hold("portal")
    pair.down(9)
    pair.finish("cluster", pair.cluster.starts[0].job_id)
    pair.part()
    pair.release("portal")
    pair.restore("cluster", copy)
    pair.cluster.engine.room(Room.DISK_FULL, pair.clock("cluster"))
    pair.step("cluster")
    pair.connect("portal", "cluster")
    return pair, job_id


@pytest.mark.parametrize("moves_on", [False, True], ids=["same number", "moved on"])
def test_a_request_that_was_sent_before_stays_offered_though_it_is_refused(moves_on: bool) -> None:
    """R6: the peer's store may have been lost between, so only the destination may say that it expired."""
    pair, job_id = taken_and_lost(life_s=100)
    if moves_on:
        while not (pair.portal.board("cluster").open and pair.portal.board("cluster").outbox.flight):
            pair.deliver("portal", "cluster")
            pair.deliver("cluster", "portal")
        pair.cancel("portal", job_id)
    pair.settle()
    lane = pair.portal.job(job_id).down
    assert lane is not None
    assert (lane.offered, lane.reissued, lane.waiting) == (True, False, True)
    assert pair.portal.board("cluster").last_refusal.startswith("busy")
    pair.wait(200)
    assert pair.portal.state(job_id) is State.PENDING
    pair.crash("portal")
    pair.join()
    pair.wait(200)
    assert pair.portal.state(job_id) is State.PENDING
    pair.cluster.engine.room(Room.ENOUGH, pair.clock("cluster"))
    pair.step("cluster")
    pair.settle()
    ended = State.CANCELLED if moves_on else State.EXPIRED
    assert pair.states(job_id) == (ended, ended)
    outcome = pair.portal.job(job_id).outcome
    assert outcome is not None, "by the word of the destination"


@pytest.mark.parametrize("died", [False, True], ids=["cut", "died"])
@pytest.mark.parametrize("moves_on", [False, True], ids=["same number", "moved on"])
def test_a_request_that_was_sent_twice_stays_offered_though_a_third_link_tells_of_its_refusal(
    moves_on: bool, died: bool
) -> None:
    """The refusal is of the second time; the first time the peer took it, and lost its store."""
    pair, job_id = taken_and_lost(life_s=100)
    while not pair.refusals("portal", "cluster"):
        pair.down()
        if not pair.waiting("portal", "cluster"):
            pair.up()
    # It took note of the record, and its word of that is lost.
    pair.part()
    if died:
        pair.crash("portal")
    pair.connect("portal", "cluster")
    if moves_on:
        while not pair.portal.board("cluster").open:
            pair.up()
        pair.cancel("portal", job_id)
    pair.settle()
    lane = pair.portal.job(job_id).down
    assert lane is not None
    assert (lane.offered, lane.reissued, lane.waiting) == (True, False, True)
    pair.wait(200)
    assert pair.portal.state(job_id) is State.PENDING


def test_a_request_that_waits_after_that_goes_marked_once_the_loss_shows() -> None:
    pair, job_id = taken_and_lost()
    pair.settle()
    pair.part()
    pair.portal.board("cluster").exchanging = True
    pair.join()
    lane = pair.portal.job(job_id).down
    assert lane is not None
    assert (lane.offered, lane.reissued, lane.waiting) == (True, True, True)


def test_a_request_that_was_sent_before_ends_as_lost_where_the_clock_is_wrong_now() -> None:
    """A machine that is put back to an old copy comes with the time of that copy."""
    mesh = Mesh(*CHAIN, ("c", "d"))
    old = mesh["c"].store.copy()
    mesh.hold("b")
    job_id = mesh.put("a.b.c.d", "charge")
    mesh.deliver("a", "b", 9)
    mesh.release("b")
    mesh.hold("b")
    mesh.deliver("b", "c", 9)
    mesh.deliver("c", "d", 9)
    assert mesh["d"].starts
    mesh.cut("b", "c")
    mesh.release("b")
    mesh.restore("c", old)
    mesh["c"].skew_ms = -300_000
    mesh.connect("b", "c")
    mesh.settle()
    assert mesh["b"].board("c").last_refusal.startswith("clock")
    reject = mesh["a"].job(job_id).reject
    assert reject is not None
    assert reject.reason == "lost"


def test_so_many_refusals_and_no_confirmation_close_the_link() -> None:
    pair = Pair()
    pair.hold("portal")
    for number in range(1, MAX_REFUSED + 1):
        pair.inject("portal", "cluster", FactMessage(number, END, 9, b"", b""))
    assert pair.cluster.closed == []
    pair.inject("portal", "cluster", FactMessage(MAX_REFUSED + 1, END, 9, b"", b""))
    assert pair.cluster.closed == [f"{MAX_REFUSED} records were refused and no refusal was confirmed"]
    assert pair.cluster.board("portal").inbox.number == MAX_REFUSED
    pair.crash("cluster")
    assert len(pair.refusals("portal", "cluster")) == MAX_REFUSED


# -- messages that wait for the store -----------------------------------------------------------------------------


def test_a_job_on_disk_is_fetched_once_for_all_that_wait() -> None:
    pair = Pair()
    ids = [pair.put("portal.cluster") for _ in range(4)]
    pair.settle()
    pair.crash("cluster")
    pair.join()
    pair.cluster.engine.ledger.jobs.clear()
    for one in ids:
        pair.cancel("portal", one)
    messages = pair.waiting("portal", "cluster")
    pair.wire["portal", "cluster"].clear()
    pair.cluster.queries.clear()
    pair.inject("portal", "cluster", *messages)
    (query,) = [query for query in pair.cluster.queries if isinstance(query, ById)]
    assert set(query.ids) == set(ids)
    pair.settle()
    assert all(pair.cluster.job(one).facts[Kind.CANCEL] for one in ids)


def test_messages_stay_in_order_behind_one_that_waits() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.cluster.engine.ledger.jobs.clear()
    pair.cancel("portal", job_id)
    pair.hold("cluster")
    messages = pair.waiting("portal", "cluster")
    pair.wire["portal", "cluster"].clear()
    pair.inject("portal", "cluster", *messages, FactMessage(9, END, 9, b"", b""), Ping(7))
    pair.inject("portal", "cluster", Ping(8))
    board = pair.cluster.board("portal")
    assert (len(board.parked), board.inbox.number) == (4, 1)
    pair.release("cluster")
    assert (len(board.parked), board.inbox.number) == (0, 9)
    assert [one.token for one in pair.waiting("cluster", "portal") if isinstance(one, Pong)] == [7, 8]


def test_what_waits_is_lost_with_its_link() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.cluster.engine.ledger.jobs.clear()
    pair.cancel("portal", job_id)
    pair.hold("cluster")
    pair.down(9)
    pair.part()
    pair.release("cluster")
    assert pair.cluster.job(job_id).facts[Kind.CANCEL] is None
    pair.join()
    assert pair.cluster.job(job_id).facts[Kind.CANCEL] is not None


# -- the rest -----------------------------------------------------------------------------------------------------


def test_want_sends_everything_again() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    pair.seen.clear()
    pair.inject("cluster", "portal", Want(job_id))
    pair.settle()
    assert facts_in(pair.sent("portal", "cluster", FactMessage)) == ["request", "outcome"]
    assert pair.sent("portal", "cluster", FactMessage)[0].flags & 2


@pytest.mark.parametrize("job_id", [b"x" * 26, b"short", b""])
def test_want_of_what_is_not_there(job_id: bytes) -> None:
    pair = Pair()
    pair.put("portal.cluster")
    pair.settle()
    pair.seen.clear()
    pair.inject("cluster", "portal", Want(job_id))
    pair.settle()
    assert not pair.sent("portal", "cluster", FactMessage)
    assert pair.portal.board("cluster").open


def test_want_fetches_what_is_on_disk() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.portal.engine.ledger.jobs.clear()
    pair.seen.clear()
    pair.inject("cluster", "portal", Want(job_id))
    pair.settle()
    assert facts_in(pair.sent("portal", "cluster", FactMessage)) == ["request"]


def test_want_does_not_send_what_was_never_offered() -> None:
    pair = Pair()
    pair.portal.board("cluster").credit = 0
    job_id = pair.put("portal.cluster")
    pair.inject("cluster", "portal", Want(job_id))
    pair.settle()
    assert not pair.cluster.knows(job_id)


def test_want_tells_a_store_that_was_put_back_what_it_had_offered() -> None:
    """The peer had the job, and its row is damaged: nobody may say that it only expired."""
    pair = Pair(connected=False, limits={"cluster": Limits(credit_jobs=1)})
    job_id = pair.put("portal.cluster", life_s=5)
    old = pair.portal.store.copy()
    pair.join()
    pair.finish("cluster", job_id)
    pair.settle()
    other = pair.put("portal.cluster", "idle")
    pair.settle()
    pair.part()
    store = pair.cluster.store
    store.rows = {seq: row._replace(facts=b"nonsense") if row.id == job_id else row for seq, row in store.rows.items()}
    pair.crash("cluster")
    pair.restore("portal", old)
    pair.join()
    # The other job, which came back, takes all the credit.
    pair.wait(6)
    assert pair.portal.job(job_id).live
    pair.finish("cluster", other)
    pair.settle()
    outcome = pair.portal.job(job_id).outcome
    assert outcome is not None
    assert (outcome.error or [""])[0] == "lost"
    assert pair.portal.board("cluster").offered == pair.portal.board("cluster").waiting == {}


def test_a_card_is_learned_and_kept() -> None:
    pair = Pair()
    pair.inject("portal", "cluster", CardMessage(card_of("far").data))
    pair.crash("cluster")
    assert pair.cluster.engine.ledger.trust.cards[fp("far")].name == "far"


def test_a_bye_closes_the_link_with_its_reason() -> None:
    pair = Pair()
    pair.inject("portal", "cluster", Bye("the agent stops" + "x" * 999))
    (reason,) = pair.cluster.closed
    assert (reason.startswith("the agent stops"), len(reason)) == (True, 256)


@pytest.mark.parametrize("second", [Hello(1, 1, [[b"i" * 8, 1]], 0, None, 0, 0, None), Identify(b"card", ZONE)])
def test_a_second_greeting_closes_the_link(second: Any) -> None:
    pair = Pair()
    pair.cluster.engine.received(pair.cluster.board("portal"), [second, Ping(1)], START_MS)
    pair.step("cluster")
    assert pair.cluster.closed == ["a second greeting"]
    assert not pair.waiting("cluster", "portal")


def test_new_credit_sets_a_branch_going() -> None:
    pair = Pair()
    pair.inject("cluster", "portal", Credit(0, "full"))
    job_id = pair.put("portal.cluster")
    pair.settle()
    assert (pair.cluster.knows(job_id), pair.portal.board("cluster").credit_reason) == (False, "full")
    pair.inject("cluster", "portal", Credit(5, ""))
    pair.settle()
    assert pair.cluster.knows(job_id)


# -- home ---------------------------------------------------------------------------------------------------------


def homes(mesh: Mesh) -> tuple[int, int]:
    """How far c knows its Outcomes to be at their origins, and how far it has sent."""
    outbox = mesh["c"].board("b").outbox
    return outbox.home, outbox.last


def test_home_waits_for_the_origin() -> None:
    mesh = Mesh(*CHAIN)
    mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    assert homes(mesh) == (0, 1)
    mesh.connect("a", "b")
    mesh.settle()
    assert homes(mesh) == (1, 1)


@pytest.mark.parametrize("who", ["a", "b", "c"])
def test_home_moves_again_after_a_crash(who: str) -> None:
    mesh = Mesh(*CHAIN)
    for _ in range(3):
        mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    mesh.crash(who)
    for one, other in CHAIN:
        mesh.reconnect(one, other)
    assert homes(mesh) == (3, 3)
    assert mesh["b"].board("c").inbox.strays == 0
    mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    assert homes(mesh)[0] == homes(mesh)[1]


def test_a_deleted_job_does_not_hold_home_back() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    mesh.delete("a", job_id)
    mesh.connect("a", "b")
    mesh.settle()
    mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    assert homes(mesh)[0] == homes(mesh)[1]


def test_what_was_relayed_under_a_number_whose_row_was_damaged_does_not_hold_home_back() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    mesh.delete("a", job_id)
    store = mesh["b"].store
    store.rows = {seq: row._replace(facts=b"nonsense") for seq, row in store.rows.items()}
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["b"].state(job_id) is State.DELETED
    mesh.connect("b", "c")
    mesh.settle()
    assert mesh["b"].board("c").inbox.strays == 0
    assert homes(mesh)[0] == homes(mesh)[1]


def test_a_job_that_was_offered_before_a_loss_and_is_forgotten_by_now_ends_with_its_effect_unknown() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    old = pair.portal.store.copy()
    pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    pair.part()
    pair.now_ms += int((Limits().life_s + Limits().horizon_s) * 1000) + 60_000
    pair.tick()
    pair.crash("cluster")
    assert not pair.cluster.knows(job_id)
    pair.restore("portal", old)
    pair.join()
    assert pair.portal.state(job_id) is State.REJECTED
    reject = pair.portal.job(job_id).reject
    assert reject is not None
    assert (reject.reason, "effect unknown" in reject.message) == ("lost", True)


# -- whatever a peer says -----------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.sampled_from(["", "portal.cluster", "b.c", "complete", "error", "no_blob", "later"])
    | st.binary(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
CHANGES = st.dictionaries(st.integers(0, 14), VALUES, max_size=2)


def conversation() -> tuple[Pair, list[tuple[str, str, list[Any]]]]:
    """A pair in the middle of its jobs, and all that it said on the way, as arrays."""
    pair = Pair(connected=False)
    said: list[tuple[str, str, list[Any]]] = []

    def settle() -> None:
        while ways := [way for way, packed in pair.wire.items() if packed]:
            for way in ways:
                said.append((*way, unpack(pair.wire[way][0])))
                pair.deliver(*way)

    pair.connect("portal", "cluster")
    jobs = [pair.put("portal.cluster") for _ in range(3)]
    settle()
    pair.cluster.engine.progress(jobs[0], "half of it", 0.5, pair.now_ms)
    pair.finish("cluster", jobs[1])
    settle()
    pair.cancel("portal", jobs[2])
    pair.reconnect("portal", "cluster")
    settle()
    return pair, said


@given(st.integers(0, 10_000), CHANGES)
@settings(max_examples=150)
def test_no_message_of_a_peer_makes_an_agent_fall_over(place: int, changes: dict[int, Any]) -> None:
    pair, said = conversation()
    sender, receiver, array = said[place % len(said)]
    for index, value in changes.items():
        array[index % len(array)] = value
    try:
        told = read(array)
    except MessageError:
        return
    if isinstance(told, Hello):
        pair.part()
        pair.connect("portal", "cluster")
        pair.wire[sender, receiver].clear()
    if told is not None:
        pair.inject(sender, receiver, told)
        pair.settle()


@given(st.integers(0, 10_000), CHANGES, st.booleans())
@settings(max_examples=150)
def test_no_fact_that_a_peer_signs_makes_an_agent_fall_over(place: int, changes: dict[int, Any], known: bool) -> None:
    pair, said = conversation()
    facts = [(sender, receiver, array) for sender, receiver, array in said if array[0] == Type.FACT]
    sender, receiver, (_, number, flags, kind, body, _) = facts[place % len(facts)]
    fields = unpack(body)
    for index, value in changes.items():
        fields[index % len(fields)] = value
    body = msgpack.packb(fields)
    (proof,) = sign_batch([leaf_of(kind, body)], identity_of(sender).sign)
    try:
        decode(kind, body, proof)
    except FactError:
        return
    number = number if known else pair.nodes[sender].engine.ledger.next_number
    pair.inject(sender, receiver, FactMessage(number, flags, kind, body, proof))
    pair.settle()
