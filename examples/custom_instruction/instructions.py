"""The verb that both sides know: `reserve_nodes`, and what it gives back.

A declaration is a signature; nothing else has to be registered or generated.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from grammar import VOCABULARY, ProjectIdentifier, declare


class Reservation(BaseModel):
    """Nodes kept free for one project."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    project: ProjectIdentifier
    nodes: Annotated[int, Field(ge=1)]
    last_day: date


async def reserve_nodes(project: ProjectIdentifier, nodes: int, last_day: date) -> Reservation:
    """Keep nodes free for a project up to and including a day."""
    raise NotImplementedError("a declaration: the agent that has nodes brings its own")


KNOWN: Final = VOCABULARY.extended(declare(reserve_nodes, example="reserve_nodes proj.org 4 2026-12-31"))
