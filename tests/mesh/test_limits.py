"""Limits: the defaults of PROTOCOL.md 14, and settings that are refused with a fix."""

from __future__ import annotations

from dataclasses import fields
from math import inf, nan

import pytest

from mesh.errors import LimitError
from mesh.limits import FRAME_BYTES, Limits


def test_the_defaults_are_those_of_the_design() -> None:
    limits = Limits()
    assert FRAME_BYTES == 65_535 - 16
    assert (limits.preauth_bytes, limits.request_bytes, limits.result_bytes) == (2_048, 32_768, 32_768)
    assert (limits.instruction_bytes, limits.path_hops) == (4_096, 16)
    assert (limits.credit_jobs, limits.waiting_jobs) == (20_000, 100_000)
    assert (limits.window_records, limits.window_bytes) == (4_096, 1_048_576)
    assert (limits.life_s, limits.life_max_s, limits.run_s, limits.future_s) == (3_600, 30 * 86_400, 3_600, 120)
    assert (limits.handlers, limits.handlers_per_peer) == (256, 256)
    assert (limits.ping_s, limits.dead_s) == (10, 25)
    assert (limits.half_open, limits.half_open_per_source) == (64, 4)
    assert (limits.handshakes_per_s, limits.handshakes_burst) == (5, 20)


def test_the_horizon_is_run_limit_and_three_skews_and_an_hour() -> None:
    assert Limits().horizon_s == 3_600 + 180 + 3_600
    assert Limits(run_s=10).horizon_s == 10 + 180 + 3_600


def test_settings_make_a_copy_and_keep_the_type_of_each_limit() -> None:
    limits = Limits()
    changed = limits.with_settings({"handlers": 8, "life_s": 60, "ping_s": 1.5})
    assert (changed.handlers, changed.life_s, changed.ping_s) == (8, 60.0, 1.5)
    assert type(changed.life_s) is float
    assert limits == Limits()
    assert limits.with_settings({}) == limits


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, True, "10", None])
def test_a_limit_is_a_positive_number(name: str, value: object) -> None:
    with pytest.raises(LimitError) as caught:
        Limits().with_settings({name: value})  # type: ignore[dict-item]
    assert name in str(caught.value)
    assert caught.value.fix == f"the default is {getattr(Limits(), name)}"


@pytest.mark.parametrize("value", [nan, inf])
@pytest.mark.parametrize("name", ["handlers", "life_s"])
def test_a_limit_is_finite(name: str, value: float) -> None:
    with pytest.raises(LimitError):
        Limits().with_settings({name: value})


def test_a_whole_limit_is_never_0() -> None:
    with pytest.raises(LimitError):
        Limits().with_settings({"handlers": 0.5})


@pytest.mark.parametrize(("name", "fix"), [("handler", 'did you mean "handlers"?'), ("colour", "remove it")])
def test_an_unknown_limit_is_named_with_the_nearest(name: str, fix: str) -> None:
    with pytest.raises(LimitError) as caught:
        Limits().with_settings({name: 1})
    assert (name in str(caught.value), caught.value.fix) == (True, fix)
