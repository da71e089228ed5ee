"""Ours: `mesh bench --json` as users have it, in processes of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from agents.cli.processes import MESH, environment
from tests.benchmarks.commands import run_command
from tests.benchmarks.peers.processes import ROOT

Row = dict[str, Any]
_PATIENCE_S: Final = 120.0


def mesh_bench(hops: tuple[int, ...], *, seconds: float, folder: Path = ROOT) -> list[Row]:
    """One run, with one job and with 1,000 outstanding; its rows.

    Args:
        folder: with the packages that all its processes are to use.

    Raises:
        CommandFailed: it failed, or jobs did.
    """
    words = ("bench", "--json", "--hops", ",".join(map(str, hops)), "--seconds", f"{seconds:g}")
    return [json.loads(line) for line in _mesh(words, folder).splitlines()]


def tells_compiled(folder: Path) -> bool:
    """Whether the command that runs with the packages of `folder` says that its engine is the compiled one."""
    return "compiled engine" in _mesh(("--version",), folder)


def _mesh(words: tuple[str, ...], folder: Path) -> str:
    # Where it runs stands before all else on the path of such a command.
    paths = environment() | {"PYTHONPATH": str(folder)}
    return run_command((*MESH, *words), timeout=_PATIENCE_S, cwd=folder, environment=paths)
