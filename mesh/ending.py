"""How a job ends at its destination: what a handler left, or what the rules say of one that may not run."""

from __future__ import annotations

from typing import Final, NamedTuple

from mesh.lifecycle import State

ERROR_BYTES: Final = 4_096
MESSAGE_BYTES: Final = 1_024
"""What is kept of an error's text and of a report's, in bytes of UTF-8."""


class Ending(NamedTuple):
    """How a handler ended: a terminal state with what belongs to it. `result` is JSON text."""

    state: State
    result_type: str | None = None
    result: str | None = None
    error: tuple[str, str] | None = None
    unknown_effect: bool = False


LOST: Final = Ending(
    State.ERROR, error=("lost", "the job may have run before this agent lost its store"), unknown_effect=True
)
"""A job that may have run in a life of the store that was lost, and must not run again (R5)."""


def cut(text: str, size: int) -> str:
    """`text`, or as much of it as `size` bytes of UTF-8 hold."""
    return text if len(text) * 4 <= size else text.encode()[:size].decode(errors="ignore")
