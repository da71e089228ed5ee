"""Why a record is not taken, and what its sender does then (rule R3; PROTOCOL.md 9)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

from mesh.trust import NO_CARD

CLOCK: Final = "clock"


class Consequence(Enum):
    """What the sender of a refused record does."""

    SEND_AGAIN = "send everything of the job again, with the signer's card, at once"
    WAIT = "wait for the next CREDIT or link"
    END = "end the job by a Reject with this reason"
    DROP = "nothing: the peer is right, or there is nothing to end"


REASONS: Final[Mapping[str, Consequence]] = MappingProxyType(
    {
        NO_CARD: Consequence.SEND_AGAIN,
        "unknown_job": Consequence.SEND_AGAIN,
        "no_blob": Consequence.SEND_AGAIN,
        "busy": Consequence.WAIT,
        "malformed": Consequence.END,
        "bad_proof": Consequence.END,
        "identity_changed": Consequence.END,
        "wrong_zone": Consequence.END,
        "bad_path": Consequence.END,
        "forgotten": Consequence.END,
        CLOCK: Consequence.END,
        "life": Consequence.END,
    }
)
"""Every reason says that the receiver never held the job, but `forgotten`: it may have, long ago (effect unknown)."""


class Refusal(NamedTuple):
    """A record that is not taken: a reason of the table and a sentence."""

    reason: str
    detail: str
