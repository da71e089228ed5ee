"""Fifteen events, each about a user or a project."""

from __future__ import annotations

import pytest

from grammar.errors import GrammarError
from grammar.identifiers import UserIdentifier
from grammar.notifications import EVENTS, Notification


@pytest.mark.parametrize("event", EVENTS)
def test_every_event(event: str) -> None:
    text = f"{event} {EVENTS[event].EXAMPLE}"
    told = Notification.parse(text)
    assert (told.event, told.subject, told.destination, told.portal) == (event, EVENTS[event].EXAMPLE, None, "org")
    assert str(told) == text
    assert Notification.parse(f" a.b  {text} ") == f"a.b {text}"
    assert type(told.subject) is EVENTS[event]


def test_there_are_fifteen() -> None:
    assert len(EVENTS) == 15
    assert sum(kind is UserIdentifier for kind in EVENTS.values()) == 5


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("user_added", 11),
        ("user_added proj.org", 20),
        ("user_add fred.proj.org", 1),
        ("forward x", 1),
        ("a.b", 4),
        ("a.b user_added", 15),
        ("a.B user_added fred.proj.org", 3),
        ("a.b nothing x", 5),
    ],
)
def test_refused(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        Notification.parse(text)
    assert caught.value.column == column
    assert caught.value.text == text or not text
