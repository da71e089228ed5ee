"""Planted bugs in the order of effects and of commits (R1, R3)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from mesh.effects import Batch, Effects
from mesh.simulation.host import Host
from tests.simulation.planted.planting import planted


@contextmanager
def send_before_commit() -> Iterator[None]:
    """Records leave while their commit is still waiting."""
    good = Host._step

    def step(host: Host) -> None:
        before = len(host._commits)
        good(host)
        for effects, linked in host._commits[before:]:
            for board_id in list(effects.send):
                if host.engine is not None:
                    host._send(board_id, effects.send.pop(board_id), linked)

    yield from planted(Host, "_step", step)


@contextmanager
def answer_before_commit() -> Iterator[None]:
    """A caller is told that a put is durable before it is."""
    good = Host._step

    def step(host: Host) -> None:
        before = len(host._commits)
        good(host)
        for effects, _ in host._commits[before:]:
            while effects.replies and host.engine is not None:
                reply = effects.replies.pop()
                host._reply(reply.token, reply.result)

    yield from planted(Host, "_step", step)


@contextmanager
def start_before_commit() -> Iterator[None]:
    """A handler starts before its attempt is durable."""
    good = Host._step

    def step(host: Host) -> None:
        before = len(host._commits)
        good(host)
        for effects, _ in host._commits[before:]:
            while effects.start and host.engine is not None:
                host._start_handler(effects.start.pop())

    yield from planted(Host, "_step", step)


def _in_two(first: Callable[[Batch], Batch]) -> Callable[[Host, Effects], None]:
    good = Host._commit

    def commit(host: Host, effects: Effects) -> None:
        host.disk.apply([first(effects.batch)])
        if not host._dies():
            good(host, effects)

    return commit


@contextmanager
def watermark_before_data() -> Iterator[None]:
    """The received watermark is durable in a transaction before the rows."""
    commit = _in_two(lambda batch: Batch(boards=batch.boards))
    with _only_while_up():
        yield from planted(Host, "_commit", commit)


@contextmanager
def _only_while_up() -> Iterator[None]:
    # A commit that breaks off in the middle ends the life of the agent, and what was to follow.
    good = Host._carry_out

    def carry_out(host: Host) -> None:
        with contextlib.suppress(AssertionError, AttributeError):
            good(host)

    with patch.object(Host, "_carry_out", carry_out):
        yield


@contextmanager
def acknowledge_on_arrival() -> Iterator[None]:
    """An acknowledgement goes out when the record arrives, not when it is durable."""
    good = Host._step

    def step(host: Host) -> None:
        before = len(host._commits)
        good(host)
        for effects, linked in host._commits[before:]:
            for board_id, packed in list(effects.send.items()):
                acks = [one for one in packed if one[1] == 3]
                effects.send[board_id] = [one for one in packed if one[1] != 3]
                if acks and host.engine is not None:
                    host._send(board_id, acks, linked)

    yield from planted(Host, "_step", step)


@contextmanager
def half_a_step_committed() -> Iterator[None]:
    """Of several rows that one step changes, the last is committed without the others."""

    def first(batch: Batch) -> Batch:
        return Batch(rows=batch.rows[:1], boards=batch.boards)

    with _only_while_up():
        yield from planted(Host, "_commit", _in_two(first))
