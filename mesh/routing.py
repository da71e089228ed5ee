"""Where a job goes: the arithmetic of dotted paths.

A path names every agent from origin to destination. An agent finds its own place, its neighbours before and after,
and names any other agent on the path by its *route*: the names as they follow from here, towards that agent. Two
clusters may both have an agent called `account`; their routes differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from grammar.destination import Destination
from grammar.errors import GrammarError
from mesh.lifecycle import Role


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent stands on a path: the names and its own index."""

    names: tuple[str, ...]
    index: int

    @property
    def role(self) -> Role:
        if self.index == 0:
            return Role.ORIGIN
        return Role.DESTINATION if self.index == len(self.names) - 1 else Role.HOP

    @property
    def before(self) -> str | None:
        """The neighbour towards the origin."""
        return self.names[self.index - 1] if self.index else None

    @property
    def after(self) -> str | None:
        """The neighbour towards the destination."""
        return self.names[self.index + 1] if self.index + 1 < len(self.names) else None


def place_of(path: str, name: str) -> Place | None:
    """Where `name` stands on `path`, a dotted text; None when the path is malformed or does not name it."""
    try:
        names = Destination.parse(path).agents
    except GrammarError:
        return None
    return Place(names, names.index(name)) if name in names else None


def route_down(names: tuple[str, ...], index: int, target: int) -> str:
    """The route from the agent at `index` to the one at `target` further down."""
    return ".".join(names[index + 1 : target + 1])


def route_up(names: tuple[str, ...], index: int, target: int) -> str:
    """The route from the agent at `index` to the one at `target` further up, nearest first."""
    return ".".join(reversed(names[target:index]))
