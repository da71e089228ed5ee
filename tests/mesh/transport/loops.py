"""Event loops for the tests: real ones that forgive no leftovers, and one whose time is virtual."""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

Run = Callable[[Coroutine[Any, Any, None]], None]


class _VirtualSelector(selectors.DefaultSelector):
    """Instead of waiting, moves the clock to the time at which the loop wants to be woken."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing left to wait for: the test would hang"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which time passes only when there is nothing to do, and then at once."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run_on(factory: Callable[[], asyncio.AbstractEventLoop], test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine to its end; tasks, sockets and complaints that it leaves behind fail it."""
    complaints: list[dict[str, Any]] = []

    async def supervised() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        try:
            async with asyncio.timeout(20 if not isinstance(loop, VirtualLoop) else 1e6):
                await test
        finally:
            await asyncio.sleep(0)  # aborted sockets are closed in the loop's next step
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"

    gc.freeze()  # what was there before is not searched below, which makes the search a hundred times faster
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(supervised())
    gc.collect()  # an open socket would complain now, and warnings are errors
    gc.unfreeze()
    assert not complaints, complaints
