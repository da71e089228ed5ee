"""Errors of the mesh: what can go wrong between two agents.

Codes MESH-E300 to MESH-E309 belong to links: the bytes of a frame, the handshake, an open session. No message
here ever holds key material or bytes that a peer sent, so every one of them may be logged and shown.
"""

from __future__ import annotations

from typing import ClassVar

from grammar.errors import MeshError


class LinkError(MeshError):
    """Something between two peers failed; the link it happened on is to be closed."""

    code: ClassVar[str] = "MESH-E300"
    exit_code: ClassVar[int] = 3


class CodecError(LinkError):
    """Bytes that are no document within the limits, or a value that cannot become one; nothing is kept."""

    code: ClassVar[str] = "MESH-E301"


class HandshakeError(LinkError):
    """Two agents could not agree on keys; the handshake is over and its keys are gone."""

    code: ClassVar[str] = "MESH-E302"


class SessionError(LinkError):
    """A frame that cannot be sealed or does not open; what state it leaves is said where it is raised."""

    code: ClassVar[str] = "MESH-E303"


class LimitError(MeshError):
    """A setting under `[limits]` that is no limit or has no sensible value; nothing was changed."""

    code: ClassVar[str] = "MESH-E320"


class FactError(MeshError):
    """Bytes that are no well-formed fact; the record they came in is refused by number."""

    code: ClassVar[str] = "MESH-E330"


class MessageError(LinkError):
    """A frame that opened but holds what no peer may say; the link is closed, nothing of it was kept."""

    code: ClassVar[str] = "MESH-E331"


class StoreError(MeshError):
    """The store cannot do what was asked; what was not acknowledged is not there."""

    code: ClassVar[str] = "MESH-E340"


class StoreLocked(StoreError):
    """Another process has the store open (one process per store, R10)."""

    code: ClassVar[str] = "MESH-E341"


class StoreFull(StoreError):
    """The disk is full and the reserve is used up: nothing of the commit was kept, and the agent stops."""

    code: ClassVar[str] = "MESH-E343"


class CorruptRow(StoreError):
    """A stored row does not match its hash; it is quarantined and fetched from the neighbour again (R10)."""

    code: ClassVar[str] = "MESH-E342"


class PutRefused(MeshError):
    """A job that the origin can know to be wrong; nothing was stored."""

    code: ClassVar[str] = "MESH-E400"


class UnknownPeer(PutRefused):
    """The first hop of the path is no peer of this agent in that zone."""

    code: ClassVar[str] = "MESH-E401"


class UnknownForPeer(PutRefused):
    """The direct neighbour says that it has no such instruction."""

    code: ClassVar[str] = "MESH-E402"


class Busy(PutRefused):
    """As many jobs wait for this branch as may; put again when some are through."""

    code: ClassVar[str] = "MESH-E403"
    exit_code: ClassVar[int] = 3


class DiskFull(Busy):
    """The disk under the store is full: no new job is taken until there is room, which is looked for all the time."""

    code: ClassVar[str] = "MESH-E406"


class StoreAtLimit(Busy):
    """The store has reached `max_bytes`, and every job in it is still needed."""

    code: ClassVar[str] = "MESH-E407"


class TooLarge(PutRefused):
    """An instruction or request above its limit."""

    code: ClassVar[str] = "MESH-E404"


class Denied(PutRefused):
    """A rule forbids it; the message names agent, rule and fix."""

    code: ClassVar[str] = "MESH-E405"
    exit_code: ClassVar[int] = 4


class NoSuchJob(MeshError):
    """No job here has that id, or several have that prefix."""

    code: ClassVar[str] = "MESH-E410"


class NotOurJob(MeshError):
    """Only the origin can cancel, delete or retry its job."""

    code: ClassVar[str] = "MESH-E411"
    exit_code: ClassVar[int] = 4
