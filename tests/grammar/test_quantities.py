"""Amounts are exact, at the edges of each unit too."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from grammar.errors import GrammarError
from grammar.quantities import MAX_AMOUNT, Allocation, StorageSize, Usage

AMOUNTS = st.integers(0, MAX_AMOUNT) | st.integers(0, 5000).map(lambda count: count * 2**40)


@pytest.mark.parametrize(
    ("text", "seconds", "canonical"),
    [
        ("0", 0, "0 seconds"),
        ("1", 1, "1 second"),
        ("+5 s", 5, "5 seconds"),
        ("59 seconds", 59, "59 seconds"),
        ("60", 60, "1 minute"),
        ("10 hours", 36_000, "10 hours"),
        ("10 H", 36_000, "10 hours"),
        (" 90  minute ", 5_400, "90 minutes"),
        ("24 h", 86_400, "1 day"),
        ("2 Days", 172_800, "2 days"),
        ("3601", 3_601, "3601 seconds"),
        (str(MAX_AMOUNT), MAX_AMOUNT, f"{MAX_AMOUNT} seconds"),
    ],
)
def test_usage(text: str, seconds: int, canonical: str) -> None:
    usage = Usage.parse(text)
    assert (usage.seconds, str(usage)) == (seconds, canonical)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("10h", 1),
        ("-1", 1),
        ("1.5 hours", 1),
        ("ten hours", 1),
        ("10 weeks", 4),
        ("10 hours more", 10),
        ("10 ｓ", 4),
        (str(MAX_AMOUNT + 1), 1),
        (f"{MAX_AMOUNT} days", 1),
        ("9" * 41, 1),
    ],
)
def test_usage_refused(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        Usage.parse(text)
    assert caught.value.column == column


@given(AMOUNTS)
def test_usage_round_trip(seconds: int) -> None:
    assert Usage.parse(str(Usage(seconds))).seconds == seconds


def test_usage_arithmetic() -> None:
    assert Usage(60) + Usage(30) == Usage(90)
    assert Usage(60) - Usage(90) == Usage(0)
    assert Usage(10) * 1.5 == Usage(15)
    assert Usage(10) / 3 == Usage(3)
    assert Usage(10) / 0 == Usage(0)
    assert Usage(60) < Usage(61) <= Usage(61)
    assert max(Usage(5), Usage(90)) == "90 seconds"
    assert Usage(5_400).hours() == 1.5
    with pytest.raises(GrammarError):
        Usage(MAX_AMOUNT) + Usage(1)
    with pytest.raises(GrammarError):
        Usage(-1)
    with pytest.raises(TypeError):
        assert Usage(1) < StorageSize(2)


@pytest.mark.parametrize(
    ("text", "size", "canonical"),
    [
        ("0B", 0, "0B"),
        ("1B", 1, "1B"),
        ("1023B", 1023, "1023B"),
        ("1024B", 1024, "1KB"),
        ("1025B", 1025, "1025B"),
        ("1500GB", 1_610_612_736_000, "1500GB"),
        ("1.5 kb", 1536, "1536B"),
        ("0.1KB", 102, "102B"),
        (" 2 terabytes ", 2 * 2**40, "2TB"),
        ("1 KILOBYTES", 1024, "1KB"),
        ("5.B", 5, "5B"),
        (".5KB", 512, "512B"),
        ("1 000 GB", 1000 * 2**30, "1000GB"),
        ("16383PB", 16383 * 2**50, "16383PB"),
        ("9007199254740993B", 9007199254740993, "9007199254740993B"),
        (f"{MAX_AMOUNT}B", MAX_AMOUNT, f"{MAX_AMOUNT}B"),
    ],
)
def test_storage_size(text: str, size: int, canonical: str) -> None:
    value = StorageSize.parse(text)
    assert (value.bytes, str(value)) == (size, canonical)


@pytest.mark.parametrize(
    ("text", "column"),
    [("", 1), ("GB", 1), ("10", 3), ("10 XB", 4), ("1.2.3GB", 1), (".GB", 1), ("-1GB", 1), ("GB10", 1), ("16384PB", 1)],
)
def test_storage_size_refused(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        StorageSize.parse(text)
    assert caught.value.column == column


@given(AMOUNTS)
def test_storage_size_round_trip(size: int) -> None:
    assert StorageSize.parse(str(StorageSize(size))).bytes == size


def test_storage_size_arithmetic() -> None:
    assert StorageSize(1) + StorageSize(2) == StorageSize(3)
    assert StorageSize(1) - StorageSize(2) == StorageSize(0)
    assert StorageSize(3) * 2 == StorageSize(6)
    assert StorageSize(7) // 2 == StorageSize(3)
    assert StorageSize(7) > StorageSize(2)


@pytest.mark.parametrize(
    ("text", "amount", "units", "canonical"),
    [
        ("1000 NHR", "1000", "NHR", "1000 NHR"),
        ("1e5 node hours", "100000", "NHR", "100000 NHR"),
        ("1000.50 GPU  hour", "1000.5", "GPUHR", "1000.5 GPUHR"),
        ("5 cpuhr", "5", "CPUHR", "5 CPUHR"),
        ("5. Core Hours", "5", "COREHR", "5 COREHR"),
        (".5 gb hours", "0.5", "GBHR", "0.5 GBHR"),
        ("0 billing hour", "0", "BHR", "0 BHR"),
        ("-0 NHR", "0", "NHR", "0 NHR"),
        ("0.10000000000000000000000000000001 NHR", "0.10000000000000000000000000000001", "NHR", None),
        ("7 Tape Mounts", "7", "tape mounts", "7 tape mounts"),
    ],
)
def test_allocation(text: str, amount: str, units: str, canonical: str | None) -> None:
    allocation = Allocation.parse(text)
    assert (allocation.amount, allocation.units) == (Decimal(amount), units)
    assert str(allocation) == (canonical or text)


@pytest.mark.parametrize("text", ["none", " No Allocation ", "NONE"])
def test_no_allocation(text: str) -> None:
    assert Allocation.parse(text) == Allocation()
    assert str(Allocation()) == "No allocation"


@pytest.mark.parametrize(
    "text", ["", "1000", "NHR", "-1 NHR", "inf NHR", "nan NHR", "1_000 NHR", "1e9999 NHR", "1e400 NHR", "１ NHR"]
)
def test_allocation_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        Allocation.parse(text)


@given(st.decimals(0, allow_nan=False, allow_infinity=False), st.sampled_from(["NHR", "BHR", "tape mounts"]))
def test_allocation_round_trip(amount: Decimal, units: str) -> None:
    try:
        allocation = Allocation.parse(f"{amount} {units}")
    except GrammarError:
        assert abs(amount.adjusted()) > 300
        return
    assert allocation.amount == amount
    assert Allocation.parse(str(allocation)) == allocation


def test_allocations_are_ordered_within_a_unit() -> None:
    assert Allocation.parse("1 NHR") < Allocation.parse("2 node hours")
    with pytest.raises(TypeError):
        assert Allocation.parse("1 NHR") < Allocation.parse("2 BHR")


def test_json_of_the_reference_system_is_read() -> None:
    assert TypeAdapter(Usage).validate_json('{"seconds": 60}') == Usage(60)
    assert TypeAdapter(StorageSize).validate_json("1024") == StorageSize(1024)
