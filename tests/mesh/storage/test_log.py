"""The log of a store that was not closed: what breaks off in a power cut, and what is damage."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from mesh.errors import StoreError
from mesh.storage.database import connect_writer
from mesh.storage.log import lost_commits
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import board, large_row, put_down

FRAME = 24 + 4096
HEAD = 32


@pytest.fixture
def left(path: Path) -> bytearray:
    """The log of a store that died after a few commits; the store is at `path`, without its log."""
    store = SqliteStore(path)
    store.open()
    for seq in range(1, 6):
        put_down(store, large_row(seq), boards=[board(1, last=seq)])
    database, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    store.close()
    path.write_bytes(database)
    return bytearray(log)


def is_damage(path: Path, log: bytes) -> bool:
    Path(f"{path}-wal").write_bytes(log)
    return lost_commits(path)


def ends(log: bytes) -> list[int]:
    """Where the frames that end a commit begin."""
    return [start for start in range(HEAD, len(log), FRAME) if int.from_bytes(log[start + 4 : start + 8], "big")]


def test_a_whole_log_is_no_damage(path: Path, left: bytearray) -> None:
    assert not lost_commits(path)
    assert not is_damage(path, left)
    assert not is_damage(path, b"")


@pytest.mark.parametrize("part", [0, 9, 17, 24, 4_000])
def test_a_broken_frame_before_whole_commits_is_damage(path: Path, left: bytearray, part: int) -> None:
    left[ends(left)[1] + part] ^= 4
    assert is_damage(path, left)
    with pytest.raises(StoreError, match="commits in it cannot be read") as raised:
        connect_writer(path)
    assert "restore a copy" in raised.value.fix
    assert Path(f"{path}-wal").read_bytes() == left


def test_a_broken_last_commit_is_what_a_power_cut_leaves(path: Path, left: bytearray) -> None:
    last = ends(left)[-2] + FRAME
    for place in range(last, len(left), 509):
        torn = bytearray(left)
        torn[place] ^= 1
        assert not is_damage(path, torn)
    for size in range(0, len(left), 1_021):
        assert not is_damage(path, left[:size])


@pytest.mark.parametrize("place", [0, 17, 25])
def test_a_broken_head_is_damage_unless_all_is_written_back(path: Path, left: bytearray, place: int) -> None:
    left[place] ^= 4
    assert is_damage(path, left)
    # As a cut while the log began anew may leave it: the database has it all.
    left[place] ^= 4
    Path(f"{path}-wal").write_bytes(left)
    with closing(connect_writer(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
        left[place] ^= 4
        database = path.read_bytes()
    path.write_bytes(database)
    assert not is_damage(path, left)
