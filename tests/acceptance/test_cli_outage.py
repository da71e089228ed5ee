"""When agents are down, killed, or come back: reading goes on, putting says so, and what waits goes on waiting."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest

from tests.acceptance.shell import MESH, Running, Shell


@pytest.fixture(scope="module")
def down(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Two agents that did two jobs and were then killed."""
    shell = Shell(tmp_path_factory.mktemp("down"))
    shell.pair()
    with shell.running("cluster", "portal") as agents:
        words = ("-C", "portal", "put", "--timeout", "20")
        assert shell.mesh(*words, "portal.cluster add_user fred.proj.org").code == 0
        assert shell.mesh(*words, "portal.cluster remove_user jane.admin.org").code == 1
        for agent in agents.values():
            agent.stop(signal.SIGKILL)
    assert (shell.folder / "portal" / "mesh.sock").exists(), "a killed agent leaves its socket"
    return shell


def test_reading_needs_no_agent(down: Shell) -> None:
    jobs = down.mesh("-C", "portal", "jobs", "--all", "--json").records
    assert [job["state"] for job in jobs] == ["error", "complete"]
    assert down.mesh("-C", "portal", "jobs").out == ""
    assert len(down.mesh("-C", "portal", "jobs", "--state", "error").lines) == 1
    one = down.mesh("-C", "portal", "job", jobs[0]["short"], "--json").record
    assert one == jobs[0]
    assert "You are not allowed" in down.mesh("-C", "portal", "job", jobs[0]["id"]).out
    (peer,) = down.mesh("-C", "portal", "peers", "--json").records
    assert (peer["name"], peer["state"]) == ("cluster", "agent is down")
    (trusted,) = down.mesh("-C", "portal", "trust", "--json").records
    assert trusted["fingerprint"] == peer["fingerprint"]


@pytest.mark.parametrize(
    "words",
    [("submit", "portal.cluster add_user a.b.c"), ("put", "-"), ("cancel", "aa"), ("delete", "aa"), ("watch", "a")],
)
def test_the_rest_says_how_to_start_it(down: Shell, words: tuple[str, ...]) -> None:
    done = down.mesh("-C", "portal", *words)
    assert done.code == 3
    assert done.err == "error MESH-E503: the agent in portal is not running\nfix: start it: mesh -C portal run\n"
    assert down.mesh("-C", "portal", *words, "--json").record["error"]["exit_code"] == 3


def test_ids_that_name_no_job(down: Shell) -> None:
    for text in ("zz", "0123456789", ""):
        done = down.mesh("-C", "portal", "job", text)
        assert done.code == 2
        assert re.match(r"error MESH-E410: ", done.err)


def test_a_job_whose_row_is_damaged_is_named_beside_the_others(shell: Shell) -> None:
    """When the agent is down, and when it runs and has nobody to fetch the row from."""
    shell.pair()
    with shell.running("portal"):
        words = ("-C", "portal", "submit", "portal.cluster", "echo")
        jobs = [shell.mesh(*words, str(n), "--json").record for n in range(3)]
    with closing(sqlite3.connect(shell.folder / "portal" / "store.sqlite")) as store, store:
        store.execute("UPDATE jobs SET facts = substr(facts, 2) WHERE id = ?", (bytes.fromhex(jobs[1]["id"]),))

    def check() -> None:
        listed = shell.mesh("-C", "portal", "jobs")
        assert listed.code == 2
        assert [line[:8] for line in listed.lines] == [jobs[2]["short"], jobs[0]["short"]]
        assert listed.err.count(jobs[1]["short"]) == 1
        assert re.match(r"error MESH-E342: .* damaged, and it had not left this agent\nfix: put it again", listed.err)
        listed = shell.mesh("-C", "portal", "jobs", "--json")
        assert listed.code == 2
        assert listed.err == ""
        assert [one["id"] for one in listed.records] == [jobs[n]["id"] for n in (2, 0, 1)]
        assert listed.records[-1]["error"]["code"] == "MESH-E342"
        assert shell.mesh("-C", "portal", "job", jobs[1]["id"]).code == 2

    check()
    with shell.running("portal"):
        check()


def test_a_folder_without_an_agent(shell: Shell) -> None:
    for words in (("peers",), ("run",), ("put", "a.b c"), ("-C", "no/where", "jobs")):
        done = shell.mesh(*words)
        assert done.code == 2
        assert re.match(r"error MESH-E501: there is no agent in ", done.err)


def test_put_waits_for_an_agent_that_is_killed_under_it(shell: Shell) -> None:
    shell.pair()
    with shell.running("cluster", "portal") as agents:
        process = shell.start("-C", "portal", "put", "portal.cluster", "hold", "it", "--json")
        while not shell.mesh("-C", "cluster", "jobs", "--state", "running", "--json").out:
            assert process.poll() is None
        agents["portal"].stop(signal.SIGKILL)
        agents["again"] = Running(shell, "portal")
        (shell.folder / "cluster" / "release.it").touch()
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        assert json.loads(out)["result"] == "it"
        assert len(shell.mesh("-C", "portal", "jobs", "--all", "--json").records) == 1


def test_lines_go_on_through_a_restart_and_nothing_is_put_twice(shell: Shell) -> None:
    shell.pair()
    many = 3_000
    with shell.running("cluster", "portal") as agents:
        answers = shell.folder / "answers"
        with answers.open("w") as file:
            process = subprocess.Popen(
                [MESH, "-C", "portal", "put", "-", "--json"],
                cwd=shell.folder,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert process.stdin is not None
        for n in range(many // 2):
            process.stdin.write(f"portal.cluster echo {n}\n")
        process.stdin.flush()
        while not answers.stat().st_size:
            assert process.poll() is None
        agents["portal"].stop(signal.SIGKILL)
        agents["again"] = Running(shell, "portal")
        _, err = process.communicate("".join(f"portal.cluster echo {n}\n" for n in range(many // 2, many)), timeout=30)
        assert process.returncode == 0, err
        assert [json.loads(line)["result"] for line in answers.read_text().splitlines()] == [
            str(n) for n in range(many)
        ]
        assert len(shell.mesh("-C", "portal", "jobs", "--all", "--json").records) == many
