"""Entries that one thread hands to another: in order, none forgotten, and nobody is awake for nothing."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from mesh.storage.inbox import Bell, Inbox


@contextmanager
def made() -> Iterator[Inbox[int]]:
    inbox: Inbox[int] = Inbox()
    yield inbox
    inbox.close()


@pytest.fixture
def bell() -> Iterator[Bell]:
    one = Bell()
    yield one
    one.close()


def test_a_bell_is_heard_until_it_is_silenced(bell: Bell) -> None:
    assert not bell.wait(0)
    bell.ring()
    bell.ring()
    assert bell.wait(0)
    assert bell.wait(None)
    assert select.select([bell], [], [], 0)[0] == [bell]
    bell.silence()
    assert not bell.wait(0.001)
    bell.silence()
    assert select.select([bell], [], [], 0)[0] == []


def test_a_bell_that_nobody_hears_makes_nobody_wait(bell: Bell) -> None:
    for _ in range(100_000):
        bell.ring()
    while bell.wait(0):
        bell.silence()


def test_what_was_put_is_taken_at_once_and_in_order() -> None:
    with made() as inbox:
        for number in range(5):
            inbox.put(number)
        assert inbox.take() == [0, 1, 2, 3, 4]
        assert inbox.take(0) == []
        inbox.put(5)
        assert inbox.take(10) == [5]


def test_whoever_waits_is_woken() -> None:
    with made() as inbox:
        taken: list[int] = []
        thread = threading.Thread(target=lambda: taken.extend(inbox.take()))
        thread.start()
        while not inbox._asleep:
            pass
        inbox.put(1)
        thread.join(10)
        assert taken == [1]


def test_a_ring_that_came_late_wakes_once_and_for_no_longer() -> None:
    """Put in the moment in which the receiver looked once more, and rung when he was awake."""
    with made() as inbox:
        inbox._bell.ring()
        waits: list[bool] = []
        wait = inbox._bell.wait

        def counted(patience_s: float | None) -> bool:
            waits.append(wait(patience_s))
            return waits[-1]

        inbox._bell.wait = counted  # type: ignore[method-assign]
        assert inbox.take(0.001) == []
        assert waits == [True, False]
        assert inbox.take(0.001) == []
        assert waits == [True, False, False]


@pytest.mark.parametrize("patience_s", [None, 0.0, 0.0001])
def test_nothing_is_forgotten_however_the_two_meet(patience_s: float | None) -> None:
    random, count = Random(6), 20_000
    with made() as inbox:
        taken: list[int] = []

        def receive() -> None:
            while len(taken) < count:
                taken.extend(inbox.take(patience_s))

        thread = threading.Thread(target=receive)
        thread.start()
        for number in range(count):
            inbox.put(number)
            if random.random() < 0.1:
                select.select([], [], [], 0)  # gives Python's lock up
        thread.join(20)
        assert taken == list(range(count))
