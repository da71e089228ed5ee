"""Calls over the local door, as plain JSON: what the command line uses, and what `agents.client` is built on.

JSON-RPC 2.0, one document per line (`agents.door` describes it). Requests are pipelined; an answer goes to whoever
asked, a `job` notification to the subscription it names. Nothing here knows what a method means.

Standard library only, so that a command line starts in a tenth of a second.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from agents.doorway import CONFIG, knock

_BUFFER: Final = 64 * 1024 * 1024
"""Bytes of one answer that are taken: a page of jobs, each with a large result."""

Record = dict[str, Any]


class CallFailed(Exception):
    """The agent refused a call, or could not be asked. The shape is that of every error of Hopboard.

    Attributes:
        code, message, fix: what to show.
        exit_code: of the command line.
        more: further fields, such as `column`.
    """

    def __init__(
        self, message: str, *, code: str, fix: str = "", exit_code: int = 2, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.fix = fix
        self.exit_code = exit_code
        self.more = dict(more or {})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The error in `error.data` of an answer, or in a result."""
        more = {name: value for name, value in record.items() if name not in _FIELDS}
        return cls(
            record.get("message", ""),
            code=record.get("code", "MESH-E599"),
            fix=record.get("fix", ""),
            exit_code=record.get("exit_code", 2),
            more=more,
        )

    def to_record(self) -> Record:
        """As a JSON object."""
        return {"code": self.code, "message": self.message, "fix": self.fix, "exit_code": self.exit_code, **self.more}


_FIELDS: Final = frozenset({"code", "message", "fix", "exit_code"})


class NotRunning(CallFailed):
    """Nobody opens the door: the agent of that folder does not run."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"the agent in {home} is not running",
            code="MESH-E503",
            fix=f"start it: {shlex.join(['mesh', '-C', str(home), 'run'])}",
            exit_code=3,
        )


class NoAgent(CallFailed):
    """There is no agent in that folder, running or not."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"there is no agent in {home}: it has no {CONFIG}",
            code="MESH-E501",
            fix="make one with `mesh init NAME`, or name its folder: `mesh -C DIR ...`",
        )


class CallLost(CallFailed):
    """The agent went away before it answered; what was asked may or may not have happened."""

    def __init__(self) -> None:
        super().__init__(
            "the agent stopped before it answered", code="MESH-E504", fix="start it and ask again", exit_code=3
        )


class JobLost(CallFailed):
    """A followed job is gone: its row was damaged where it was put. `more` has its `id` and `short`."""


class Subscription:
    """Views of followed jobs, in the order they came."""

    def __init__(self) -> None:
        self._news: asyncio.Queue[Record | None] = asyncio.Queue()

    def put(self, params: Record | None) -> None:
        """Hand over the parameters of a notification; None says that no more will come."""
        self._news.put_nowait(params)

    async def get(self) -> Record:
        """The next view.

        Raises:
            CallLost: the agent is gone.
            JobLost: in place of a view; those of other jobs may follow.
        """
        params = await self._news.get()
        if params is None:
            self._news.put_nowait(None)
            raise CallLost
        if "error" in params:
            raise JobLost.from_record({**params["error"], "id": params["id"], "short": params["short"]})
        job: Record = params["job"]
        return job


class Calls:
    """One connection to the door of a running agent. Made by `open_calls`; closed by `close` or `async with`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._last = 0
        self._lost = False
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._lost

    async def request(self, method: str, /, **params: Any) -> Any:
        """Call a method and wait for its answer.

        Raises:
            CallFailed: the agent refused it.
            CallLost: the connection ended first; whether it happened is not known.
        """
        return await self.send(method, **params)

    def send(self, method: str, /, **params: Any) -> asyncio.Future[Any]:
        """Call a method at once; the answer comes through the future. Calls are carried out in the order sent."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._lost:
            answer.set_exception(CallLost())
            return answer
        self._last += 1
        self._waiting[self._last] = answer
        asked = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}
        self._writer.write(json.dumps(asked, separators=(",", ":")).encode() + b"\n")
        return answer

    async def drain(self) -> None:
        """Wait until what was sent has mostly left; for whoever sends much."""
        try:
            await self._writer.drain()
        except ConnectionError:
            raise CallLost from None

    def subscription(self, number: int) -> Subscription:
        """What the agent sends under the subscription that an answer named."""
        found = self._subscriptions.get(number)
        if found is None:
            found = self._subscriptions[number] = Subscription()
            if self._lost:
                found.put(None)
        return found

    def forget(self, number: int) -> None:
        """Nobody reads that subscription any more."""
        self._subscriptions.pop(number, None)

    async def close(self) -> None:
        """Hang up."""
        self._reading.cancel()
        self._writer.close()
        await asyncio.wait([self._reading])
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                document = json.loads(line)
                for answer in document if isinstance(document, list) else [document]:
                    self._take(answer)
        except (ConnectionError, ValueError):
            # A line that is no JSON, or longer than we take, is as good as a lost line: nothing after it can be read.
            pass
        finally:
            self._end()

    def _take(self, answer: Record) -> None:
        if "method" in answer:
            params = answer["params"]
            self.subscription(params["subscription"]).put(params)
            return
        waiter = self._waiting.pop(answer.get("id") or 0, None)
        if waiter is None or waiter.done():
            return
        error = answer.get("error")
        if error is None:
            waiter.set_result(answer["result"])
        else:
            waiter.set_exception(CallFailed.from_record({"message": error["message"], **error.get("data", {})}))

    def _end(self) -> None:
        self._lost = True
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_exception(CallLost())
                waiter.exception()  # whoever asked and went away is not told by the loop either
        for subscription in self._subscriptions.values():
            subscription.put(None)


async def open_calls(home: Path) -> Calls:
    """Connect to the running agent of a folder.

    Raises:
        NotRunning: it does not run.
        NoAgent: there is none.
        CallFailed: its door is there and is not ours.
    """
    try:
        door = knock(home)
    except PermissionError as error:
        raise CallFailed(
            f"the agent in {home} belongs to another user",
            code="MESH-E505",
            fix="use the account that runs it",
            exit_code=4,
        ) from error
    except OSError as error:
        raise (NotRunning(home) if (home / CONFIG).exists() else NoAgent(home)) from error
    reader, writer = await asyncio.open_unix_connection(sock=door, limit=_BUFFER)
    return Calls(reader, writer)
