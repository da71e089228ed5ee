"""Runs a listener's `accept` for each connection, with the promises of `contract.Accept` and
`Listener.close`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from mesh.transport.contract import INTERNAL, NORMAL, Accept, Connection
from mesh.transport.errors import ConnectionLost

GRACE_S: Final = 5.0
"""How long `accept` may run on after its connection ended because the listener closes."""


class Accepting:
    """The `accept` calls of one listener that have not returned."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        # A dict, not a set: ends are to come in the same order in every run.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def start(self, connection: Connection, tasks: asyncio.TaskGroup) -> None:
        """Run `serve` in a task of its own."""
        self._tasks[tasks.create_task(self.serve(connection))] = None

    async def serve(self, connection: Connection) -> None:
        """Give the connection to its owner, and close it when the owner is done with it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = None
        code = NORMAL
        try:
            await self._accept(connection)
        except ConnectionLost:
            pass
        except Exception as error:  # noqa: BLE001  # one broken link must not end the listener
            code = INTERNAL
            # Not with "task": from 3.12 on the handler would be run in that task's context, which is entered.
            task.get_loop().call_exception_handler({"message": "accepting a connection failed", "exception": error})
        finally:
            try:
                await connection.close(code)
            finally:
                del self._tasks[task]

    async def finish(self) -> None:
        """Wait for the calls whose connections have ended; cancel those that take too long over it."""
        tasks = tuple(self._tasks)
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=GRACE_S)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
