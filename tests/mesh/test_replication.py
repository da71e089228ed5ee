"""Both halves of a board: window, acknowledgements, gaps, refusals and the watermark `home`."""

from __future__ import annotations

import pytest

from mesh.limits import Limits
from mesh.replication import NO_POSITION, Inbox, Outbox

INC = b"i" * 8


def outbox(records: int = 3, size: int = 100, **kept: int) -> Outbox:
    return Outbox(Limits(window_records=records, window_bytes=size), **kept)


def sent(box: Outbox, *numbers: int, size: int = 10) -> Outbox:
    for number in numbers:
        box.last = max(box.last, number)
        box.sent(number, b"job %d" % number, size)
    return box


def test_a_new_outbox() -> None:
    box = outbox()
    assert (box.last, box.acked, box.home, box.cursor, box.trimmed) == (0, 0, 0, 0, 0)
    assert (box.behind, box.room) == (False, True)


def test_a_stored_outbox_goes_on_where_it_was() -> None:
    box = outbox(last=9, acked=7, home=5)
    assert (box.last, box.acked, box.home, box.cursor, box.trimmed) == (9, 7, 5, 7, 5)
    assert box.behind


def test_the_window_counts_records() -> None:
    box = sent(outbox(records=2), 1)
    assert box.room
    sent(box, 2)
    assert not box.room
    assert box.acknowledge(1)
    assert box.room


def test_the_window_counts_bytes_as_they_become_known() -> None:
    box = sent(outbox(size=100), 1, size=0)
    box.resize(1, 60)
    assert (box.flight_bytes, box.room) == (60, True)
    box.resize(1, 100)
    assert (box.flight_bytes, box.room) == (100, False)
    sent(box, 2, size=5)
    assert box.acknowledge(1)
    assert (box.flight_bytes, box.flight) == (5, {2: (b"job 2", 5)})


def test_an_acknowledgement_is_cumulative_and_numbers_have_gaps() -> None:
    box = sent(outbox(records=9), 3, 7, 20)
    assert box.acknowledge(10)
    assert (box.acked, list(box.flight)) == (10, [20])
    assert box.acknowledge(3)
    assert box.acked == 10
    assert box.acknowledge(20)
    assert (box.acked, box.flight, box.flight_bytes) == (20, {}, 0)


def test_an_acknowledgement_of_what_was_never_sent_is_a_lie() -> None:
    box = sent(outbox(), 5)
    assert not box.acknowledge(6)
    assert (box.acked, list(box.flight)) == (0, [5])


def test_a_link_resumes_above_what_the_peer_has() -> None:
    box = sent(outbox(), 1, 2, 3)
    box.acknowledge(1)
    box.resume(2, 1)
    # What it refused of that is told with its first acknowledgement.
    assert (box.acked, box.cursor, box.flight, box.flight_bytes, box.behind) == (1, 2, {}, 0, True)
    box.acknowledge(2)
    # Never below what was acknowledged.
    box.resume(1, 1)
    assert (box.acked, box.cursor) == (2, 2)


def test_what_an_earlier_link_may_have_carried_is_sent_again() -> None:
    outbox = Outbox(Limits())
    outbox.last = 9
    outbox.resume(5, 1)
    outbox.last = 12
    assert [number for number in range(-1, 13) if outbox.sent_again(number)] == [6, 7, 8, 9]


def test_what_two_earlier_links_carried_was_sent_again() -> None:
    outbox = Outbox(Limits())
    outbox.last = 9
    outbox.resume(5, 1)
    outbox.sent(6, b"job", 1)
    outbox.resume(6, 1)
    assert outbox.sent_again(6)
    outbox.sent(9, b"job", 1)
    outbox.last = 10
    outbox.sent(10, b"job", 1)
    outbox.resume(10, 1)
    assert [outbox.sent_again(number) for number in (9, 10)] == [True, False]


def test_how_often_an_earlier_opening_sent_its_numbers_is_not_known() -> None:
    outbox = Outbox(Limits(), last=9, acked=3)
    outbox.resume(9, 10)
    outbox.last = 12
    assert [number for number in range(5, 13) if outbox.sent_again(number)] == [5, 6, 7, 8, 9]


