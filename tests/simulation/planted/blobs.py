"""Planted bugs of payloads and large results (R14)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any
from unittest.mock import patch

from mesh import dispatch, receiving, sending
from mesh.blobs import Delivery, Slice
from mesh.board import Board
from mesh.effects import Batch
from mesh.ledger import Ledger
from mesh.messages import Message, SliceMessage
from mesh.opening import Snapshot
from mesh.receiving import Receiving
from mesh.simulation.host import Host
from mesh.storage.memory import MemoryStore
from tests.simulation.planted.planting import planted


@contextmanager
def numbered_before_its_bytes_are_there() -> Iterator[None]:
    """A fact gets its number as soon as its blob was offered."""
    good = sending.held_back

    def held_back(*arguments: Any) -> tuple[Any, ...]:
        good(*arguments)
        return ()

    yield from planted(dispatch, "held_back", held_back)


@contextmanager
def slice_acknowledged_before_its_commit() -> Iterator[None]:
    """What came is said to be held one step before it is written down."""
    good = Receiving.sliced
    late: dict[int, list[Slice]] = {}

    def sliced(receiving: Receiving, board: Board, message: SliceMessage, now_ms: int) -> str:
        ledger = receiving._ledger
        waiting = late.pop(id(ledger), [])
        said = good(receiving, board, message, now_ms)
        batch = ledger.effects.batch
        late[id(ledger)] = batch.slices[-1:] if not said else []
        batch.slices[-1:] = waiting if not said else batch.slices[-1:]
        return said

    yield from planted(Receiving, "sliced", sliced)


@contextmanager
def spoiling() -> Iterator[None]:
    """Peers that lie: one slice in a few is full of zeros. Honest agents notice, and are sent the bytes again; a long
    blob comes whole only once the lies end, with the other faults."""
    good = Host.arrived
    turns = count()

    def spoiled(message: Message) -> Message:
        if isinstance(message, SliceMessage) and next(turns) % 9 == 4:
            return message._replace(data=bytes(len(message.data)))
        return message

    def arrived(host: Host, peer: str, messages: list[Message]) -> None:
        good(host, peer, messages if host._world.calm else [spoiled(message) for message in messages])

    yield from planted(Host, "arrived", arrived)


@contextmanager
def bytes_are_not_hashed() -> Iterator[None]:
    """Whatever came is taken for what its name says."""
    good = Receiving.sliced

    class Believed:
        """A hash that is always the right one."""

        def __init__(self, right: bytes) -> None:
            self._right = right

        def update(self, data: bytes) -> None:
            pass

        def digest(self) -> bytes:
            return self._right

    def sliced(receiving: Receiving, board: Board, message: SliceMessage, now_ms: int) -> str:
        for arriving in receiving._ledger.blobs.arriving.values():
            arriving.hasher = Believed(arriving.key.hash)  # type: ignore[assignment]
        return good(receiving, board, message, now_ms)

    yield from planted(Receiving, "sliced", sliced)


@contextmanager
def orphans_stay() -> Iterator[None]:
    """What no fact names is never dropped."""
    with patch.object(sending, "_withdraw", sending._settle):
        yield from planted(Receiving, "sweep", lambda receiving, now_ms: None)


@contextmanager
def what_was_stored_ahead_stays() -> Iterator[None]:
    """The bytes of a result that no Outcome came to name are not dropped after a crash."""
    good = MemoryStore.open

    def opened(store: MemoryStore) -> Snapshot:
        snapshot = good(store)
        return replace(snapshot, blobs=tuple(blob for blob in snapshot.blobs if blob.named or blob.board))

    yield from planted(MemoryStore, "open", opened)


@contextmanager
def home_while_its_bytes_wait() -> Iterator[None]:
    """An Outcome that waits for its blob at a hop counts as home."""
    yield from planted(sending, "_hold_home", lambda ledger, job, delivery: None)


@contextmanager
def owed_bytes_are_forgotten_at_a_crash() -> Iterator[None]:
    """What is owed is known in memory alone."""
    good = MemoryStore.apply

    def apply(store: MemoryStore, batches: Iterable[Batch]) -> None:
        for batch in batches:
            batch.owing.clear()
        good(store, list(batches))

    yield from planted(MemoryStore, "apply", apply)


@contextmanager
def results_go_too_early() -> Iterator[None]:
    """A hop lets go of a result when the peer has it, and not only when it is home."""
    good = sending._settle

    def settle(ledger: Ledger, board_id: int, delivery: Delivery) -> Delivery:
        settled = good(ledger, board_id, delivery)
        ledger.effects.batch.unneeded.append((delivery.key.job, delivery.key.kind))
        return settled

    yield from planted(sending, "_settle", settle)


@contextmanager
def children_draw_on_the_room_of_their_parents() -> Iterator[None]:
    """Payloads of all depths share one quota, and wait in one row for it."""
    with patch.object(receiving, "depth_of", lambda content: 0):
        yield from planted(sending, "depth_of", lambda content: 0)


@contextmanager
def children_wait_behind_the_payloads_of_their_parents() -> Iterator[None]:
    """Each depth has its quota, and all wait in one row for it."""
    yield from planted(Delivery, "way", property(lambda delivery: (delivery.key.kind, 0)))
