"""A link begins: positions are compared, and a store that lost something is found out and healed (R3-R5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mesh import ledger
from mesh.board import Board
from mesh.effects import Effects, Query, Unfinished
from mesh.facts import Kind, job_id_of
from mesh.greeting import ANEW, VERSION
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import AllSent, Credit, FactMessage, Hello, Want
from mesh.storage.memory import MemoryStore
from tests.mesh.pair import START_MS, Mesh, Node, Pair, peer_row

LOST = "lost what the other side had committed: full exchange with"


def done(pair: Pair, jobs: int = 1) -> list[bytes]:
    ids = [pair.put("portal.cluster") for _ in range(jobs)]
    pair.settle()
    pair.run_all("cluster")
    return ids


def records(mesh: Mesh, sender: str, receiver: str) -> list[FactMessage]:
    """FACT messages since the last look."""
    found = mesh.sent(sender, receiver, FactMessage)
    mesh.seen.clear()
    return found


class Patience(list[Query]):
    """A list of questions to a store that does not take endless ones."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def append(self, query: Query) -> None:
        super().append(query)
        assert len(self) < self._most, "the same is asked for again and again"


# -- going on -----------------------------------------------------------------------------------------------------


def test_the_first_greeting() -> None:
    pair = Pair(connected=False)
    pair.connect("portal", "cluster")
    (hello,) = pair.waiting("portal", "cluster")
    incarnations = pair.portal.engine.ledger.incarnations.told()
    assert hello == Hello(VERSION, START_MS, incarnations, 0, None, 0, 0, None)
    assert len(incarnations) == 1
    pair.settle()
    for node, other in ((pair.portal, "cluster"), (pair.cluster, "portal")):
        assert (node.board(other).open, node.board(other).proved) == (True, True)
        assert node.board(other).credit == Limits().credit_jobs


def test_each_opening_is_told() -> None:
    pair = Pair()
    done(pair)
    pair.crash("portal")
    pair.seen.clear()
    pair.join()
    (hello,) = pair.sent("portal", "cluster", Hello)
    (_, first), (_, second) = hello.incarnations
    assert (first, second) == (1, 2)
    assert (hello.sent, hello.acked) == (1, pair.portal.board("cluster").outbox.noted)
    (answer,) = pair.sent("cluster", "portal", Hello)
    assert answer.received == [hello.incarnations[0][0], 1]


def test_a_reconnect_sends_nothing_twice() -> None:
    pair = Pair()
    done(pair, 3)
    pair.seen.clear()
    pair.reconnect("portal", "cluster")
    assert (records(pair, "portal", "cluster"), records(pair, "cluster", "portal")) == ([], [])


@pytest.mark.parametrize("who", ["nobody", "portal", "cluster"])
def test_a_reconnect_sends_only_what_changed(who: str) -> None:
    pair = Pair()
    ids = done(pair, 5)
    changed = [pair.put("portal.cluster") for _ in range(2)]
    pair.settle()
    pair.part()
    pair.finish("cluster", changed[0])
    pair.cancel("portal", changed[1])
    if who != "nobody":
        pair.crash(who)
    pair.seen.clear()
    pair.join()
    down = [Kind(one.kind) for one in pair.sent("portal", "cluster", FactMessage)]
    up = [Kind(one.kind) for one in pair.sent("cluster", "portal", FactMessage)]
    assert (down, up.count(Kind.OUTCOME)) == ([Kind.CANCEL], 1)
    assert pair.states(changed[0]) == (State.COMPLETE, State.COMPLETE)
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)
    assert not pair.portal.alarms + pair.cluster.alarms


def test_what_was_lost_on_its_way_is_sent_again_once() -> None:
    pair = Pair()
    ids = [pair.put("portal.cluster") for _ in range(3)]
    pair.down(1)
    pair.part()
    pair.seen.clear()
    pair.join()
    assert len(records(pair, "portal", "cluster")) == 2
    pair.run_all("cluster")
    assert [pair.cluster.job(one).attempt for one in ids] == [1, 1, 1]


def test_what_was_taken_but_not_acknowledged_is_not_sent_again() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.down()
    pair.part()
    pair.seen.clear()
    pair.join()
    assert records(pair, "portal", "cluster") == []
    assert len(pair.cluster.starts) == 1
    assert pair.cluster.knows(job_id)


