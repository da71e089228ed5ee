"""What befalls the stores of simulated agents: copies, losses, damage, and two agents alive on copies of one store."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mesh.board import Board
from mesh.limits import Limits
from mesh.positions import Incarnations
from mesh.replication import NO_POSITION
from mesh.simulation.disk import Disk, state_of, version_of
from mesh.simulation.history import Loss
from mesh.simulation.host import Host
from mesh.simulation.setting import Setting
from mesh.simulation.wires import Wire


class Stores:
    """The stores of all agents.

    Args:
        revive: called with the name of an agent that is to come back later.
    """

    def __init__(
        self, setting: Setting, hosts: Mapping[str, Host], limits: Limits, revive: Callable[[str], None]
    ) -> None:
        self._setting = setting
        self._hosts = hosts
        self._limits = limits
        self._revive = revive
        self._world, self._wires, self._history = setting.world, setting.wires, setting.history
        self._twins: dict[str, tuple[int, Host]] = {}

    # -- copies -------------------------------------------------------------------------------------------------

    def keep_copy(self, name: str) -> None:
        """Copy the store of an agent, for `restore`."""
        host = self._hosts[name]
        host.copies.append((self._world.now_ms, host.disk.copy()))

    def restore(self, name: str) -> None:
        """Kill an agent and give it the last copy of its store, if there is one."""
        copies = self._hosts[name].copies
        if copies and not self._world.calm:
            self._replace(name, *copies[-1])

    def lose(self, name: str) -> None:
        """Kill an agent and take its store away."""
        if not self._world.calm:
            self._hosts[name].copies.clear()
            self._replace(name, 0, Disk())

    def _replace(self, name: str, at_ms: int, copy: Disk) -> None:
        host = self._hosts[name]
        if host.up:
            host.kill()
        self._lost(name, at_ms, host.disk, copy)
        whole = [row for row in copy.rows.values() if row.id not in copy.damaged]
        self._history.forget(name, {row.id: (state_of(row), version_of(row)) for row in whole})
        self._world.note("loss", name, at_ms)
        host.disk = copy.copy()
        self._revive(name)

    def _lost(self, name: str, at_ms: int, gone: Disk, left: Disk) -> None:
        before, after = gone.kept(), left.kept()
        changed = frozenset(one for one, row in after.items() if one in before and row.record != before[one].record)
        remembering = [wire for wire in self._wires.at(name) if self._remembers(wire, name, left)]
        shown = frozenset((wire.other(name), wire.zone) for wire in remembering)
        lost = frozenset(before.keys() - after.keys())
        self._history.losses.append(Loss(name, at_ms, self._world.now_ms, lost, changed, shown))

    def _remembers(self, wire: Wire, name: str, copy: Disk) -> bool:
        # Whether the peer has committed a position of this store that the copy, once opened, does not hold.
        peer = wire.other(name)
        at_peer = self._hosts[peer]
        board = at_peer.stored_board(wire)
        # During a full exchange positions mean nothing, and it is begun again anyway, also if it is that of a clone.
        key = (wire.zone, peer)
        rows = [row for row in copy.boards.values() if (row.zone, row.name) == key]
        known = Board.from_row(rows[-1], self._limits) if rows else None
        meeting = [at_peer] if name not in self._twins else [at_peer, self._twins[name][1]]
        under_way = any(host.engine is not None and host.board(wire).exchanging for host in meeting)
        if board is None or under_way or board.exchanging or (known is not None and known.exchanging):
            return False
        opened = Incarnations(copy.openings).opened(b"the next one", max(copy.records, default=0) + 1)
        return board.inbox.received != NO_POSITION and not opened.holds(board.inbox.received)

    # -- damage -------------------------------------------------------------------------------------------------

    def damage(self, name: str) -> None:
        """Flip a bit in one stored job of an agent; one that is in memory may be written again, whole."""
        host, draw = self._hosts[name], self._world.random
        whole = [row for row in host.disk.rows.values() if row.facts is not None and row.id not in host.disk.damaged]
        if not whole or self._world.calm:
            return
        row = draw.choice(whole)
        size = len(row.record) + len(row.facts or b"")
        host.disk.damage(row.seq, draw.randrange(size), draw.randrange(8))
        self._world.note("damage", name, row.id)
        self._history.damaged(name, row.id)

    # -- clones -------------------------------------------------------------------------------------------------

    def clone(self, name: str, seconds: float) -> None:
        """Start a second agent on a copy of the store of one that runs. For `seconds` both dial, in turn; then the
        operator finds out, and ends the second one."""
        host, world = self._hosts[name], self._world
        if name in self._twins or host.engine is None or world.calm:
            return
        twin = Host(name, self._setting, self._retake, skew_ms=host.skew_ms, twin=host)
        twin.disk = host.disk.copy()
        self._twins[name] = (world.now_ms, twin)
        self._history.clones[name] = None
        self._history.faults["clones"] += 1
        world.note("clone", name)
        self._awake(twin)
        for _ in range(world.random.randint(2, 6)):
            world.later(world.random.randint(0, int(seconds * 1000)), lambda: self._turn(name, twin))
        world.later(int(seconds * 1000), lambda: self.unclone(name))

    def _awake(self, twin: Host) -> None:
        twin.start([self._hosts[wire.other(twin.name)].peer_row(wire.zone) for wire in self._wires.at(twin.name)])

    def _retake(self, name: str) -> None:
        """A twin died by chance: it is back at once."""
        if name in self._twins:
            twin = self._twins[name][1]
            self._world.later(100, lambda: self._awake(twin) if not twin.up and name in self._twins else None)

    def _turn(self, name: str, twin: Host) -> None:
        if name in self._twins and self._twins[name][1] is twin:
            here = self._wires.at(name)[0].seated[name].seat
            self._wires.join(name, self._hosts[name] if here == twin.seat else twin)
            for wire in self._wires.at(name):
                self._wires.dial_soon(wire, 100)

    def unclone(self, name: str) -> None:
        """End the second one of two clones, and start the first one anew, as an operator does."""
        if name not in self._twins:
            return
        at_ms, twin = self._twins.pop(name)
        host = self._hosts[name]
        if twin.up:
            twin.kill()
        # What the second one did is lost, as if the store had been put back to the copy it began with.
        self._lost(name, at_ms, twin.disk, host.disk)
        for wire in self._wires.at(name):
            self._wires.join(name, host)
            self._wires.dial_soon(wire, 100)
        if host.up:
            host.kill()
        self._revive(name)
