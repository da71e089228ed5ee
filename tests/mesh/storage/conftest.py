"""Stores for tests: the durable one and its twin in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mesh.effects import Batch
from mesh.storage.contract import Store
from mesh.storage.memory import MemoryStore
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.rows import board, put

OpenStore = Callable[..., Store]


class Folding:
    """A durable store that never has anything in its journal."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def apply(self, batches: Sequence[Batch]) -> None:
        self._store.apply(batches)
        self._store.settle()


@pytest.fixture(params=["memory", "sqlite", "folding"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens a store that has boards 1, 2 and 3; arguments are those of the store."""
    with ExitStack() as closing:

        def opened(**arguments: int) -> Store:
            made = SqliteStore(tmp_path / "store.db", **arguments)
            stores = {"memory": MemoryStore(**arguments), "sqlite": made, "folding": Folding(made)}
            store: Store = stores[request.param]  # type: ignore[assignment]
            store.open()
            closing.callback(store.close)
            put(store, boards=[board(1), board(2), board(3)])
            return store

        yield opened


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def sqlite(path: Path) -> Iterator[SqliteStore]:
    """An open store in a file, with boards 1, 2 and 3."""
    store = SqliteStore(path)
    store.open()
    put(store, boards=[board(1), board(2), board(3)])
    yield store
    store.close()
