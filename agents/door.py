"""The local door of a running agent: the methods of `agents.api` on a Unix socket that only this user can open.

The protocol is JSON-RPC 2.0 (www.jsonrpc.org/specification) with these choices:

* One JSON document per line, UTF-8, at most 1 MiB with its line end; a longer line is answered and ends the call.
* Parameters by name. Requests may be pipelined; they are taken up in the order they came and answered as they are
  done, up to 256 at a time. A batch has at most 512 requests.
* `put`, `put_many` and `watch` may open a subscription, a number in their result. Until the last job of it is over
  (or `unfollow`) the agent sends notifications `{"method": "job", "params": {"subscription": N, "job": {...}}}`. A
  caller who reads slowly is told of the latest view of each job only, so nothing piles up. One may arrive before the
  answer that names its subscription.
* Of a job that is lost (`CorruptRow`) the last notification has `id`, `short` and `error` instead of `job`.
* An error's `data` holds what people are shown: `code`, `message`, `fix`, `exit_code`, for a text that cannot be read
  also `column`, `expected`, `nearest`, `pointer`.
* Hanging up ends what was asked, never what was put.

Who may open the socket is who may use the agent: its owner.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from agents.api import METHODS
from agents.caller import Method
from agents.doorway import MAX_LINE, bind
from agents.errors import AgentError
from agents.records import Record, damaged_record, error_record, job_record
from agents.running import Running
from agents.uploads import Uploads
from agents.views import JobView
from agents.watching import News, Watch
from grammar.errors import MeshError
from grammar.names import nearest
from mesh.errors import CorruptRow, NoSuchJob

log = logging.getLogger("hopboard.door")

AT_ONCE: Final = 256
"""Requests of one caller that are under way."""
MOST_IN_BATCH: Final = 512
_NEWS: Final = 256
"""Views written between two looks at whether the caller still reads."""

_PARSE: Final = -32700
_REQUEST: Final = -32600
_METHOD: Final = -32601
_PARAMS: Final = -32602
_BUG: Final = -32603
_REFUSED: Final = -32000


class Asked(MeshError):
    """A line that is no request of this protocol; nothing was done."""

    code = "MESH-E506"

    def __init__(self, message: str, number: int, *, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.number = number


class Door:
    """The door of one running agent.

    Args:
        running: the agent; it holds the lock of its store, so that a socket which is there already is a dead one's.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._path = running.settings.socket_path
        self._listening: socket.socket | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._inode = 0

    async def open(self) -> None:
        """Begin to take calls.

        Raises:
            AgentError: the folder does not take a socket.
        """
        try:
            self._listening = bind(self._path)
        except OSError as error:
            raise AgentError(
                f"cannot open the local door {self._path}: {error.strerror}",
                fix="keep the agent's folder on a local disk that it owns",
            ) from error
        self._inode = self._path.stat().st_ino
        asyncio.get_running_loop().add_reader(self._listening, self._accept, self._listening)

    async def close(self) -> None:
        """Take no more calls and end those that are open; callers see that the line is cut."""
        if self._listening is None:
            return
        asyncio.get_running_loop().remove_reader(self._listening)
        # Only our own: by now another agent may have taken the name.
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        self._listening.close()
        self._listening = None
        for task in self._calls:
            task.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    def _accept(self, listening: socket.socket) -> None:
        # Not `start_unix_server` or `sock_accept`: a caller that either is accepting while the door closes is neither
        # served nor cut off (Python 3.11). Here it is accepted and known in one step.
        loop = asyncio.get_running_loop()
        try:
            caller, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            log.warning("the local door takes no calls for a second: %s", error.strerror)
            loop.remove_reader(listening)
            loop.call_later(1.0, self._resume, listening)
            return
        caller.setblocking(False)
        task = loop.create_task(self._serve(caller))
        self._calls.add(task)
        task.add_done_callback(partial(self._ended, caller))

    def _resume(self, listening: socket.socket) -> None:
        if self._listening is listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _ended(self, caller: socket.socket, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        # Without effect but on a task that was cancelled before it began.
        caller.close()

    async def _serve(self, caller: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=caller, limit=MAX_LINE)
        call = _Call(self._running, reader, writer)
        try:
            await call.serve()
        except asyncio.CancelledError:
            # The agent stops, and waits for nobody who does not read. The task ends here; nobody awaits its result.
            writer.transport.abort()
        finally:
            call.end()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


class _Followed:
    """The jobs of one subscription that are not over."""

    def __init__(self, *, changes: bool) -> None:
        self.changes = changes
        self.jobs: dict[bytes, tuple[Watch, Callable[[], None]]] = {}

    def drop(self, job_id: bytes) -> bool:
        """Follow a job no longer; says whether it was followed."""
        found = self.jobs.pop(job_id, None)
        if found is not None:
            found[1]()
        return found is not None


class _Call:
    """One caller, from connecting to hanging up. It is the `Caller` of the methods."""

    def __init__(self, running: Running, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.running = running
        self._reader = reader
        self._writer = writer
        self._room = asyncio.Semaphore(AT_ONCE)
        self._subscriptions: dict[int, _Followed] = {}
        self.uploads = Uploads()
        self._last = 0
        self._news: dict[tuple[int, bytes], News] = {}
        self._awake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    async def serve(self) -> None:
        """Answer until the caller hangs up."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                telling = tasks.create_task(self._tell())
                waiting = set[asyncio.Task[None]]()
                try:
                    while line := await self._line():
                        await self._room.acquire()
                        task = tasks.create_task(self._take(line))
                        waiting.add(task)
                        task.add_done_callback(waiting.discard)
                finally:
                    telling.cancel()
                    for task in waiting:
                        task.cancel()
        except* ConnectionError:
            # The caller hung up while something was being read or told: whichever task saw it first.
            pass

    async def _line(self) -> bytes:
        try:
            return await self._reader.readline()
        except ValueError:
            too_long = Asked(f"a line has at most {MAX_LINE} bytes", _REQUEST, fix="send fewer commands at once")
            self._write(_failure(None, too_long))
            await self._writer.drain()
            return b""

    def end(self) -> None:
        """Forget every subscription."""
        for subscription in list(self._subscriptions):
            self.unfollow(subscription)

    # -- requests -----------------------------------------------------------------------------------------------

    async def _take(self, line: bytes) -> None:
        try:
            answer = await self._answer(line)
            if answer is not None:
                self._write(answer)
                await self._writer.drain()
        except ConnectionError:
            self._writer.transport.abort()
        finally:
            self._room.release()

    async def _answer(self, line: bytes) -> Record | list[Record] | None:
        try:
            document = json.loads(line, parse_constant=_no_constant)
            if b"\\u" in line:
                # Only an escape can name half of a character; nothing past this point could write it down again.
                json.dumps(document, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return _failure(None, Asked("the line is no JSON document", _PARSE))
        if not isinstance(document, list):
            return await self._one(document)
        if not 0 < len(document) <= MOST_IN_BATCH:
            return _failure(None, Asked(f"a batch has 1 to {MOST_IN_BATCH} requests", _REQUEST))
        answers = await asyncio.gather(*map(self._one, document))
        return [answer for answer in answers if answer is not None] or None

    async def _one(self, request: Any) -> Record | None:
        number = request.get("id") if isinstance(request, dict) else None
        number = number if isinstance(number, str | int) else None
        try:
            method, params = _read(request)
            result = await method.run(self, params)
        except Asked as error:
            # Said even to a notification whose form is wrong: nobody can tell that it is one.
            return _failure(number, error)
        except MeshError as error:
            if self.running.failure.done():
                # The agent stops; to hang up says that this may have happened, which no answer could.
                raise ConnectionAbortedError from error
            return _failure(number, error) if "id" in request else None
        except Exception:
            log.exception("a call of the local door failed")
            return _failure(number, Asked("the agent failed at this call; its log says where", _BUG))
        return {"jsonrpc": "2.0", "id": number, "result": result} if "id" in request else None

    def _write(self, document: Record | list[Record]) -> None:
        self._writer.write(_encoded(document))

    # -- subscriptions (see `api.Caller`) -----------------------------------------------------------------------

    def follow(self, job_ids: Sequence[bytes], *, changes: bool) -> int:
        self._last += 1
        number = self._last
        followed = self._subscriptions[number] = _Followed(changes=changes)
        for job_id in dict.fromkeys(job_ids):
            watch = self.running.watching.of(job_id)
            followed.jobs[job_id] = watch, watch.listen(partial(self._changed, number, job_id))
        elsewhere = []
        # After all are listened to: the subscription ends with the last of them, which some may be already.
        for job_id in list(followed.jobs):
            view = self.running.lookup.look(job_id)
            if view is None:
                elsewhere.append(job_id)
            elif not view.live and self.running.lookup.is_durable(job_id):
                # One that ends in this very step is told with its commit.
                self._changed(number, job_id, view)
        if elsewhere and self._tasks is not None:
            self._tasks.create_task(self._look_up(number, elsewhere))
        return number

    def unfollow(self, subscription: int) -> bool:
        followed = self._subscriptions.pop(subscription, None)
        for job_id in list(followed.jobs) if followed is not None else ():
            assert followed is not None
            followed.drop(job_id)
        return followed is not None

    async def _look_up(self, number: int, job_ids: Iterable[bytes]) -> None:
        for job_id in job_ids:
            # A job that was deleted meanwhile has told so itself.
            with suppress(NoSuchJob):
                try:
                    self._changed(number, job_id, await self.running.lookup.view(job_id))
                except CorruptRow as error:
                    self._changed(number, job_id, error)

    def _changed(self, number: int, job_id: bytes, news: News) -> None:
        if isinstance(news, MeshError) and not isinstance(news, CorruptRow):
            # The agent stops, and this door with it.
            return
        followed = self._subscriptions.get(number)
        if followed is None or job_id not in followed.jobs:
            return
        live = isinstance(news, JobView) and news.live
        if live and not followed.changes:
            return
        self._news[number, job_id] = news
        self._awake.set()
        if not live:
            followed.drop(job_id)
            if not followed.jobs:
                del self._subscriptions[number]

    async def _tell(self) -> None:
        while True:
            await self._awake.wait()
            self._awake.clear()
            while self._news:
                some = list(self._news.items())[:_NEWS]
                for key, _ in some:
                    del self._news[key]
                self._writer.write(b"".join(_encoded(_news(*key, told)) for key, told in some))
                await self._writer.drain()


def _read(request: Any) -> tuple[Method, Any]:
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str):
        raise Asked("this is no request of JSON-RPC 2.0", _REQUEST)
    method = METHODS.get(request["method"])
    if method is None:
        close = nearest(request["method"][:100], METHODS)
        fix = f'did you mean "{close}"?' if close else "rpc.discover describes every method"
        raise Asked(f'there is no method "{request["method"][:100]}"', _METHOD, fix=fix)
    params = request.get("params", {})
    if not isinstance(params, dict):
        raise Asked("parameters are given by name, as an object", _PARAMS)
    try:
        return method, method.params.model_validate(params)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the parameters"
        raise Asked(f"{method.name}: {place}: {first['msg']}", _PARAMS) from None


def _failure(number: str | int | None, error: MeshError) -> Record:
    code = error.number if isinstance(error, Asked) else _REFUSED
    told = {"code": code, "message": error.message, "data": error_record(error)}
    return {"jsonrpc": "2.0", "id": number, "error": told}


def _news(number: int, job_id: bytes, news: News) -> Record:
    told = {"job": job_record(news)} if isinstance(news, JobView) else damaged_record(job_id, news)
    return {"jsonrpc": "2.0", "method": "job", "params": {"subscription": number, **told}}


def _encoded(document: Record | list[Record]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
