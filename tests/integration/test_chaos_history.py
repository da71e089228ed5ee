"""The checker of histories: it accepts what may happen, and finds each planted evil, by its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.integration.chaos_history import UNKNOWN, Answer, Blow, History, Operation, Seen, Start, violations

JOB, OTHER = "aa", "bb"
AT = 1_000.0


def put(job: str = JOB, **changes: object) -> Operation:
    given: dict[str, object] = {
        "key": f"key-{job}",
        "job": job,
        "path": "portal.hop.cluster",
        "answer": Answer.OK,
        "ended": AT + 0.1,
    }
    return Operation("put", "portal", AT, **given | changes)  # type: ignore[arg-type]


def asked(kind: str, answer: Answer = Answer.OK, at: float = AT + 0.2) -> Operation:
    return Operation(kind, "portal", at, job=JOB, answer=answer, ended=at + 0.1)


def shown(state: str, version: int = 2, *, agent: str = "portal", at: float = AT + 9, **more: str | int) -> Seen:
    return Seen(at - 0.01, at, agent, JOB, state, version, **more)  # type: ignore[arg-type]


def ended(state: str, version: int = 2, **more: str) -> dict[str, dict[str, Seen]]:
    """The same end at all three agents."""
    return {agent: {JOB: shown(state, version, agent=agent, **more)} for agent in ("portal", "hop", "cluster")}


def good() -> History:
    """One job that was put, started and completed."""
    return History(
        operations=[put()],
        starts=[Start("start", AT + 1, "cluster", JOB, 1), Start("end", AT + 2, "cluster", JOB, 1, "done")],
        seen=[
            shown("pending", 1, at=AT + 0.5),
            shown("running", 1, at=AT + 1.5),
            shown("complete", result="done", at=AT + 3),
        ],
        effects=Counter({("cluster", JOB): 1}),
        final=ended("complete", result="done"),
        finished=AT + 5,
    )


def change(history: History, **fields: object) -> History:
    for name, value in fields.items():
        setattr(history, name, value)
    return history


def without_work(state: str, error: str = "", version: int = 2, **fields: object) -> History:
    """The same, never started, that ended as `state`."""
    history = change(good(), starts=[], seen=[], final=ended(state, version, error=error))
    history.effects.clear()
    return change(history, **fields)


def test_a_good_run_has_no_violation_and_says_how_much_happened() -> None:
    history = good()
    history.blows = [Blow(AT, AT + 1, "hop", "kill"), Blow(AT, AT + 1, "portal", "pause")]
    assert violations(history) == []
    assert history.tally() == {"kills": 1, "stops": 1, "restarts": 0, "jobs": 1}


def _unanswered_put_never_happened(history: History) -> None:
    history.operations.append(put("", key="lost", answer=Answer.UNKNOWN, ended=None))


def _unanswered_put_was_started(history: History) -> None:
    _unanswered_put_never_happened(history)
    history.starts.append(Start("start", AT + 3, "cluster", OTHER, 1))


def _unanswered_delete_happened(history: History) -> None:
    history.operations.append(asked("delete", Answer.UNKNOWN))
    history.final = {"portal": {}, "hop": {}, "cluster": {}}


def _unanswered_delete_did_not_happen(history: History) -> None:
    history.operations.append(asked("delete", Answer.UNKNOWN))


def _unanswered_cancel_won(history: History) -> None:
    history.operations.append(asked("cancel", Answer.UNKNOWN))
    change(history, starts=[], seen=[], final=ended("cancelled", error="cancelled before it started"))
    history.effects.clear()


def _killed_before_anything_was_durable(history: History) -> None:
    """Shown ahead of the commit, then the agent died: it shows the job as it was, until it learns of the end again."""
    history.blows.append(Blow(AT + 3.1, AT + 3.1, "portal", "kill"))
    history.seen.append(shown("running", 1, at=AT + 3.5))


def _answers_overtook_each_other(history: History) -> None:
    history.seen.append(shown("running", 1, at=AT + 3.1)._replace(asked=AT + 1.4))


def _killed_while_it_answered(history: History) -> None:
    """The kill was on its way when the view was: the view is noted later, and is not durable all the same."""
    history.blows.append(Blow(AT + 2.9, AT + 3.2, "portal", "kill"))
    history.seen.append(shown("running", 1, at=AT + 3.5))


def _put_again_with_its_key(history: History) -> None:
    """The first put was not answered; it, or the second, made the job, whose life began then."""
    again = put(life_s=1.5)
    again.invoked, again.ended = AT + 3, AT + 3.1
    first = put("", key=again.key, answer=Answer.UNKNOWN, ended=None, life_s=1.5)
    change(history, operations=[first, again], starts=[history.starts[0]._replace(at=AT + 6), history.starts[1]])


def _ran_again_after_a_death(history: History) -> None:
    history.blows.append(Blow(AT + 1.5, AT + 1.5, "cluster", "kill"))
    history.starts[1] = Start("start", AT + 1.8, "cluster", JOB, 2)
    history.starts.append(Start("end", AT + 2, "cluster", JOB, 2, "done"))


def _claimed_again_after_a_death(history: History) -> None:
    history.seen.insert(2, shown("claimed", 2, at=AT + 1.8))
    history.seen[3] = shown("complete", 3, at=AT + 3, result="done")
    history.final = ended("complete", 3, result="done")


def _stopped_while_it_ran(history: History) -> None:
    """Its effect is there, and it says that it may be."""
    history.operations.append(asked("cancel"))
    change(history, seen=[], final=ended("cancelled", error=f"cancelled while it ran {UNKNOWN}"))


def _interrupted_and_unknown(history: History) -> None:
    change(history, seen=[], final=ended("error", error=f"interrupted: died {UNKNOWN}"))


def _expired_in_time(history: History) -> None:
    history.operations[0].life_s = 5
    change(history, starts=[], seen=[], final=ended("expired", error="expired"))
    history.effects.clear()


def _killed_between_the_attempt_and_its_handler(history: History) -> None:
    """The first attempt was in time, and nobody but the store knows."""
    history.operations[0].life_s = 0.5
    start, end = history.starts
    history.starts = [start._replace(at=AT + 8, attempt=2), end._replace(at=AT + 8.5, attempt=2)]


def _told_ahead_and_forgotten(history: History) -> None:
    """A hop passed the end on, ahead of the record that never came before the origin died."""
    history.operations.append(asked("cancel", at=AT + 3.05))
    history.blows.append(Blow(AT + 3.5, AT + 3.5, "portal", "kill"))
    history.seen.append(shown("running", 1, at=AT + 4))


def _shown_as_deleted(history: History) -> None:
    history.operations.append(asked("delete"))
    history.seen.append(shown("deleted", 2, at=AT + 4))
    history.final = {"portal": {}, "hop": {}, "cluster": {}}


def _collected_at_a_hop(history: History) -> None:
    del history.final["hop"][JOB]


@pytest.mark.parametrize(
    "happened",
    [
        _unanswered_put_never_happened,
        _unanswered_put_was_started,
        _unanswered_delete_happened,
        _unanswered_delete_did_not_happen,
        _unanswered_cancel_won,
        _killed_before_anything_was_durable,
        _answers_overtook_each_other,
        _killed_while_it_answered,
        _put_again_with_its_key,
        _ran_again_after_a_death,
        _claimed_again_after_a_death,
        _stopped_while_it_ran,
        _interrupted_and_unknown,
        _expired_in_time,
        _killed_between_the_attempt_and_its_handler,
        _told_ahead_and_forgotten,
        _shown_as_deleted,
        _collected_at_a_hop,
    ],
    ids=lambda function: function.__name__[1:],
)
def test_what_may_happen_is_no_violation(happened: Callable[[History], None]) -> None:
    history = good()
    happened(history)
    assert violations(history) == []


BAD = {
    "an acknowledged job is gone": ("1", change(good(), final={"hop": {}, "cluster": {}, "portal": {}})),
    "one key, two jobs": ("1", change(good(), operations=[put(), put(key="same"), put(OTHER, key="same")])),
    "never over": ("2", without_work("pending", version=1)),
    "over here, alive there": (
        "2",
        change(good(), final=good().final | {"hop": {JOB: shown("running", 1, agent="hop")}}),
    ),
    "an effect twice": ("3", change(good(), effects=good().effects + good().effects)),
    "complete without an effect": ("3", change(good(), effects=History().effects)),
    "started again without a death": (
        "3",
        change(good(), starts=[*good().starts, Start("start", AT + 4, "cluster", JOB, 2)]),
    ),
    "another agent's death is no excuse": (
        "3",
        change(
            good(),
            starts=[*good().starts, Start("start", AT + 4, "cluster", JOB, 2)],
            blows=[Blow(AT + 3, AT + 3, "hop", "kill")],
        ),
    ),
    "one attempt twice": (
        "3",
        change(
            good(),
            starts=[*good().starts, Start("start", AT + 4, "cluster", JOB, 1)],
            blows=[Blow(AT + 3, AT + 3, "cluster", "kill")],
        ),
    ),
    "not idempotent, and again": (
        "3",
        change(
            good(),
            operations=[put(guarded=False)],
            starts=[*good().starts, Start("start", AT + 4, "cluster", JOB, 2)],
            blows=[Blow(AT + 3, AT + 3, "cluster", "kill")],
        ),
    ),
    "a hop ran it": ("4", change(good(), starts=[*good().starts, Start("start", AT + 1, "hop", JOB, 2)])),
    "nobody put it": ("4", change(good(), starts=[*good().starts, Start("start", AT + 1, "cluster", OTHER, 1)])),
    "another result than the handler's": ("5", change(good(), final=ended("complete", result="forged"))),
    "told twice, differently": (
        "6",
        change(good(), seen=[*good().seen, shown("error", at=AT + 4, error=f"interrupted {UNKNOWN}")]),
    ),
    "revised after a death": (
        "6",
        change(
            good(),
            seen=[shown("cancelled", at=AT + 2, error=f"cancelled while it ran {UNKNOWN}"), *good().seen[2:]],
            operations=[put(), asked("cancel")],
            blows=[Blow(AT + 2.5, AT + 2.5, "portal", "kill")],
        ),
    ),
    "failed, they say, and it happened": ("7", change(good(), seen=[], final=ended("error", error="failed: no"))),
    "shown going back": ("8", change(good(), seen=[shown("running", 1, at=AT + 2), shown("pending", 1, at=AT + 2.5)])),
    "shown going back on one line": (
        "8",
        change(
            good(),
            seen=[
                shown("running", 1, at=AT + 2, line=7)._replace(asked=AT),
                shown("pending", 1, at=AT + 2.5, line=7)._replace(asked=AT),
            ],
        ),
    ),
    "a version goes back": ("8", change(good(), seen=[shown("running", 3, at=AT + 1), shown("running", 2, at=AT + 2)])),
    "an end is taken back": ("8", change(good(), seen=[*good().seen, shown("running", 1, at=AT + 4)])),
    "back behind what was durable": (
        "8",
        change(
            good(),
            operations=[put(path="portal.cluster"), asked("cancel", at=AT + 3.05)],
            seen=[*good().seen, shown("running", 1, at=AT + 4)],
            blows=[Blow(AT + 3.5, AT + 3.5, "portal", "kill")],
        ),
    ),
    "two ends": (
        "9",
        change(good(), final=good().final | {"hop": {JOB: shown("complete", 3, agent="hop", result="done")}}),
    ),
    "deleted and alive": (
        "10",
        without_work("pending", version=1, operations=[put(), asked("delete")]),
    ),
    "deleted by nobody": ("10", change(good(), seen=[*good().seen, shown("deleted", at=AT + 4)])),
    "cancelled by nobody": ("11", without_work("cancelled", error="cancelled before it started")),
    "cancelled before a start that was": (
        "11",
        change(
            good(),
            operations=[put(), asked("cancel")],
            seen=[],
            final=ended("cancelled", error="cancelled before it started"),
        ),
    ),
    "a refused cancel that cancelled": (
        "11",
        without_work(
            "cancelled", error="cancelled before it started", operations=[put(), asked("cancel", Answer.FAIL)]
        ),
    ),
    "expired too early": ("12", without_work("expired")),
    "expired and started": ("12", change(good(), operations=[put(life_s=0.5)], seen=[], final=ended("expired"))),
    "started after its time": (
        "12",
        change(good(), operations=[put(life_s=0.5)], starts=[good().starts[0]._replace(at=AT + 8), good().starts[1]]),
    ),
    "rejected though the way is right": ("R", without_work("rejected", error="no_route: no such peer")),
    "lost by nobody's loss": ("R", without_work("error", error=f"lost: who knows {UNKNOWN}")),
}


@pytest.mark.parametrize("name", BAD)
def test_a_planted_evil_is_found(name: str) -> None:
    number, history = BAD[name]
    found = violations(deepcopy(history))
    assert any(sentence.startswith(f"{number}: ") for sentence in found), found
