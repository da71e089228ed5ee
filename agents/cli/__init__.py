"""The command line, `mesh`: one file per family of verbs, none of them loaded before it is called."""

from __future__ import annotations

from agents.cli.program import main

__all__ = ["main"]
