"""Who waits for which job: from the changes a step makes to the callers that asked to be told.

A watch exists from the put of a job, or from the first question about it, until the job is over and nobody holds the
watch any more. It keeps the last word on the job, so that a caller who asks late is answered at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from weakref import ReferenceType, ref

from agents.errors import AgentError
from agents.views import JobView
from grammar.errors import MeshError
from mesh.facts import Fact

News = JobView | MeshError
"""What a listener hears: a view, or why no view will come any more."""


class Watch:
    """What is known of one job here.

    Attributes:
        outcome: the destination's last word, maybe ahead of its commit here. The job keeps it for who asks later.
        view: the last view that somebody asked for, or that ended the job.
        over: whether the job is over.
        lost: why the job is gone, if it is.
    """

    __slots__ = ("__weakref__", "_listeners", "_waiters", "job_id", "lost", "outcome", "over", "view")

    def __init__(self, job_id: bytes) -> None:
        self.job_id = job_id
        self.outcome: Fact | None = None
        self.view: JobView | None = None
        self.over = False
        self.lost: MeshError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._listeners: list[Callable[[News], None]] = []

    @property
    def wants_views(self) -> bool:
        """Whether somebody follows each change."""
        return bool(self._listeners)

    def end(self) -> asyncio.Future[None]:
        """What is done when the job is over; whoever awaits it holds the watch meanwhile.

        Raises (when it is awaited):
            AgentError: the agent stopped first; the job goes on when it is started again.
            MeshError: the job is lost; see `Effects.lost`.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.over:
            waiter.set_result(None)
        elif self.lost is not None:
            waiter.set_exception(self.lost)
        else:
            waiters = self._waiters
            if waiters and waiters[-1].done():
                # Its patience ended. Whoever asks again and again leaves no more than one behind.
                waiters.pop()
            waiters.append(waiter)
        return waiter

    def listen(self, listener: Callable[[News], None]) -> Callable[[], None]:
        """Call `listener` with each new view, and with an error if the agent stops first or the job is lost; returns
        what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def told(self, fact: Fact) -> None:
        """The destination ended the job."""
        self.outcome = fact
        self._end()

    def changed(self, view: JobView) -> None:
        """The job says something new."""
        self.view = view
        for listener in list(self._listeners):
            listener(view)
        if not view.live:
            self._end()

    def gone(self, error: MeshError) -> None:
        """The job is lost."""
        self.lost = error
        self._give_up(error)

    def stopped(self) -> None:
        """The agent stops."""
        self._give_up(AgentError("the agent stopped; the job goes on when it is started again"))

    def _give_up(self, error: MeshError) -> None:
        for listener in list(self._listeners):
            listener(error)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _end(self) -> None:
        self.over = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Watching:
    """The watches of one agent. They are held weakly: whoever waits holds them.

    (The standard library's weak dictionary does the same in Python, for as much as all else that a put needs here.)
    """

    def __init__(self) -> None:
        self._watches: dict[bytes, ReferenceType[Watch]] = {}
        self._held: dict[bytes, Watch] = {}

    def of(self, job_id: bytes) -> Watch:
        """The watch of a job, made now if there is none."""
        watch = self.find(job_id)
        if watch is None:
            watch = Watch(job_id)
            self._watches[job_id] = ref(watch, partial(self._let_go, job_id))
        return watch

    def hold(self, watch: Watch) -> None:
        """Keep a watch, the first one of its job, until it is released, whether or not anybody else does."""
        self._held[watch.job_id] = watch

    def release(self, watch: Watch) -> None:
        """Keep a watch for those alone who follow the job through it."""
        if self._held.pop(watch.job_id, None) is not None and watch.wants_views:
            self._watches[watch.job_id] = ref(watch, partial(self._let_go, watch.job_id))

    def _let_go(self, job_id: bytes, gone: ReferenceType[Watch]) -> None:
        # Another watch of the job may have been made since.
        if self._watches.get(job_id) is gone:
            del self._watches[job_id]

    def stopped(self) -> None:
        """The agent stops: nobody will be told anything any more."""
        for held in list(self._watches.values()):
            watch = held()
            if watch is not None:
                watch.stopped()
        for watch in list(self._held.values()):
            watch.stopped()

    def find(self, job_id: bytes) -> Watch | None:
        """The watch of a job, if anybody holds one."""
        watch = self._held.get(job_id)
        if watch is not None:
            return watch
        held = self._watches.get(job_id)
        return None if held is None else held()
