"""The wires of a simulated mesh: they deliver late and in order, stall, break, and are dialled again.

A wire joins two agents and carries one link at a time. What was on its way when the link broke is lost; each end
notices in its own time, and what an end sends meanwhile goes nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from mesh.messages import Message
from mesh.simulation.world import Faults, World

GREETING_MS: Final = 10_000
"""A link whose greetings take longer is given up."""


class End(Protocol):
    """An agent, as its wires see it."""

    @property
    def up(self) -> bool:
        """Whether it runs."""
        ...

    def greet(self, peer: str) -> None:
        """A new link to `peer` stands."""
        ...

    def greeted(self, peer: str) -> bool:
        """Whether the greeting of `peer` arrived on the present link."""
        ...

    def disconnected(self, peer: str) -> None:
        """The link to `peer` is gone."""
        ...

    def arrived(self, peer: str, messages: list[Message]) -> None:
        """Messages of `peer` came over the link."""
        ...


@dataclass(slots=True)
class Wire:
    """A way between two agents.

    Attributes:
        ends: their names.
        allowed: it may be dialled; False while it is cut.
        up: a link stands.
        epoch: grows with every link and every cut, so that what was on its way is lost.
        linked: by end, the epoch of the link that this end believes in, 0 for none.
        stalled_ms: nothing arrives before this time, though the link stands.
        busy_ms: by sender, when its last message arrives: nothing overtakes.
    """

    ends: tuple[str, str]
    allowed: bool = True
    up: bool = False
    epoch: int = 0
    linked: dict[str, int] = field(default_factory=dict)
    stalled_ms: int = 0
    busy_ms: dict[str, int] = field(default_factory=dict)

    def other(self, name: str) -> str:
        """The end that is not `name`."""
        return self.ends[0] if self.ends[1] == name else self.ends[1]


class Wires:
    """All wires of a mesh. `ends` are the agents by name; whoever makes them enters them."""

    def __init__(self, links: Sequence[tuple[str, str]], world: World, faults: Faults) -> None:
        self.ends: dict[str, End] = {}
        self.all = [Wire(ends) for ends in links]
        self._by_ends = {frozenset(wire.ends): wire for wire in self.all}
        self._world = world
        self._faults = faults

    def at(self, name: str) -> list[Wire]:
        """The wires of one agent."""
        return [wire for wire in self.all if name in wire.ends]

    def between(self, one: str, other: str) -> Wire:
        return self._by_ends[frozenset((one, other))]

    def dial(self, wire: Wire) -> None:
        """Make a link, if there is none, nothing forbids it and both ends are up."""
        if wire.up or not wire.allowed or not all(self.ends[name].up for name in wire.ends):
            return
        wire.up = True
        wire.epoch += 1
        wire.busy_ms.clear()
        self._world.note("up", wire.ends)
        wire.linked = dict.fromkeys(wire.ends, wire.epoch)
        epoch = wire.epoch
        for name in wire.ends:
            self.ends[name].greet(wire.other(name))
        self._world.later(GREETING_MS, lambda: self._give_up(wire, epoch))

    def _give_up(self, wire: Wire, epoch: int) -> None:
        # Who did not greet in time is not believed to be there; a link that stalls later is the engine's to notice.
        if wire.epoch == epoch and not all(self.ends[name].greeted(wire.other(name)) for name in wire.ends):
            self.down(wire)

    def dial_soon(self, wire: Wire, longest_ms: int) -> None:
        """Dial at a random moment of the next `longest_ms` milliseconds."""
        self._world.within(longest_ms, lambda: self.dial(wire))

    def down(self, wire: Wire) -> None:
        """Break the link; it is dialled again soon, if that is allowed."""
        if not wire.up:
            return
        was = wire.epoch
        wire.up = False
        wire.epoch += 1
        self._world.note("down", wire.ends)
        for name in wire.ends:
            self._world.within(self._faults.notice_ms, lambda name=name: self._noticed(wire, name, was))  # type: ignore[misc]
        self._world.later(self._world.random.randint(50, 500), lambda: self.dial(wire))

    def _noticed(self, wire: Wire, name: str, was: int) -> None:
        if wire.linked.get(name) == was:
            wire.linked[name] = 0
            self.ends[name].disconnected(wire.other(name))

    def carry(self, sender: str, receiver: str, epoch: int, messages: list[Message]) -> bool:
        """Take messages of `sender` on the link `epoch`.

        Returns:
            Whether that link still stands; if not, they are lost at once.
        """
        wire, world = self.between(sender, receiver), self._world
        if not wire.up or wire.epoch != epoch:
            return False
        arrives = world.now_ms + world.random.randint(1, self._faults.delay_ms)
        arrives = max(arrives, wire.stalled_ms, wire.busy_ms.get(sender, 0))
        wire.busy_ms[sender] = arrives

        def arrive() -> None:
            if wire.epoch == epoch:
                self.ends[receiver].arrived(sender, messages)

        world.later(arrives - world.now_ms, arrive)
        return True
