"""Payloads and large results at one running agent: naming bytes, and reading them back (PROTOCOL.md 10, "Blobs").

A blob is read and stored some slices at a time, so that no commit waits long behind it, and is hashed in a thread of
its own.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final

from agents.errors import AgentError, BytesLost
from agents.stepping import Stepping
from agents.views import result_text_of
from mesh.blobs import SLICE_BYTES, Blob, Key, name_blob
from mesh.effects import Answer, ById, Bytes
from mesh.engine import Engine
from mesh.errors import NoSuchJob
from mesh.facts import Fact, Kind, blob_of
from mesh.job import Job
from mesh.limits import Limits
from mesh.staging import stage
from mesh.storage.beside import Beside

READ: Final = 16
"""Slices that are read in one go: 768 KiB, about a millisecond."""

STAGED: Final = 12
"""Slices that are stored in one go: 576 KiB, a commit of about 1.5 ms."""

Source = bytes | str | PathLike[str]
"""A payload: the bytes, or the file that holds them."""


async def named(data: bytes) -> Blob:
    """Name bytes beside the event loop, which goes on meanwhile."""
    return await asyncio.to_thread(name_blob, data)


async def store_result(engine: Engine, stepping: Stepping, job_id: bytes, blob: Blob) -> None:
    """Store the result of a job whose handler runs ahead of its Outcome, unless one commit of both is short anyhow. The
    last part may share the commit of what is given to the engine next.

    Raises:
        AgentError: stepping failed; the process has to stop.
    """
    size = STAGED * engine.limits.slice_bytes
    for offset in range(0, len(blob.data) if len(blob.data) > size else 0, size):
        stepping.feed(partial(stage, engine.ledger, job_id, blob.name, offset, blob.data[offset : offset + size]))
        if offset + size < len(blob.data):
            await stepping.settled()


async def payload_of(source: Source, limits: Limits) -> Blob:
    """A payload, read if it is a file.

    Raises:
        AgentError: the file cannot be read.
    """
    if isinstance(source, bytes):
        return await named(source)
    return await asyncio.to_thread(_read_and_name, Path(source), limits.blob_bytes)


def _read_and_name(path: Path, most: int) -> Blob:
    try:
        with path.open("rb") as file:
            # One byte more than is taken: whoever puts it says that it is too long, and a huge file is not read whole.
            return name_blob(file.read(most + 1))
    except OSError as error:
        raise AgentError(
            f"the payload {path} cannot be read: {error.strerror}", fix=f"check it: ls -l {path}"
        ) from error


def key_of(job: Job, kind: Kind) -> tuple[Key, int] | None:
    """Which blob a fact of a job names, and how long it is; None without one."""
    fact: Fact | None = job.facts[kind]
    name = None if fact is None else blob_of(fact.content)
    return None if name is None else (Key(job.id, kind, name.hash), name.length)


def lost(kind: int) -> BytesLost:
    """The error about bytes that are not here."""
    what = "payload" if kind == Kind.REQUEST else "result"
    return BytesLost(
        f"the {what} of the job is not here: it is lost, or was dropped by now",
        fix="only the origin keeps a large result, as long as it keeps the job; a payload goes when the job is over",
    )


class BlobReader:
    """Reads payloads and large results of one agent from its store."""

    def __init__(self, engine: Engine, beside: Beside) -> None:
        self._engine = engine
        self._beside = beside

    async def job(self, job_id: bytes) -> Job:
        """A job with its facts, from memory or the store.

        Raises:
            NoSuchJob: it is not known here, or only its id is kept.
        """
        job = self._engine.ledger.find(job_id)
        if job is None:
            rows = (await self._ask(ById((job_id,)))).rows
            job = Job.from_row(rows[0], self._engine.ledger.place_on) if rows else None
        if job is None or job.facts[Kind.REQUEST] is None:
            raise NoSuchJob("this agent has no such job, or only remembers that it is over")
        return job

    async def bytes_of(self, job_id: bytes, kind: Kind) -> bytes | None:
        """The bytes that a fact of a job names; None if it names none.

        Raises:
            NoSuchJob: as `job`.
            BytesLost: they are not here.
        """
        found = key_of(await self.job(job_id), kind)
        if found is None:
            return None
        key, length = found
        parts: list[bytes] = []
        read = 0
        while read < length:
            slices = (await self._ask(Bytes(key, 0, read, READ))).slices
            if not slices:
                raise lost(kind)
            parts += [part.data for part in slices]
            read += sum(len(part.data) for part in slices)
        return b"".join(parts)

    async def payload_again(self, job_id: bytes) -> Blob | None:
        """The payload of a job that is put once more; None if it has none, or none any more."""
        with suppress(NoSuchJob, BytesLost):
            data = await self.bytes_of(job_id, Kind.REQUEST)
            return None if data is None else await named(data)
        return None

    async def result_text(self, job_id: bytes) -> bytes:
        """The JSON text of a job's result, however long.

        Raises:
            NoSuchJob, BytesLost: as `bytes_of`; or the job is not complete.
        """
        text = await self.bytes_of(job_id, Kind.OUTCOME)
        return result_text_of(await self.job(job_id)) if text is None else text

    async def result_part(self, job_id: bytes, offset: int, size: int) -> tuple[bytes, int]:
        """Some bytes of a result's JSON text from `offset` on, at most `size`, and how long all of it is.

        Raises:
            NoSuchJob, BytesLost: as `result_text`.
        """
        found = key_of(await self.job(job_id), Kind.OUTCOME)
        if found is not None:
            slices = (await self._ask(Bytes(found[0], 0, offset, size // SLICE_BYTES))).slices
            if slices:
                return b"".join(part.data for part in slices), found[1]
        # It has no slices, none that begins there, or they are gone, which reading all of it will say.
        text = await self.result_text(job_id)
        return text[offset : offset + size], len(text)

    async def _ask(self, query: ById | Bytes) -> Answer:
        return await self._beside.read(query)
