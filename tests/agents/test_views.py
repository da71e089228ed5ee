"""What people and programs see of a job, in every state it can be in."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from agents.errors import JobFailed
from agents.views import JobView, failure_of, view_of
from grammar.openportal import VOCABULARY
from mesh.ending import Ending
from mesh.facts import Outcome
from mesh.lifecycle import State
from tests.mesh.pair import Pair


def seen(pair: Pair, name: str, job_id: bytes, later_ms: int = 0) -> JobView:
    node = pair[name]
    boards = {board.id: board.name for board in node.engine.boards}
    view = view_of(node.job(job_id), boards, name, now_ms=pair.clock(name) + later_ms, overdue_ms=60_000)
    assert view is not None
    return view


def joined() -> tuple[Pair, bytes]:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    return pair, job_id


def running() -> tuple[Pair, bytes]:
    pair, job_id = joined()
    pair.settle()
    return pair, job_id


def complete() -> tuple[Pair, bytes]:
    pair, job_id = running()
    pair.run_all("cluster")
    return pair, job_id


def failed() -> tuple[Pair, bytes]:
    pair, job_id = running()
    pair.finish("cluster", job_id, Ending(State.ERROR, error=("failed", "no disk"), unknown_effect=True))
    pair.settle()
    return pair, job_id


def cancelled() -> tuple[Pair, bytes]:
    pair, job_id = running()
    pair.cancel("portal", job_id)
    pair.finish("cluster", job_id, Ending(State.CANCELLED))
    pair.settle()
    return pair, job_id


def expired() -> tuple[Pair, bytes]:
    pair = Pair(connected=False)
    job_id = pair.put("portal.cluster", life_s=1.0)
    pair.wait(5.0)
    return pair, job_id


@pytest.mark.parametrize(
    ("made", "state", "words"),
    [
        (complete, "complete", None),
        (failed, "error", "no disk (its effect is not known)"),
        (cancelled, "cancelled", "cancelled while it ran (its effect is not known)"),
        (expired, "expired", ""),
    ],
)
def test_a_finished_job_says_what_came_of_it(
    made: Callable[[], tuple[Pair, bytes]], state: str, words: str | None
) -> None:
    pair, job_id = made()
    view = seen(pair, "portal", job_id)
    assert (view.state, view.live, view.role, view.path) == (state, False, "origin", ("portal", "cluster"))
    if words is None:
        assert (view.error, view.result, view.value(VOCABULARY)) == (None, "done", "done")
        return
    assert view.error is not None
    assert words in view.error.message
    assert view.error.message
    with pytest.raises(JobFailed) as raised:
        view.value(VOCABULARY)
    assert (raised.value.kind, raised.value.agent, raised.value.job) == (view.error.kind, view.error.agent, view.id)


def test_a_live_job_has_no_result_yet() -> None:
    pair, job_id = running()
    for name, role in (("portal", "origin"), ("cluster", "destination")):
        view = seen(pair, name, job_id)
        assert (view.live, view.error, view.result, view.role) == (True, None, None, role)
        with pytest.raises(JobFailed, match=f"is {view.state}"):
            view.value(VOCABULARY)
    assert seen(pair, "portal", job_id).boards == ("cluster",)
    assert seen(pair, "cluster", job_id).attempt == 1


def test_progress_is_shown() -> None:
    pair, job_id = running()
    pair.cluster.engine.progress(job_id, "half", 0.5, pair.clock("cluster"))
    pair.step("cluster")
    pair.settle()
    view = seen(pair, "portal", job_id)
    assert (view.message, view.fraction, view.state) == ("half", 0.5, "running")


def test_a_silent_job_is_overdue_only_long_after_its_expiry() -> None:
    pair, job_id = running()
    view = seen(pair, "portal", job_id)
    left_ms = int(view.expires * 1000) - pair.clock("portal")
    assert not seen(pair, "portal", job_id, left_ms + 60_000).overdue
    assert seen(pair, "portal", job_id, left_ms + 60_001).overdue
    done, finished = complete()
    assert not seen(done, "portal", finished, 10**12).overdue


def test_an_outcome_told_ahead_counts_before_its_commit() -> None:
    pair, job_id = running()
    job = pair.portal.job(job_id)
    pair.run_all("cluster")
    (told, *_) = pair.portal.told
    view = view_of(job, {}, "portal", now_ms=pair.clock("portal"), overdue_ms=0, told=told.fact)
    assert view is not None
    assert (view.state, view.result, view.overdue) == ("complete", "done", False)
    assert isinstance(told.fact.content, Outcome)
    assert view.version == told.fact.content.number
    assert view.changed == told.fact.content.ended_ms / 1000


def test_a_view_is_json() -> None:
    for made in (running, complete, failed):
        pair, job_id = made()
        view = seen(pair, "portal", job_id)
        found = json.loads(json.dumps(view.to_json()))
        assert (found["id"], found["state"], found["path"]) == (view.id, view.state, ["portal", "cluster"])


def outcome(state: str, *, started_ms: int = 0, unknown_effect: bool = False) -> Outcome:
    return Outcome(1, bytes(26), bytes(20), 1, state, None, None, None, 0, started_ms, 1, unknown_effect)


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (outcome("cancelled"), "cancelled", "cancelled before it started"),
        (outcome("cancelled", started_ms=1), "cancelled", "cancelled while it ran"),
        (outcome("expired"), "expired", "the job expired before it started"),
        (
            outcome("expired", unknown_effect=True),
            "expired",
            "the job expired before it started (its effect is not known)",
        ),
    ],
)
def test_an_outcome_without_an_error_is_put_into_words(content: Outcome, kind: str, message: str) -> None:
    failure = failure_of(content, "cluster")
    assert (failure.kind, failure.message, failure.agent) == (kind, message, "cluster")
