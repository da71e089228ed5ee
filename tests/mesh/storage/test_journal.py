"""The journal as a file: what it gives back, where it writes, what is damage and what a power cut."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import StoreError
from mesh.storage import journal
from mesh.storage.journal import SECTOR, Journal

MARK = b"our mark"


def file_of(path: Path) -> Path:
    return Path(f"{path}.journal")


def opened(path: Path, folded: int = 0, known: int = 0, mark: bytes = MARK) -> tuple[Journal, list[bytes]]:
    made = Journal(path)
    return made, made.open(mark, folded, known)


def found(path: Path, folded: int = 0, known: int = 0, mark: bytes = MARK) -> list[bytes]:
    return opened(path, folded, known, mark)[1]


def filled(path: Path, *contents: bytes, mark: bytes = MARK) -> bytes:
    """A journal with these entries, left by a process that died; gives its bytes."""
    made, _ = opened(path, mark=mark)
    for place, content in enumerate(contents, 1):
        made.append(place, content)
    made.close()
    return file_of(path).read_bytes()


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Files grow to `size` bytes and no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- what it gives back ---


def test_entries_come_back_in_order_from_where_the_tables_end(path: Path) -> None:
    filled(path, b"one", b"two" * 1_000, b"", b"four")
    assert found(path) == [b"one", b"two" * 1_000, b"", b"four"]
    assert found(path, 2, 4) == [b"", b"four"]
    assert found(path, 4) == found(path, 9) == []


def test_without_a_file_there_is_nothing(path: Path) -> None:
    made, contents = opened(path, 7, 7)
    made.close()
    made.remove()
    assert contents == []
    assert not file_of(path).exists()


def test_it_is_for_its_owner_alone_and_no_link_is_followed(path: Path) -> None:
    filled(path, b"one")
    assert file_of(path).stat().st_mode & 0o777 == 0o600
    file_of(path).unlink()
    file_of(path).symlink_to(path.parent / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        filled(path, b"one")


def test_it_is_removed_only_when_nothing_in_it_is_needed(path: Path) -> None:
    made, _ = opened(path)
    made.append(1, b"one")
    made.append(2, b"two")
    made.forget(1)
    made.remove()
    assert found(path, 1) == [b"two"]
    made.forget(2)
    made.remove()
    assert not file_of(path).exists()


def test_entries_begin_at_sectors_and_the_file_grows_ahead(path: Path) -> None:
    data = filled(path, b"a" * 10, b"b" * SECTOR)
    assert data.index(b"HopJ", 1) == SECTOR
    assert len(data) == journal._CHUNK


# --- where it writes ---


@pytest.mark.interpreted
@given(seed=st.integers(0, 1_000_000))
def test_no_entry_that_is_needed_is_written_over(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Entries come and go; at any moment another process finds what is needed."""
    random, path = Random(seed), tmp_path_factory.mktemp("journal") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "LENGTH", 8 * SECTOR)
        patch.setattr(journal, "_CHUNK", 2 * SECTOR)
        made, _ = opened(path)
        folded, needed = 0, dict[int, bytes]()
        for _ in range(random.randrange(60)):
            place = folded + len(needed) + 1
            if random.random() < 0.7:
                needed[place] = random.randbytes(random.choice((5, 400, 1_500, 6_000)))
                made.append(place, needed[place])
            elif random.random() < 0.8:
                folded += random.randint(0, len(needed))
                needed = {kept: content for kept, content in needed.items() if kept > folded}
                made.forget(folded)
            else:
                made.close()
                made, contents = opened(path, folded, place - 1)
                assert contents == list(needed.values())
            assert found(path, folded, folded + len(needed)) == list(needed.values())
        made.close()


def test_it_begins_anew_from_its_start(path: Path) -> None:
    made, _ = opened(path)
    for place in range(1, 100):
        made.append(place, b"x" * 200_000)
        made.forget(place)
    assert file_of(path).stat().st_size == journal._CHUNK
    made.append(100, b"last")
    assert found(path, 99) == [b"last"]
    made.close()


