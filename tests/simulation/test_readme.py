"""The programs of the README run, and say what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(program, "README.md", "exec"), {})
    first = capsys.readouterr().out
    assert first
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out == first


def test_every_planted_bug_that_is_named_exists() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", README.partition("## Which invariant")[2]))
    assert named - MUTANTS.keys() <= {"test_schedules", "test_scenarios"}
    assert len(named & MUTANTS.keys()) > 30
