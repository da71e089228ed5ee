"""Ours: `mesh bench --json` as users have it, in processes of its own."""

from __future__ import annotations

import json
from typing import Any, Final

from agents.cli.processes import MESH, environment
from tests.benchmarks.commands import run_command
from tests.benchmarks.peers.processes import ROOT

Row = dict[str, Any]
_PATIENCE_S: Final = 120.0


def mesh_bench(hops: tuple[int, ...], *, seconds: float) -> list[Row]:
    """One run, with one job and with 1,000 outstanding; its rows.

    Raises:
        CommandFailed: it failed, or jobs did.
    """
    words = ("bench", "--json", "--hops", ",".join(map(str, hops)), "--seconds", f"{seconds:g}")
    said = run_command((*MESH, *words), timeout=_PATIENCE_S, cwd=ROOT, environment=environment())
    return [json.loads(line) for line in said.splitlines()]
