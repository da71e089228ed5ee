"""The wires of a simulated mesh: they deliver late and in order, stall, break, and are dialled again.

A wire joins two agents in one zone and carries one link at a time. What was on its way when the link broke is lost;
each end notices in its own time, and what an end sends meanwhile goes nowhere. Where two agents run on copies of one
store, both dial, and the one who came last has the link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from mesh.messages import Message
from mesh.simulation.world import Faults, World

GREETING_MS: Final = 10_000
"""A link whose greetings take longer is given up."""
ZONE: Final = "lab"
"""The zone of links for which no other one is named."""

Link = tuple[str, str] | tuple[str, str, str]
"""A wire as people write it: two names, and a zone if it is not `lab`."""


class End(Protocol):
    """An agent, as its wires see it."""

    @property
    def seat(self) -> str:
        """Its name; another one than that of the agent whose store it has a copy of."""
        ...

    @property
    def up(self) -> bool:
        """Whether it runs."""
        ...

    def admits(self, wire: Wire) -> bool:
        """Whether it has pinned the agent at the other end, and not revoked it."""
        ...

    def greet(self, wire: Wire, epoch: int) -> None:
        """A new link stands; it is the one of that epoch, and what waits to be said belongs to the old one."""
        ...

    def greeted(self, wire: Wire) -> bool:
        """Whether the greeting of the other end arrived on the present link."""
        ...

    def disconnected(self, wire: Wire) -> None:
        """The link is gone."""
        ...

    def arrived(self, wire: Wire, messages: list[Message]) -> None:
        """Messages of the other end came over the link."""
        ...


@dataclass(slots=True)
class Wire:
    """A way between two agents.

    Attributes:
        ends: their names.
        zone: the zone of its links.
        seated: by name, the agent that has the link at this end.
        allowed: it may be dialled; False while it is cut.
        revoked: one end revoked the other one's key, for good.
        up: a link stands.
        epoch: grows with every link and every cut, so that what was on its way is lost.
        linked: by seat, the epoch of the link that this end believes in, 0 for none.
        stalled_ms: nothing arrives before this time, though the link stands.
        bytes_s: how much it carries in a second, 0 for as much as is sent.
        busy_ms: by sender, when its last message arrives: nothing overtakes.
    """

    ends: tuple[str, str]
    zone: str = ZONE
    seated: dict[str, End] = field(default_factory=dict)
    allowed: bool = True
    revoked: bool = False
    up: bool = False
    epoch: int = 0
    linked: dict[str, int] = field(default_factory=dict)
    stalled_ms: int = 0
    bytes_s: int = 0
    busy_ms: dict[str, int] = field(default_factory=dict)

    def other(self, name: str) -> str:
        """The end that is not `name`."""
        return self.ends[0] if self.ends[1] == name else self.ends[1]


class Wires:
    """All wires of a mesh. Whoever makes the agents seats them with `join`."""

    def __init__(self, links: Sequence[Link], world: World, faults: Faults) -> None:
        self.all = [Wire((link[0], link[1]), link[2] if len(link) > 2 else ZONE) for link in links]
        if len({(frozenset(wire.ends), wire.zone) for wire in self.all}) < len(self.all):
            raise ValueError("two agents have at most one link in a zone")
        self._at: dict[str, list[Wire]] = {}
        for wire in self.all:
            for name in wire.ends:
                self._at.setdefault(name, []).append(wire)
        self._world = world
        self._faults = faults

    @property
    def names(self) -> list[str]:
        """Every agent, in order."""
        return sorted(self._at)

    def at(self, name: str) -> list[Wire]:
        """The wires of one agent."""
        return self._at[name]

    def between(self, one: str, other: str, zone: str | None = None) -> Wire:
        """The wire between two agents: the first one, if no zone is named."""
        return next(wire for wire in self._at[one] if other in wire.ends and zone in (None, wire.zone))

    def join(self, name: str, end: End) -> None:
        """Give an agent its end of every wire of that name; one that had them loses its links."""
        for wire in self._at[name]:
            if wire.seated.get(name) not in (None, end):
                self.down(wire)
            wire.seated[name] = end

    def dial(self, wire: Wire) -> None:
        """Make a link, if there is none, nothing forbids it and both ends are up."""
        if wire.up or wire.revoked or not wire.allowed or not all(end.up for end in wire.seated.values()):
            return
        if not all(end.admits(wire) for end in wire.seated.values()):
            self._world.note("refused", wire.ends)
            self._world.later(self._world.random.randint(500, 3_000), lambda: self.dial(wire))
            return
        wire.up = True
        wire.epoch += 1
        wire.busy_ms.clear()
        self._world.note("up", wire.ends)
        epoch, ends = wire.epoch, tuple(wire.seated.values())
        for end in ends:
            end.greet(wire, epoch)
        self._world.later(GREETING_MS, lambda: self._give_up(wire, epoch))

    def _give_up(self, wire: Wire, epoch: int) -> None:
        # Who did not greet in time is not believed to be there; a link that stalls later is the engine's to notice.
        if wire.epoch == epoch and not all(end.greeted(wire) for end in wire.seated.values()):
            self.down(wire)

    @property
    def is_still(self) -> bool:
        """Whether nothing is on its way."""
        return all(arrives <= self._world.now_ms for wire in self.all if wire.up for arrives in wire.busy_ms.values())

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
            end = wire.seated[name]
            self._world.within(self._faults.notice_ms, lambda end=end: self._noticed(wire, end, was))  # type: ignore[misc]
        self._world.later(self._world.random.randint(50, 500), lambda: self.dial(wire))

    def _noticed(self, wire: Wire, end: End, was: int) -> None:
        if wire.linked.get(end.seat) == was:
            wire.linked[end.seat] = 0
            end.disconnected(wire)

    def carry(self, sender: str, wire: Wire, epoch: int, messages: list[Message], size: int) -> bool:
        """Take messages of `sender`, `size` bytes of them, on the link `epoch`.

        Returns:
            Whether that link still stands; if not, they are lost at once.
        """
        if not wire.up or wire.epoch != epoch:
            return False
        world = self._world
        arrives = world.now_ms + world.random.randint(1, self._faults.delay_ms)
        arrives = max(arrives, wire.stalled_ms, wire.busy_ms.get(sender, 0))
        if wire.bytes_s and not world.calm:
            arrives += 1_000 * size // wire.bytes_s
        wire.busy_ms[sender] = arrives
        receiver = wire.seated[wire.other(sender)]

        def arrive() -> None:
            if wire.epoch == epoch:
                receiver.arrived(wire, messages)

        world.later(arrives - world.now_ms, arrive)
        return True
