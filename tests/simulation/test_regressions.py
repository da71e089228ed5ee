"""What once went wrong does not go wrong again."""

from __future__ import annotations

import pytest

from mesh.simulation import violations
from tests.simulation.regressions import Regression, frozen, regressions, thawed
from tests.simulation.schedules import run_schedule


@pytest.mark.parametrize("regression", regressions(), ids=lambda one: one.why)
def test_a_schedule_that_once_found_a_bug(regression: Regression) -> None:
    assert violations(run_schedule(regression.schedule)) == []


def test_a_frozen_schedule_is_the_one_that_was_frozen() -> None:
    for regression in regressions():
        assert thawed(frozen(regression.schedule)) == regression.schedule
