"""What is said when there is no room: one code, one cause and one fix each."""

from __future__ import annotations

import pytest

from mesh.errors import Busy, DiskFull, StoreAtLimit
from mesh.room import Room, refused_put, why_none


@pytest.mark.parametrize(
    ("room", "kind", "word", "fix"),
    [(Room.DISK_FULL, DiskFull, "disk_full", "free space"), (Room.STORE_FULL, StoreAtLimit, "store_full", "max_bytes")],
)
def test_each_want_of_room_has_its_error(room: Room, kind: type[Busy], word: str, fix: str) -> None:
    error = refused_put(room, "portal")
    assert type(error) is kind
    assert word in error.message
    assert '"portal"' in error.message
    assert fix in error.fix
    assert error.exit_code == 3
    assert word in why_none(room, "portal")


def test_with_room_nothing_is_said() -> None:
    assert why_none(Room.ENOUGH, "portal") == ""
