"""Whether there is room for more jobs, and what is said when there is none (rule R10).

What must be taken whatever happens (outcomes, acknowledgements, deletes) is taken from a reserve that the store keeps;
new jobs are refused meanwhile, here and from peers, each of whom waits and tries again.
"""

from __future__ import annotations

from enum import StrEnum

from mesh.errors import Busy, DiskFull, StoreAtLimit


class Room(StrEnum):
    """What a store says of its room."""

    ENOUGH = "enough"
    DISK_FULL = "disk_full"
    """Its disk has less left than the reserve asks for, or a commit had to take the reserve."""
    STORE_FULL = "store_full"
    """It has reached the size that the configuration allows, and nothing in it may go yet (R7)."""


def why_none(room: Room, agent: str) -> str:
    """Why `agent` takes no new job: a sentence for its peers and its own people; "" if it does take them."""
    match room:
        case Room.ENOUGH:
            return ""
        case Room.DISK_FULL:
            return f'the disk of agent "{agent}" is full (disk_full)'
        case Room.STORE_FULL:
            return f'the store of agent "{agent}" is as large as it may be (store_full)'


def refused_put(room: Room, agent: str) -> Busy:
    """The error with which a put is refused; `room` is not ENOUGH."""
    if room is Room.STORE_FULL:
        return StoreAtLimit(
            f"{why_none(room, agent)}, and it still needs every job in it",
            fix="wait until jobs end and their time is past, or raise max_bytes under [store] and start it again",
        )
    return DiskFull(
        f"{why_none(room, agent)}: it takes no new jobs, only what concerns those it has",
        fix="free space on the disk of its folder; it goes on by itself",
    )
