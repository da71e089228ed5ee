"""Which slot a slice gets, when one is free again, and what is read of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.blobs import SLICE_BYTES, Slice
from mesh.errors import StoreError
from mesh.storage.columns import slice_id
from mesh.storage.slots import SLOT, Slots

LONG = bytes(range(256)) * (SLOT // 256)
SHORT = LONG[: SLOT // 2 - 1]


def file_of(path: Path) -> Path:
    return Path(f"{path}.slices")


def parts(*contents: bytes) -> list[Slice]:
    return [Slice(1, place * SLOT, content) for place, content in enumerate(contents)]


def held(slot: int) -> tuple[object, int]:
    """A slot, with the number of the slice that `parts` put there first."""
    return slot, slice_id(1, slot * SLOT)


@pytest.fixture
def slots(path: Path) -> Iterator[Slots]:
    made = Slots(path)
    made.open(())
    yield made
    made.close()


def test_a_slot_takes_the_longest_slice() -> None:
    assert SLOT == SLICE_BYTES


def test_what_fills_less_than_half_of_a_slot_stays_in_the_table(slots: Slots, path: Path) -> None:
    assert slots.put(parts(SHORT)) == [None]
    slots.keep(())
    assert not file_of(path).exists()
    assert slots.put(parts(LONG, SHORT, SHORT + b"x", LONG)) == [0, None, 1, 2]
    assert slots.size == 3 * SLOT
    assert [slots.read(slot, SLOT)[: len(SHORT)] for slot in (0, 1, 2)] == [
        LONG[: len(SHORT)],
        SHORT,
        LONG[: len(SHORT)],
    ]


def test_what_is_longer_than_a_slot_stays_in_the_table(slots: Slots) -> None:
    """In a slot it would reach into the next one."""
    assert slots.put(parts(LONG + b"x", LONG)) == [None, 0]
    assert slots.read(0, SLOT) == LONG


def test_the_lowest_free_slot_goes_first(slots: Slots) -> None:
    slots.put(parts(LONG, LONG, LONG, LONG))
    slots.keep(())
    slots.put([])
    slots.keep([held(3), held(1)])
    assert slots.size == 2 * SLOT
    assert slots.put(parts(LONG, LONG, LONG)) == [1, 3, 4]


def test_what_was_put_for_nothing_is_free_again(slots: Slots) -> None:
    slots.put(parts(LONG, LONG))
    slots.give_back()
    assert slots.size == 0
    assert slots.put(parts(LONG)) == [0]
    slots.keep(())
    slots.give_back()
    assert slots.size == SLOT


@pytest.mark.parametrize("freed", ["x", None, -1, 7, b"1", 0.0])
def test_a_damaged_row_frees_nothing(slots: Slots, freed: object) -> None:
    slots.put(parts(LONG))
    slots.keep([(freed, slice_id(1, 0))])
    assert slots.put(parts(LONG)) == [1]


def test_only_the_slice_that_is_in_a_slot_frees_it_and_once(slots: Slots) -> None:
    slots.put(parts(LONG, LONG))
    slots.keep([(0, slice_id(1, SLOT)), held(1), held(1)])
    assert slots.size == SLOT
    assert slots.put(parts(LONG, LONG)) == [1, 2]


def test_a_slot_that_is_named_twice_is_in_use_until_the_next_opening(slots: Slots, path: Path) -> None:
    slots.put(parts(LONG, LONG))
    slots.close()
    again = Slots(path)
    again.open([held(0), (0, slice_id(7, 0)), held(1)])
    again.put([])
    again.keep([held(0), (0, slice_id(7, 0))])
    assert again.put(parts(LONG)) == [2]
    again.close()
    again.open([held(1)])
    assert again.put(parts(LONG)) == [0]
    again.close()


def test_at_the_opening_whatever_is_not_named_is_free_and_the_end_is_cut_off(slots: Slots, path: Path) -> None:
    slots.put(parts(*[LONG] * 6))
    slots.close()
    again = Slots(path)
    again.open([held(3), held(1), ("x", 5), (1 << 60, 6), (-2, 7)])
    assert file_of(path).stat().st_size == 4 * SLOT
    assert again.size == 2 * SLOT
    assert again.put(parts(LONG, LONG, LONG)) == [0, 2, 4]
    again.close()
    again.open(())
    assert file_of(path).stat().st_size == 0
    again.close()


def test_a_file_that_is_missing_is_told(path: Path) -> None:
    with pytest.raises(StoreError, match="is missing") as refused:
        Slots(path).open([held(0)])
    assert refused.value.fix


def test_a_file_that_cannot_be_written_is_refused_at_the_opening_and_not_by_the_first_result(path: Path) -> None:
    elsewhere = Path(f"{path}.elsewhere")
    elsewhere.write_bytes(LONG)
    file_of(path).symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        Slots(path).open([held(0)])


def test_what_is_read_beyond_the_end_or_in_no_slot_is_short(slots: Slots, path: Path) -> None:
    assert slots.read(0, 10) == b""
    slots.put(parts(LONG))
    assert slots.read(0, SLOT) == LONG
    assert slots.read(0, 100) == LONG[:100]
    strange: list[tuple[object, object]] = [
        (1, 10),
        (0, SLOT + 1),
        (0, -1),
        (-1, 10),
        (1 << 62, 10),
        ("x", 10),
        (0, None),
    ]
    assert [slots.read(slot, size) for slot, size in strange] == [b""] * len(strange)


def test_a_full_disk_is_told_and_keeps_the_slots_free(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="no room"):
            slots.put(parts(LONG))
    slots.give_back()
    assert slots.put(parts(LONG)) == [0]


def test_what_was_put_is_synced_once(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    slots.put(parts(LONG, LONG, LONG))
    assert len(synced) == 1
    slots.keep(())
    slots.put(parts(SHORT))
    assert len(synced) == 1


def test_slots_in_a_row_are_one_write(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    slots.put(parts(*[LONG] * 6))
    slots.keep([(slot, slice_id(1, slot * SLOT)) for slot in (1, 2, 4)])
    written: list[tuple[int, int]] = []
    real = os.pwrite

    def noted(descriptor: int, data: memoryview, start: int) -> int:
        written.append((start // SLOT, len(data)))
        return real(descriptor, data, start)

    monkeypatch.setattr(os, "pwrite", noted)
    # The last slice of a blob ends within its slot.
    ending = LONG[: SLOT - 5]
    contents = [LONG, SHORT, ending, LONG[::-1], LONG]
    assert slots.put(parts(*contents)) == [1, None, 2, 4, 6]
    assert written == [(1, 2 * SLOT - 5), (4, SLOT), (6, SLOT)]
    assert [slots.read(slot, SLOT) for slot in (1, 4, 6)] == [LONG, LONG[::-1], LONG]
    assert slots.read(2, len(ending)) == ending
    slots.keep(())
    slots.put(parts(ending, LONG))
    assert written[3:] == [(7, SLOT - 5), (8, SLOT)]
