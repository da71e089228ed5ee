"""A client of a running agent on this machine, with the verbs of `Agent`.

    async with Client("portal") as portal:
        job = await portal.put("portal.cluster add_user fred.proj.org")     # durable now
        print(await job.result(timeout=30))

It talks to the agent through its local door. An agent that is stopped and started again in between is waited for:
what was asked is asked again, and every put carries a key, so nothing is put twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from agents.answers import error_of, view_of_record
from agents.calls import CallFailed, Calls
from agents.chunks import download, read_payload, upload
from agents.errors import NotKnownYet
from agents.plugins import Installed, installed
from agents.putting import PutOptions
from agents.settings import default_home
from agents.views import JobView
from agents.wire import Wire, fresh_key
from grammar.vocabulary import Vocabulary

T = TypeVar("T")
_Record = dict[str, Any]


class RemoteJob:
    """A job of the agent that a client talks to; as `JobHandle`, for another process."""

    def __init__(self, client: Client, id_: str, short: str) -> None:
        self._client = client
        self._id = id_
        self._short = short

    @property
    def job_id(self) -> bytes:
        return bytes.fromhex(self._id)

    @property
    def id(self) -> str:
        """The whole id, 52 hexadecimal digits."""
        return self._id

    @property
    def short(self) -> str:
        """The 8 characters that people type."""
        return self._short

    def __repr__(self) -> str:
        return f"<handle of job {self._short}>"

    async def view(self) -> JobView:
        """The job as it is now."""
        return view_of_record(await self._client.request("job", id=self._id))

    async def wait(self, timeout: float | None = None) -> JobView:
        """Wait until the job is over, however it ends.

        Args:
            timeout: seconds of patience, None for any. It is the caller's and no state of the job.

        Raises:
            NotKnownYet: patience ended first; the job goes on.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._client.repeat(self._end)
        except TimeoutError:
            raise NotKnownYet(
                f"job {self._short} is not over after {timeout:g} s", fix=f"it goes on: mesh watch {self._short}"
            ) from None

    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it as a typed value.

        Raises:
            JobFailed: the job ended otherwise than complete.
            NotKnownYet: `timeout` seconds passed first; the job goes on.
            BytesLost: the result is too large for a fact, and is not there.
        """
        view = await self.wait(timeout)
        text = None
        if view.result_bytes is not None:
            text = await self._client.repeat(lambda calls: download(calls, self._id))
        return view.value(self._client.vocabulary, text)

    async def watch(self) -> AsyncIterator[JobView]:
        """Follow the job: a view now and at each change, the last one when it is over.

        Should the agent be started again meanwhile, the next view is the one it has then.
        """
        news: asyncio.Queue[JobView] = asyncio.Queue()

        async def follow(calls: Calls) -> None:
            async for view in _views(calls, self._id):
                news.put_nowait(view)

        following = asyncio.get_running_loop().create_task(self._client.repeat(follow))
        following.add_done_callback(lambda _: news.put_nowait(_NOTHING))
        try:
            while (view := await news.get()) is not _NOTHING:
                yield view
            following.result()
        finally:
            following.cancel()

    async def cancel(self) -> None:
        """Ask for the job to be stopped; durable when this returns. The job says what came of it.

        Raises:
            NotOurJob: the agent did not put it.
        """
        await self._client.request("cancel", id=self._id)

    async def delete(self) -> None:
        """Stop and forget the job; durable when this returns.

        Raises:
            NotOurJob: the agent did not put it.
        """
        await self._client.request("delete", id=self._id)

    async def retry(self, *, life_s: float | None = None) -> RemoteJob:
        """Put the job once more, now that it failed; see `Agent.retry`."""
        return await self._client.retry(self._id, life_s=life_s)

    async def _end(self, calls: Calls) -> JobView:
        async for view in _views(calls, self._id):
            if not view.live:
                return view
        raise AssertionError("the last view of a job is not live")


class Client:
    """A client of the agent in a folder.

    Args:
        home: its folder; by default `MESH_HOME`, else the current one.
        vocabulary: gives results their types, besides those of the whole language; by default those of installed
            packages too (`agents.plugins`).
    """

    def __init__(self, home: str | Path | None = None, *, vocabulary: Vocabulary | None = None) -> None:
        self.home = default_home() if home is None else Path(home)
        found = installed() if vocabulary is None else Installed(vocabulary)
        found.log_faults()
        self.vocabulary = found.vocabulary
        self._wire = Wire(self.home)

    def __repr__(self) -> str:
        return f"<client of the agent in {self.home}>"

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            Unreachable: the agent does not run.
        """
        try:
            await self._wire.calls()
        except CallFailed as failed:
            raise error_of(failed) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._wire.close()

    async def repeat(self, act: Callable[[Calls], Awaitable[T]]) -> T:
        """Do `act`, which is safe to repeat, on the connection; again whenever the agent was started again."""
        try:
            return await self._wire.repeat(act)
        except CallFailed as failed:
            raise error_of(failed) from None

    async def request(self, method: str, /, **params: Any) -> Any:
        """Call a method of `agents.api` that is safe to repeat.

        Raises:
            MeshError: the agent refused.
            Unreachable: it does not run.
        """
        return await self.repeat(lambda calls: calls.request(method, **params))

    # -- jobs ---------------------------------------------------------------------------------------------------

    async def put(
        self,
        command: str,
        *,
        zone: str | None = None,
        life_s: float | None = None,
        key: str | None = None,
        circle: str = "",
        context: str = "",
        payload: bytes | str | PathLike[str] | None = None,
        wait_for_room: bool = False,
    ) -> RemoteJob:
        """Put a job; it is durable when this returns. See `Agent.put`; a payload's file is read here.

        Raises:
            GrammarError: path or instruction are not of the language.
            PutRefused: the agent knows it to be wrong; nothing was stored.
        """
        own_key = key or fresh_key()
        data = None if payload is None else await asyncio.to_thread(read_payload, payload)

        async def act(calls: Calls) -> _Record:
            answer: _Record = await calls.request(
                "put",
                command=command,
                zone=zone,
                life_s=life_s,
                key=own_key,
                circle=circle,
                context=context,
                payload=None if data is None else await upload(calls, data),
                wait_for_room=wait_for_room,
            )
            return answer

        answer = await self.repeat(act)
        return RemoteJob(self, answer["job"]["id"], answer["job"]["short"])

    async def call(self, command: str, *, timeout: float | None = None, **how: Unpack[PutOptions]) -> Any:
        """Put a job and return its result as a typed value; see `Agent.call`.

        Raises:
            MeshError: as `put` and `RemoteJob.result`.
        """
        return await (await self.put(command, **how)).result(timeout)

    async def job(self, job_id: str) -> RemoteJob:
        """A handle to a job of the agent, by its id or the first characters that people type.

        Raises:
            NoSuchJob: none or several.
        """
        found = await self.request("job", id=job_id)
        return RemoteJob(self, found["id"], found["short"])

    async def jobs(
        self, *, live: bool | None = True, states: Iterable[str] = (), limit: int | None = None
    ) -> list[JobView]:
        """Jobs of the agent, newest first: live ones by default, finished ones (False) or both (None).

        One whose stored row is damaged is left out, fetched from the neighbours, and named in the agent's log.
        """
        found: list[JobView] = []
        async for view in self._pages("jobs", live=live, states=tuple(states)):
            if len(found) == limit:
                break
            found.append(view)
        return found

    async def dead(self) -> list[JobView]:
        """The dead letters of the agent, newest first; see `Agent.dead`."""
        return [view async for view in self._pages("dead")]

    async def retry(self, job_id: str, *, life_s: float | None = None) -> RemoteJob:
        """Put a job that failed once more; see `Agent.retry`."""
        job = (await self.request("retry", id=job_id, life_s=life_s))["job"]
        return RemoteJob(self, job["id"], job["short"])

    async def _pages(self, method: str, **params: Any) -> AsyncIterator[JobView]:
        after = -1
        while after:
            page = await self.request(method, **params, after=max(0, after))
            for one in page["jobs"]:
                yield view_of_record(one)
            after = page["next"]

    # -- peers --------------------------------------------------------------------------------------------------

    async def peers(self) -> list[_Record]:
        """The peers, and the agents that were invited; see `agents.records.PeerRecord`."""
        found: list[_Record] = await self.request("peers")
        return found

    async def invite(
        self,
        peer: str,
        *,
        kind: str | None = None,
        zone: str | None = None,
        urls: Iterable[str] = (),
        ranges: Iterable[str] = (),
    ) -> str:
        """Make an invitation for an agent called `peer`, good from now on.

        Returns:
            The text of the invitation file. It holds a secret: write it with mode 0600.

        Raises:
            MeshError: a value is not legal, or there is a peer of that name.
        """
        text: str = (
            await self.request("invite", peer=peer, kind=kind, zone=zone, urls=tuple(urls), ranges=tuple(ranges))
        )["text"]
        return text

    async def join(self, path: str | Path) -> _Record:
        """Accept an invitation file and begin to dial the agent that wrote it; see `agents.records.JoinRecord`.

        Raises:
            MeshError: it is no invitation, or not for this agent, or not now.
        """
        absolute = Path(path).absolute()  # noqa: ASYNC240 - it asks nothing of the disk
        found: _Record = await self.request("join", path=str(absolute))
        return found

    async def wait_for_peer(
        self, name: str | None = None, *, kind: str | None = None, timeout: float | None = None
    ) -> str:
        """Wait until a link to a peer stands, named or of a kind, or to any; returns its name.

        Raises:
            NotKnownYet: `timeout` seconds passed first.
        """
        found: str = await self.request("wait_for_peer", name=name, kind=kind, timeout=timeout)
        return found


async def _views(calls: Calls, id_: str) -> AsyncIterator[JobView]:
    answer = await calls.request("watch", id=id_)
    number: int = answer["subscription"]
    news = calls.subscription(number)
    view = view_of_record(answer["job"])
    try:
        yield view
        while view.live:
            view = view_of_record(await news.get())
            yield view
    finally:
        calls.forget(number)
        if view.live and not calls.lost:
            calls.send("unfollow", subscription=number)


_NOTHING: Final = JobView("", "", (), "", "", 0, None, None, None, 0, 0, 0, 0, "", (), "", None, None, False)
