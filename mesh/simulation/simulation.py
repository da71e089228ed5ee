"""A whole mesh in one process, in virtual time, decided by a seed.

Real engines and real stores; only the world is played: links that deliver late, stall and are cut, handlers that take
a while, commits that take a while, clocks that are off, agents that die between any two effects and come back, stores
that are lost or restored from an old copy. The same seed gives the same run, to the last message (`trace` is a hash
over all of it).

    from mesh.simulation import Habits, Simulation, random_life, violations

    run = Simulation([("portal", "cluster")], seed=7)
    random_life(run, Habits(jobs=20, seconds=30))     # callers and faults
    run.heal()
    print(violations(run), run.trace)

It is public: give it your own topology, limits and faults. What must hold whatever happened is checked by `verdict`,
and while it happens by `failpoints`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from grammar.errors import MeshError
from invitations.identity import verify
from mesh.blobs import name_blob
from mesh.board import Board
from mesh.limits import Limits
from mesh.origin import Put
from mesh.proof import Verifier
from mesh.simulation.disk import Disk, state_of, version_of
from mesh.simulation.history import History, Loss
from mesh.simulation.host import Host
from mesh.simulation.setting import ZONE, Setting
from mesh.simulation.wires import Wires
from mesh.simulation.world import Faults, World

SETTLE_S: Final = 4.0
"""How long a mesh runs on once nothing is under way any more."""


class Simulation:
    """A mesh of engines under faults.

    Args:
        links: pairs of agent names; the mesh may be a chain, a star, any tree.
        seed: decides everything.
        faults: how the world behaves.
        limits: what the agents accept.
        skews_ms: by agent, how far its clock is off the true time.

    Attributes:
        hosts: the agents by name.
        history: what really happened.
    """

    def __init__(
        self,
        links: Sequence[tuple[str, str]],
        *,
        seed: int,
        faults: Faults | None = None,
        limits: Limits | None = None,
        skews_ms: Mapping[str, int] | None = None,
    ) -> None:
        self.seed = seed
        self.faults = faults or Faults()
        self.limits = limits or Limits()
        self.world = World(seed)
        self.history = History()
        self.wires = Wires(links, self.world, self.faults)
        setting = Setting(self.world, self.wires, self.history, self.faults, self.limits, Verifier(verify))
        names = sorted({name for ends in links for name in ends})
        self.hosts = {
            name: Host(name, setting, self._start_later, skew_ms=(skews_ms or {}).get(name, 0)) for name in names
        }
        self.wires.ends.update(self.hosts)
        for name in names:
            self.start(name)

    @property
    def trace(self) -> str:
        """A hash over everything that was sent, committed and started."""
        return self.world.trace

    # -- driving ------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let `seconds` of virtual time pass."""
        self.world.run(seconds)

    def heal(self, seconds: float = 60.0) -> None:
        """End all faults, bring everything up, and give the mesh `seconds` to settle; less if it has settled."""
        self.world.calm = True
        for name in self.hosts:
            self.start(name)
        for wire in self.wires.all:
            wire.allowed = True
            wire.stalled_ms = 0
            self.wires.dial(wire)
        end_ms = self.world.now_ms + int(seconds * 1000)
        # What is still wrong after the first quiet moment may come right in the seconds after it, or may show itself.
        while self.world.now_ms < end_ms:
            quiet = all(host.is_quiet for host in self.hosts.values())
            self.run(SETTLE_S)
            if quiet:
                return

    def put(
        self,
        path: str,
        text: str,
        *,
        life_s: float | None = None,
        key: str | None = None,
        payload: bytes | None = None,
        on_reply: Callable[[bytes | MeshError], None] | None = None,
    ) -> None:
        """Put a job at the first agent of `path`, if that is up; `history.told` records what comes of it."""
        history, put_ms = self.history, self.world.now_ms
        origin = path.partition(".")[0]

        def reply(result: bytes | MeshError) -> None:
            if isinstance(result, bytes):
                told = history.of(result)
                told.path, told.text, told.key = path, text, key
                told.put_ms = told.put_ms or put_ms
                told.acknowledged = True
                if key is not None:
                    history.keys.setdefault((origin, key), set()).add(result)
            else:
                history.problem("put", f"{origin} refused {path} {text}: {result}")
            if on_reply is not None:
                on_reply(result)

        blob = None if payload is None else name_blob(payload)
        wish = Put(ZONE, path, text, life_s=life_s, key=key, payload=blob)
        self.hosts[origin].ask(lambda engine, token, now_ms: engine.put(token, wish, now_ms), reply)

    def cancel(self, job_id: bytes) -> None:
        """Cancel an acknowledged job at its origin."""
        told = self.history.of(job_id)
        told.cancelling = True
        host = self.hosts[told.path.partition(".")[0]]
        host.ask(lambda engine, token, now_ms: engine.cancel(token, job_id, now_ms), lambda _: None)

    def delete(self, job_id: bytes) -> None:
        """Delete an acknowledged job at its origin."""
        told = self.history.of(job_id)
        told.deleting = True

        def reply(result: bytes | MeshError) -> None:
            told.deleted = told.deleted or isinstance(result, bytes)

        host = self.hosts[told.path.partition(".")[0]]
        host.ask(lambda engine, token, now_ms: engine.delete(token, job_id, now_ms), reply)

    # -- agents -------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start an agent on what its disk holds, if it is down."""
        host, wires = self.hosts[name], self.wires.at(name)
        if not host.up:
            host.start([self.hosts[wire.other(name)].peer_row for wire in wires])
            for wire in wires:
                self.wires.dial_soon(wire, 100)

    def crash(self, name: str, *, down_s: float | None = None) -> None:
        """Kill an agent: its memory, its uncommitted steps, its links and handlers are gone. It comes back by itself
        after `down_s`, at most `faults.down_s`, seconds."""
        host = self.hosts[name]
        if host.up and not self.world.calm:
            self.history.crashes += 1
            self.world.note("crash", name)
            host.kill()
        self._start_later(name, down_s)

    def _start_later(self, name: str, down_s: float | None = None) -> None:
        down = self.world.random.uniform(0.1, self.faults.down_s) if down_s is None else down_s
        self.world.later(int(down * 1000), lambda: self.start(name))

    def stop(self, name: str) -> None:
        """Stop an agent as it is meant to be, and start it again later."""
        host = self.hosts[name]
        if host.up and not self.world.calm:
            self.world.note("stop", name)
            host.stop()
        self._start_later(name)

    # -- links --------------------------------------------------------------------------------------------------

    def cut(self, one: str, other: str, *, down_s: float | None = None) -> None:
        """Cut a link; everything on its way is lost, and each end notices in its own time."""
        wire, world = self.wires.between(one, other), self.world
        if world.calm:
            return
        self.history.cuts += 1
        wire.allowed = False
        self.wires.down(wire)
        down = world.random.uniform(0.05, self.faults.down_s) if down_s is None else down_s

        def back() -> None:
            wire.allowed = True
            self.wires.dial(wire)

        world.later(int(down * 1000), back)

    def stall(self, one: str, other: str, seconds: float) -> None:
        """Let a link carry nothing for `seconds`, though it stands."""
        if not self.world.calm:
            self.wires.between(one, other).stalled_ms = self.world.now_ms + int(seconds * 1000)

    # -- stores -------------------------------------------------------------------------------------------------

    def keep_copy(self, name: str) -> None:
        """Copy the store of an agent, for `restore`."""
        host = self.hosts[name]
        host.copies.append((self.world.now_ms, host.disk.copy()))

    def restore(self, name: str) -> None:
        """Kill an agent and give it the last copy of its store, if there is one."""
        copies = self.hosts[name].copies
        if copies and not self.world.calm:
            self._replace(name, *copies[-1])

    def lose(self, name: str) -> None:
        """Kill an agent and take its store away."""
        if not self.world.calm:
            self.hosts[name].copies.clear()
            self._replace(name, 0, Disk())

    def _replace(self, name: str, at_ms: int, copy: Disk) -> None:
        host = self.hosts[name]
        if host.up:
            host.kill()
        before, after = host.disk.kept(), copy.kept()
        changed = frozenset(one for one, row in after.items() if one in before and row.record != before[one].record)
        noticed = frozenset(
            wire.other(name) for wire in self.wires.at(name) if self._remembers(name, wire.other(name), copy)
        )
        lost = frozenset(before.keys() - after.keys())
        self.history.losses.append(Loss(name, at_ms, self.world.now_ms, lost, changed, noticed))
        self.history.forget(name, {one: (state_of(row), version_of(row)) for one, row in after.items()})
        self.world.note("loss", name, at_ms)
        host.disk = copy.copy()
        self._start_later(name)

    def _remembers(self, name: str, peer: str, copy: Disk) -> bool:
        # Whether the peer has committed a number of this store that the copy never gave out.
        board = self.hosts[peer].stored_board(name)
        # During a full exchange positions mean nothing, and it is begun again anyway.
        known = next((Board.from_row(row, self.limits) for row in copy.boards.values() if row.name == peer), None)
        at_peer = self.hosts[peer]
        under_way = at_peer.up and at_peer.board(name).exchanging
        if board is None or under_way or board.exchanging or (known is not None and known.exchanging):
            return False
        return board.inbox.number > max(copy.records, default=0)
