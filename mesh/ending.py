"""How a job ends at its destination: what a handler left, or what the rules say of one that may not run."""

from __future__ import annotations

from typing import Final, NamedTuple

from mesh.blobs import Blob, name_blob
from mesh.lifecycle import State
from mesh.limits import Limits

ERROR_BYTES: Final = 4_096
MESSAGE_BYTES: Final = 1_024
"""What is kept of an error's text and of a report's, in bytes of UTF-8."""


class Ending(NamedTuple):
    """How a handler ended: a terminal state with what belongs to it. `result` is JSON text, or names one that is too
    long for a fact (rule R14)."""

    state: State
    result_type: str | None = None
    result: str | Blob | None = None
    error: tuple[str, str] | None = None
    unknown_effect: bool = False


LOST: Final = Ending(
    State.ERROR, error=("lost", "the job may have run before this agent lost its store"), unknown_effect=True
)
"""A job that may have run in a life of the store that was lost, and must not run again (R5)."""


def cut(text: str, size: int) -> str:
    """`text`, or as much of it as `size` bytes of UTF-8 hold."""
    return text if len(text) * 4 <= size else text.encode()[:size].decode(errors="ignore")


def ended_with(ending: Ending, limits: Limits) -> tuple[Ending, str | None, Blob | None]:
    """An ending as it is told, with its result as text, or as a blob if it is more than a fact takes. More than
    `blob_bytes` is a failure, after which nobody knows what took effect."""
    result = ending.result
    if result is None:
        return ending, None, None
    text = result.encode() if isinstance(result, str) else result.data
    if len(text) > limits.blob_bytes:
        message = f"the result has {len(text)} bytes, at most {limits.blob_bytes} are taken"
        return Ending(State.ERROR, error=("failed", message), unknown_effect=True), None, None
    if isinstance(result, str):
        return (ending, result, None) if len(text) <= limits.result_bytes else (ending, None, name_blob(text))
    return ending, None, result
