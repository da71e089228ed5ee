"""The writer thread: groups, order, failures, the end; first on a store that the test holds up, then on a real one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mesh.effects import Batch, ById
from mesh.errors import StoreError, StoreFull, StoreLocked
from mesh.opening import Snapshot
from mesh.room import Room
from mesh.storage.memory import MemoryStore
from mesh.storage.sqlite import SqliteStore
from mesh.storage.writer import LOOK, Writer
from tests.mesh.storage.rows import board, job_id, row, seqs


class HeldStore(MemoryStore):
    """A store that the test can hold up, and that fails for the seqs it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[int]] = []
        self.entered = threading.Event()
        self.left = threading.Event()
        self.looked = threading.Event()
        self.going = threading.Event()
        self.going.set()
        self.failures: dict[int, BaseException] = {}
        self.threads: set[int] = set()
        self.closed = 0

    def apply(self, batches) -> None:
        try:
            self._apply_held(batches)
        finally:
            self.left.set()

    def _apply_held(self, batches) -> None:
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.going.wait(10)
        wanted = [one.seq for batch in batches for one in batch.rows]
        for seq in wanted:
            if seq in self.failures:
                raise self.failures[seq]
        self.groups.append(wanted)
        super().apply(batches)

    def room(self) -> Room:
        self.looked.set()
        return super().room()

    def close(self) -> None:
        self.closed += 1


