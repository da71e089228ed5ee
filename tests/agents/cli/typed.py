"""Verbs typed within the process of a test, beside agents that run in its event loop."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from agents.cli.program import mesh


@dataclass(frozen=True)
class Typed:
    """What a verb left; `error` is what it raised, which `main` would have made a line of."""

    out: str
    err: str
    value: Any
    error: BaseException | None

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def type_now(*words: str, home: Path | None = None) -> Typed:
    """Type a verb that needs no running agent of this process."""
    where = [] if home is None else ["-C", str(home)]
    done = CliRunner().invoke(mesh, [*where, *words], standalone_mode=False)
    return Typed(done.stdout, done.stderr, done.return_value, done.exception)


async def type_at(home: Path, *words: str) -> Typed:
    """Type a verb while the agents of the running event loop go on."""
    return await asyncio.to_thread(type_now, *words, home=home)
