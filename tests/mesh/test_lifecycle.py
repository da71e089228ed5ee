"""The lifecycle table, cell by cell: every (role, state, event), legal and illegal."""

from __future__ import annotations

import pytest

from mesh.lifecycle import LIVE, OUTCOMES, TERMINAL, TRANSITIONS, Event, Role, State, advance

# Written out once more by hand, one line a state, so that a change of the table is a change of two places.
WATCHING = {
    "created": "COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled DELETED>deleted"
    " REJECTED>rejected REJECTED_EXPIRED>expired REJECTED_CANCELLED>cancelled REJECTED_LOST>rejected",
    "blocked": "COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled DELETED>deleted"
    " REJECTED>rejected REJECTED_EXPIRED>expired REJECTED_CANCELLED>cancelled REJECTED_LOST>rejected",
    "pending": "CLAIMED>claimed RUNNING>running COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled"
    " DELETED>deleted REJECTED>rejected REJECTED_EXPIRED>expired REJECTED_CANCELLED>cancelled REJECTED_LOST>rejected",
    "claimed": "CLAIMED>claimed RUNNING>running COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled"
    " DELETED>deleted REJECTED_LOST>rejected",
    "running": "CLAIMED>claimed RUNNING>running COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled"
    " DELETED>deleted REJECTED_LOST>rejected",
    "complete": "DELETED>deleted",
    "error": "DELETED>deleted",
    "rejected": "COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled DELETED>deleted",
    "expired": "COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled DELETED>deleted",
    "cancelled": "COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled DELETED>deleted",
    "deleted": "",
}
RUNNING = {
    "pending": "CLAIMED>claimed COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled DELETED>deleted",
    "claimed": "START>running COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled DELETED>deleted",
    "running": "REQUEUE>claimed COMPLETE>complete ERROR>error EXPIRED>expired CANCELLED>cancelled DELETED>deleted",
    "complete": "DELETED>deleted",
    "error": "DELETED>deleted",
    "expired": "DELETED>deleted",
    "cancelled": "DELETED>deleted",
    "deleted": "",
}
TABLES = {Role.ORIGIN: WATCHING, Role.HOP: WATCHING, Role.DESTINATION: RUNNING}


def expected(role: Role, state: State, event: Event) -> State | None:
    moves = dict(word.split(">") for word in TABLES[role].get(str(state), "").split())
    return State(moves[event.name]) if event.name in moves else None


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("role", Role)
def test_every_cell(role: Role, state: State, event: Event) -> None:
    assert advance(role, state, event) is expected(role, state, event)


def test_states_are_live_or_terminal() -> None:
    assert set(State) == LIVE | TERMINAL
    assert not LIVE & TERMINAL
    assert OUTCOMES < TERMINAL


@pytest.mark.parametrize("role", Role)
def test_a_terminal_state_is_never_left_for_a_live_one(role: Role) -> None:
    for state in TERMINAL:
        assert not {advance(role, state, event) for event in Event} & LIVE


@pytest.mark.parametrize("role", Role)
def test_a_delete_ends_every_state_that_the_role_has(role: Role) -> None:
    for state in set(TRANSITIONS[role]) - {State.DELETED}:
        assert advance(role, state, Event.DELETED) is State.DELETED
    assert not TRANSITIONS[role][State.DELETED]


def reached(role: Role) -> set[State]:
    """States that can be come to from `pending`, where every job begins."""
    found, new = {State.PENDING}, [State.PENDING]
    while new:
        state = new.pop()
        for event in Event:
            after = advance(role, state, event)
            if after is not None and after not in found:
                found.add(after)
                new.append(after)
    return found


def test_unreachable_states() -> None:
    # `created` and `blocked` belong to jobs that wait at their origin for a start time or for other jobs.
    assert set(State) - reached(Role.ORIGIN) == {State.CREATED, State.BLOCKED}
    assert set(State) - reached(Role.HOP) == {State.CREATED, State.BLOCKED}
    # Only hops reject, so a destination never sees it.
    assert set(State) - reached(Role.DESTINATION) == {State.CREATED, State.BLOCKED, State.REJECTED}


def test_a_report_never_follows_an_end() -> None:
    for role in Role:
        for state in TERMINAL:
            for event in (Event.CLAIMED, Event.RUNNING, Event.START, Event.REQUEUE):
                assert advance(role, state, event) is None


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[Role.ORIGIN][State.PENDING][Event.START] = State.RUNNING  # type: ignore[index]
