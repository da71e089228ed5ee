"""Reading beside the writer: what is committed is seen, on another thread; a store without a file is read in line."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from mesh.blobs import Key
from mesh.effects import Batch, ById, Bytes
from mesh.errors import StoreError
from mesh.storage.beside import Beside
from mesh.storage.memory import MemoryStore
from mesh.storage.sqlite import SqliteStore
from mesh.storage.writer import Writer
from tests.mesh.storage.rows import board, in_tables, job_id, row, seqs


async def committed(writer: Writer, batch: Batch) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writer.commit(batch, lambda error: done.set_result(None) if error is None else done.set_exception(error))
    await done


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_what_is_committed_is_seen(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        store = SqliteStore(tmp_path / "store.sqlite") if kind == "sqlite" else MemoryStore()
        writer = Writer(store)
        await writer.open()
        beside = Beside(writer, store.path)
        writers = await writer.call(lambda _: threading.get_ident())
        for seq in (1, 2, 3):
            await committed(writer, Batch(rows=[row(seq)], boards=[board(1), board(2)]))
            found = await beside.call(lambda reads: reads.list_jobs(live=None, states=(), after=0, limit=9))
            assert seqs(found) == list(range(seq, 0, -1))
            answer = await beside.call(lambda reads, seq=seq: reads.read(ById((job_id(seq),))))  # type: ignore[misc]
            assert seqs(answer.rows) == [seq]
        readers = await beside.call(lambda _: threading.get_ident())
        assert (readers == writers) is (kind == "memory")
        await beside.close()
        await writer.close()

    asyncio.run(test())


def test_what_was_handed_to_the_writer_before_is_seen(tmp_path: Path) -> None:
    async def test() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        writer = Writer(store)
        await writer.open()
        beside = Beside(writer, store.path)
        for seq in range(1, 50):
            writer.commit(Batch(rows=[row(seq)], boards=[board(1), board(2)]), lambda _: None)
            found = await beside.call(lambda reads: reads.list_jobs(live=None, states=(), after=0, limit=1))
            assert seqs(found) == [seq]
        await beside.close()
        await writer.close()

    asyncio.run(test())


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_what_needs_no_fold_is_read_without_one(tmp_path: Path, kind: str) -> None:
    async def test() -> None:
        store = SqliteStore(tmp_path / "store.sqlite") if kind == "sqlite" else MemoryStore()
        writer = Writer(store)
        await writer.open()
        beside = Beside(writer, store.path)
        await committed(writer, Batch(boards=[board(1), board(2)]))
        writer.commit(Batch(rows=[row(1)]), lambda _: None)
        assert (await beside.read(ById((job_id(1), job_id(2))))).rows == [row(1)]
        assert (await beside.read(Bytes(Key(job_id(1), 5, b"h" * 20), 0, 0, 9))).slices == ()
        if kind == "sqlite":
            assert in_tables(tmp_path / "store.sqlite") == []
        await beside.close()
        await writer.close()

    asyncio.run(test())


def test_what_cannot_be_read_is_an_error_of_whoever_asked(tmp_path: Path) -> None:
    async def test() -> None:
        store = SqliteStore(tmp_path / "store.sqlite")
        writer = Writer(store)
        await writer.open()
        beside = Beside(writer, tmp_path / "no such store")
        with pytest.raises(StoreError):
            await beside.call(lambda reads: reads.find_short(b"x", 1))
        await beside.close()
        await committed(writer, Batch(rows=[row(1)], boards=[board(1), board(2)]))
        await writer.close()

    asyncio.run(test())
