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
from dataclasses import replace
from typing import Final

from grammar.errors import MeshError
from invitations.identity import verify
from mesh.blobs import name_blob
from mesh.errors import DiskFull, StoreAtLimit
from mesh.limits import Limits
from mesh.origin import Put
from mesh.proof import Verifier
from mesh.room import Room
from mesh.simulation.history import History, Revocation
from mesh.simulation.host import Host
from mesh.simulation.setting import SKEW_MS, Setting
from mesh.simulation.stores import Stores
from mesh.simulation.wires import ZONE, Link, Wires
from mesh.simulation.world import Faults, World

SETTLE_S: Final = 4.0
"""How long a mesh runs on once nothing is under way any more."""


class Simulation:
    """A mesh of engines under faults.

    Args:
        links: pairs of agent names, and a zone as a third name where it is not `lab`; the mesh may be a chain, a star,
            any tree, and two agents may be linked in several zones.
        seed: decides everything.
        faults: how the world behaves.
        limits: what the agents accept.
        skews_ms: by agent, how far its clock is off the true time.
        smugglers: agents that forward jobs into any zone, as no honest agent does.
        tell: called with a readable line about every message, commit, start and fault.
        strangers: (inviter, invited) in every zone that they share: the inviter refuses the other one until `admit`.

    Attributes:
        hosts: the agents by name.
        history: what really happened.
        smugglers: as given.
        stores: what befalls the agents' stores: copies, losses, damage, clones.
    """

    def __init__(
        self,
        links: Sequence[Link],
        *,
        seed: int,
        faults: Faults | None = None,
        limits: Limits | None = None,
        skews_ms: Mapping[str, int] | None = None,
        smugglers: Sequence[str] = (),
        strangers: Sequence[tuple[str, str]] = (),
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.seed = seed
        self.faults = faults or Faults()
        self.limits = limits or Limits()
        self.world = World(seed, tell)
        self.history = History()
        self.wires = Wires(links, self.world, self.faults)
        setting = Setting(self.world, self.wires, self.history, self.faults, self.limits, Verifier(verify))
        names = self.wires.names
        self.hosts = {
            name: Host(
                name,
                setting,
                self._start_later,
                skew_ms=(skews_ms or {}).get(name, 0),
                smuggles=name in smugglers,
            )
            for name in names
        }
        self.smugglers = frozenset(smugglers)
        if smugglers:
            # What follows a Request that is refused names a job that is not known.
            self.history.usual |= {"wrong_zone", "unknown_job"}
        for inviter, invited in strangers:
            for wire in self.wires.at(inviter):
                if invited in wire.ends:
                    self.hosts[inviter].strangers[wire.zone, invited] = None
        for name in names:
            self.wires.join(name, self.hosts[name])
        self.stores = Stores(setting, self.hosts, self.limits, self._start_later)
        self._intended = 0
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

    def later(self, delay_ms: int, act: Callable[[], None]) -> None:
        """Let a caller do something in `delay_ms` milliseconds; until then the mesh has not settled, quiet as it is."""

        def happen() -> None:
            self._intended -= 1
            act()

        self._intended += 1
        self.world.later(delay_ms, happen)

    def heal(self, seconds: float = 60.0, *, each_s: float = 0.0) -> None:
        """End all faults, bring everything up, and give the mesh and its callers `seconds` to settle; less if they
        have. Clocks that are off beyond the limit are set right, strangers admitted, and of two clones one is ended.

        Args:
            seconds: how long it may take, whatever there is to do.
            each_s: so much longer for each job that ends meanwhile. Where credit and slots are scarce their handlers
                run one after the other: with the longest time that one takes, only the rest is held against the mesh.
        """
        if not self.world.calm:
            for name, host in self.hosts.items():
                self.stores.unclone(name)
                if abs(host.skew_ms) > SKEW_MS:
                    self.set_clock(name, 0)
                self._empty(name)
                for _, invited in tuple(host.strangers):
                    self.admit(name, invited)
        self.world.calm = True
        for name in self.hosts:
            self.start(name)
        for wire in self.wires.all:
            wire.allowed = True
            wire.stalled_ms = 0
            self.wires.dial(wire)
        end_ms, over = self.world.now_ms + int(seconds * 1000), len(self.history.home)
        # What is still wrong after the first quiet moment may come right in the seconds after it, or may show itself.
        while self.world.now_ms < end_ms + int(each_s * 1000) * (len(self.history.home) - over):
            # Who has yet to ask may bring a job that kills its agent: that is under way then, whatever rests now.
            quiet = not self._intended and self.wires.is_still and all(host.is_quiet for host in self.hosts.values())
            self.run(SETTLE_S)
            if self.world.is_restless:
                self.history.problem(
                    "2", f"no rest after {self.world.happened} events: agents answer each other for ever"
                )
                return
            if quiet:
                return

    def put(
        self,
        path: str,
        text: str,
        *,
        zone: str = ZONE,
        life_s: float | None = None,
        key: str | None = None,
        payload: bytes | None = None,
        on_reply: Callable[[bytes | MeshError], None] | None = None,
    ) -> None:
        """Put a job at the first agent of `path`, if that is up; `history.told` records what comes of it."""
        origin = path.partition(".")[0]

        def reply(result: bytes | MeshError) -> None:
            excused = isinstance(result, DiskFull | StoreAtLimit)
            excused = excused or ("is damaged" in str(result) and self._is_damaged(origin, key))
            if isinstance(result, MeshError) and not excused:
                self.history.problem("put", f"{origin} refused {path} {text}: {result}")
            if on_reply is not None:
                on_reply(result)

        blob = None if payload is None else name_blob(payload)
        self.hosts[origin].put(Put(zone, path, text, life_s=life_s, key=key, payload=blob), reply)

    def _is_damaged(self, origin: str, key: str | None) -> bool:
        """The row of the job that was put with that key was damaged: until its copy is back there is no answer."""
        rows = self.hosts[origin].disk.by_id.values()
        return key is not None and any(row.key == key and (origin, row.id) in self.history.damages for row in rows)

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
            host.start([self.hosts[wire.other(name)].peer_row(wire.zone) for wire in wires])
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

    def set_clock(self, name: str, skew_ms: int) -> None:
        """Restart an agent with its clock so far off the true time."""
        self.crash(name)
        self.hosts[name].skew_ms = skew_ms
        if abs(skew_ms) > SKEW_MS:
            self.history.faults["clocks"] += 1
            # One that was sent twice may be held, and what follows it goes there all the same.
            self.history.usual |= {"clock", "unknown_job"}

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

    def slow(self, one: str, other: str, bytes_s: int) -> None:
        """Let a link carry so many bytes in a second, until the mesh is healed."""
        self.wires.between(one, other).bytes_s = bytes_s

    def fill(self, name: str, room: Room, *, seconds: float) -> None:
        """Let the store of an agent have no room for new jobs for `seconds`; a restart finds out anew."""
        host, world = self.hosts[name], self.world
        if not world.calm:
            self.history.faults["full"] += host.up
            host.input(lambda engine, now_ms: engine.room(room, now_ms))
            world.later(int(seconds * 1000), lambda: self._empty(name))

    def _empty(self, name: str) -> None:
        self.hosts[name].input(lambda engine, now_ms: engine.room(Room.ENOUGH, now_ms))

    # -- who is whose peer --------------------------------------------------------------------------------------

    def admit(self, inviter: str, invited: str) -> None:
        """Let an agent in that was a stranger to `inviter`."""
        for wire in self.wires.at(inviter):
            if invited in wire.ends:
                self.hosts[inviter].admit(self.hosts[invited].peer_row(wire.zone))

    def revoke(self, by: str, whom: str, zone: str = ZONE) -> None:
        """Let one agent revoke the key of another one, for good."""
        host, wire = self.hosts[by], self.wires.between(by, whom, zone)
        if not host.up or wire.revoked or not host.admits(wire):
            return
        wire.revoked = True
        self.history.revoked.append(Revocation(by, whom, zone, self.world.now_ms))
        self.history.faults["revocations"] += 1
        row = replace(self.hosts[whom].peer_row(zone), state="revoked")
        host.input(lambda engine, _: engine.revoke([row]))
