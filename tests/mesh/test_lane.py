"""A lane: which facts the peer has, which are sent under which number, and which are still to be sent."""

from __future__ import annotations

from mesh.facts import Kind
from mesh.lane import HAS, NEVER, SLOTS, Lane


def test_a_new_lane_has_nothing_to_say() -> None:
    lane = Lane(3)
    assert (lane.board, lane.number, (NEVER in lane.sent), lane.sent) == (3, 0, False, [HAS] * SLOTS)
    assert (lane.offered, lane.reissued, lane.waiting, lane.counted) == (False, False, False, False)


def test_a_record_carries_what_is_above_the_acknowledged_number() -> None:
    lane = Lane(1)
    lane.sent[Kind.REQUEST] = NEVER
    assert NEVER in lane.sent
    lane.carry(7, 0)
    assert (lane.number, lane.sent[Kind.REQUEST], (NEVER in lane.sent)) == (7, 7, False)
    lane.sent[Kind.CANCEL] = NEVER
    lane.carry(9, 6)
    assert (lane.sent[Kind.REQUEST], lane.sent[Kind.CANCEL]) == (9, 9)
    lane.sent[Kind.DELETE] = NEVER
    lane.carry(12, 9)
    assert (lane.sent[Kind.REQUEST], lane.sent[Kind.CANCEL], lane.sent[Kind.DELETE]) == (9, 9, 12)
    assert lane.sent[Kind.OUTCOME] == HAS


def test_a_job_is_taken_while_the_board_counts_it() -> None:
    lane = Lane(1)
    lane.waiting = True
    assert lane.taken
    lane.waiting, lane.counted = False, True
    assert lane.taken


def test_a_lane_is_read_back() -> None:
    lane = Lane(3)
    lane.sent[Kind.REQUEST] = NEVER
    lane.carry(12, 5)
    lane.offered = lane.reissued = lane.waiting = lane.counted = lane.unsettled = True
    again = Lane.from_record(lane.record())
    assert again.unsettled
    assert (again.board, again.number, again.sent) == (3, 12, lane.sent)
    assert (again.offered, again.reissued, again.waiting, again.counted) == (True, True, True, True)


def test_a_request_that_was_refused_is_offered_only_if_somebody_may_have_it() -> None:
    for mark in ("", "reissued", "unsettled"):
        lane = Lane(3)
        lane.offered = True
        if mark:
            setattr(lane, mark, True)
        lane.refused()
        assert lane.offered is bool(mark)
