"""What holds for every test: how hypothesis draws, and no setting of the person who runs the tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.totals import Collector, Totals

# The same examples on each run, so that a failure is the change's and not the day's. No deadline: a shared
# machine may stop for longer than any example takes.
settings.register_profile(
    "steady", derandomize=True, max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# `make soak`: new examples on each run, many of them; a failing one is printed as code to paste into a test.
settings.register_profile("long", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# A developer's own agent must not be found by a test that forgot to name a folder.
os.environ.pop("MESH_HOME", None)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Collector())


@pytest.fixture
def totals(request: pytest.FixtureRequest) -> Totals:
    """Where a test says what it did, for the lines at the end of the run (tests/totals.py)."""
    return Totals(request.node)
