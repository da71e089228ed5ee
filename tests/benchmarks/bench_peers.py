"""Ours and the peers side by side: the same job of sixty bytes each way, in turn, several rounds.

Each contestant is started anew in each round, in processes of its own: a client that makes the load, a server where
it needs one, and one worker. One outstanding gives the latency, a thousand the throughput. What is stored before a job
counts as put differs and stands beside the figures; a peer that is not installed is left out and said to be.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from agents.cli.processes import environment
from tests.benchmarks.commands import CommandFailed, run_command
from tests.benchmarks.hopboard import mesh_bench
from tests.benchmarks.peers.contestants import CONTESTANTS
from tests.benchmarks.peers.processes import ROOT, program
from tests.benchmarks.report import Report, markdown_table, program_version
from tests.benchmarks.rounds import interleaved, ratios, spread_of
from tests.benchmarks.sizes import Sizes

OURS = "hopboard"
PATIENCE_S = 180.0

Figures = Mapping[str, float]


def test_peers(report: Report) -> None:
    missing = {name: why for name, one in CONTESTANTS.items() if (why := one.missing()) is not None}
    for name, why in missing.items():
        print(f"SKIPPED {CONTESTANTS[name].title}: {why}", file=sys.stderr, flush=True)
    present = [name for name in CONTESTANTS if name not in missing]
    failures: dict[str, str] = {}

    def measure(name: str) -> Figures | None:
        if name == OURS:
            return _ours(report.sizes)
        try:
            return _theirs(name, report.sizes)
        except CommandFailed as error:
            failures[name] = str(error)
            return None

    found = interleaved([OURS, *present], report.sizes.rounds, measure)
    lines = [_line(name, found[name], found[OURS]) for name in (OURS, *present)]
    lines += [(CONTESTANTS[name].title, f"skipped: {why}", *["-"] * 4) for name, why in missing.items()]
    heads = ("system", "stored before it counts", "p50 ms", "p99 ms", "jobs/s, 1,000 outstanding", "our rate by its")
    text = markdown_table(heads, lines)
    text += "".join(f"\n{CONTESTANTS[name].title} failed in a round: {why}\n" for name, why in failures.items())
    servers = {CONTESTANTS[name].server for name in present} - {None}
    versions = dict.fromkeys(CONTESTANTS[name].versions() for name in present)
    told = [program_version(program(server)) for server in sorted(filter(None, servers))]
    report.section("peers", "Beside others", text, [*versions, *told])


def _line(name: str, figures: list[Figures | None], ours: list[Figures | None]) -> tuple[str, ...]:
    def of(rounds: list[Figures | None], what: str) -> list[float | None]:
        return [None if one is None else one[what] for one in rounds]

    title, stored = "**Hopboard**", "fsync at both ends; signed, encrypted"
    if name != OURS:
        title, stored = CONTESTANTS[name].title, CONTESTANTS[name].stored
    cells = [
        "none" if (spread := spread_of(of(figures, what))) is None else spread.text(digits)
        for what, digits in (("p50_ms", 2), ("p99_ms", 2), ("per_s", 0))
    ]
    ratio = None if name == OURS else ratios(of(ours, "per_s"), of(figures, "per_s"))
    return title, stored, *cells, "1" if name == OURS else "none" if ratio is None else ratio.text(2)


def _ours(sizes: Sizes) -> Figures:
    alone, many = mesh_bench((1,), seconds=sizes.seconds)
    return {"p50_ms": alone["p50_ms"], "p99_ms": alone["p99_ms"], "per_s": many["per_s"]}


def _theirs(name: str, sizes: Sizes) -> Figures:
    """One contestant in a process of its own.

    Raises:
        CommandFailed: it failed, or took too long.
    """
    # Workers are started by name, and are where this interpreter's are.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    words = (sys.executable, "-m", "tests.benchmarks.peers", name, str(sizes.singles), str(sizes.seconds))
    said = run_command(words, timeout=PATIENCE_S, cwd=ROOT, environment=environment() | {"PATH": path})
    figures: Figures = json.loads(said.splitlines()[-1])
    return figures
