"""What an agent needs of a store, as one interface with a durable implementation and a memory twin.

The calls block; whoever must not block makes them on a thread of the store's own (`writer`). One test suite runs on
every implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from invitations.peers import InvitationRow, PeerRow
from mesh.effects import Answer, Batch, Query
from mesh.opening import Snapshot
from mesh.room import Room
from mesh.row import Row


class Reads(Protocol):
    """What can be asked of a store."""

    def read(self, query: Query) -> Answer:
        """Answer a query from what was applied before.

        Returns:
            Rows in the order that the query names; `ById` in the order of its ids, `AtNumber` by number, and `ByKey`
            the first one that had the key.
        """
        ...

    def list_jobs(self, *, live: bool | None, states: Sequence[int], after: int, limit: int) -> list[Row]:
        """Rows for people, newest first: those with `seq` below `after` (0 for all).

        Args:
            live: only live jobs, only finished ones, or both.
            states: only these states; empty for all.
        """
        ...

    def find_short(self, prefix: bytes, limit: int) -> list[Row]:
        """Rows whose id's hash part starts with `prefix`, newest first; of very many jobs only the newest are
        searched."""
        ...


class Store(Reads, Protocol):
    """A store of jobs, boards and peers. Not thread-safe; used by one thread at a time.

    Attributes:
        path: its file, which others may read beside it; None if it has none.
    """

    @property
    def path(self) -> Path | None: ...

    def open(self) -> Snapshot:
        """Open for writing and tell what is there.

        Raises:
            StoreLocked: another process has it.
            StoreError: it cannot be read; the message says what to do.
        """
        ...

    def apply(self, batches: Sequence[Batch]) -> None:
        """Make all of `batches` durable, in order, in one transaction.

        Of the jobs that they trim or collect, some may be left to later calls; what a store still has to do is
        forgotten when it closes, and has then merely kept some rows for longer. A tombstone is never trimmed.

        Args:
            batches: a row keeps the id of its `seq`; a live one has its facts; its two boards differ, and were written
                before it.

        Raises:
            StoreFull: no room, and no reserve left to make any; nothing of them is kept.
            StoreError: durability failed; nothing may be acknowledged any more and the process has to stop.
        """
        ...

    def tidy(self) -> None:
        """Do what commits have left for later, if there is much of it; called when nobody waits for a commit.

        Raises:
            StoreError: as `apply`; but without room for it, it is left for another time.
        """
        ...

    def settle(self) -> None:
        """Have everything that was applied where a reader beside this store finds it.

        Raises:
            StoreError: as `apply`.
        """
        ...

    def room(self) -> Room:
        """Whether there is room for more jobs, and put the reserve for the others back where there is (R10).

        Raises:
            StoreError: as `apply`.
        """
        ...

    def peers(self) -> list[PeerRow]:
        """Every row of the peer book."""
        ...

    def invitations(self) -> list[InvitationRow]:
        """Every invitation that was written."""
        ...

    def close(self) -> None:
        """Close it; a closed store can be opened again."""
        ...
