"""Reading beside the writer: long lists and searches, on a thread and a connection of their own.

The writer's thread answers the engine; a list of thousands of jobs, or a search among a million ids, would hold up
every commit behind it. SQLite in WAL mode lets a reader see what is in its tables and holds nobody up; what is not yet
there is brought there first. A store that has no file is read in line with its writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from mesh.effects import Answer, ById, Bytes
from mesh.storage.contract import Reads, Store
from mesh.storage.reader import SqliteReader
from mesh.storage.writer import Writer

T = TypeVar("T")


class Beside:
    """Reads of a store that is open for writing. All methods belong to one event loop.

    Args:
        writer: has the store open.
        path: the store's file, None if it has none.
    """

    def __init__(self, writer: Writer, path: Path | None) -> None:
        self._writer = writer
        self._path = path
        self._thread = None if path is None else ThreadPoolExecutor(1, "hopboard-reader")
        # The thread's own.
        self._reader: SqliteReader | None = None

    async def call(self, run: Callable[[Reads], T]) -> T:
        """Run a function on the store, after every batch handed to the writer before, and return what it returns.

        Raises:
            StoreError: it cannot be read; or whatever else `run` raises.
        """
        if self._thread is None:
            return await self._writer.call(run)
        # Who was told of something finds it, though it was told ahead of its commit.
        await self._writer.call(_settle)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, run)

    async def read(self, query: ById | Bytes) -> Answer:
        """Answer a query for which nothing has to be brought into the tables, after every batch handed to the writer
        before.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._thread is None or isinstance(query, ById):
            return await self._writer.answer(query)
        await self._writer.call(_nothing)
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._run, lambda store: store.read(query)
        )

    async def close(self) -> None:
        """End the thread, once what was asked for is answered. Nothing is asked after it."""
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._end)
            self._thread.shutdown(wait=False)

    def _run(self, run: Callable[[SqliteReader], T]) -> T:
        if self._reader is None:
            assert self._path is not None
            self._reader = SqliteReader(self._path)
        return run(self._reader)

    def _end(self) -> None:
        if self._reader is not None:
            self._reader.close()


def _settle(store: Store) -> None:
    store.settle()


def _nothing(_: Store) -> None:
    """A call that is answered once all before it are."""
