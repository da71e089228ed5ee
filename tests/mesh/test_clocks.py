"""Skew to a neighbour: measured by a round trip, both ways of a slow link taken into account (PROTOCOL.md 13)."""

from __future__ import annotations

import pytest

from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import Clock, Credit, Ping
from tests.mesh.pair import Pair


def slow_link(pair: Pair, down_s: float, up_s: float) -> None:
    """Greet over a link that takes so long each way."""
    pair.connect("portal", "cluster")
    pair.now_ms += int(down_s * 1000)
    pair.down(99)
    pair.now_ms += int(up_s * 1000)
    pair.up(99)


def exchange(pair: Pair, down_s: float, up_s: float) -> None:
    """Portal asks, and gets its answer over such a link."""
    board = pair.portal.board("cluster")
    pair.portal.engine._exchange._clocks.ask(board, pair.clock("portal"))
    pair.step("portal")
    pair.now_ms += int(down_s * 1000)
    pair.down(99)
    pair.now_ms += int(up_s * 1000)
    pair.up(99)


@pytest.mark.parametrize("skew_s", [-40, 0, 40])
def test_a_round_trip_corrects_what_hello_told(skew_s: int) -> None:
    pair = Pair(connected=False)
    pair.cluster.skew_ms = skew_s * 1000
    slow_link(pair, 4, 4)
    board = pair.portal.board("cluster")
    assert (board.skew_ms, board.skew_error_ms) == (skew_s * 1000 - 8_000, None), "HELLO was 8 s old"
    pair.now_ms += 4_000
    pair.down(99)
    pair.now_ms += 4_000
    pair.up(99)
    assert (board.skew_ms, board.skew_error_ms) == (skew_s * 1000, 4_000)


def test_what_may_be_the_way_alarms_nobody() -> None:
    pair = Pair(connected=False)
    pair.cluster.skew_ms = 33_000
    pair.join()
    assert len(pair.portal.alarms) == 1
    pair = Pair()
    pair.cluster.skew_ms = 33_000
    exchange(pair, 4, 4)
    assert pair.portal.board("cluster").skew_ms == 33_000
    assert pair.portal.alarms == [], "between 29 and 37 s"
    exchange(pair, 1, 1)
    assert len(pair.portal.alarms) == 1, "between 32 and 34 s"
    exchange(pair, 1, 1)
    assert len(pair.portal.alarms) == 1, "said once"


def test_a_worse_measurement_changes_nothing_unless_it_contradicts() -> None:
    pair = Pair()
    board = pair.portal.board("cluster")
    exchange(pair, 0.1, 0.1)
    assert (board.skew_ms, board.skew_error_ms) == (0, 0), "that of the greeting was exact"
    exchange(pair, 3, 0)
    assert (board.skew_ms, board.skew_error_ms) == (0, 0)
    pair.cluster.skew_ms = 10_000
    exchange(pair, 1, 1)
    assert (board.skew_ms, board.skew_error_ms) == (10_000, 1_000), "somebody set a clock"
    exchange(pair, 0, 0)
    assert (board.skew_ms, board.skew_error_ms) == (10_000, 0)


@pytest.mark.parametrize("skew_s", [-600, 600])
def test_credit_goes_and_comes_with_the_clock_on_one_link(skew_s: int) -> None:
    # A clock that jumps by more than `dead_s` makes its own agent give up the link, which is greeted anew.
    patient = Limits(dead_s=10_000)
    pair = Pair(limits={"portal": patient, "cluster": patient})
    credits = len(pair.sent("cluster", "portal", Credit))
    pair.cluster.skew_ms = skew_s * 1000
    pair.settle()
    for _ in range(7):
        pair.tick(10)
        pair.settle()
    board = pair.portal.board("cluster")
    assert board.credit == 0
    assert board.credit_reason == 'the clocks of "cluster" and "portal" are 600 s apart: set them right'
    assert (
        pair.portal.board("cluster").refusing == 'the clocks of "portal" and "cluster" are 600 s apart: set them right'
    )
    assert pair.portal.alarms == ['the clock of "cluster" is 600 s off this one: no jobs pass between them']
    job = pair.put("portal.cluster")
    pair.settle()
    assert pair.portal.state(job) is State.PENDING
    assert not pair.cluster.knows(job)
    pair.cluster.skew_ms = 0
    for _ in range(7):
        pair.tick(10)
        pair.settle()
    assert (board.credit_reason, board.refusing) == ("", "")
    assert len(pair.sent("cluster", "portal", Credit)) == credits + 2, "one when it went, one when it came"
    pair.run_all("cluster")
    assert pair.states(job) == (State.COMPLETE, State.COMPLETE)


def test_an_answer_to_nothing_that_was_asked_is_passed_over() -> None:
    pair = Pair()
    now = pair.now_ms
    for token in (0, now - 5, now + 5):
        pair.inject("cluster", "portal", Clock(token, now + 900_000))
    assert pair.portal.board("cluster").skew_ms == 0
    assert pair.portal.alarms == []


def test_our_own_clock_set_back_between_question_and_answer_tells_nothing() -> None:
    pair = Pair()
    board = pair.portal.board("cluster")
    pair.portal.engine._exchange._clocks.ask(board, pair.clock("portal"))
    pair.step("portal")
    pair.portal.skew_ms = -3_600_000
    pair.settle()
    assert board.skew_ms == 0


def test_a_peer_that_knows_no_clock_is_judged_by_its_hello() -> None:
    pair = Pair(connected=False)
    pair.cluster.skew_ms = 50_000
    pair.connect("portal", "cluster")
    for _ in range(20):
        pair.down()
        answers = [one for one in pair.wire["cluster", "portal"] if one[1:3] != b"\xcc\x80"]
        pair.wire["cluster", "portal"].clear()
        pair.wire["cluster", "portal"].extend(answers)
        pair.up()
    board = pair.portal.board("cluster")
    assert len(pair.sent("portal", "cluster", Ping)) == 1
    assert not pair.sent("cluster", "portal", Clock)
    assert (board.skew_ms, board.skew_error_ms, board.credit) == (50_000, None, 20_000)
