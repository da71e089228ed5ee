"""The page of numbers: its format, what it counts, and that it names nobody."""

from __future__ import annotations

import re
from pathlib import Path

from agents.metrics import CONTENT_TYPE, Handled, Metric, Traffic, exposition, families
from mesh.board import Board
from mesh.limits import Limits
from tests.agents.doors import in_loop
from tests.agents.test_links import two

LINE = re.compile(r'^hopboard_[a-z_]+(\{[a-z]+="[a-z_]+"\})? -?[0-9.]+$')


def page_of(metrics: list[Metric]) -> dict[str, float]:
    """The samples of a page; every line of it has to be of the format."""
    found = {}
    for line in exposition(metrics).splitlines():
        if not line.startswith("# "):
            assert LINE.match(line), line
            name, _, value = line.rpartition(" ")
            found[name.removeprefix("hopboard_")] = float(value)
    return found


def test_a_family_has_its_help_its_type_and_its_samples() -> None:
    family = Metric("jobs", "gauge", "Unfinished jobs.", {"waiting": 3, "running": 0}, "state")
    assert exposition([family]) == (
        "# HELP hopboard_jobs Unfinished jobs.\n"
        "# TYPE hopboard_jobs gauge\n"
        'hopboard_jobs{state="waiting"} 3\n'
        'hopboard_jobs{state="running"} 0\n'
    )


def test_a_time_keeps_its_digits() -> None:
    page = page_of(families([], Traffic(), Handled(), queued=0, blocked=0, steps=0, started_s=1_700_000_000.125))
    assert page["start_time_seconds"] == 1_700_000_000.125


def test_boards_are_added_up_and_never_named() -> None:
    boards = [Board(1, "lab", "secretpeer", bytes(20), Limits()), Board(2, "lab", "otherpeer", None, Limits())]
    boards[0].open = True
    boards[0].offered = {"0:": 2, "0:secretnext": 1}
    boards[0].outbox.sent(7, bytes(26), 100)
    boards[1].waiting = {"0:": 5}
    boards[1].accepted = {"0:": 4}
    boards[1].inbox.refuse(3, "life", "no")
    metrics = families(boards, Traffic(frames_out=9), Handled(), queued=6, blocked=1, steps=1, started_s=0.0)
    page = page_of(metrics)
    assert (page["peers"], page["links"]) == (2, 1)
    assert [page[f'jobs{{state="{state}"}}'] for state in ("waiting", "offered", "accepted", "running")] == [5, 3, 4, 0]
    assert (page["window_records"], page["window_bytes"], page["queued_messages"]) == (1, 100, 6)
    assert page['frames_total{direction="out"}'] == 9
    assert (page["links_blocked"], page["refusals_open"]) == (1, 1)
    assert "secret" not in exposition(metrics)


def test_handlers_that_run_are_those_that_did_not_end() -> None:
    handled = Handled(started=3)
    handled.end("complete")
    handled.end("complete")
    page = page_of(families([], Traffic(), handled, queued=0, blocked=0, steps=0, started_s=0.0))
    assert page['handlers_ended_total{state="complete"}'] == 2
    assert page['jobs{state="running"}'] == 1


@in_loop
async def test_a_running_agent_counts_a_job(tmp_path: Path) -> None:
    async with two(tmp_path) as at:
        await at.works()
        status, content_type, text = at.cluster.running._metrics()
        assert (status, content_type) == (200, CONTENT_TYPE)
        lines = text.splitlines()
        assert "hopboard_links 1" in lines
        assert "hopboard_links_total 1" in lines
        assert "hopboard_handlers_started_total 1" in lines
        assert 'hopboard_handlers_ended_total{state="complete"} 1' in lines
        traffic, theirs = (agent.running.peering.links.traffic for agent in (at.cluster, at.portal))
        assert 0 < traffic.frames_in <= theirs.frames_out
        assert 0 < traffic.messages_in <= theirs.messages_out
        assert "portal" not in text
        assert "fred" not in text
