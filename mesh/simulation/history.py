"""What really happened in a simulated run, written down by a witness who sees every agent at once.

The simulation tells the history what callers were told, what handlers did, what stores committed and which faults
struck; `verdict` reads it afterwards. What is wrong at the very moment (a state that goes backward) is a problem here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mesh.facts import short_text
from mesh.lifecycle import LIVE, TERMINAL, State

_STEPS: Final = (State.CREATED, State.BLOCKED, State.PENDING, State.CLAIMED)
"""Live states in the order in which they follow each other; a job that runs may be claimed again."""


@dataclass(slots=True)
class Told:
    """What the callers of a job wished and were told.

    Attributes:
        path, zone, text, key: as it was put; empty and None when the caller died before it was answered.
        put_ms: true time at which it was first durable at its origin; a put that is repeated may be answered later.
        acknowledged: a caller was given the id.
        deleting, deleted: a delete was asked for, and acknowledged. One that was only asked for is neither promised
            nor excluded.
        cancelling: a cancel was asked for.
        depth: how many parents it has.
        states: every final state that was told, in order; `durable` those that the origin had committed.
        doubted: one of them came with the word that the effect is unknown; a tombstone does not keep that.
    """

    path: str = ""
    zone: str = ""
    text: str = ""
    key: str | None = None
    put_ms: int = 0
    acknowledged: bool = False
    deleting: bool = False
    deleted: bool = False
    cancelling: bool = False
    depth: int = 0
    states: list[State] = field(default_factory=list)
    durable: list[State] = field(default_factory=list)
    doubted: bool = False


class Loss(NamedTuple):
    """A store was replaced at `lost_ms` by one that holds what it held at `copied_ms` (0: by an empty one).

    `rows` are the ids that were lost, `changed` those that the copy holds in an older version; `shown` are the boards,
    by peer and zone, on which the peer had committed a position of it which the copy does not hold."""

    name: str
    copied_ms: int
    lost_ms: int
    rows: frozenset[bytes]
    changed: frozenset[bytes]
    shown: frozenset[tuple[str, str]]

    @property
    def noticed_by(self) -> frozenset[str]:
        """The peers that can tell, whatever the zone."""
        return frozenset(peer for peer, _ in self.shown)


class Revocation(NamedTuple):
    """One agent revoked the key of another one in a zone, at true time `at_ms`."""

    by: str
    whom: str
    zone: str
    at_ms: int


class Alarm(NamedTuple):
    """An alarm that an agent raised, at true time `at_ms`."""

    at_ms: int
    name: str
    text: str


class History:
    """The whole truth about one run.

    Attributes:
        told: by job, what its callers know.
        keys: by (origin, idempotency key), the ids that were acknowledged for it.
        starts, deaths: how often each handler was started, and how often its agent died or was stopped meanwhile.
        started_by: the agents that started it.
        first_start_ms: when the first attempt at it became durable, on the clock of that agent.
        effects: how often the effect of a job happened.
        losses, alarms: what befell stores, and what the agents said about it.
        home: jobs whose end was durable at their origin, once.
        outcomes: by (agent, agent above it, zone), the number of each job that is over there.
        alone: how often the agent of a job died while no other handler ran there; `nearly_alone` while none did but
            those of parents, of which the engine learns a commit later that they go on.
        damages: (agent, job) of every row that was damaged.
        clones: agents that ran on two copies of one store.
        revoked: (who revoked, whom, zone, true time).
        usual: reasons for which honest peers that lost nothing may refuse each other's records.
        crashes, cuts, commits: how many there were; `faults` counts those of the rarer kinds.
        problems: what was seen to be wrong while it happened.
    """

    def __init__(self) -> None:
        self.told: dict[bytes, Told] = {}
        self.keys: dict[tuple[str, str], set[bytes]] = {}
        self.starts: Counter[bytes] = Counter()
        self.deaths: Counter[bytes] = Counter()
        self.started_by: dict[bytes, set[str]] = {}
        self.first_start_ms: dict[bytes, int] = {}
        self.effects: Counter[bytes] = Counter()
        self.losses: list[Loss] = []
        self.alarms: list[Alarm] = []
        self.home: set[bytes] = set()
        self.outcomes: dict[tuple[str, str, str], dict[bytes, int]] = {}
        self.alone: Counter[bytes] = Counter()
        self.nearly_alone: Counter[bytes] = Counter()
        self.damages: dict[tuple[str, bytes], None] = {}
        self.clones: dict[str, None] = {}
        self.revoked: list[Revocation] = []
        self.usual = frozenset({"busy", "no_card", "no_blob"})
        self.faults: Counter[str] = Counter()
        self.problems: list[str] = []
        self.crashes = 0
        self.cuts = 0
        self.commits = 0
        self._seen: dict[tuple[str, bytes], tuple[State, int]] = {}

    @property
    def is_whole(self) -> bool:
        """Whether no store has lost anything, nor ran twice."""
        return not (self.losses or self.clones or self.damages)

    def problem(self, rule: str, sentence: str) -> None:
        """Something that should not be, under the number of the invariant or rule that it breaks."""
        self.problems.append(f"{rule}: {sentence}")

    def of(self, job_id: bytes) -> Told:
        """What the callers of a job know."""
        return self.told.setdefault(job_id, Told())

    def tell(self, job_id: bytes, state: State) -> None:
        """A caller was told a final state."""
        states = self.of(job_id).states
        if state in TERMINAL and (not states or states[-1] is not state):
            states.append(state)

    def started(self, name: str, job_id: bytes) -> None:
        """A handler was started."""
        self.starts[job_id] += 1
        self.started_by.setdefault(job_id, set()).add(name)

    def affected(self, job_id: bytes, *, idempotent: bool) -> None:
        """A handler wrote its effect; the guard of an idempotent one lets that happen once."""
        self.effects[job_id] = 1 if idempotent else self.effects[job_id] + 1

    def observe(self, name: str, job_id: bytes, state: State, version: int) -> None:
        """An agent committed a job in this state; it never goes back behind one committed before (8)."""
        before = self._seen.get((name, job_id))
        self._seen[name, job_id] = (state, version)
        if before is None:
            return
        was, had = before
        # A Reject has no version of its own: the Outcome after it, and the tombstone, keep or raise it.
        # The counter of a destination that lost its store begins again.
        back = (version < had and self.is_whole) or (
            was in _STEPS and state in _STEPS and _STEPS.index(state) < _STEPS.index(was)
        )
        back |= was is State.RUNNING and state in _STEPS[:-1]
        if back or not _follows(was, state):
            self.problem("8", f"{name} had {short_text(job_id)} as {was} {had}, then as {state} {version}")

    def forget(self, name: str, kept: dict[bytes, tuple[State, int]]) -> None:
        """The store of an agent was replaced: it holds only `kept`."""
        for key in [key for key in self._seen if key[0] == name]:
            del self._seen[key]
        self._seen.update({(name, job_id): seen for job_id, seen in kept.items()})

    def damaged(self, name: str, job_id: bytes) -> None:
        """A row of an agent was damaged: what it says of the job from now on, if anything, begins anew."""
        self.damages[name, job_id] = None
        self.faults["damages"] += 1
        self._seen.pop((name, job_id), None)

    def lost_at(self, names: list[str], since_ms: int = 0) -> list[str]:
        """Which of the agents lost a store, or a part of it, after `since_ms`."""
        return [loss.name for loss in self.losses if loss.name in names and loss.lost_ms >= since_ms]


def _follows(was: State, state: State) -> bool:
    if was in LIVE:
        return True
    # What overrides a hop's Reject is looked at by the verdict, which knows whether a store was lost.
    return state is was or state is State.DELETED or was in (State.REJECTED, State.EXPIRED, State.CANCELLED)
