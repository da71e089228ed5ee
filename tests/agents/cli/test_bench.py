"""`mesh bench`: what it prints, what it refuses, and that nothing of it is left whatever happens."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from agents.cli.bench import TEXT, on_disk
from agents.cli.processors import one_of_each_core, own_processors
from tests.agents.cli.typed import type_now

ROOT: Final = Path(__file__).resolve().parents[3]
MAIN: Final = "from agents.cli import main; main()"
PATIENCE_S: Final = 50.0
FIELDS: Final = {
    "hops": int,
    "outstanding": int,
    "jobs": int,
    "seconds": float,
    "per_s": float,
    "p50_ms": float,
    "p95_ms": float,
    "p99_ms": float,
    "durable": bool,
    "errors": int,
}


def started(temporary: Path, *words: str, before: str = "", **settings: Any) -> subprocess.Popen[str]:
    """`mesh bench`, with a temporary directory of its own; `before` is Python that runs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    return subprocess.Popen(
        (sys.executable, "-c", f"{before}\n{MAIN}", "bench", *words),
        cwd=temporary,
        env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
        **({"stderr": subprocess.PIPE} | settings),
    )


def processes_in(folder: Path) -> list[str]:
    """Processes that name the folder in their command line."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = one.read_bytes()
        except OSError:  # it has just ended
            continue
        if str(folder).encode() in words:
            found.append(one.parent.name)
    return found


def assert_nothing_left(temporary: Path) -> None:
    assert processes_in(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_row_for_each_number_of_hops_and_of_jobs_outstanding(tmp_path: Path) -> None:
    process = started(tmp_path, "--json", "--hops", "1,2", "--outstanding", "1,20", "--jobs", "40")
    said, remarks = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, remarks) == (0, "")
    rows = [json.loads(line) for line in said.splitlines()]
    assert [(row["hops"], row["outstanding"]) for row in rows] == [(1, 1), (1, 20), (2, 1), (2, 20)]
    for row in rows:
        assert list(row) == list(FIELDS)
        assert {name: type(value) for name, value in row.items()} == FIELDS
        assert (row["jobs"], row["errors"]) == (40, 0)
        assert row["durable"] is on_disk(tmp_path)
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["seconds"] * 1000
        assert row["per_s"] == pytest.approx(40 / row["seconds"], rel=0.05)
    assert_nothing_left(tmp_path)


@pytest.mark.slow
def test_the_table_for_people_with_progress_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = started(tmp_path, "--hops", "1", "--outstanding", "1,2", "--jobs", "10", stderr=theirs)
    os.close(theirs)
    said, _ = process.communicate(timeout=PATIENCE_S)
    shown = b""
    # The kernel ends the reading of a terminal that nobody writes to any more with an error.
    try:
        while some := os.read(ours, 4_096):
            shown += some
    except OSError:
        pass
    os.close(ours)
    heads, row, last = said.splitlines()
    assert heads.split()[:4] == ["hops", "outstanding", "jobs", "seconds"]
    assert row.split()[:3] == ["1", "1", "10"]
    assert last.split()[:3] == ["1", "2", "10"]
    assert b"measuring 1 hop, 1 outstanding" in shown
    assert b"put to result, timed in the process of the first agent" in shown
    apart = len(one_of_each_core(own_processors())) > 1
    assert (b"With several jobs outstanding over 1 hop each agent had a core of its own" in shown) is apart


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda one: f"{one}"
)
def test_a_signal_ends_it_and_all_that_it_made(tmp_path: Path, number: signal.Signals, status: int) -> None:
    process = started(tmp_path, "--json", "--hops", "2", "--outstanding", "1,5", "--jobs", "5", "--seconds", "600")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["jobs"] == 5
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    for secret in [*folder.glob("*.invite.toml"), *folder.glob("*/identity.toml"), *folder.glob("*/mesh.sock")]:
        assert secret.stat().st_mode & 0o077 == 0, secret
    assert len(processes_in(folder)) == 2
    process.send_signal(number)
    process.send_signal(number)
    _, remarks = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, remarks) == (status, "")
    assert_nothing_left(tmp_path)


@pytest.mark.slow
def test_an_agent_that_ends_while_it_is_measured(tmp_path: Path) -> None:
    process = started(tmp_path, "--json", "--hops", "2", "--outstanding", "2,1", "--seconds", "1")
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(int(processes_in(tmp_path)[0]), signal.SIGKILL)
    said, remarks = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, remarks
    fault = json.loads(said)["error"]
    assert fault["code"] == "MESH-E521"
    assert re.fullmatch(r"the agent agent[12] ended with status -9 while it was measured", fault["message"])
    assert_nothing_left(tmp_path)


@pytest.mark.slow
def test_an_agent_that_does_not_start(tmp_path: Path) -> None:
    broken = "import agents.cli.loopback as loopback; loopback.HANDLERS_TEXT = 'raise ValueError(17)'"
    process = started(tmp_path, "--hops", "1", before=broken)
    said, remarks = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (1, "")
    assert "error MESH-E521: the agent agent1 ended before it was ready" in remarks
    assert "ValueError: 17" in remarks
    assert_nothing_left(tmp_path)


@pytest.mark.slow
def test_jobs_that_fail_are_counted(tmp_path: Path) -> None:
    third = (
        "import agents.cli.loopback as loopback\n"
        "loopback.HANDLERS_TEXT = loopback.HANDLERS_TEXT.replace('    return text', '''\\\n"
        "    global done\n"
        '    done = globals().get("done", 0) + 1\n'
        "    if done % 3 == 0:\n"
        '        raise agent.Refused("every third")\n'
        "    return text''')"
    )
    process = started(tmp_path, "--json", "--hops", "1", "--outstanding", "1", "--jobs", "30", before=third)
    said, remarks = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    row = json.loads(said)
    assert (row["jobs"], row["errors"]) == (20, 10)
    assert "10 jobs failed, the first: every third" in remarks


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--hops", "0"], '"0" is no whole number from 1 to 8'),
        (["--hops", "1,x"], '"x" is no whole number from 1 to 8'),
        (["--outstanding", "20001"], '"20001" is no whole number from 1 to 20000'),
        (["--outstanding", ""], '"" is no whole number'),
        (["--jobs", "0"], "0 is not in the range"),
        (["--seconds", "0"], "0.0 is not in the range"),
        (["--jobs", "10"], "--jobs 10 is less than 1000 outstanding"),
        (["--instruction", "ping x"], "--instruction goes with a PATH"),
        (["a.b", "--hops", "1"], "--hops goes without a PATH"),
    ],
)
def test_what_cannot_be_measured(words: list[str], told: str) -> None:
    assert told in str(type_now("bench", *words).error)


def test_memory_is_no_disk() -> None:
    assert not on_disk(Path("/dev/shm"))
    assert on_disk(Path("/proc")), "that is none either, but of another type"


def test_the_text_is_of_sixty_bytes() -> None:
    assert len(TEXT) == 60
