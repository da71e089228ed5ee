"""What stores understand of rows."""

from __future__ import annotations

import pytest

from mesh.errors import CorruptRow
from mesh.job import Job
from mesh.lifecycle import Role, State
from mesh.routing import Place
from mesh.row import Row
from mesh.storage.columns import DELETED, DESTINATION, HOP, ORIGIN, number_on, outbox_of, row_of
from tests.mesh.storage.rows import board, row

NULLABLE = {"up_board", "down_board", "up_branch", "down_branch", "due_ms", "key", "facts"}


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


@pytest.mark.parametrize("column", Row._fields)
@pytest.mark.parametrize("value", [None, 7, 0.5, "text", b"bytes"])
def test_a_row_has_the_types_it_is_declared_with_whatever_a_page_holds(column: str, value: object) -> None:
    whole = row(1, due_ms=7, key="again")
    expected = type(getattr(whole, column))
    fits = type(value) is expected or (value is None and column in NULLABLE)
    found = row_of(whole._replace(**{column: value}))
    assert getattr(found, column) == (value if fits else None if column == "key" else expected())
    assert found._replace(**{column: getattr(whole, column)}) == whole, "the others are as they were"


def test_a_row_with_an_emptied_column_is_known_to_be_damaged() -> None:
    whole = Job(b"i" * 26, 5, Role.HOP, 1).row(None)
    noticed = set()
    for column in Row._fields:
        emptied = row_of(whole._replace(**{column: 0.5}))
        try:
            Job.from_row(emptied, lambda _: Place((), 0))
        except CorruptRow:
            noticed.add(column)
        else:
            assert emptied == whole, "it is what was written after all"
    assert noticed >= {"seq", "id", "live", "record", "facts", "check"}
