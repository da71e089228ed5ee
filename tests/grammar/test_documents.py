"""JSON enters with limits and leaves in one form."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from grammar.documents import MAX_DEPTH, Document, check_depth, read_model
from grammar.errors import GrammarError


class Plan(Document):
    name: str
    size: float = 1.0


class Loose(BaseModel):
    anything: object = None
    size: float = 0.0


def test_document() -> None:
    plan = Plan.parse('{"name": "a  b", "size": 1.0, "colour": [1, {"x": null}]}')
    assert str(plan) == '{"name":"a  b","colour":[1,{"x":null}]}'
    assert Plan.parse(str(plan)) == plan
    assert plan == str(plan)
    assert hash(plan) == hash(str(plan))
    assert plan != Plan(name="b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"name": 3}',
        '{"name": "a", "size": NaN}',
        '{"name": "a", "size": 1e999}',
        '{"name": "a", "size": -Infinity}',
        '{"name": "a", "size": ' + "9" * 400 + ".0}",
        '{"name": "\ud800"}',
        "[" * 5000,
        '{"a":' * 5000,
        '{"name": "a", "x": ' + "[" * 40 + "]" * 40 + "}",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        Plan.parse(text)
    with pytest.raises(GrammarError):
        read_model(Plan, text)


def test_what_only_looks_too_large_is_taken() -> None:
    assert read_model(Loose, '{"anything": "NaN 1e999", "size": 1e100}').size == 1e100


def test_depth_counts_brackets_outside_strings() -> None:
    check_depth("[" * MAX_DEPTH)
    check_depth('["' + "[" * 100 + '"]')
    check_depth("[]" * 100)
    with pytest.raises(GrammarError) as caught:
        check_depth("[" * (MAX_DEPTH + 1))
    assert caught.value.column == MAX_DEPTH + 1
