"""Checkpoints beside the writer: large bytes go from the log into the database on a thread and connection of their own.

SQLite makes a checkpoint within whichever commit finds the log long, and every commit behind that waits: with four
results of 4 MiB in the log, 20 to 70 ms. In WAL mode another connection may make one while commits go on. What comes in
meanwhile is left for the next one, so a log that never rests still grows to where a commit makes a checkpoint; but that
one then finds little to do, and the log begins anew after it.

Only slices of blobs are counted: they are pages that are written once, so that many small checkpoints move no more
bytes than one large one. The pages of jobs are written again and again, and better left in the log for long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from mesh.effects import Batch
from mesh.errors import StoreError, StoreFull
from mesh.storage.faults import FAULTS, explained

BYTES: Final = 1_048_576
"""Bytes of slices after which a checkpoint is made."""


class Checkpoints:
    """The checkpoints of one store. All calls come from the thread that writes to it.

    Args:
        path: the store's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = 0
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: Future[StoreError | None] | None = None
        self._failure: StoreError | None = None
        # The thread's own.
        self._connection: sqlite3.Connection | None = None

    def failure(self) -> StoreError | None:
        """Why a checkpoint failed, if one did: the store must not be written any more (R10)."""
        if self._under_way is not None and self._under_way.done():
            self._failure = self._failure or self._under_way.result()
            self._under_way = None
        return self._failure

    def committed(self, batches: Sequence[Batch]) -> None:
        """Count the bytes of a commit, and begin a checkpoint if it is time and none is under way."""
        self._bytes += sum(len(part.data) for batch in batches for part in batch.slices)
        if self._bytes < BYTES or self._under_way is not None:
            return
        self._bytes = 0
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "hopboard-checkpoints")
        self._under_way = self._thread.submit(self._make)

    def close(self) -> None:
        """Wait for the one that is under way, and end the thread; `committed` begins another."""
        thread, self._thread, self._under_way = self._thread, None, None
        self._bytes, self._failure = 0, None
        if thread is not None:
            thread.submit(self._disconnect).result()
            thread.shutdown()

    def _make(self) -> StoreError | None:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, isolation_level=None)
                self._connection.execute("PRAGMA synchronous = FULL").fetchall()
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except FAULTS as error:
            failure = explained(error, self._path)
            # Without room for the database everything stays in the log, until a commit finds none for that either.
            return None if isinstance(failure, StoreFull) else failure
        return None

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
