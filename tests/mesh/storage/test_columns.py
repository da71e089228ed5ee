"""What stores understand of rows."""

from __future__ import annotations

from mesh.lifecycle import Role, State
from mesh.storage.columns import DELETED, DESTINATION, HOP, ORIGIN, number_on, outbox_of
from tests.mesh.storage.rows import board, row


def test_roles_and_states_are_told_as_rows_tell_them() -> None:
    roles = tuple(Role)
    assert (roles[ORIGIN], roles[HOP], roles[DESTINATION]) == (Role.ORIGIN, Role.HOP, Role.DESTINATION)
    assert tuple(State)[DELETED] is State.DELETED


def test_a_number_belongs_to_one_board() -> None:
    job = row(1, up_board=3, up_number=7, down_board=4, down_number=8)
    assert [number_on(job, number) for number in (3, 4, 5)] == [7, 8, 0]


def test_home_is_read_from_the_board() -> None:
    outbox = outbox_of(board(1, home=42, last=50))
    assert (outbox.home, outbox.last) == (42, 50)