@pytest.mark.interpreted
def test_it_goes_round_in_itself_as_long_as_half_of_it_is_enough(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Round after round its end follows its beginning: it neither grows nor looks at every entry that is needed."""
    monkeypatch.setattr(journal, "LENGTH", 64 * SECTOR)
    monkeypatch.setattr(journal, "_CHUNK", 8 * SECTOR)
    made, _ = opened(path)
    starts = []
    for place in range(1, 1_001):
        made.append(place, b"x")
        made.forget(place - 30)
        starts.append(made._needed[-1][1] // SECTOR)
    assert starts == [place % 64 for place in range(1_000)]
    assert file_of(path).stat().st_size == 64 * SECTOR
    made.close()


# --- a power cut, and damage ---


def test_a_torn_last_entry_was_told_to_nobody(path: Path) -> None:
    data = filled(path, b"one", b"two" * 300)
    start = data.index(b"HopJ", 1)
    for place in range(start, start + 900, 7):
        file_of(path).write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        assert found(path) == [b"one"]
    for size in range(start, start + 900, 13):
        file_of(path).write_bytes(data[:size])
        assert found(path) == [b"one"]


def test_a_broken_entry_before_others_is_damage(path: Path) -> None:
    data = filled(path, b"one", b"two" * 300, b"three")
    start = data.index(b"HopJ", 1)
    for place in (*range(start, start + 900, 7), 3, 30):
        file_of(path).write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(sqlite3.DatabaseError, match="commits are missing"):
            found(path)
    assert found(path, 2) == [b"three"], "one that is not needed may be broken"


def test_an_entry_that_the_store_knew_of_may_not_be_missing(path: Path) -> None:
    filled(path, b"one", b"two")
    assert found(path, 0, 2) == [b"one", b"two"]
    for folded in (0, 2):
        with pytest.raises(sqlite3.DatabaseError, match="commits are missing"):
            found(path, folded, 3)
    file_of(path).unlink()
    with pytest.raises(sqlite3.DatabaseError, match="commits are missing"):
        found(path, 0, 2)


def test_a_journal_fits_one_state_of_the_tables(path: Path) -> None:
    made, _ = opened(path)
    made.append(7, b"seven")
    made.append(8, b"eight")
    assert found(path, 6) == [b"seven", b"eight"]
    with pytest.raises(sqlite3.DatabaseError, match="commits are missing"):
        found(path, 5)
    made.close()


def test_the_journal_of_another_store_is_refused(path: Path) -> None:
    filled(path, b"one")
    with pytest.raises(StoreError, match="the journal of another store") as refused:
        found(path, mark=b"not ours")
    assert "its own journal" in refused.value.fix


def test_what_somebody_wrote_into_a_fact_is_no_entry(path: Path) -> None:
    """An entry of another store, word for word, within one of ours; and within one of ours that is not whole."""
    other = filled(path, b"false", mark=b"not ours")[:SECTOR]
    file_of(path).unlink()
    gap = SECTOR - journal._BEFORE
    data = filled(path, b"one", bytes(gap) + other + b"rest")
    assert found(path) == [b"one", bytes(gap) + other + b"rest"]
    start = data.index(b"HopJ", 1)
    file_of(path).write_bytes(data[: start + 5] + b"\xff" + data[start + 6 :])
    assert found(path) == [b"one"]


# --- a disk that is full, or fails ---


def test_without_room_to_grow_ahead_an_entry_alone_is_written(path: Path) -> None:
    made, _ = opened(path)
    with limited(4 * SECTOR):
        made.append(1, b"one")
        made.append(2, b"two" * 300)
        with pytest.raises(OSError) as raised:
            made.append(3, b"three" * 500)
        assert raised.value.errno == errno.EFBIG
        assert found(path) == [b"one", b"two" * 300]
    made.append(3, b"another")
    assert found(path) == [b"one", b"two" * 300, b"another"]
    made.close()


@pytest.mark.interpreted
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_after_a_failed_sync_nothing_is_certain(path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    made, _ = opened(path)

    def fail(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwritev", fail)
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError) as raised:
        made.append(1, b"one")
    assert raised.value.errno == errno.EIO, "no room is what the next one may be tried on"
    made.close()
