"""Errors of this floor: each has a code of its own, and the exit code that scripts rely on."""

from __future__ import annotations

import pytest

from agents.errors import AgentError, AlreadyRunning, HandlerError, JobFailed, NotKnownYet
from grammar.errors import MeshError

KINDS = (AgentError, AlreadyRunning, HandlerError, JobFailed, NotKnownYet)


def test_every_kind_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert all(issubclass(kind, MeshError) for kind in KINDS)


@pytest.mark.parametrize(("kind", "exit_code"), [(JobFailed, 1), (NotKnownYet, 5)])
def test_exit_codes_are_stable(kind: type[MeshError], exit_code: int) -> None:
    assert kind.exit_code == exit_code


def test_they_are_also_what_python_calls_them() -> None:
    assert issubclass(NotKnownYet, TimeoutError)
    assert issubclass(HandlerError, TypeError)


def test_a_failed_job_says_which_one_and_who_said_so() -> None:
    error = JobFailed("no disk", kind="failed", agent="cluster", job="abc", fix="buy one")
    assert (error.message, error.kind, error.agent, error.job, error.fix) == (
        "no disk",
        "failed",
        "cluster",
        "abc",
        "buy one",
    )