def test_another_version_of_the_protocol_is_refused() -> None:
    pair = Pair(connected=False)
    pair.connect("portal", "cluster")
    (hello,) = pair.waiting("portal", "cluster")
    assert isinstance(hello, Hello)
    pair.inject("portal", "cluster", hello._replace(version=VERSION + 1))
    assert pair.cluster.closed == [
        f"the other side speaks version {VERSION + 1} of the board protocol, this one {VERSION}"
    ]
    assert not pair.cluster.board("portal").open


def test_a_new_link_replaces_the_old_one_at_once() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.portal.engine.greet(pair.portal.board("cluster"), pair.now_ms)
    assert not pair.portal.board("cluster").open
    pair.step("portal")
    pair.reconnect("portal", "cluster")
    assert pair.cluster.knows(job_id)


def test_messages_before_the_greeting_are_nothing() -> None:
    pair = Pair(connected=False)
    pair.inject("portal", "cluster", Credit(5, ""))
    assert pair.cluster.board("portal").credit is None


# -- clocks and credit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skew_s", "credit", "alarm"),
    [
        (30, 20_000, False),
        (31, 20_000, True),
        (-31, 20_000, True),
        (120, 20_000, True),
        (121, 0, True),
        (-121, 0, True),
    ],
)
def test_clocks_that_differ(skew_s: int, credit: int, alarm: bool) -> None:
    pair = Pair(connected=False)
    pair.cluster.skew_ms = skew_s * 1000
    pair.join()
    board = pair.portal.board("cluster")
    assert (board.credit, board.skew_ms) == (credit, skew_s * 1000)
    assert bool(pair.portal.alarms) is alarm
    if not credit:
        assert board.credit_reason == f'the clocks of "cluster" and "portal" are {abs(skew_s)} s apart: set them right'
        job_id = pair.put("portal.cluster")
        pair.settle()
        assert not pair.cluster.knows(job_id)


# -- loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["portal", "cluster"])
@pytest.mark.parametrize("live", [False, True])
def test_an_empty_store_gets_everything_back(lost: str, live: bool) -> None:
    pair = Pair()
    ids = done(pair, 3)
    if live:
        ids.append(pair.put("portal.cluster"))
        pair.settle()
    pair.cluster.starts.clear()
    pair.restore(lost, MemoryStore())
    pair.join()
    other = "cluster" if lost == "portal" else "portal"
    assert f'the store of "{lost}" {LOST} "{lost}"' in pair[other].alarms
    assert f'the store of this agent {LOST} "{other}"' in pair[lost].alarms
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids[:3])
    pair.run_all("cluster")
    if live and lost == "portal":
        pair.finish("cluster", ids[3])
        pair.settle()
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)
    for one in ids:
        assert pair.portal.job(one).outcome == pair.cluster.job(one).outcome
    # Healed: the next connect is an ordinary one.
    alarms = len(pair.portal.alarms + pair.cluster.alarms)
    pair.seen.clear()
    pair.reconnect("portal", "cluster")
    assert len(pair.portal.alarms + pair.cluster.alarms) == alarms
    assert records(pair, "portal", "cluster") == []


@pytest.mark.parametrize("lost", ["portal", "cluster"])
@pytest.mark.parametrize("more", [0, 1, 5])
def test_a_store_restored_from_an_old_copy_is_found_out_whatever_was_put_since(lost: str, more: int) -> None:
    pair = Pair()
    ids = done(pair, 2)
    old = pair[lost].store.copy()
    ids += done(pair, 2)
    pair.part()
    pair.restore(lost, old)
    if lost == "portal":
        ids += [pair.put("portal.cluster") for _ in range(more)]
    pair.join()
    other = "cluster" if lost == "portal" else "portal"
    assert any(LOST in alarm for alarm in pair[other].alarms + pair[lost].alarms)
    pair.run_all("cluster")
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)
    outcomes = [pair.cluster.job(one).outcome for one in ids[:4]]
    assert [outcome and outcome.attempt for outcome in outcomes] == [1] * 4


def test_a_peer_that_lost_its_store_before_it_acknowledged_anything() -> None:
    pair = Pair(connected=False)
    old = pair.cluster.store.copy()
    pair.join()
    job_id = pair.put("portal.cluster")
    pair.part()
    pair.crash("portal")
    pair.restore("cluster", old)
    pair.join()
    pair.run_all("cluster")
    assert pair.states(job_id) == (State.COMPLETE, State.COMPLETE)


