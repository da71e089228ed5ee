"""Signs of life on the links: quiet ones are asked, dead ones given up."""

from __future__ import annotations

from mesh.limits import Limits
from mesh.messages import Ping, Pong
from tests.mesh.pair import Pair


def test_a_quiet_link_is_asked_for_a_sign_of_life() -> None:
    pair = Pair()
    pair.wait(9)
    assert len(pair.sent("portal", "cluster", Ping)) == 1, "for the time, when the link was new"
    pair.wait(60)
    assert 6 <= len(pair.sent("portal", "cluster", Ping)) <= 8
    assert len(pair.sent("cluster", "portal", Pong)) == len(pair.sent("portal", "cluster", Ping))
    assert pair.portal.closed == pair.cluster.closed == []


def test_a_busy_link_is_asked_for_the_time_now_and_then() -> None:
    pair = Pair()
    for _ in range(36):
        pair.inject("cluster", "portal", Pong(0))
        pair.tick(5)
        pair.settle()
    assert len(pair.sent("portal", "cluster", Ping)) == 1 + 180 // 60


def test_a_clock_that_is_set_back_still_finds_a_dead_link() -> None:
    pair = Pair(limits={"cluster": Limits(dead_s=100)})
    pair.portal.skew_ms = -3_600_000
    for _ in range(26):
        pair.tick(1)
    assert pair.portal.closed == ["nothing heard for 25 s"]


def test_a_dead_link_is_given_up() -> None:
    pair = Pair()
    for _ in range(24):
        pair.tick(1)
    assert pair.portal.closed == []
    assert len([one for one in pair.waiting("portal", "cluster") if isinstance(one, Ping)]) == 2
    pair.tick(1)
    assert pair.portal.closed == ["nothing heard for 25 s"]
    assert not pair.portal.board("cluster").open


def test_only_received_traffic_counts() -> None:
    pair = Pair()
    for _ in range(25):
        pair.put("portal.cluster")
        pair.tick(1)
    assert "nothing heard for 25 s" in pair.portal.closed


def test_without_a_link_there_is_nothing_to_watch() -> None:
    pair = Pair()
    pair.part()
    asked = len(pair.sent("portal", "cluster", Ping))
    pair.wait(120)
    assert pair.portal.closed == []
    assert len(pair.sent("portal", "cluster", Ping)) == asked
