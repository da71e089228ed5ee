"""Ours: `mesh bench --json` as users have it, in processes of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from agents.cli.processes import MESH, environment
from tests.benchmarks.commands import run_command
from tests.benchmarks.peers.processes import ROOT
from tests.compiled import LEVELS, CannotCompile, build

Row = dict[str, Any]
INTERPRETED: Final = "interpreted"
COMPILED: Final = "compiled"
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


def builds() -> tuple[dict[str, Path], str]:
    """The folders of the builds that are measured, by engine, and why the compiled one is not among them."""
    try:
        folder = build(LEVELS[-1])
    except CannotCompile as error:
        return {INTERPRETED: ROOT}, f"Skipped: {error}."
    assert tells_compiled(folder), "the compiled modules are not the ones in use"
    assert not tells_compiled(ROOT)
    return {INTERPRETED: ROOT, COMPILED: folder}, ""


def tells_compiled(folder: Path) -> bool:
    """Whether the command that runs with the packages of `folder` says that its engine is the compiled one."""
    return "compiled engine" in _mesh(("--version",), folder)


def _mesh(words: tuple[str, ...], folder: Path) -> str:
    # Where it runs stands before all else on the path of such a command.
    paths = environment() | {"PYTHONPATH": str(folder)}
    return run_command((*MESH, *words), timeout=_PATIENCE_S, cwd=folder, environment=paths)
