"""`mesh demo`: what it shows, and that nothing of it is left whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
MAIN: Final = "from agents.cli import main; main()"
PATIENCE_S: Final = 40.0

pytestmark = pytest.mark.slow


def started(temporary: Path, *words: str, before: str = "") -> subprocess.Popen[str]:
    """`mesh demo`, with a temporary directory of its own; `before` is Python that runs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    return subprocess.Popen(
        (sys.executable, "-c", f"{before}\n{MAIN}", "demo", *words),
        cwd=temporary,
        env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_gone(pids: list[str]) -> None:
    assert pids
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_three_jobs_and_their_ways(tmp_path: Path) -> None:
    process = started(tmp_path)
    said, remarks = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, remarks) == (0, "")

    for instruction, end in (
        ("add_user fred.proj.org", 'complete  version 3  "account created"'),
        ("remove_user fred.proj.org", 'complete  version 3  "account removed"'),
        (
            "remove_user jane.admin.org",
            'error     version 3  cluster says: You are not allowed to remove the account for "jane"',
        ),
    ):
        way = said[said.index(f"put portal.cluster {instruction}") :].split("$ ", 1)[0]
        seen = re.findall(r"^  \d\d:\d\d:\d\d\.\d{3}  (\w+) +(.*)", way, re.MULTILINE)
        agents, lines = zip(*seen, strict=True)
        assert agents == ("portal", "portal", "portal", "cluster")
        assert lines[0].startswith("pending   version 1")
        assert lines[1].startswith("running   version 2")
        assert lines[2] == end
        assert "its copy says the same" in lines[3]

    assert "cluster.invite.toml" in said
    assert re.search(r"^  cluster +default +instance +up for", said, re.MULTILINE), "the peers are shown"
    assert re.search(r"^Done in \d+\.\d s; nothing of it is left\.$", said, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []
    assert_gone(re.findall(r"process (\d+)", said))


def test_keep_leaves_the_folders_to_look_at(tmp_path: Path) -> None:
    process = started(tmp_path, "--keep", "kept")
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "cd kept" in said
    assert {one.name for one in (tmp_path / "kept").iterdir()} == {"portal", "cluster", "cluster.invite.toml"}
    assert (tmp_path / "kept" / "cluster" / "agent.log").is_file()

    again = started(tmp_path, "--keep", "kept")
    _, remarks = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 2
    assert "kept is not empty" in remarks


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_agents_too(tmp_path: Path, number: signal.Signals, status: int) -> None:
    process = started(tmp_path)
    assert process.stdout is not None
    pids = []
    for line in process.stdout:
        pids += re.findall(r"process (\d+)", line)
        if "running" in line:
            break
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status
    assert len(pids) == 2
    assert_gone(pids)
    assert list(tmp_path.iterdir()) == []


def test_an_agent_that_does_not_start_ends_it_with_what_the_agent_said(tmp_path: Path) -> None:
    process = started(tmp_path, before="import agents.cli.demo as demo; demo.HANDLERS_TEXT = 'raise ValueError(17)'")
    said, remarks = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "error MESH-E520: the agent cluster ended before it was ready" in remarks
    assert "ValueError: 17" in remarks
    assert "fix: " in remarks
    assert_gone(re.findall(r"process (\d+)", said))
    assert list(tmp_path.iterdir()) == []
