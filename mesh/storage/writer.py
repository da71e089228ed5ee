"""The writer thread: it owns the store, so that the event loop never waits for the disk (R1).

The loop hands over batches and queries and goes on. The thread takes everything that is waiting, makes one commit of
all batches in it, answers the queries, and tells the loop once. While a commit runs the next group gathers: groups
grow with the load by themselves, and an idle agent waits for nothing.

No batch is ever committed after one that failed. A step of the engine is made on top of the steps before it: its
acknowledgement covers what they took, so a commit with a hole before it would acknowledge what is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from threading import Thread
from typing import Any, Final, NamedTuple, TypeVar

from mesh.effects import Answer, Batch, Query
from mesh.errors import StoreError, StoreFull
from mesh.opening import Snapshot
from mesh.room import Room
from mesh.storage.contract import Store
from mesh.storage.inbox import Bell, Inbox

_T = TypeVar("_T")

Done = Callable[[BaseException | None], None]
Answered = Callable[[Answer | BaseException], None]


class _Commit(NamedTuple):
    batch: Batch
    done: Done


class _Read(NamedTuple):
    query: Query
    done: Answered


class _Call(NamedTuple):
    run: Callable[[Store], Any]
    done: Callable[[Any], None]
    """Takes what `run` returned, or the exception that it raised."""


_Entry = _Commit | _Read | _Call

LOOK: Final = 8
"""Commits after which the room is looked at, though more of them come. (The system is asked for it, and Python's lock
taken and given up for that: whoever was told of a commit would wait for it before he can go on, and the next commit,
when the event loop is busy, once more.)"""
PAUSE_S: Final = 0.001
"""Seconds without work after which it is looked at in any case."""
_Outcome = tuple[Callable[[Any], None], object]
"""A callback and what it is called with."""


class Writer:
    """Owns a store, in a thread of its own. All methods belong to the event loop that called `open`.

    Callbacks run on that loop, in the order in which the work was handed over. Two failures are told apart:

    * A full disk, once the store's reserve is used up, fails the batch for which there is no room and every batch that
      was handed over before its callback said so. Those after it are tried again: whoever goes on begins anew with
      what the store holds, by `reopen`.
    * Any other failure of the store is final. Everything fails with it from then on; the process has to stop.

    Args:
        store: not open yet; nobody else uses it until `close` returned.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._inbox: Inbox[_Entry | None] = Inbox()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._on_room: Callable[[Room], None] = _ignore
        # What the thread has done and the loop has not said yet.
        self._news: deque[_Outcome] = deque()
        self._bell = Bell()
        self._closed = False
        self._delivering = False
        # The thread's own: why nothing is committed any more, and what room was last told of.
        self._failed: BaseException | None = None
        self._room = Room.ENOUGH
        self._unseen = 0

    async def open(self) -> Snapshot:
        """Start the thread and open the store in it. Called once.

        Raises:
            StoreLocked, StoreError: as `Store.open`; the thread has ended.
        """
        assert self._loop is None, "a writer is opened once"
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._loop.add_reader(self._bell, self._heard)
        # A daemon: a process that dies without `close` does not wait for it, and what was acknowledged is on the disk.
        Thread(target=self._run, args=(self._loop,), name="hopboard-store", daemon=True).start()
        try:
            return await self.call(lambda store: store.open())
        except BaseException:
            await self.close()
            raise

    def watch_room(self, tell: Callable[[Room], None]) -> None:
        """Have `tell` called whenever commits left more or less room than the ones before, soon behind the callbacks of
        what was committed. A store that was just opened counts as one with room."""
        self._on_room = tell

    def commit(self, batch: Batch, done: Done) -> None:
        """Make `batch` durable, together with whatever else is waiting.

        Args:
            batch: not changed any more.
            done: called with None once it is on the disk; else with the error, and nothing of it was kept.
        """
        self._inbox.put(_Commit(batch, done))

    def read(self, query: Query, done: Answered) -> None:
        """Answer `query` from every batch handed over before it, and maybe from some after it.

        Args:
            query: what to find.
            done: called with the answer or the error, after the callbacks of the batches before it.
        """
        self._inbox.put(_Read(query, done))

    async def call(self, run: Callable[[Store], _T]) -> _T:
        """Run a function on the store, in order with the rest, and return what it returns.

        Args:
            run: it holds up every commit while it runs; what takes long belongs to a reader beside the writer.

        Raises:
            StoreError: the store failed; or whatever else `run` raises.
        """
        future: asyncio.Future[_T] = self._future()
        self._inbox.put(_Call(run, partial(_settle, future)))
        return await future

    async def answer(self, query: Query) -> Answer:
        """Answer `query`, as `read` does.

        Raises:
            StoreError: the store failed.
        """
        future: asyncio.Future[Answer] = self._future()
        self.read(query, partial(_settle, future))
        return await future

    def _future(self) -> asyncio.Future[Any]:
        assert self._loop is not None, "the writer is not open"
        return self._loop.create_future()

    def _heard(self) -> None:
        self.deliver()
        self._bell.silence()
        # What was done in between rang in vain.
        self.deliver()

    def deliver(self) -> None:
        """Run the callbacks of all that is done by now. The loop does so by itself, once it has done all else that
        waits in its turn; where that is much, who waits for a commit is told sooner by this.

        Without effect from within such a callback: the next one runs after it.
        """
        if self._delivering or not self._news:
            return
        self._delivering, full = True, False
        try:
            while self._news:
                done, outcome = self._news.popleft()
                full = full or isinstance(outcome, StoreFull)
                self._call_back(done, outcome)
        finally:
            self._delivering = False
        if full:
            # Whoever handed over a batch knows by now; what comes after this is made in that knowledge.
            self._inbox.put(_Call(self._try_again, _ignore))

    async def reopen(self) -> Snapshot:
        """Close the store and open it again, after a full disk: what it holds now, to begin anew from.

        Raises:
            StoreError: as `Store.open`.
        """

        def reopened(store: Store) -> Snapshot:
            store.close()
            return store.open()

        return await self.call(reopened)

    async def close(self) -> None:
        """Finish what was handed over, close the store and end the thread. Nothing is handed over after it.

        Idempotent.
        """
        assert self._ended is not None, "the writer is not open"
        self._inbox.put(None)
        await asyncio.shield(self._ended)
        self.deliver()
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().remove_reader(self._bell)
            self._bell.close()
            self._inbox.close()

    # -- on the loop ----------------------------------------------------------------------------------------------

    def _call_back(self, done: Callable[[Any], None], outcome: object) -> None:
        try:
            done(outcome)
        except Exception as error:  # noqa: BLE001 - a bug of one callback must not leave the others uncalled
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a callback of the store failed", "exception": error})

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    # -- in the thread --------------------------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        ending = False
        while not ending:
            group = self._take()
            ending = None in group
            outcomes = self._carry_out([entry for entry in group if entry is not None])
            self._say(outcomes)
            if any(type(entry) is _Commit for entry in group):
                # Whoever waited was told. What fails here is said to the next one who wants something of the store.
                self._attempt(self._store.tidy)
                self._unseen += 1
        try:
            self._store.close()
        finally:
            _tell(loop, self._end)

    def _say(self, outcomes: Iterable[_Outcome]) -> None:
        self._news.extend(outcomes)
        self._bell.ring()

    def _take(self) -> list[_Entry | None]:
        """All that waits, or what comes next; with a look at the room first, when it is due or there is time for it."""
        if self._unseen < LOOK and self._room is Room.ENOUGH:
            group = self._inbox.take(PAUSE_S if self._unseen else None)
            if group:
                return group
        if self._unseen:
            self._unseen = 0
            self._look()
        return self._inbox.take()

    def _carry_out(self, group: list[_Entry]) -> list[_Outcome]:
        """Do all of `group`: the batches between two calls are one commit, and the reads among them follow it."""
        outcomes: list[_Outcome] = []
        start = 0
        for place, entry in enumerate(group):
            if type(entry) is _Call:
                outcomes += self._commit_and_read(group[start:place])
                outcomes.append((entry.done, self._attempt(entry.run, self._store)))
                start = place + 1
        return outcomes + self._commit_and_read(group[start:])

    def _commit_and_read(self, group: list[_Entry]) -> list[_Outcome]:
        errors = iter(self._commit_all([entry.batch for entry in group if type(entry) is _Commit]))
        return [
            (entry.done, self._attempt(self._store.read, entry.query) if type(entry) is _Read else next(errors))
            for entry in group
        ]

    def _commit_all(self, batches: list[Batch]) -> list[BaseException | None]:
        """Commit all of `batches`, or as many of the first ones as there is room for."""
        if not batches:
            return []
        error = self._commit_one(batches)
        if not isinstance(error, StoreFull) or len(batches) == 1:
            return [error] * len(batches)
        self._failed = None
        return [self._commit_one([batch]) for batch in batches]

    def _commit_one(self, batches: list[Batch]) -> BaseException | None:
        if self._failed is None:
            try:
                self._store.apply(batches)
            except BaseException as error:  # noqa: BLE001 - whatever it was, nothing may be committed on top of it
                self._failed = error
        return self._failed

    def _look(self) -> None:
        """Tell of the room that is left, if that is new."""
        room = self._attempt(self._store.room)
        # Why a store cannot be asked is said to the next one who wants something of it.
        if isinstance(room, Room) and room is not self._room:
            self._room = room
            self._say([(self._on_room, room)])

    def _attempt(self, run: Callable[..., object], *arguments: object) -> object:
        """Give what `run` returns, or the exception that it raises."""
        if self._failed is not None and not isinstance(self._failed, StoreFull):
            return self._failed
        try:
            return run(*arguments)
        except StoreError as error:
            self._failed = self._failed or error
            return error
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked, on the other side
            return error

    def _try_again(self, _: Store) -> None:
        self._failed = None


def _settle(future: asyncio.Future[Any], result: object) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        # The loop was closed without `close`: nobody is left to be told.
        if not loop.is_closed():
            raise


def _ignore(_: object) -> None:
    """Nobody waits for this."""
