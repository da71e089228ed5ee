"""What a step wants done: values that are false when there is nothing to do."""

from __future__ import annotations

from dataclasses import fields

import pytest

from mesh.effects import Batch, Effects, Start

ONE_OF_EACH = {
    "ahead": {1: [b"packed"]},
    "told": ["told"],
    "send": {1: [b"packed"]},
    "slices": {1: [b"packed"]},
    "start": ["start"],
    "stop": [b"id"],
    "replies": ["reply"],
    "changed": [b"id"],
    "lost": ["lost"],
    "close": [(1, "reason")],
    "alarms": ["alarm"],
    "queries": ["query"],
    "batch": Batch(collect_ms=5),
}


def test_nothing_to_do() -> None:
    assert not Effects()
    assert not Batch()


@pytest.mark.parametrize("name", [field.name for field in fields(Effects) if field.name != "step"])
def test_each_effect_alone_is_something_to_do(name: str) -> None:
    assert Effects(**{name: ONE_OF_EACH[name]})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [field.name for field in fields(Batch)])
def test_each_part_of_a_batch_alone_is_something_to_store(name: str) -> None:
    value = {"incarnations": ((b"i" * 8, 1),), "collect_ms": 0}.get(name, ["row"])
    assert Batch(**{name: value})  # type: ignore[arg-type]
    assert Effects(batch=Batch(**{name: value}))  # type: ignore[arg-type]


def test_the_number_of_a_step_is_nothing_to_do() -> None:
    assert not Effects(step=7)


def test_two_steps_share_nothing() -> None:
    one, two = Effects(), Effects()
    one.stop.append(b"id")
    one.batch.rows.append("row")  # type: ignore[arg-type]
    assert (two.stop, two.batch.rows) == ([], [])


def test_what_is_asked_for_is_a_value() -> None:
    assert Start(b"id", 1, "instruction") == Start(b"id", 1, "instruction")  # type: ignore[arg-type]
