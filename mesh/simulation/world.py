"""The world of a simulation: virtual time, chance from a seed, and how badly it behaves.

Everything that happens is an event at a time; events at the same time happen in the order in which they were asked
for. One generator of random numbers decides everything, so that a seed is a whole history, and `trace` is a hash over
what was noted of it. No engine is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final

from mesh.facts import ID_BYTES, short_text

START_MS: Final = 1_700_000_000_000
MOST: Final = 60_000
"""Events of one world. Agents that answer each other for ever would let no schedule end; the busiest of thousands has
a sixth of them."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How the world behaves. Times in milliseconds or seconds, chances between 0 and 1.

    Attributes:
        delay_ms: longest time a message travels.
        commit_ms: longest time a commit takes.
        notice_ms: longest time until an end notices that its link was cut.
        handler_ms: longest time a handler takes.
        lumps: chance that an input waits for others, and one step takes them all.
        crash: chance, at each boundary between two effects, that the agent dies there.
        down_s: longest time that a link or an agent stays down.
        step_ms: most by which the clock of an agent is set while it is down, forward or back.
        fails, reports: share of handlers that fail, and that report progress.
        large: share of results that are too long for a fact.
        loaded: share of children that have a payload of their own.
    """

    delay_ms: int = 40
    commit_ms: int = 15
    notice_ms: int = 300
    handler_ms: int = 2_000
    lumps: float = 0.2
    crash: float = 0.002
    down_s: float = 5.0
    step_ms: int = 0
    fails: float = 0.1
    reports: float = 0.2
    large: float = 0.0
    loaded: float = 0.0


class World:
    """Virtual time and chance.

    Args:
        tell: called with a readable line about everything that is noted.

    Attributes:
        now_ms: true time; the agents' clocks may be off.
        random: the one source of chance.
        calm: no fault happens any more.
        happened: how many events there were; after `MOST` no time passes any more.
    """

    __slots__ = ("_events", "_hash", "_order", "_tell", "calm", "happened", "now_ms", "random")

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.random = Random(seed)  # noqa: S311 - a replay needs a seed, not a secret
        self.now_ms = START_MS
        self.calm = False
        self.happened = 0
        self._order = count()
        self._tell = tell
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._hash = blake2b(digest_size=16)

    @property
    def trace(self) -> str:
        """A hash over everything that was noted."""
        return self._hash.hexdigest()

    def note(self, *parts: object) -> None:
        """Add to the trace; parts have a `repr` that depends on nothing but the seed."""
        self._hash.update(repr((self.now_ms, *parts)).encode())
        if self._tell is not None:
            self._tell(f"{(self.now_ms - START_MS) / 1000:9.3f}  {' '.join(map(_word, parts))}")

    def later(self, delay_ms: int, event: Callable[[], None]) -> None:
        """Let `event` happen in `delay_ms` milliseconds."""
        heappush(self._events, (self.now_ms + delay_ms, next(self._order), event))

    def within(self, longest_ms: int, event: Callable[[], None]) -> None:
        """Let `event` happen at a random moment of the next `longest_ms` milliseconds."""
        self.later(self.random.randint(0, longest_ms), event)

    def happens(self, chance: float) -> bool:
        """Whether a fault of that chance happens now; never in the calm."""
        return not self.calm and self.random.random() < chance

    def run(self, seconds: float) -> None:
        """Let `seconds` of virtual time pass."""
        end = self.now_ms + int(seconds * 1000)
        events = self._events
        while events and events[0][0] <= end:
            if self.happened == MOST:
                return
            self.happened += 1
            self.now_ms, _, event = heappop(events)
            event()
        self.now_ms = end

    @property
    def is_restless(self) -> bool:
        """Whether there were more events than any mesh of a schedule's size has that comes to rest."""
        return self.happened == MOST


def _word(part: object) -> str:
    """A part of a note as people read it: jobs by their short ids, messages by their number."""
    match part:
        case bytes():
            return short_text(part)
        case tuple():
            return "-".join(map(str, part))
        case list() if part and all(isinstance(one, bytes) and len(one) == ID_BYTES for one in part):
            return " ".join(map(short_text, part))
        case list():
            return f"{len(part)} messages" if part else "nothing of jobs"
        case _:
            return str(part)