@pytest.mark.parametrize("left", ["nothing", "a copy of an earlier opening"])
def test_a_store_that_is_lost_before_anything_came_from_it_is_found_out(left: str) -> None:
    pair = Pair()
    old = MemoryStore() if left == "nothing" else pair.cluster.store.copy()
    pair.crash("cluster")
    pair.join()
    job_id = pair.put("portal.cluster", "charge")
    pair.down()
    assert [start.job_id for start in pair.cluster.starts] == [job_id]
    pair.restore("cluster", old)
    pair.join()
    assert f'the store of "cluster" {LOST} "cluster"' in pair.portal.alarms
    assert f'the store of this agent {LOST} "portal"' in pair.cluster.alarms
    # It goes marked, and does not run twice.
    assert pair.cluster.starts == []
    assert pair.states(job_id) == (State.ERROR, State.ERROR)
    outcome = pair.portal.job(job_id).outcome
    assert outcome is not None
    assert (outcome.error or ("",))[0] == "lost"


@pytest.mark.parametrize("died", [True, False])
def test_a_store_is_found_out_that_lost_what_it_told_in_a_greeting_alone(died: bool) -> None:
    # Nothing else shows it: the copy holds the opening that portal met, and no acknowledgement ever came.
    pair = Pair()
    old = pair.cluster.store.copy()
    job_id = pair.put("portal.cluster", "charge")
    pair.down()
    assert [start.job_id for start in pair.cluster.starts] == [job_id]
    pair.part()
    if died:
        pair.crash("portal")
    pair.connect("portal", "cluster")
    (hello,) = pair.up()
    assert isinstance(hello, Hello)
    assert (hello.received or [b"", 0])[1] == 1
    pair.part()
    pair.restore("cluster", old)
    pair.portal.queries = Patience(100)
    pair.join()
    assert f'the store of "cluster" {LOST} "cluster"' in pair.portal.alarms
    assert f'the store of this agent {LOST} "portal"' in pair.cluster.alarms
    # It goes marked, and does not run twice.
    assert pair.cluster.starts == []
    assert pair.states(job_id) == (State.ERROR, State.ERROR)
    outcome = pair.portal.job(job_id).outcome
    assert outcome is not None
    assert (outcome.error or ("",))[0] == "lost"
    pair.seen.clear()
    pair.reconnect("portal", "cluster")
    assert records(pair, "portal", "cluster") == []
    assert [len(pair[name].alarms) for name in ("portal", "cluster")] == [1, 1]


def test_an_opening_that_was_met_supersedes_none_that_know_it() -> None:
    pair = Pair()
    for _ in range(3):
        pair.crash("cluster")
        pair.join()
    board = pair.portal.board("cluster")
    assert board.inbox.received == (pair.cluster.engine.ledger.incarnations.current, 0)
    assert board.inbox.superseded == frozenset()
    assert not pair.portal.alarms + pair.cluster.alarms


def test_a_lost_acknowledgement_is_no_loss() -> None:
    # The position told is that of the last commit; an older `acked` only means sending again.
    pair = Pair()
    old = pair.portal.store.copy()
    job_id = pair.put("portal.cluster")
    row = pair.portal.store.rows
    pair.settle()
    old.rows = row
    pair.crash("portal")
    pair.join()
    assert not pair.portal.alarms + pair.cluster.alarms
    assert pair.cluster.knows(job_id)


def test_a_clone_is_refused() -> None:
    pair = Pair()
    done(pair)
    clone = pair.cluster.store.copy()
    # The cluster was restored from before it knew that opening: a list without it supersedes it.
    pair.restore("cluster", MemoryStore())
    pair.join()
    superseded = pair.portal.board("cluster").inbox.superseded
    assert len(superseded) == 1
    pair.part()
    pair.portal.closed.clear()
    # The first store comes again as it was: its last opening is the superseded one.
    pair.cluster.store = clone
    clone_engine_incarnation = clone._incarnations
    pair.connect("portal", "cluster")
    hello = pair.waiting("cluster", "portal")[0]
    assert isinstance(hello, Hello)
    pair.wire["cluster", "portal"].clear()
    pair.inject("cluster", "portal", hello._replace(incarnations=[list(one) for one in clone_engine_incarnation]))
    assert pair.portal.closed == ["cloned_store"]
    assert "a clone" in pair.portal.alarms[-1]
    # Committed: the next life refuses it too.
    pair.crash("portal")
    assert pair.portal.board("cluster").inbox.superseded == superseded


