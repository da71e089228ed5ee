"""Where a job goes: the arithmetic of dotted paths.

A path names every agent from origin to destination. An agent finds its own place, its neighbours before and after,
and names any other agent on the path by its *route*: the names as they follow from here, towards that agent. Two
clusters may both have an agent called `account`; their routes differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from grammar.destination import Destination
from grammar.errors import GrammarError
from mesh.lifecycle import Role


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent stands on a path: the names and its own index. One is shared by all jobs of a path, so what every
    job asks is worked out once.

    Attributes:
        before, after: the neighbours towards the origin and towards the destination.
        routes: to every agent of the path, from here; the own one is "".
    """

    names: tuple[str, ...]
    index: int
    role: Role = field(init=False, compare=False)
    before: str | None = field(init=False, compare=False)
    after: str | None = field(init=False, compare=False)
    routes: tuple[str, ...] = field(init=False, compare=False)
    _branch: str = field(init=False, compare=False)
    _branch_above: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        names, index = self.names, self.index
        last = len(names) - 1
        role = Role.ORIGIN if index == 0 else Role.DESTINATION if index == last else Role.HOP
        down = [route_down(names, index, target) for target in range(index, len(names))]
        up = [route_up(names, index, target) for target in range(index)]
        after = names[index + 1] if index < last else None
        known = {
            "role": role,
            "before": names[index - 1] if index else None,
            "after": after,
            "routes": (*up, *down),
            "_branch": f"0:{names[index + 2] if index + 2 <= last else ''}",
            "_branch_above": f"0:{after or ''}",
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def branch(self, depth: int) -> str:
        """What our credit at `after` is counted by: the depth of children, and the agent beyond it ("" for none), so
        that an absent branch blocks no other (rule R13)."""
        return f"{depth}{self._branch[1:]}" if depth else self._branch

    def branch_above(self, depth: int) -> str:
        """The same as `before` counts it: its credit at this agent."""
        return f"{depth}{self._branch_above[1:]}" if depth else self._branch_above


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
