"""How a job is put, beside its command: the settings that every verb which puts one takes."""

from __future__ import annotations

from os import PathLike
from typing import TypedDict


class PutOptions(TypedDict, total=False):
    """Each is as in `Agent.put`."""

    zone: str | None
    life_s: float | None
    key: str | None
    circle: str
    context: str
    payload: bytes | str | PathLike[str] | None
    wait_for_room: bool
