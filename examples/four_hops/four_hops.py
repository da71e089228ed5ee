"""Makes waldur, brics, notebook and shared, introduces each to the next, and sends one job down the line.

Everything is done with the `mesh` command, in a temporary folder; each step is shown as a person would type it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

LINE: Final = (("waldur", "portal"), ("brics", "provider"), ("notebook", "platform"), ("shared", "instance"))
PATH: Final = ".".join(name for name, _ in LINE)
MESH: Final = (sys.executable, "-c", "from agents.cli import main; main()")
HANDLERS: Final = Path(__file__).with_name("handlers.py")


def mesh(folder: Path, *words: str) -> str:
    """Run one `mesh` command to its end and return what it prints; a failure ends the example."""
    print("$ mesh", *words, flush=True)
    done = subprocess.run((*MESH, *words), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


@contextmanager
def started(folder: Path, *words: str) -> Iterator[IO[str]]:
    """Run a `mesh` command beside this program; gives its output, and ends it at the end of the block."""
    print("$ mesh", *words, "&", flush=True)
    process = subprocess.Popen(
        (*MESH, *words), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def make_line(folder: Path) -> None:
    """Four folders, and three invitations: each agent invites the next one down the path."""
    for name, kind in LINE:
        mesh(folder, "init", name, "--kind", kind)
    shutil.copy(HANDLERS, folder / "shared")
    for (upstream, _), (downstream, kind) in pairwise(LINE):
        mesh(folder, "-C", upstream, "invite", downstream, "--kind", kind)
        mesh(folder, "-C", downstream, "join", f"{downstream}.invite.toml")


def show_boards(folder: Path, job_id: str) -> None:
    """Ask each agent for its copies of the job: one on each board that it shares with a neighbour."""
    for name, _ in LINE:
        for job in map(json.loads, mesh(folder, "-C", name, "jobs", "--json").splitlines()):
            assert job["id"] == job_id, "one job, one id, wherever one looks"
            for peer in job["boards"]:
                print(f"  {name:>8} shares it with {peer:<8}  {job['id']}  {job['state']}  as its {job['role']}")


def main() -> None:
    """Make the line, put the job, look at it while it runs, and show its result."""
    with TemporaryDirectory() as text, ExitStack() as running:
        folder = Path(text)
        make_line(folder)
        for name, _ in LINE:
            output = running.enter_context(started(folder, "-C", name, "run"))
            print(f"  {next(line for line in output if 'ready' in line).strip()}", flush=True)

        job_id = mesh(folder, "-C", "waldur", "submit", PATH, "add_user", "fred.proj.org").strip()
        news = running.enter_context(started(folder, "-C", "waldur", "watch", job_id, "--json"))
        seen = ""
        for job in map(json.loads, news):
            print_change(job)
            if job["state"] == "running" != seen:
                show_boards(folder, job_id)
            seen = job["state"]


def print_change(job: dict[str, Any]) -> None:
    """One line for what waldur knows of the job now."""
    said = job["error"] or job["result"] or job["message"] or ""
    print(f"  waldur: version {job['version']}  {job['state']:<9} {said}", flush=True)


if __name__ == "__main__":
    main()