def test_what_an_old_copy_may_only_seem_to_have_sent_is_in_doubt_until_it_is_told_again() -> None:
    outbox = Outbox(Limits(), last=9, acked=3)
    assert outbox.kept == 3
    outbox.resume(7, 10)
    # Not before the first acknowledgement, with which the peer says what it refused of that.
    assert not outbox.in_doubt
    outbox.acknowledge(7)
    assert outbox.in_doubt
    assert (outbox.sure, outbox.doubt, outbox.kept, outbox.acked) == (3, 7, 3, 7)
    # A link that breaks before that was told changes nothing, nor does what goes out in this opening.
    outbox.last = 12
    outbox.resume(12, 10)
    assert (outbox.in_doubt, outbox.doubt, outbox.kept) == (True, 7, 3)
    outbox.sure = outbox.doubt
    assert (outbox.in_doubt, outbox.kept) == (False, 7)
    outbox.acknowledge(12)
    assert (outbox.in_doubt, outbox.kept) == (False, 12)


def test_nothing_is_in_doubt_that_was_acknowledged_or_given_out_by_this_opening_or_is_told_again_anyway() -> None:
    outbox = Outbox(Limits(), last=9, acked=9)
    outbox.resume(9, 10)
    assert not outbox.in_doubt
    outbox = Outbox(Limits())
    outbox.last = 9
    outbox.resume(9, 1)
    outbox.acknowledge(9)
    assert (outbox.in_doubt, outbox.kept) == (False, 9)
    outbox = Outbox(Limits(), last=9, acked=3)
    outbox.resume(7, 10)
    outbox.restart(10)
    assert (outbox.in_doubt, outbox.kept) == (False, 9)


def test_what_the_peer_told_in_a_greeting_is_known_before_it_is_acknowledged() -> None:
    outbox = Outbox(Limits(), last=9, acked=3)
    assert outbox.noted == 3
    outbox.resume(7, 10)
    assert (outbox.acked, outbox.noted) == (3, 7)
    outbox.cursor = 9
    outbox.acknowledge(9)
    assert outbox.noted == 9
    outbox.restart(12)
    assert outbox.noted == 11


def test_a_full_exchange_starts_above_every_number() -> None:
    box = sent(outbox(), 1, 2, 3)
    box.restart(2)
    assert (box.acked, box.cursor, box.flight, box.flight_bytes, box.behind) == (3, 3, {}, 0, False)


def test_a_full_exchange_starts_at_this_opening_of_the_store() -> None:
    # The peer takes every number below the first one of the opening as received.
    box = sent(outbox(), 1)
    box.restart(50)
    assert (box.last, box.acked, box.cursor, box.behind) == (49, 49, 49, False)


def test_a_record_that_turned_out_to_be_empty_is_not_in_flight() -> None:
    box = sent(outbox(), 1, 2)
    box.unsend(2)
    assert (list(box.flight), box.flight_bytes, box.cursor) == ([1], 10, 2)


def test_home_tells_what_was_relayed() -> None:
    box = sent(outbox(records=9), 1, 2, 3, 4)
    box.relayed = {1: (7, 11), 3: (7, 13), 4: (8, 2)}
    assert box.went_home(3) == [(7, 11), (7, 13)]
    assert (box.home, box.relayed) == (3, {4: (8, 2)})
    assert box.went_home(3) == []
    assert box.went_home(2) == []
    assert box.went_home(5) == []
    assert box.home == 3
    assert box.went_home(4) == [(8, 2)]


def test_what_was_relayed_without_a_record_is_home_once_all_else_is() -> None:
    """The row of number 5 was damaged, and came back without it."""
    box = sent(outbox(records=9), 1, 2, 3)
    box.last = 5
    box.relayed = {3: (7, 13), 5: (7, 14)}
    box.acknowledge(3)
    assert not box.all_home
    box.went_home(3)
    assert not box.all_home  # It is paged first: it may be there.
    box.cursor = 5
    assert box.all_home
    box.sent(6, b"job", 10)
    assert not box.all_home


def test_in_a_full_exchange_nothing_is_home_before_all_has_a_new_number() -> None:
    box = sent(outbox(records=9), 1, 2, 3)
    box.relayed = {1: (7, 11), 2: (8, 12), 3: (7, 13)}
    box.went_home(1)
    box.restart(3)
    assert (box.void, box.renumbering, box.home) == (3, True, 1)
    # It says so of what it takes as received.
    assert box.went_home(3) == []
    sent(box, 4, 5)
    box.relayed[4] = box.relayed.pop(2)
    assert box.went_home(4) == []
    assert (box.home, box.relayed) == (1, {3: (7, 13), 4: (8, 12)})
    assert not box.all_home
    # No record carries 3 any more, and 4 has come home meanwhile.
    assert box.renumbered() == [(7, 13), (8, 12)]
    assert (box.home, box.relayed, box.renumbering) == (4, {}, False)
    assert box.went_home(5) == []
    assert box.home == 5


