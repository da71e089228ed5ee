"""Methods of `agents.api` that move bytes: payloads in, large results out, in pieces that fit a line of the door."""

from __future__ import annotations

from base64 import b64encode

from agents.caller import Caller
from agents.chunks import CHUNK_BYTES
from agents.records import Record, ResultParams, UploadParams


async def upload(caller: Caller, params: UploadParams) -> int:
    """Hand over bytes of a payload, in pieces; a `put` on the same connection names what this answers."""
    return caller.uploads.add(params.upload, params.data, caller.running.settings.limits.blob_bytes)


async def result(caller: Caller, params: ResultParams) -> Record:
    """Give a part of the JSON text of a job's result, as much as fits a line; large ones are in no view."""
    job_id = await caller.running.lookup.find(params.id)
    data, length = await caller.running.blobs.result_part(job_id, params.offset, CHUNK_BYTES)
    return {"data": b64encode(data).decode(), "length": length}
