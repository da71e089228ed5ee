"""A handle to one job: wait for it, take its result, follow it, stop it.

A handle is not the job: dropping it changes nothing, and another can be had from the id at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Protocol

from agents.errors import JobFailed, NotKnownYet
from agents.longtext import read_long, read_short
from agents.views import JobView, failure_of
from agents.watching import News, Watch
from grammar.errors import MeshError
from grammar.results import decode
from grammar.vocabulary import Vocabulary
from mesh.facts import Fact, Outcome, blob_of, id_text, short_text
from mesh.lifecycle import State


class Keeper(Protocol):
    """What a handle needs of the agent that holds the job."""

    async def view(self, job_id: bytes) -> JobView: ...

    async def result_text(self, job_id: bytes) -> bytes: ...

    async def cancel_job(self, job_id: bytes) -> None: ...

    async def delete_job(self, job_id: bytes) -> None: ...

    async def retry_job(self, job_id: bytes, life_s: float | None = None) -> JobHandle: ...

    def result_types(self) -> Vocabulary: ...


def is_at_hand(outcome: Fact) -> bool:
    """Whether an Outcome holds all that it says itself, and names no bytes."""
    return blob_of(outcome.content) is None


def value_of(outcome: Fact, last: str, known: Vocabulary) -> Any:
    """The result that an Outcome holds, as a typed value.

    Args:
        outcome: is at hand.
        last: the name of the destination.
        known: has the types of results.

    Raises:
        JobFailed: the job ended otherwise than complete.
        GrammarError: the result is not of the type that it is said to be of.
    """
    content = outcome.content
    assert isinstance(content, Outcome)
    if content.state != State.COMPLETE:
        failure = failure_of(content, last)
        raise JobFailed(failure.message, kind=failure.kind, agent=failure.agent, job=id_text(outcome.job_id))
    data = read_short(content.result) if isinstance(content.result, str) else None
    return decode(content.result_type or "None", data, known)


class JobHandle:
    """One job that this agent put, or watches."""

    __slots__ = ("_keeper", "_last", "_looked", "_watch")

    def __init__(self, keeper: Keeper, watch: Watch, last: str, *, fresh: bool = False) -> None:
        self._keeper = keeper
        self._watch = watch
        self._last = last
        # A job that was just made cannot be over yet; of any other one nobody may have been told.
        self._looked = fresh

    @property
    def job_id(self) -> bytes:
        return self._watch.job_id

    @property
    def id(self) -> str:
        """The whole id, 52 hexadecimal digits."""
        return id_text(self._watch.job_id)

    @property
    def short(self) -> str:
        """The 8 characters that people type."""
        return short_text(self._watch.job_id)

    def __repr__(self) -> str:
        return f"<handle of job {self.short}>"

    async def view(self) -> JobView:
        """The job as it is now."""
        return await self._keeper.view(self._watch.job_id)

    async def wait(self, timeout: float | None = None) -> JobView:
        """Wait until the job is over, however it ends.

        Args:
            timeout: seconds of patience, None for any. It is the caller's and no state of the job.

        Raises:
            NotKnownYet: patience ended first; the job goes on.
            CorruptRow: its stored row was damaged before it left this agent: it is lost.
        """
        await self._over(timeout)
        view = self._watch.view
        return view if view is not None and not view.live else await self.view()

    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it as a typed value.

        Raises:
            JobFailed: the job ended otherwise than complete.
            NotKnownYet: `timeout` seconds passed first; the job goes on.
            CorruptRow: its stored row was damaged before it left this agent: it is lost.
            BytesLost: the result is too large for a fact, and is not here.
        """
        watch = self._watch
        if self._looked and timeout is None:
            # The way of nearly every caller, without a step of its own for each thing that is not asked.
            await watch.end()
        else:
            await self._over(timeout)
        fact = watch.outcome
        if fact is None or not is_at_hand(fact):
            view = await self.wait()
            if view.result_bytes is not None:
                text = await self._keeper.result_text(self._watch.job_id)
                view = replace(view, result=await asyncio.to_thread(read_long, text))
            return view.value(self._keeper.result_types())
        return value_of(fact, self._last, self._keeper.result_types())

    async def watch(self) -> AsyncIterator[JobView]:
        """Follow the job: a view now and at each change, the last one when it is over.

        Raises:
            AgentError: the agent stopped first; the job goes on when it is started again.
            CorruptRow: as `wait`.
        """
        news: asyncio.Queue[News] = asyncio.Queue()
        stop = self._watch.listen(news.put_nowait)
        try:
            view = await self.view()
            yield view
            while view.live:
                following = await news.get()
                if isinstance(following, MeshError):
                    raise following
                if following == view:
                    continue
                view = following
                yield view
        finally:
            stop()

    async def cancel(self) -> None:
        """Ask for the job to be stopped; durable when this returns. The job says what came of it.

        Raises:
            NotOurJob: this agent did not put it.
        """
        await self._keeper.cancel_job(self._watch.job_id)

    async def delete(self) -> None:
        """Stop and forget the job; durable when this returns.

        Raises:
            NotOurJob: this agent did not put it.
        """
        await self._keeper.delete_job(self._watch.job_id)

    async def retry(self, *, life_s: float | None = None) -> JobHandle:
        """Put the job once more, now that it failed; see `Agent.retry`."""
        return await self._keeper.retry_job(self._watch.job_id, life_s)

    async def _over(self, timeout: float | None) -> None:
        if self._watch.over:
            return
        if timeout is None:
            await self._end()
            return
        try:
            async with asyncio.timeout(timeout):
                await self._end()
        except TimeoutError:
            raise NotKnownYet(
                f"job {self.short} is not over after {timeout:g} s", fix=f"it goes on: mesh watch {self.short}"
            ) from None

    async def _end(self) -> None:
        if not self._looked:
            self._looked = True
            view = await self.view()
            if not view.live:
                self._watch.changed(view)
        await self._watch.end()
