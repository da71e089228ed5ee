"""Both directions of one board: what is in flight, and what has been received (rules R2, R3, R7, R12).

`Outbox` is our sequence of changed jobs towards the peer: numbers are given out by the store, rise, and have gaps;
acknowledgement is cumulative. `Inbox` is the watermark of the peer's sequence, the refusals it has to be told until it
confirms them, and the second watermark `home`. Neither sends nor stores anything; the board does.
"""

from __future__ import annotations

from typing import Final

from mesh.limits import Limits
from mesh.messages import Position

DETAIL: Final = 256
"""Characters of a refusal's sentence that are kept and told."""
NO_POSITION: Final[Position] = (b"", 0)
STRAY: Final = -1
"""Stands for the number of a record that came before the store was opened."""


class Outbox:
    """Our numbered records to one peer.

    Attributes:
        last: highest number given out on this board. Kept in the store.
        acked: the peer has everything up to here. Kept, but lazily: an older value only means sending again.
        cursor: highest number sent on the present link.
        sure, doubt: if this store is an old copy, numbers above `sure`, up to `doubt`, may not have been taken, though
            the peer has received later ones. -1 before the first link of this opening.
        resumed: highest number that the peer had taken note of when the present link began; `before` the highest one
            that had been given out by then.
        again: numbers up to here may have been carried by two links before the present one, or more.
        home: every Outcome of ours up to here is committed at its origin.
        void: numbers up to here are from before the last full exchange began, and what the peer says of them is nothing
            (R4).
        renumbering: jobs that such an exchange is to tell may still have numbers from before it.
        said: what the peer has said is home, to be heeded once they have not.
        trimmed: the facts of finished jobs up to here were asked to be dropped.
        flight: number -> (job id, bytes) of records sent on the present link and not acknowledged.
    """

    __slots__ = (
        "acked",
        "again",
        "before",
        "cursor",
        "doubt",
        "flight",
        "flight_bytes",
        "home",
        "last",
        "relayed",
        "renumbering",
        "resumed",
        "said",
        "sure",
        "trimmed",
        "void",
        "window_bytes",
        "window_records",
    )

    def __init__(self, limits: Limits, *, last: int = 0, acked: int = 0, home: int = 0) -> None:
        self.window_records = limits.window_records
        self.window_bytes = limits.window_bytes
        self.last = last
        self.acked = acked
        self.home = self.trimmed = home
        self.cursor = self.resumed = self.before = self.sure = acked
        # How often an earlier opening sent what it had numbered is not known.
        self.again = last
        self.doubt = -1
        self.void = self.said = 0
        self.renumbering = False
        self.flight: dict[int, tuple[bytes, int]] = {}
        self.flight_bytes = 0
        # Outcomes a hop passed on: our number -> (board it came from, number there), so that `home` can be told on.
        self.relayed: dict[int, tuple[int, int]] = {}

    @property
    def behind(self) -> bool:
        """Whether numbers were given out that the present link has not carried: they are on disk, to be paged."""
        return self.last > self.cursor

    @property
    def room(self) -> bool:
        """Whether the window takes another record (R12)."""
        return len(self.flight) < self.window_records and self.flight_bytes < self.window_bytes

    @property
    def noted(self) -> int:
        """The highest number that the peer is known to have taken note of: it acknowledged that, or told it in a
        greeting of this opening. Only a store that lost something knows less (R4); so `doubt` is never above it."""
        return max(self.acked, self.resumed)

    @property
    def in_doubt(self) -> bool:
        """Whether some of what the peer has taken note of is to be told again. Its first acknowledgement has come: what
        it refused is dealt with."""
        return self.sure < self.doubt <= self.acked

    @property
    def kept(self) -> int:
        """What the store keeps as acknowledged: nothing that is in doubt, which another opening has to tell again."""
        return self.sure if self.sure < self.doubt else self.acked

    def resume(self, received: int, first: int) -> None:
        """Start a link whose peer has taken note of everything up to `received`: it is not sent again. What the peer
        refused of that comes with its first acknowledgement, so a job that changes before goes out whole (R3).

        Args:
            received: the highest number that the peer has committed.
            first: the first number of this opening of the store.
        """
        carried = min(self.before, self.cursor)
        if carried > self.resumed:
            self.again = max(self.again, carried)
        self.cursor = self.resumed = max(self.acked, received)
        if self.doubt < 0:
            self.doubt = min(self.resumed, first - 1)
        self.before = self.last
        self.flight.clear()
        self.flight_bytes = 0

    def restart(self, first: int) -> None:
        """Begin a full exchange: what had a number gets a new one, above `last` (R4). Until all of it has, nothing more
        is home: the peer says so of every number that it takes as received without having seen its record.

        Args:
            first: the first number of this opening of the store; the peer takes everything below it as received.
        """
        self.acked = self.cursor = self.last = self.void = max(self.last, first - 1)
        self.sure = self.doubt = self.acked
        self.renumbering = True
        self.said = 0
        self.flight.clear()
        self.flight_bytes = 0

    def sent_again(self, number: int) -> bool:
        """Whether more than one link may have carried a number. What the peer says of it is of the last time only, and
        may come on a later link still."""
        return self.resumed < number <= self.before or 0 < number <= self.again

    def renumbered(self) -> list[tuple[int, int]]:
        """All that a full exchange is to tell has a number above `void`.

        Returns:
            What was relayed under numbers up to there: no record carries it any more. And what else is home by now, as
            from `went_home`.
        """
        self.renumbering = False
        self.home = max(self.home, self.void)
        left = [number for number in self.relayed if number <= self.void]
        return [self.relayed.pop(number) for number in left] + self.went_home(self.said)

    def sent(self, number: int, job_id: bytes, size: int) -> None:
        """Note that record `number` went out on the present link."""
        self.cursor = number
        self.flight[number] = (job_id, size)
        self.flight_bytes += size

    def resize(self, number: int, size: int) -> None:
        """Say how many bytes record `number`, just sent, has."""
        job_id, before = self.flight[number]
        self.flight[number] = (job_id, size)
        self.flight_bytes += size - before

    def unsend(self, number: int) -> None:
        """Record `number`, just noted, turned out to be empty and was not sent."""
        self.flight_bytes -= self.flight.pop(number)[1]

    def acknowledge(self, number: int) -> bool:
        """The peer committed everything up to `number`.

        Returns:
            Whether it makes sense: a number never sent on this link is a lie, and the link is to be closed.
        """
        if number > self.cursor:
            return False
        if number <= self.acked:
            return True
        self.acked = number
        flight = self.flight
        while flight:
            first = next(iter(flight))
            if first > number:
                break
            self.flight_bytes -= flight.pop(first)[1]
        return True

    def went_home(self, number: int) -> list[tuple[int, int]]:
        """Our Outcomes up to `number` are at their origins.

        Returns:
            What was relayed under them, as (board, number there).
        """
        if number > self.last:
            return []
        if self.renumbering:
            self.said = max(self.said, number)
            return []
        if number <= self.home:
            return []
        self.home = number
        gone = []
        relayed = self.relayed
        while relayed:
            first = next(iter(relayed))
            if first > number:
                break
            gone.append(relayed.pop(first))
        return gone

    @property
    def all_home(self) -> bool:
        """Whether nothing is on its way home any more, and what was relayed has no record to wait for: the row of such
        a number was damaged, and came back without it."""
        rested = not self.flight and not self.behind and not self.renumbering
        return rested and bool(self.relayed) and self.home >= max(self.acked, self.resumed)


