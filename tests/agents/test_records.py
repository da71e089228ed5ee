from __future__ import annotations

import pytest

from agents.records import error_record, job_record
from grammar.errors import GrammarError
from mesh.errors import Busy, NoSuchJob


def test_an_error_as_a_record() -> None:
    assert error_record(Busy("too many", fix="wait")) == {
        "code": "MESH-E403",
        "message": "too many",
        "fix": "wait",
        "exit_code": 3,
    }


def test_an_error_in_a_text_points_into_it() -> None:
    record = error_record(GrammarError("no", text="abc", column=2, expected="x", nearest="y"))
    assert record["pointer"] == "abc\n ^"
    assert (record["column"], record["expected"], record["nearest"]) == (2, "x", "y")
    assert record["fix"] == 'did you mean "y"?'


def test_no_job_is_an_error() -> None:
    with pytest.raises(NoSuchJob):
        job_record(None)
