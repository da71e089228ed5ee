"""Admission: caps and rates, on a clock that is a number."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.limits import Limits
from mesh.transport.admission import Admission, ListenerLimits, Refusal, source_group

WIDE = ListenerLimits(half_open=10_000, half_open_per_source=10_000)


def test_the_defaults_are_those_of_the_limits():
    assert ListenerLimits.of(Limits()) == ListenerLimits()


@pytest.mark.parametrize("name", ["half_open", "handshakes_per_s", "handshakes_burst", "handshake_s", "sources"])
def test_a_limit_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=name):
        ListenerLimits(**{name: 0})


def test_a_burst_then_the_rate():
    admission = Admission(WIDE)
    assert [admission.admit("10.0.0.1", 100.0) for _ in range(21)] == [None] * 20 + [Refusal.RATE]
    assert admission.admit("10.0.0.1", 100.19) is Refusal.RATE
    assert admission.admit("10.0.0.1", 100.2) is None
    assert admission.admit("10.0.0.1", 100.2) is Refusal.RATE
    assert admission.admit("10.0.0.2", 100.2) is None
    # Four seconds of silence fill the bucket again, and no further.
    assert [admission.admit("10.0.0.1", 200.0) for _ in range(21)] == [None] * 20 + [Refusal.RATE]
    assert admission.refused[Refusal.RATE] == 4


def test_half_open_per_source_and_in_all():
    admission = Admission(ListenerLimits(half_open=6))
    assert [admission.admit("10.0.0.1", 0.0) for _ in range(5)] == [None] * 4 + [Refusal.HALF_OPEN_PER_SOURCE]
    assert [admission.admit(f"10.0.1.{n}", 0.0) for n in range(3)] == [None, None, Refusal.HALF_OPEN]
    assert admission.half_open == 6
    admission.leave("10.0.0.1")
    assert admission.admit("10.0.0.1", 0.0) is None
    assert admission.refused == {Refusal.HALF_OPEN: 1, Refusal.HALF_OPEN_PER_SOURCE: 1, Refusal.RATE: 0}


def test_a_refused_connection_costs_its_source_nothing():
    admission = Admission(ListenerLimits(half_open_per_source=1, handshakes_burst=2))
    assert admission.admit("10.0.0.1", 0.0) is None
    for _ in range(100):
        assert admission.admit("10.0.0.1", 0.0) is Refusal.HALF_OPEN_PER_SOURCE
    admission.leave("10.0.0.1")
    assert admission.admit("10.0.0.1", 0.0) is None


def test_sources_beyond_the_bound_are_forgotten_oldest_first():
    admission = Admission(ListenerLimits(half_open=100, handshakes_burst=1, sources=2))
    for source in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        assert admission.admit(source, 0.0) is None
    assert admission.admit("10.0.0.2", 0.0) is Refusal.RATE
    assert admission.admit("10.0.0.1", 0.0) is None


@pytest.mark.parametrize(
    ("source", "group"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("portal", "portal"),
    ],
)
def test_what_counts_as_one_source(source, group):
    assert source_group(source) == group


@given(st.lists(st.tuples(st.sampled_from(["admit", "leave"]), st.integers(0, 4), st.floats(0, 2)), max_size=120))
def test_caps_and_rates_hold_for_every_history(steps):
    limits = ListenerLimits(half_open=6, half_open_per_source=3, handshakes_burst=4, handshakes_per_s=2.0)
    admission, now = Admission(limits), 0.0
    open_now: Counter[str] = Counter()
    admitted: dict[str, list[float]] = {}
    for step, number, passed in steps:
        now += passed
        source = f"10.0.0.{number}"
        if step == "leave":
            if open_now[source]:
                open_now[source] -= 1
                admission.leave(source)
        elif admission.admit(source, now) is None:
            open_now[source] += 1
            admitted.setdefault(source, []).append(now)
        assert admission.half_open == open_now.total() <= limits.half_open
        assert max(open_now.values(), default=0) <= limits.half_open_per_source
    for times in admitted.values():
        for first, start in enumerate(times):
            for count, end in enumerate(times[first:], start=1):
                assert count <= limits.handshakes_burst + limits.handshakes_per_s * (end - start) + 1e-4
