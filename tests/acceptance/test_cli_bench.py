"""`mesh bench PATH`: measuring agents that run, along a path and to each agent on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.shell import HANDLERS, Done, Shell

pytestmark = pytest.mark.slow

PING = """

@agent.handler(read_only=True)
async def ping(text: str) -> str:
    return text
"""
OTHER = """

@agent.handler
async def ping() -> str:
    return "pong"
"""
FEW = ("--json", "--jobs", "8", "--outstanding", "1,4")


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A portal; three ways from it to one far agent: over a gate without any handler, over one whose own ping takes no
    text, and over a cluster that has one."""
    shell = Shell(tmp_path_factory.mktemp("row"))
    shell.pair()
    assert shell.mesh("init", "gate").code == 0
    assert shell.mesh("init", "shut").code == 0
    assert shell.mesh("init", "far").code == 0
    ways = (("portal", "gate"), ("portal", "shut"), ("gate", "far"), ("shut", "far"), ("cluster", "far"))
    for upstream, downstream in ways:
        assert shell.mesh("-C", upstream, "invite", downstream).code == 0
        assert shell.mesh("-C", downstream, "join", f"{downstream}.invite.toml").code == 0
        (shell.folder / f"{downstream}.invite.toml").unlink()
    (shell.folder / "shut" / "handlers.py").write_text("from agents import Agent\n\nagent = Agent()\n" + OTHER)
    (shell.folder / "cluster" / "handlers.py").write_text(HANDLERS + PING)
    with shell.running("portal", "gate", "shut", "far", "cluster"):
        yield shell


def rows(done: Done) -> list[tuple[int, int, int, int]]:
    assert done.code == 0, done.err
    return [(one["hops"], one["outstanding"], one["jobs"], one["errors"]) for one in done.records]


def test_along_a_path_and_to_each_agent_on_it(row: Shell) -> None:
    done = row.mesh("-C", "portal", "bench", "portal.cluster.far", *FEW)
    assert rows(done) == [(1, 1, 8, 0), (1, 4, 8, 0), (2, 1, 8, 0), (2, 4, 8, 0)]
    assert done.err == ""


def test_every_agent_on_the_way_has_a_ping(row: Shell) -> None:
    done = row.mesh("-C", "portal", "bench", "portal.gate.far", *FEW)
    assert rows(done) == [(1, 1, 8, 0), (1, 4, 8, 0), (2, 1, 8, 0), (2, 4, 8, 0)]
    assert done.err == ""
    assert row.mesh("-C", "portal", "put", "portal.gate", "ping", "hello", "--json").record["result"] == "hello"


def test_an_agent_that_refuses_it_is_left_out_or_ends_it(row: Shell) -> None:
    done = row.mesh("-C", "portal", "bench", "portal.shut.far", *FEW)
    assert rows(done) == [(2, 1, 8, 0), (2, 4, 8, 0)]
    assert "portal.shut is left out" in done.err
    done = row.mesh("-C", "portal", "bench", "portal.shut", *FEW)
    assert done.code == 1
    fault = done.record["error"]
    assert (fault["code"], fault["message"].partition(":")[0]) == ("MESH-E521", "portal.shut")
    assert "async def ping(text: str)" in fault["fix"]


def test_an_instruction_that_somebody_names_runs_at_the_last_agent_alone(row: Shell) -> None:
    done = row.mesh("-C", "portal", "bench", "portal.cluster", "--instruction", "echo number-{n}", *FEW)
    assert rows(done) == [(1, 1, 8, 0), (1, 4, 8, 0)]
    listed = row.mesh("-C", "cluster", "jobs", "--all", "--json").records
    texts = [one["instruction"] for one in listed if one["instruction"].startswith("echo number-")]
    assert len(texts) == len(set(texts)) >= 16


def test_a_job_that_fails_ends_it_before_it_begins(row: Shell) -> None:
    done = row.mesh("-C", "portal", "bench", "portal.cluster", "--instruction", "remove_user jane.admin.org", *FEW)
    assert done.code == 1
    assert "not allowed to remove the account" in done.record["error"]["message"]


def test_without_an_agent_that_runs(shell: Shell) -> None:
    shell.pair()
    done = shell.mesh("-C", "portal", "bench", "portal.cluster", *FEW)
    assert done.code == 3
    assert done.record["error"]["code"] == "MESH-E503"


@pytest.mark.parametrize("path", ["gate.far", "portal", "portal..far", "portal.nobody", ""])
def test_a_path_that_leads_nowhere(row: Shell, path: str) -> None:
    done = row.mesh("-C", "portal", "bench", path, *FEW)
    assert done.code in {1, 2}
    fault = done.record["error"]
    assert (fault["code"], bool(fault["fix"])) == ("MESH-E521", True)
