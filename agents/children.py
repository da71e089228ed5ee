"""A job that a handler put: waiting for it gives the handler's slot back meanwhile, so that work which waits on work
cannot fill all slots and stand still (R13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agents.handle import JobHandle
from agents.stepping import Stepping
from agents.views import JobView
from mesh.engine import Engine


class ChildHandle:
    """A handle for a handler.

    Args:
        handle: the child.
        parent: the id of the job whose handler waits.
    """

    def __init__(self, handle: JobHandle, parent: bytes, engine: Engine, stepping: Stepping) -> None:
        self._handle = handle
        self._parent = parent
        self._engine = engine
        self._stepping = stepping

    @property
    def id(self) -> str:
        """The child's id."""
        return self._handle.id

    async def wait(self, timeout: float | None = None) -> JobView:
        """As `JobHandle.wait`, without a slot."""
        with self._without_slot():
            return await self._handle.wait(timeout)

    async def result(self, timeout: float | None = None) -> Any:
        """As `JobHandle.result`, without a slot."""
        with self._without_slot():
            return await self._handle.result(timeout)

    @contextmanager
    def _without_slot(self) -> Iterator[None]:
        self._engine.destination.yielded(self._parent)
        self._stepping.poke()
        try:
            yield
        finally:
            self._engine.destination.resumed(self._parent)
