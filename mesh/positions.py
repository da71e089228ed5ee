"""Positions: how two stores notice that one of them lost what it once committed (rule R4).

Every opening of a store commits a random *incarnation* and its first number; numbers rise over all boards of a store
and are never used twice. A position is (incarnation, number). A list of incarnations holds a position only if the
number lies below the first number of the next one: a store restored from an old copy opens anew below numbers it had
given out after the copy was made, so its list does not hold the positions its peers committed. A position names the
opening that the peer met last, which may have given out nothing yet: a copy made before it does not hold that either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mesh.messages import Position

INCARNATION_BYTES: Final = 8
KEPT: Final = 512
"""Openings that are kept and told; what is older counts as not held, which costs a full exchange, never a job."""


@dataclass(frozen=True, slots=True)
class Incarnations:
    """The openings of one store, oldest first, as (incarnation, first number)."""

    entries: tuple[Position, ...]

    @property
    def current(self) -> bytes:
        return self.entries[-1][0]

    @property
    def first(self) -> int:
        """The first number of the current opening."""
        return self.entries[-1][1]

    def opened(self, incarnation: bytes, first: int) -> Incarnations:
        """The list after one more opening whose numbers start at `first`."""
        return Incarnations((*self.entries, (incarnation, first))[-KEPT:])

    def holds(self, position: Position) -> bool:
        """Whether this store knows the opening that `position` names, and gave out its number by the next one: who
        knows an opening knows all that was given out before it."""
        incarnation, number = position
        for index, (name, _) in enumerate(self.entries):
            if name == incarnation:
                return index + 1 == len(self.entries) or number < self.entries[index + 1][1]
        return False

    def names(self) -> frozenset[bytes]:
        return frozenset(name for name, _ in self.entries)

    def told(self) -> list[list[object]]:
        """As HELLO carries it."""
        return [[name, first] for name, first in self.entries]

    @classmethod
    def heard(cls, told: Sequence[Sequence[object]]) -> Incarnations:
        """From a HELLO whose shape was checked."""
        return cls(tuple((bytes(name), int(first)) for name, first in told))  # type: ignore[call-overload]
