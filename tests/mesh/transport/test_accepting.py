"""Accepting: the owner's task for each connection; its promises are tested with the contract."""

from __future__ import annotations

import asyncio

from mesh.transport.accepting import Accepting
from mesh.transport.contract import INTERNAL, NORMAL, Connection
from mesh.transport.errors import ConnectionLost


class Closed:
    """A connection that notes how it was closed."""

    source = "test"

    def __init__(self) -> None:
        self.codes: list[int] = []

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        self.codes.append(code)


def test_finishing_waits_for_a_call_that_has_not_begun(run_virtual):
    log: list[Connection] = []

    async def accept(end: Connection) -> None:
        log.append(end)

    async def test() -> None:
        accepting = Accepting(accept)
        await accepting.finish()
        end = Closed()
        async with asyncio.TaskGroup() as tasks:
            accepting.start(end, tasks)
            await accepting.finish()
            assert log == [end]
        assert end.codes == [NORMAL]

    run_virtual(test())


def test_a_lost_connection_is_a_normal_end_and_an_error_is_not(run_virtual):
    complaints: list[dict] = []

    async def accept(end: Connection) -> None:
        raise next(errors)

    errors = iter([ConnectionLost("gone", 1006), RuntimeError("a bug")])

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        accepting, lost, failed = Accepting(accept), Closed(), Closed()
        async with asyncio.TaskGroup() as tasks:
            accepting.start(lost, tasks)
            accepting.start(failed, tasks)
            await accepting.finish()
        assert (lost.codes, failed.codes) == ([NORMAL], [INTERNAL])
        assert [str(context["exception"]) for context in complaints] == ["a bug"]

    run_virtual(test())


def test_a_call_that_goes_on_is_cancelled_when_the_grace_is_over(run_virtual):
    async def accept(end: Connection) -> None:
        await asyncio.get_running_loop().create_future()

    async def test() -> None:
        accepting, end = Accepting(accept), Closed()
        async with asyncio.TaskGroup() as tasks:
            accepting.start(end, tasks)
            await accepting.finish()
        assert asyncio.get_running_loop().time() == 5.0
        assert end.codes == [NORMAL]

    run_virtual(test())