def test_a_full_exchange_that_begins_anew_forgets_what_was_said_in_the_first() -> None:
    box = sent(outbox(records=9), 1)
    box.restart(1)
    sent(box, 2)
    box.went_home(2)
    box.relayed = {2: (7, 12)}
    box.restart(1)
    sent(box, 3)
    box.relayed = {3: box.relayed.pop(2)}
    assert box.renumbered() == []
    assert (box.home, box.relayed) == (2, {3: (7, 12)})
    assert box.went_home(3) == [(7, 12)]


# -- inbox --------------------------------------------------------------------------------------------------------


def test_a_new_inbox_has_no_position() -> None:
    box = Inbox()
    assert (box.received, box.home) == (NO_POSITION, 0)


def test_taking_records_moves_the_position() -> None:
    box = Inbox()
    box.start((INC, 4))
    box.take(9)
    assert (box.received, box.home) == ((INC, 9), 9)


def test_a_position_names_the_opening_that_greeted_last() -> None:
    box = Inbox((INC, 9))
    box.resume(b"j" * 8)
    assert box.received == (b"j" * 8, 9)
    box.take(11)
    assert box.received == (b"j" * 8, 11)


def test_home_stays_below_the_first_outcome_that_is_away() -> None:
    box = Inbox((INC, 4), floor=2)
    for number in (5, 6, 7):
        box.take(number)
    box.away = {6: None, 7: None}
    assert box.home == 5
    box.came_home(7)
    assert box.home == 5
    box.came_home(6)
    assert box.home == 7
    box.came_home(6)
    assert box.home == 7


def test_home_never_falls_below_its_floor() -> None:
    box = Inbox((INC, 9), floor=8)
    box.away = {3: None}
    assert box.home == 8


def test_strays_of_an_earlier_opening_hold_home_at_its_floor() -> None:
    box = Inbox((INC, 9), floor=3)
    box.strays = 2
    box.take(12)
    assert box.home == 3
    box.came_home(0)
    assert box.home == 3
    box.came_home(0)
    assert box.home == 12
    box.came_home(0)
    assert box.strays == 0


def test_refusals_are_repeated_until_they_are_confirmed() -> None:
    box = Inbox((INC, 9))
    for number in (7, 5, 9):
        box.refuse(number, "no_card", f"of {number}")
    assert box.refusals(2) == [[5, "no_card", "of 5"], [7, "no_card", "of 7"]]
    assert box.refusals(9) == box.refusals(9)
    assert not box.confirmed(4)
    assert box.confirmed(7)
    assert box.refusals(9) == [[9, "no_card", "of 9"]]
    assert not box.confirmed(7)
    assert box.confirmed(9)
    assert box.refusals(9) == []


def test_a_confirmed_refusal_is_said_again_on_the_next_link_until_a_later_record_came() -> None:
    """No position shows that the peer lost what it confirmed before it gave out another number."""
    box = Inbox((INC, 9))
    box.refuse(9, "busy", "full")
    box.confirmed(9)
    assert (box.refusals(9), box.home) == ([], 9)
    box.resume(INC)
    assert box.refusals(9) == [[9, "busy", "full"]]
    box.confirmed(9)
    box.take(12)
    box.resume(INC)
    assert box.refusals(9) == []


def test_a_full_exchange_forgets_refusals() -> None:
    box = Inbox((INC, 9))
    for number in (7, 9):
        box.refuse(number, "busy", "full")
    box.confirmed(7)
    box.start((INC, 12))
    box.resume(INC)
    assert box.refusals(9) == []


def test_an_exchange_that_is_over_counts_all_that_the_peer_told_as_received() -> None:
    box = Inbox((INC, 7))
    box.told(9)
    assert (box.number, box.home) == (9, 9)
    box.take(11)
    box.told(9)
    assert box.number == 11


@pytest.mark.parametrize("records", [0, 1])
def test_a_window_of_one_or_none(records: int) -> None:
    box = outbox(records=records)
    assert box.room is bool(records)