class Told:
    """Callbacks that note what they are called with, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, Any]] = []
        self._expected: dict[int, asyncio.Event] = {}

    def __call__(self, name: Any) -> Callable[[Any], None]:
        def done(outcome: Any) -> None:
            self.heard.append((name, outcome))
            for count, event in self._expected.items():
                if len(self.heard) >= count:
                    event.set()

        return done

    async def all(self, count: int) -> list[tuple[Any, Any]]:
        if len(self.heard) < count:
            event = self._expected.setdefault(count, asyncio.Event())
            async with asyncio.timeout(10):
                await event.wait()
        return self.heard


def batch(*numbers: int) -> Batch:
    return Batch(rows=[row(seq) for seq in numbers])


@asynccontextmanager
async def opened(store: Any) -> AsyncIterator[Writer]:
    writer = Writer(store)
    await writer.open()
    try:
        yield writer
    finally:
        await writer.close()


async def held(store: HeldStore, writer: Writer, told: Told) -> None:
    """Hand over batch 1 and return while the store is busy with it."""
    store.going.clear()
    writer.commit(batch(1), told(1))
    await asyncio.to_thread(store.entered.wait, 10)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(within())


# --- groups and order ---


def test_what_waits_while_a_commit_runs_becomes_one_commit() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        async with opened(store) as writer:
            await held(store, writer, told)
            for seq in range(2, 50):
                writer.commit(batch(seq), told(seq))
            store.going.set()
            heard = await told.all(49)
        assert store.groups == [[1], list(range(2, 50))]
        assert heard == [(seq, None) for seq in range(1, 50)]

    run(test)


def test_a_lone_batch_waits_for_nobody() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        async with opened(store) as writer:
            for seq in (1, 2, 3):
                writer.commit(batch(seq), told(seq))
                await told.all(seq)
        assert store.groups == [[1], [2], [3]]

    run(test)


def test_callbacks_run_on_the_loop_and_the_store_in_one_thread() -> None:
    async def test() -> None:
        store, told, threads = HeldStore(), Told(), []
        async with opened(store) as writer:
            writer.commit(batch(1), lambda _: threads.append(threading.get_ident()))
            writer.commit(batch(2), told(2))
            await told.all(1)
            store.threads.add(await writer.call(lambda _: threading.get_ident()))
        assert threads == [threading.get_ident()]
        assert len(store.threads) == 1
        assert threading.get_ident() not in store.threads

    run(test)


def test_what_is_done_is_told_in_the_midst_of_a_turn_of_the_loop_to_who_asks_for_it() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        async with opened(store) as writer:
            nested: list[int] = []

            def first(outcome: Any) -> None:
                told(1)(outcome)
                writer.deliver()
                nested.append(len(told.heard))

            store.going.clear()
            writer.commit(batch(1), first)
            writer.read(ById((job_id(1),)), told("read"))
            writer.deliver()
            assert told.heard == []
            store.going.set()
            # The loop has no turn meanwhile. (The store is asked for its room right behind a group.)
            assert store.looked.wait(10)
            writer.deliver()
            assert [name for name, _ in told.heard] == [1, "read"]
            assert nested == [1], "one callback runs behind the other, not within it"
            await asyncio.sleep(0)
            assert len(told.heard) == 2

    run(test)


def test_a_read_sees_every_batch_before_it_and_answers_in_its_place() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        async with opened(store) as writer:
            await held(store, writer, told)
            writer.commit(batch(2), told(2))
            writer.read(ById((job_id(1), job_id(2))), told("read"))
            writer.commit(batch(3), told(3))
            store.going.set()
            heard = await told.all(4)
        assert [name for name, _ in heard] == [1, 2, "read", 3]
        assert seqs(heard[2][1].rows) == [1, 2]
        # A read between two batches does not cost a commit.
        assert store.groups == [[1], [2, 3]]

    run(test)


def test_a_call_stands_between_what_was_handed_over_before_and_after_it() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        async with opened(store) as writer:
            await held(store, writer, told)
            writer.commit(batch(2), told(2))
            async with asyncio.TaskGroup() as tasks:
                calling = tasks.create_task(writer.call(lambda s: s.list_jobs(live=None, states=(), after=0, limit=9)))
                await asyncio.sleep(0)
                writer.commit(batch(3), told(3))
                store.going.set()
            assert seqs(calling.result()) == [2, 1]
            await told.all(3)
        assert store.groups == [[1], [2], [3]]

    run(test)


def test_a_call_that_nobody_waits_for_any_more_does_no_harm() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        async with opened(store) as writer:
            await held(store, writer, told)
            call = asyncio.ensure_future(writer.call(lambda _: 1))
            await asyncio.sleep(0)
            call.cancel()
            store.going.set()
            assert await writer.call(lambda _: 2) == 2
        assert call.cancelled()

    run(test)


def test_a_callback_that_fails_keeps_nobody_else_waiting() -> None:
    async def test() -> None:
        caught: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context))
        store, told = HeldStore(), Told()

        def broken(_: object) -> None:
            raise KeyError("a bug")

        async with opened(store) as writer:
            await held(store, writer, told)
            writer.commit(batch(2), broken)
            writer.commit(batch(3), told(3))
            store.going.set()
            assert await told.all(2) == [(1, None), (3, None)]
        assert [type(context["exception"]) for context in caught] == [KeyError]

    run(test)


# --- failures ---


def test_a_full_disk_fails_the_batch_without_room_and_what_was_made_on_top_of_it() -> None:
    async def test() -> None:
        store, told, full = HeldStore(), Told(), StoreFull("full")
        store.failures[3] = full
        async with opened(store) as writer:
            await held(store, writer, told)
            for seq in (2, 3, 4):
                writer.commit(batch(seq), told(seq))
            writer.read(ById((job_id(2), job_id(3))), told("read"))
            store.going.set()
            heard = await told.all(5)
            assert heard[:4] == [(1, None), (2, None), (3, full), (4, full)]
            assert seqs(heard[4][1].rows) == [2]
            # By now whoever handed them over knows: what is handed over from here on is tried again.
            store.failures.clear()
            writer.commit(batch(5), told(5))
            assert (await told.all(6))[5] == (5, None)
        assert store.groups == [[1], [2], [5]]

    run(test)


def test_what_was_handed_over_before_the_full_disk_was_told_fails_too() -> None:
    async def test() -> None:
        store, told, full = HeldStore(), Told(), StoreFull("full")
        store.failures[1] = full
        async with opened(store) as writer:
            await held(store, writer, told)
            store.going.set()
            # The loop does not run while it waits here: the disk was full for batch 1, and nobody has heard of it.
            assert store.left.wait(10)
            writer.commit(batch(2), told(2))
            heard = await told.all(2)
        assert heard == [(1, full), (2, full)]
        assert store.groups == []

    run(test)


def test_after_a_full_disk_the_store_tells_what_it_holds() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        store.failures[2] = StoreFull("full")
        async with opened(store) as writer:
            writer.commit(batch(1), told(1))
            await told.all(1)
            writer.commit(batch(2), told(2))
            await told.all(2)
            assert (await writer.reopen()).last_seq == 1
            writer.commit(batch(3), told(3))
            assert (await told.all(3))[2] == (3, None)

    run(test)


@pytest.mark.parametrize("error", [StoreError("the disk failed"), KeyError("a bug"), MemoryError()])
def test_any_other_failure_is_final(error: BaseException) -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        store.failures[2] = error
        async with opened(store) as writer:
            await held(store, writer, told)
            for seq in (2, 3):
                writer.commit(batch(seq), told(seq))
            store.going.set()
            assert await told.all(3) == [(1, None), (2, error), (3, error)]
            writer.commit(batch(4), told(4))
            writer.read(ById((job_id(1),)), told("read"))
            assert (await told.all(5))[3:] == [(4, error), ("read", error)]
            with pytest.raises(type(error)):
                await writer.call(lambda s: s.peers())
        assert store.groups == [[1]]
        assert store.closed == 1

    run(test)


def test_a_store_that_cannot_be_read_is_not_written_either() -> None:
    async def test() -> None:
        store, told, damaged = HeldStore(), Told(), StoreError("damaged")

        def read(_: object) -> None:
            raise damaged

        store.read = read  # type: ignore[method-assign,assignment]
        async with opened(store) as writer:
            writer.read(ById(()), told("read"))
            await told.all(1)
            writer.commit(batch(1), told(1))
            assert await told.all(2) == [("read", damaged), (1, damaged)]

    run(test)


def test_a_call_with_a_bug_concerns_its_caller_alone() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        async with opened(store) as writer:
            with pytest.raises(ZeroDivisionError):
                await writer.call(lambda _: 1 // 0)
            writer.commit(batch(1), told(1))
            assert await told.all(1) == [(1, None)]

    run(test)


# --- the beginning and the end ---


def test_closing_finishes_what_was_handed_over() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        writer = Writer(store)
        await writer.open()
        await held(store, writer, told)
        writer.commit(batch(2), told(2))
        store.going.set()
        await writer.close()
        assert told.heard == [(1, None), (2, None)]
        assert store.closed == 1

    run(test)


def test_a_store_that_cannot_be_opened_ends_the_thread(path: Path) -> None:
    async def test() -> None:
        holder = SqliteStore(path)
        holder.open()
        with pytest.raises(StoreLocked):
            await Writer(SqliteStore(path)).open()
        holder.close()
        assert "hopboard-store" not in {thread.name for thread in threading.enumerate()}

    run(test)


def test_a_loop_that_ends_first_leaves_a_thread_that_ends_too(path: Path) -> None:
    store = HeldStore()

    async def abandoned() -> None:
        writer = Writer(store)
        await writer.open()
        await held(store, writer, Told())
        writer._inbox.put(None)

    run(abandoned)
    store.going.set()
    for thread in threading.enumerate():
        if thread.name == "hopboard-store":
            thread.join(10)
    assert store.groups == [[1]]
    assert store.closed == 1


def test_a_writer_on_a_durable_store(path: Path) -> None:
    async def test() -> None:
        told = Told()
        async with opened(SqliteStore(path)) as writer:
            writer.commit(Batch(boards=[board(1), board(2)]), told("boards"))
            for seq in range(1, 301):
                writer.commit(batch(seq), told(seq))
            heard = await told.all(301)
            assert {outcome for _, outcome in heard} == {None}
            snapshot: Snapshot = await writer.reopen()
            assert (snapshot.last_seq, len(list(snapshot.ids))) == (300, 300)

    run(test)


# --- what comes after a commit ---


def test_what_is_left_for_later_is_done_when_those_who_waited_were_told() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        tidied = threading.Event()
        loop_was_told = threading.Event()

        def tidy() -> None:
            assert loop_was_told.wait(10)
            tidied.set()

        store.tidy = tidy  # type: ignore[method-assign]
        async with opened(store) as writer:
            writer.commit(batch(1), told(1))
            await told.all(1)
            assert not tidied.is_set()
            loop_was_told.set()
            answer = await writer.answer(ById((job_id(1),)))
            assert seqs(answer.rows) == [1]
            assert tidied.is_set()

    run(test)


def test_what_fails_later_fails_what_comes_next() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        broken = StoreError("the disk is gone")

        def fail() -> None:
            raise broken

        store.tidy = fail  # type: ignore[method-assign]
        async with opened(store) as writer:
            writer.commit(batch(1), told(1))
            await told.all(1)
            writer.commit(batch(2), told(2))
            await told.all(2)
            with pytest.raises(StoreError, match="the disk is gone"):
                await writer.answer(ById((job_id(1),)))
        assert told.heard == [(1, None), (2, broken)]

    run(test)


# --- room ---


def test_the_loop_is_told_of_room_once_and_right_behind_what_was_committed() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        rooms = [Room.ENOUGH, Room.DISK_FULL, Room.DISK_FULL, Room.ENOUGH]
        looked = threading.Semaphore(0)

        def room() -> Room:
            looked.release()
            return rooms.pop(0)

        store.room = room  # type: ignore[method-assign]
        async with opened(store) as writer:
            writer.watch_room(told("room"))
            heard = 0
            for seq, more in ((1, 1), (2, 2), (3, 1), (4, 2)):
                writer.commit(batch(seq), told(seq))
                heard += more
                await told.all(heard)
                await asyncio.to_thread(looked.acquire, timeout=10)
            await writer.call(lambda opened: None)
        assert told.heard == [
            (1, None),
            (2, None),
            ("room", Room.DISK_FULL),
            (3, None),
            (4, None),
            ("room", Room.ENOUGH),
        ]

    run(test)


def test_while_commits_wait_the_room_is_looked_at_now_and_then() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        looks: list[int] = []
        looked = threading.Semaphore(0)
        last = 2 * LOOK + 3
        async with opened(store) as writer:
            apply = store.apply

            def followed(batches: Sequence[Batch]) -> None:
                apply(batches)
                if len(store.groups) < last:
                    seq = len(store.groups) + 1
                    writer.commit(batch(seq), told(seq))

            def room() -> Room:
                looks.append(len(store.groups))
                looked.release()
                return Room.ENOUGH

            store.apply, store.room = followed, room  # type: ignore[method-assign]
            writer.commit(batch(1), told(1))
            for _ in range(3):
                await asyncio.to_thread(looked.acquire, timeout=10)
        assert looks == [LOOK, 2 * LOOK, last]

    run(test)


def test_a_store_that_cannot_say_its_room_fails_what_comes_next() -> None:
    async def test() -> None:
        store, told = HeldStore(), Told()
        broken = StoreError("the disk is gone")
        looked = threading.Event()

        def fail() -> Room:
            looked.set()
            raise broken

        store.room = fail  # type: ignore[method-assign]
        async with opened(store) as writer:
            writer.commit(batch(1), told(1))
            await told.all(1)
            await asyncio.to_thread(looked.wait, 10)
            writer.commit(batch(2), told(2))
            await told.all(2)
        assert told.heard == [(1, None), (2, broken)]

    run(test)