def test_an_exchange_that_is_cut_begins_again() -> None:
    pair = Pair()
    ids = done(pair, 4)
    pair.restore("cluster", MemoryStore())
    for cut_after in (1, 2, 3):
        pair.connect("portal", "cluster")
        for _ in range(cut_after):
            pair.down(2)
            pair.up(2)
        pair.part()
    assert pair.portal.board("cluster").exchanging
    pair.crash("portal")
    assert pair.portal.board("cluster").exchanging
    pair.join()
    assert not pair.portal.board("cluster").exchanging
    assert not pair.cluster.board("portal").exchanging
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)


@pytest.mark.parametrize("lost", ["portal", "cluster"])
def test_an_exchange_in_which_nothing_is_left_to_tell_is_done_once(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that had a number is home, and dropped."""
    monkeypatch.setattr(ledger, "TRIM", 1)
    pair = Pair()
    done(pair, 3)
    pair.reconnect("portal", "cluster")
    pair.part()
    pair.restore(lost, MemoryStore())
    pair.join()
    for _ in range(2):
        pair.reconnect("portal", "cluster")
    assert len([text for node in (pair.portal, pair.cluster) for text in node.alarms if LOST in text]) == 2
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    assert pair.portal.state(job_id) is State.COMPLETE


def test_both_sides_find_out_that_one_lost_an_exchange_in_which_nothing_was_told() -> None:
    """Its numbers begin above where the exchange had the other one begin to count, and none was given out here."""
    mesh = Mesh(("a", "b"), ("a", "c"))
    mesh.put("a.c")
    mesh.settle()
    old = mesh["a"].store.copy()
    mesh.crash("a")
    mesh.connect("a", "b")
    mesh.settle()
    mesh.restore("a", old)
    opened = mesh["a"].store.copy()
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["b"].board("a").inbox.number > 0
    mesh.restore("a", opened)
    mesh.connect("a", "b")
    mesh.settle()
    assert not mesh["b"].board("a").exchanging
    assert mesh["a"].alarms[-1].startswith("the store of this agent lost")
    job_id = mesh.put("a.b")
    mesh.settle()
    mesh.run_all("b")
    assert mesh["a"].state(job_id) is State.COMPLETE


def test_an_exchange_of_many_pages() -> None:
    pair = Pair()
    ids = done(pair, 300)
    pair.restore("cluster", MemoryStore())
    pair.join()
    assert all(pair.states(one) == (State.COMPLETE, State.COMPLETE) for one in ids)
    assert len(pair.sent("portal", "cluster", AllSent)) == 1


def test_nothing_starts_before_the_exchange_is_done() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    old = pair.portal.store.copy()
    other = pair.put("portal.cluster")
    pair.settle()
    pair.finish("cluster", other)
    pair.settle()
    pair.restore("portal", old)
    pair.crash("cluster")
    pair.connect("portal", "cluster")
    pair.down(1)
    assert not pair.cluster.board("portal").proved
    assert not pair.cluster.starts
    pair.settle()
    assert [start.job_id for start in pair.cluster.starts] == [job_id]


def test_recovery_is_asked_for_once_in_an_opening() -> None:
    pair = Pair()
    pair.put("portal.cluster")
    pair.settle()
    old = pair.portal.store.copy()
    done(pair)
    pair.restore("portal", old)
    pair.join()
    pair.reconnect("portal", "cluster")
    assert sum(isinstance(query, Unfinished) for query in pair.cluster.queries) == 1


def test_a_board_that_was_quiet_long_enough_heals_too() -> None:
    # The numbers of its last opening lie far above anything that was said on this board.
    mesh = Mesh(("a", "b"), ("b", "c"))
    mesh.put("b.a", "idle")
    mesh.settle()
    mesh.run_all("a")
    for _ in range(9):
        mesh.put("b.c", "idle")
    mesh.settle()
    mesh.run_all("c")
    rows: Any = mesh["b"].store.rows
    mesh["b"].store.rows = {seq: row._replace(facts=None) for seq, row in rows.items()}
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.settle()
    mesh.restore("a", MemoryStore())
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["b"].closed == []
    assert not mesh["a"].board("b").exchanging
    job_id = mesh.put("b.a", "idle")
    mesh.settle()
    mesh.run_all("a")
    assert mesh["b"].state(job_id) is State.COMPLETE
    mesh["a"].alarms.clear()
    mesh.reconnect("a", "b")
    assert not mesh["a"].alarms


def test_a_quarantined_job_is_asked_for_at_connect() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.part()
    store = pair.cluster.store
    store.rows = {seq: row._replace(check=0) for seq, row in store.rows.items()}
    pair.crash("cluster")
    pair.cluster.engine.cancel(9, job_id, START_MS)
    pair.step("cluster")
    pair.join()
    assert pair.cluster.knows(job_id)
    pair.run_all("cluster")
    assert pair.states(job_id) == (State.COMPLETE, State.COMPLETE)


def test_a_quarantined_job_is_asked_for_after_a_crash_too() -> None:
    """Its number is acknowledged by then, and nobody reads its row again."""
    mesh = Mesh(("a", "b"), ("b", "c"))
    job_id = mesh.put("a.b.c")
    mesh.deliver("a", "b")
    mesh.cut("b", "c")
    mesh.settle()
    mesh.cut("a", "b")
    store = mesh["b"].store
    store.rows = {seq: row._replace(facts=b"nonsense") for seq, row in store.rows.items()}
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.settle()
    other = mesh.put("b.c", "idle")
    mesh.settle()
    assert (mesh["c"].knows(job_id), mesh["c"].knows(other)) == (False, True)
    mesh.crash("b")
    for ends in (("b", "c"), ("a", "b")):
        mesh.connect(*ends)
        mesh.settle()
    mesh.run_all("c")
    assert [mesh[name].state(job_id) for name in "abc"] == [State.COMPLETE] * 3
    assert mesh["b"].board("a").wanted == set()


def test_a_peer_whose_highest_number_is_below_what_we_have_lost_its_store() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.part()
    pair.connect("portal", "cluster")
    hello = pair.waiting("portal", "cluster")[0]
    assert isinstance(hello, Hello)
    pair.wire["portal", "cluster"].clear()
    pair.inject("portal", "cluster", hello._replace(sent=0))
    assert pair.cluster.alarms == [f'the store of "portal" {LOST} "portal"']
    pair.reconnect("portal", "cluster")
    assert not pair.cluster.board("portal").exchanging
    assert pair.cluster.state(job_id) is State.RUNNING


def test_what_waits_in_an_old_copy_and_comes_back_from_the_peer_counts_as_offered() -> None:
    pair = Pair(connected=False, limits={"portal": Limits(window_records=1)})
    ids = [pair.put("portal.cluster") for _ in range(3)]
    old = pair.portal.store.copy()
    pair.join()
    pair.restore("portal", old)
    pair.connect("portal", "cluster")
    pair.portal.queries = Patience(500)
    pair.down()
    # Everything of the cluster arrives before the first record of the portal is acknowledged.
    for _ in range(20):
        pair.up(9)
        pair.down()
    pair.settle()
    assert pair.portal.board("cluster").waiting == {}
    pair.cancel("portal", ids[2])
    assert pair.portal.job(ids[2]).reject is None
    for one in ids[:2]:
        pair.finish("cluster", one)
    pair.settle()
    assert [pair.states(one) for one in ids[:2]] == [(State.COMPLETE, State.COMPLETE)] * 2
    assert [pair.cluster.job(one).attempt for one in ids] == [1] * 3


def test_a_job_is_asked_for_at_each_link_as_long_as_the_peer_could_have_it() -> None:
    """An older peer does not answer that it has none."""
    pair = Pair(connected=False)
    limits = pair.portal.limits
    kept_ms = int((limits.life_max_s + limits.horizon_s) * 1000)
    old, young = (job_id_of(START_MS - kept_ms + more, b"") for more in (-1, 0))
    pair.portal.board("cluster").wanted = {old, young}
    pair.join()
    assert [want.job_id for want in pair.sent("portal", "cluster", Want)] == [young]
    assert old not in pair.portal.board("cluster").wanted


# -- two zones ----------------------------------------------------------------------------------------------------


def another_zone(pair: Pair) -> tuple[Board, Board]:
    """The boards of portal and cluster in a second zone; their links are left to the test."""
    boards = []
    for node, other in ((pair.portal, pair.cluster), (pair.cluster, pair.portal)):
        boards.append(node.engine.pair(replace(peer_row(other.card), zone="den")))
        pair.step(node.name)
    return boards[0], boards[1]


def hello_on(node: Node, board: Board) -> Hello:
    """What an agent says first on a new link of `board`."""
    node.engine.greet(board, START_MS)
    received, outbox = board.inbox.received, board.outbox
    told = list(received) if received[0] else None
    openings = node.engine.ledger.incarnations.told()
    node.engine.end_step(START_MS)
    return Hello(VERSION, START_MS, openings, outbox.last, told, outbox.noted, int(board.said_exchanging), None)


def heard(node: Node, board: Board, hello: Hello) -> Effects:
    node.engine.connected(board, hello, START_MS)
    return node.engine.end_step(START_MS)


def test_a_loss_in_another_zone_shows_before_anything_is_sent() -> None:
    pair = Pair()
    done(pair)
    old = pair.portal.board("cluster").inbox.incarnation
    pair.restore("cluster", MemoryStore())
    mine, theirs = another_zone(pair)
    hello = hello_on(pair.cluster, theirs)
    hello_on(pair.portal, mine)
    effects = heard(pair.portal, mine, hello)
    # The peer has gone on by the HELLO that it got, so this link is of no use any more.
    assert effects.alarms == [f'the store of "cluster" {LOST} "cluster"']
    assert (effects.close, effects.send) == ([(mine.id, ANEW)], {})
    lab = pair.portal.board("cluster")
    assert (mine.open, mine.exchanging, lab.exchanging) == (False, True, True)
    assert {row.id for row in effects.batch.boards} == {mine.id, lab.id}
    # What came with the lost store is a clone in either zone.
    assert lab.inbox.superseded == {old}
    # The next link says so, and the peer takes part; it knows by that that it lost something.
    again = hello_on(pair.portal, mine)
    assert again.exchanging == 1
    for node, board, said in ((pair.portal, mine, hello), (pair.cluster, theirs, again)):
        effects = heard(node, board, said)
        assert (effects.alarms, effects.close) == ([], [])
        assert (board.open, board.exchanging) == (True, True)
    assert theirs.own_loss


@pytest.mark.parametrize("lost", ["portal", "cluster"])
def test_a_loss_is_one_in_every_zone_that_has_not_gone_on(lost: str) -> None:
    pair = Pair()
    boards = dict(zip(("portal", "cluster"), another_zone(pair), strict=True))
    old = pair[lost].store.copy()
    done(pair)
    pair.restore(lost, old)
    boards[lost] = next(board for board in pair[lost].engine.boards if board.zone == "den")
    hellos = {name: hello_on(pair[name], boards[name]) for name in boards}
    pair.join()
    assert all(board.exchanging for board in boards.values())
    assert {name for name, board in boards.items() if board.own_loss} == {lost}
    # Both HELLOs went out before that was known.
    assert heard(pair.portal, boards["portal"], hellos["cluster"]).close == [(boards["portal"].id, ANEW)]


@pytest.mark.parametrize("life", ["an earlier one", "this one"])
def test_only_a_link_with_an_earlier_life_of_the_store_is_closed(life: str) -> None:
    pair = Pair()
    mine, theirs = another_zone(pair)
    old = pair.cluster.store.copy()
    pair.put("portal.cluster")
    pair.settle()
    if life == "this one":
        pair.restore("cluster", old)
        theirs = next(board for board in pair.cluster.engine.boards if board.zone == "den")
    hello_on(pair.portal, mine)
    # Nothing but an acknowledgement in zone lab was lost, of which no position tells.
    assert not heard(pair.portal, mine, hello_on(pair.cluster, theirs)).alarms
    assert mine.open
    if life == "an earlier one":
        pair.restore("cluster", old)
    pair.connect("portal", "cluster")
    (answer,) = pair.waiting("cluster", "portal")
    assert isinstance(answer, Hello)
    effects = heard(pair.portal, pair.portal.board("cluster"), answer)
    assert effects.alarms == [f'the store of "cluster" {LOST} "cluster"']
    closed = [(mine.id, ANEW)] if life == "an earlier one" else []
    assert (effects.close, mine.open, mine.exchanging) == (closed, not closed, bool(closed))