class Inbox:
    """The peer's numbered records to us.

    Attributes:
        received: the position up to which everything is committed here, in the peer's numbering, with the opening of
            the peer's store that greeted last.
        refused: number -> (reason, detail) of records that were not taken; repeated until confirmed (R3).
        settled: those that were confirmed after the last record came. A copy of the peer's store that is put back may
            lack what followed from them, and no position would show it: they are said again on the next link.
        away: numbers of records whose Outcome is not yet known to be committed at its origin.
        strays: how many Outcomes from before this store was opened are still away; while there are any, `home` stays
            at `floor`, since their numbers are not known any more.
        superseded: incarnations of the peer that a later list of its did not hold: whoever comes with one as its
            current is a clone (R4).
    """

    __slots__ = ("away", "floor", "incarnation", "number", "refused", "settled", "strays", "superseded")

    def __init__(self, position: Position = NO_POSITION, *, floor: int = 0) -> None:
        self.incarnation, self.number = position
        self.refused: dict[int, tuple[str, str]] = {}
        self.settled: dict[int, tuple[str, str]] = {}
        self.away: dict[int, None] = {}
        self.floor = floor
        self.strays = 0
        self.superseded: frozenset[bytes] = frozenset()

    @property
    def received(self) -> Position:
        return (self.incarnation, self.number)

    @property
    def home(self) -> int:
        """Every Outcome up to here is committed at its origin, as far as we know (R7)."""
        if self.strays:
            return self.floor
        home = next(iter(self.away)) - 1 if self.away else self.number
        if self.refused:
            # What was not taken is nowhere near home.
            home = min(home, min(self.refused) - 1)
        return max(self.floor, home)

    def start(self, position: Position) -> None:
        """Begin a full exchange at `position`: what was away under earlier numbers comes again under new ones."""
        self.incarnation, self.number = position
        self.floor = self.strays = 0
        self.away.clear()
        self.refused.clear()
        self.settled.clear()

    def take(self, number: int) -> None:
        """Record `number` was taken in this step."""
        self.number = number
        if self.settled:
            # Given out after what was confirmed: a copy that lacks that lacks this number too, and is found out (R4).
            self.settled.clear()

    def told(self, number: int) -> None:
        """A full exchange is over, in which the peer told all that it has numbered up to there."""
        self.number = max(self.number, number)

    def came_home(self, number: int) -> None:
        """The Outcome of record `number` is committed at its origin; one from before the opening has none above 0."""
        if number > 0:
            self.away.pop(number, None)
        elif self.strays:
            self.strays -= 1

    def refuse(self, number: int, reason: str, detail: str) -> None:
        """Record `number`, just taken note of, was not merged."""
        self.refused[number] = (reason, detail[:DETAIL])

    def confirmed(self, number: int) -> bool:
        """The peer committed our refusals up to `number`; says whether any was not confirmed before."""
        done = [refused for refused in self.refused if refused <= number]
        for refused in done:
            self.settled[refused] = self.refused.pop(refused)
        return bool(done)

    def resume(self, incarnation: bytes) -> None:
        """A link begins to `incarnation`, an opening of the peer's store that knows all that was taken here: a store
        that lacks it is an old copy from now on, though nothing may ever come from it (R4). Whether it still knows what
        it confirmed last has to be asked again."""
        self.incarnation = incarnation
        self.refused.update(self.settled)
        self.settled.clear()

    def refusals(self, most: int) -> list[list[object]]:
        """The refusals to repeat in an acknowledgement, oldest first, `most` at a time."""
        return [[number, *self.refused[number]] for number in sorted(self.refused)[:most]]
