"""Quotas keep their sizes exactly, and unlimited is more than any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from grammar.errors import GrammarError
from grammar.quantities import MAX_AMOUNT, StorageSize
from grammar.quotas import Quota, QuotaLimit, Volume

SIZES = st.integers(0, MAX_AMOUNT).map(StorageSize)
LIMITS = st.none().map(lambda _: QuotaLimit()) | SIZES.map(QuotaLimit)


@pytest.mark.parametrize(
    ("text", "size"),
    [("unlimited", None), (" UNLIMITED ", None), ("10 G B", 10 * 2**30), ("1500GB", 1500 * 2**30), ("1 0 kb", 10240)],
)
def test_limit(text: str, size: int | None) -> None:
    limit = QuotaLimit.parse(text)
    assert (None if limit.size is None else limit.size.bytes) == size
    assert limit.unlimited is (size is None)


@pytest.mark.parametrize("text", ["", "none", "10", "10GB used 5GB", "un limited"])
def test_limit_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        QuotaLimit.parse(text)


def test_limits_are_ordered() -> None:
    assert QuotaLimit.parse("1TB") > QuotaLimit.parse("1023GB")
    assert QuotaLimit() > QuotaLimit(StorageSize(MAX_AMOUNT))
    assert QuotaLimit.of(5) == "5B"


@given(LIMITS, st.none() | SIZES)
def test_round_trip(limit: QuotaLimit, used: StorageSize | None) -> None:
    quota = Quota(limit, used)
    again = Quota.parse(str(quota))
    assert (again, again.limit, again.used) == (quota, limit, used)
    assert QuotaLimit.parse(str(limit)) == limit


def test_quota() -> None:
    quota = Quota.parse(" 100 GB  USED 25 GB ")
    assert str(quota) == "100GB used 25GB"
    assert (quota.percentage, quota.exceeded) == (25.0, False)
    assert Quota.parse("1B used 2B").exceeded
    assert Quota.parse("unlimited used 1TB").percentage is None
    assert not Quota.parse("unlimited used 1TB").exceeded
    assert Quota.parse("1TB").percentage is None


@pytest.mark.parametrize(
    "text", ["", "used", "used 5GB", "5GB used", "5GB used 1GB used 1GB", "5GBused1GB", "5GB 1GB x"]
)
def test_quota_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        Quota.parse(text)


def test_volume() -> None:
    assert Volume.parse(" scratch ") == "scratch"
    for text in ("", "a b"):
        with pytest.raises(GrammarError):
            Volume.parse(text)


def test_json_of_the_reference_system_is_read() -> None:
    quota = TypeAdapter(Quota).validate_json('{"limit": "5.00 TB", "usage": "2.50 GB"}')
    assert quota == Quota.parse("5TB used 2560MB")
    assert TypeAdapter(Quota).validate_json('{"limit": "unlimited"}') == Quota()
