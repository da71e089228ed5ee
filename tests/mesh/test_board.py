"""A board: what a link forgets, what a store keeps, and who may offer."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.board import Board, count
from mesh.exchange import MAX_REFUSED
from mesh.facts import job_id_of, made_ms
from mesh.limits import Limits

FP = b"f" * 20


def board() -> Board:
    return Board(3, "lab", "cluster", FP, Limits(window_records=2))


def ready() -> Board:
    made = board()
    made.open, made.credit = True, 2
    return made


def test_a_new_board_is_closed_and_proves_nothing() -> None:
    made = board()
    assert (made.open, made.proved, made.credit, made.exchanging) == (False, False, None, False)
    assert repr(made) == "<board cluster@lab>"


def test_closing_forgets_the_link_and_keeps_the_rest() -> None:
    made = ready()
    made.proved = made.exchanging = made.paging = made.all_sent = True
    made.halted.add("0:")
    made.cards.add(FP)
    made.offered["0:"] = 1
    made.inbox.refuse(12, "busy", "full")
    made.peer_all_sent, made.exchange_after = 5, 6
    made.close()
    assert (made.open, made.credit, made.halted, made.cards) == (False, None, set(), set())
    assert (made.paging, made.all_sent, made.peer_all_sent, made.exchange_after) == (False, False, None, 0)
    assert (made.proved, made.exchanging, made.offered) == (True, True, {"0:": 1})
    assert made.inbox.refused == {12: ("busy", "full")}


def closed(made: Board) -> None:
    made.open = False


def without_credit(made: Board) -> None:
    made.credit = None


def without_room_for_the_branch(made: Board) -> None:
    made.offered["0:x"] = 2


def halted(made: Board) -> None:
    made.halted.add("0:x")


def with_a_full_window(made: Board) -> None:
    for number in (1, 2):
        made.outbox.last = number
        made.outbox.sent(number, b"job", 1)


def behind(made: Board) -> None:
    made.outbox.last = 1


def test_a_board_may_offer() -> None:
    made = ready()
    made.offered["0:other"] = 2
    made.halted.add("0:third")
    assert made.may_offer("0:x")
    made.offered["0:x"] = 1
    assert made.may_offer("0:x")


@pytest.mark.parametrize(
    "change", [closed, without_credit, without_room_for_the_branch, halted, with_a_full_window, behind]
)
def test_a_board_may_not_offer(change: Any) -> None:
    made = ready()
    change(made)
    assert not made.may_offer("0:x")


@pytest.mark.parametrize("keywords", [None, frozenset(), frozenset({"add_user", "remove_user"})])
def test_a_row_is_read_back(keywords: frozenset[str] | None) -> None:
    made = ready()
    made.kind, made.keywords, made.exchanging, made.proved = "instance", keywords, True, True
    made.outbox.last, made.outbox.acked, made.outbox.home = 9, 7, 5
    made.inbox.start((b"i" * 8, 12))
    made.inbox.away = {11: None}
    made.inbox.refuse(12, "busy", "full")
    made.inbox.settled = {11: ("no_card", "none")}
    made.inbox.superseded = frozenset({b"x" * 8, b"a" * 8})
    made.wanted = {b"j" * 26, b"k" * 26}
    row = made.row()
    assert (row.id, row.zone, row.name, row.fingerprint) == (3, "lab", "cluster", FP)
    again = Board.from_row(row, Limits())
    assert (again.id, again.zone, again.name, again.fingerprint) == (3, "lab", "cluster", FP)
    assert (again.outbox.last, again.outbox.acked, again.outbox.home) == (9, 7, 5)
    assert (again.inbox.received, again.inbox.floor) == ((b"i" * 8, 12), 10)
    assert again.inbox.refused == {12: ("busy", "full")}
    assert again.inbox.settled == {11: ("no_card", "none")}
    assert again.wanted == made.wanted
    assert again.inbox.superseded == made.inbox.superseded
    assert (again.kind, again.keywords, again.exchanging) == ("instance", keywords, True)
    assert (again.open, again.proved, again.credit) == (False, False, None)


def test_a_board_of_an_agent_that_was_never_here() -> None:
    made = Board(1, "lab", "cluster", None, Limits())
    again = Board.from_row(made.row(), Limits())
    assert (again.fingerprint, again.inbox.received) == (None, (b"", 0))


def test_a_row_holds_every_refusal_that_may_wait() -> None:
    made = board()
    for number in range(MAX_REFUSED):
        made.inbox.refuse(number, "malformed", "x" * 1_000)
    assert Board.from_row(made.row(), Limits()).inbox.refused == made.inbox.refused


def test_counts_drop_at_zero() -> None:
    counts: dict[str, int] = {}
    count(counts, "0:x", 1)
    count(counts, "0:x", 1)
    count(counts, "0:y", 1)
    count(counts, "0:x", -1)
    assert counts == {"0:x": 1, "0:y": 1}
    count(counts, "0:x", -1)
    count(counts, "0:z", -1)
    assert counts == {"0:y": 1}


def test_what_nobody_can_have_any_more_is_not_asked_for() -> None:
    made = board()
    made.wanted = {job_id_of(at_ms, b"") for at_ms in (1_000, 2_000, 3_000)}
    made.want_no_more(2_000)
    assert sorted(map(made_ms, made.wanted)) == [2_000, 3_000]
