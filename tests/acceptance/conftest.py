"""Folders with agents in them, for tests that type commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty folder."""
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A portal and a cluster that run and are linked, for tests that leave them running."""
    shell = Shell(tmp_path_factory.mktemp("joined"))
    shell.pair()
    with shell.running("cluster", "portal"):
        done = shell.mesh("-C", "portal", "put", "portal.cluster", "add_user", "fred.proj.org", "--timeout", "20")
        assert done.code == 0, done.err
        yield shell
