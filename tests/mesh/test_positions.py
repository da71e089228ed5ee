"""Positions: a list of openings holds what it gave out, and not what an older copy of the store never knew."""

from __future__ import annotations

import pytest

from mesh.positions import KEPT, Incarnations

A, B, C = b"a" * 8, b"b" * 8, b"c" * 8
LIST = Incarnations(((A, 1), (B, 10), (C, 25)))


def test_the_current_opening() -> None:
    assert (LIST.current, LIST.first) == (C, 25)
    assert LIST.names() == {A, B, C}


def test_opening_appends() -> None:
    first = Incarnations(()).opened(A, 1)
    assert first.entries == ((A, 1),)
    assert first.opened(B, 10).opened(C, 25) == LIST


@pytest.mark.parametrize(
    ("position", "held"),
    [
        ((A, 0), True),
        ((A, 1), True),
        ((A, 9), True),
        ((A, 10), False),
        ((A, 24), False),
        ((B, 8), True),
        ((B, 9), True),
        ((B, 10), True),
        ((B, 24), True),
        ((B, 25), False),
        ((C, 23), True),
        ((C, 24), True),
        ((C, 25), True),
        ((C, 1 << 60), True),
        ((b"x" * 8, 5), False),
        ((b"", 0), False),
    ],
)
def test_a_position_is_held_below_the_opening_after_the_one_it_names(position: tuple[bytes, int], held: bool) -> None:
    assert LIST.holds(position) is held


def test_a_store_restored_from_an_old_copy_does_not_hold_what_came_after_it() -> None:
    copied = Incarnations(((A, 1),))
    committed = (A, 50)
    assert copied.holds(committed)
    assert not copied.opened(B, 40).holds(committed)
    assert copied.opened(B, 51).holds(committed)


def test_a_copy_does_not_hold_an_opening_that_came_after_it_though_that_gave_out_nothing() -> None:
    copied = Incarnations(((A, 1),))
    assert copied.opened(B, 10).holds((B, 0))
    assert not copied.opened(C, 10).holds((B, 0))


def test_only_the_last_openings_are_kept() -> None:
    openings = Incarnations(())
    for number in range(KEPT + 3):
        openings = openings.opened(number.to_bytes(8, "big"), number + 1)
    assert len(openings.entries) == KEPT
    assert not openings.holds(((0).to_bytes(8, "big"), 1))
    assert openings.holds(((KEPT).to_bytes(8, "big"), KEPT + 1))


def test_a_list_is_told_and_heard() -> None:
    assert Incarnations.heard(LIST.told()) == LIST
