"""The soak goes on where it stopped, with new seeds each turn, and counts what fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import ROOT, SUITES, Suite, report, soak


class Turns:
    """Plays turns by the book, and stops like a person at one of them."""

    def __init__(self, *, stop_at: int = 0, fail_at: int = 0) -> None:
        self.firsts: list[tuple[str, int]] = []
        self._stop_at = stop_at
        self._fail_at = fail_at

    def __call__(self, name: str, suite: Suite, first: int) -> tuple[int, str]:
        if len(self.firsts) + 1 == self._stop_at:
            raise KeyboardInterrupt
        self.firsts.append((name, first))
        failed = len(self.firsts) == self._fail_at
        return int(failed), f"...\n{name}: schedules=10 violations={int(failed)}\n1 passed in 2s"


def test_it_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state.json"
    before, after = Turns(stop_at=4), Turns()
    with pytest.raises(KeyboardInterrupt):
        soak(["pure", "whole"], 3, state, before)
    soak(["pure", "whole"], 3, state, after)
    firsts = {name: [first for one, first in before.firsts + after.firsts if one == name] for name in ("pure", "whole")}
    assert firsts == {
        name: [SUITES[name].begin + turn * SUITES[name].seeds for turn in range(3)] for name in ("pure", "whole")
    }
    capsys.readouterr()
    assert report(state) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pure: schedules=30 violations=0",
        "whole: schedules=30 violations=0",
    ]
    soak(["pure"], 3, state, Turns(stop_at=1))


def test_a_turn_that_fails_is_kept_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state.json"
    played = soak(["pure"], 3, state, Turns(fail_at=2))
    assert played["pure"].turns == 3
    assert played["pure"].failed == [SUITES["pure"].begin + SUITES["pure"].seeds]
    capsys.readouterr()
    assert report(state) == 1
    assert "SIMULATION_FIRST=10003000 failed: .soak/pure-10003000.log" in capsys.readouterr().out


def test_every_suite_has_its_tests_and_reads_its_variables() -> None:
    for name, suite in SUITES.items():
        files = [
            file
            for test in suite.tests
            for path in (ROOT / test,)
            for file in (path.rglob("*.py"), [path])[path.is_file()]
        ]
        assert files, name
        text = "".join(file.read_text(encoding="utf-8") for file in files) + (ROOT / "tests/conftest.py").read_text()
        for variable in (suite.first, *suite.settings):
            assert variable in text, (name, variable)
