"""Payloads and large results over the local door, whose lines are shorter than they are: a piece a call.

Standard library only, as `calls`.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from os import PathLike
from pathlib import Path
from typing import Any, Final

from agents.calls import CallFailed, Calls

CHUNK_BYTES: Final = 524_288
"""Bytes of one piece; as base64 they fit a line of the door."""


LONGEST: Final = 67_108_864
"""Bytes of a file that are read at all; the agent says how many it takes."""


def read_payload(payload: bytes | str | PathLike[str]) -> bytes:
    """The bytes of a payload, to be handed over: read if it names a file.

    Raises:
        CallFailed: it cannot be read, or is far too long.
    """
    if isinstance(payload, bytes):
        return payload
    file = Path(payload)
    try:
        with file.open("rb") as opened:
            data = opened.read(LONGEST + 1)
    except OSError as error:
        raise CallFailed(
            f"the payload {file} cannot be read: {error.strerror}", code="MESH-E002", fix=f"check it: ls -l {file}"
        ) from error
    if len(data) > LONGEST:
        raise too_long(str(file))
    return data


def too_long(what: str) -> CallFailed:
    """The error about a payload that no agent takes."""
    return CallFailed(
        f"the payload {what} has more than {LONGEST} bytes; an agent takes 4 MiB, if it is not set otherwise",
        code="MESH-E404",
        fix="put the bytes where the destination can fetch them, and say where",
    )


async def upload(calls: Calls, data: bytes) -> int:
    """Hand a payload over, for the next `put` on the same connection; returns what that has to name.

    Raises:
        CallFailed: it is longer than the agent takes.
        CallLost: the agent went away.
    """
    number: int = await calls.request("upload", data="")
    under_way: list[asyncio.Future[Any]] = []
    for start in range(0, len(data), CHUNK_BYTES):
        chunk = b64encode(data[start : start + CHUNK_BYTES]).decode()
        under_way.append(calls.send("upload", upload=number, data=chunk))
        await calls.drain()
    for answer in await asyncio.gather(*under_way, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
    return number


async def download(calls: Calls, job: str) -> bytes:
    """The JSON text of a job's result, however long it is.

    Raises:
        CallFailed: the job has none, or it is not there any more.
        CallLost: the agent went away.
    """
    parts: list[bytes] = []
    found, length = 0, 1
    while found < length:
        answer = await calls.request("result", id=job, offset=found)
        length = answer["length"]
        parts.append(b64decode(answer["data"]))
        found += len(parts[-1])
    return b"".join(parts)
