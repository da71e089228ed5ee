"""The life of a job as one table: role x state x event -> state.

Everything that asks "what now?" reads this table: merging of facts, the engine's roles, the command line's words and
the diagram in PROTOCOL.md. The table never looks at a clock and does not know whose side it is on; the role is given.

Rules behind it (PROTOCOL.md 6):
* Only the destination's Outcome is final for everybody; it is written once.
* A Reject is a hop's claim: a later Outcome overrides it.
* Progress never follows an Outcome and never takes a job back.
* A Delete wins over everything and is never left.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What an agent is to one job: its place on the path."""

    ORIGIN = "origin"
    HOP = "hop"
    DESTINATION = "destination"


class State(StrEnum):
    """What people see of a job."""

    CREATED = "created"
    BLOCKED = "blocked"
    PENDING = "pending"
    CLAIMED = "claimed"
    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DELETED = "deleted"


class Event(StrEnum):
    """What can happen to a job at one agent. The first group are facts; the second happens at the destination."""

    CLAIMED = "progress claimed"
    RUNNING = "progress running"
    COMPLETE = "outcome complete"
    ERROR = "outcome error"
    EXPIRED = "outcome expired"
    CANCELLED = "outcome cancelled"
    REJECTED = "reject"
    REJECTED_EXPIRED = "reject expired"
    REJECTED_CANCELLED = "reject cancelled"
    REJECTED_LOST = "reject lost"
    DELETED = "delete"

    START = "start"
    REQUEUE = "requeue"


LIVE: Final = frozenset({State.CREATED, State.BLOCKED, State.PENDING, State.CLAIMED, State.RUNNING})
TERMINAL: Final = frozenset(State) - LIVE
OUTCOMES: Final = frozenset({State.COMPLETE, State.ERROR, State.EXPIRED, State.CANCELLED})

_Row = Mapping[Event, State]
_Table = Mapping[State, _Row]

_ENDS: Final[_Row] = MappingProxyType(
    {
        Event.COMPLETE: State.COMPLETE,
        Event.ERROR: State.ERROR,
        Event.EXPIRED: State.EXPIRED,
        Event.CANCELLED: State.CANCELLED,
        Event.DELETED: State.DELETED,
    }
)
_REJECTS: Final[_Row] = MappingProxyType(
    {
        Event.REJECTED: State.REJECTED,
        Event.REJECTED_EXPIRED: State.EXPIRED,
        Event.REJECTED_CANCELLED: State.CANCELLED,
        Event.REJECTED_LOST: State.REJECTED,
    }
)
# The neighbour that had the job was revoked: nobody will ever say what became of it.
_LOST: Final[_Row] = MappingProxyType({Event.REJECTED_LOST: State.REJECTED})
_REPORTS: Final[_Row] = MappingProxyType({Event.CLAIMED: State.CLAIMED, Event.RUNNING: State.RUNNING})
_FINAL: Final[_Row] = MappingProxyType({Event.DELETED: State.DELETED})
_REJECTED: Final[_Row] = MappingProxyType({**_ENDS})

# What the origin and the hops can learn. A job that a crashed destination takes up again goes from running back to
# claimed: the destination's counter, not this table, decides which of two reports is the later one.
_WATCHES: Final[_Table] = MappingProxyType(
    {
        State.CREATED: MappingProxyType({**_ENDS, **_REJECTS}),
        State.BLOCKED: MappingProxyType({**_ENDS, **_REJECTS}),
        State.PENDING: MappingProxyType({**_REPORTS, **_ENDS, **_REJECTS}),
        State.CLAIMED: MappingProxyType({**_REPORTS, **_ENDS, **_LOST}),
        State.RUNNING: MappingProxyType({**_REPORTS, **_ENDS, **_LOST}),
        State.COMPLETE: _FINAL,
        State.ERROR: _FINAL,
        # Expired and cancelled are here by a hop's word or the destination's: Job.merge refuses the second
        # Outcome, so an Outcome that reaches these rows overrides a hop's Reject.
        State.EXPIRED: _REJECTED,
        State.CANCELLED: _REJECTED,
        State.REJECTED: _REJECTED,
        State.DELETED: MappingProxyType({}),
    }
)
_RUNS: Final[_Table] = MappingProxyType(
    {
        State.PENDING: MappingProxyType({Event.CLAIMED: State.CLAIMED, **_ENDS}),
        State.CLAIMED: MappingProxyType({Event.START: State.RUNNING, **_ENDS}),
        State.RUNNING: MappingProxyType({Event.REQUEUE: State.CLAIMED, **_ENDS}),
        State.COMPLETE: _FINAL,
        State.ERROR: _FINAL,
        State.EXPIRED: _FINAL,
        State.CANCELLED: _FINAL,
        State.DELETED: MappingProxyType({}),
    }
)

TRANSITIONS: Final[Mapping[Role, _Table]] = MappingProxyType(
    {Role.ORIGIN: _WATCHES, Role.HOP: _WATCHES, Role.DESTINATION: _RUNS}
)


def advance(role: Role, state: State, event: Event) -> State | None:
    """The state after `event`, or None where the table has no such move (the event is then ignored)."""
    row = TRANSITIONS[role].get(state)
    return None if row is None else row.get(event)
