"""Errors of the transport: a connection that ended, one that could not be made, an address that cannot be
used.

What the other side wrote (a close reason) is cut and made printable before it enters a message, so each of
these may be logged and shown as it is.
"""

from __future__ import annotations

from typing import ClassVar, Final

from grammar.errors import MeshError
from mesh.errors import LinkError

REASON_CHARACTERS: Final = 123
"""A close reason is at most 123 bytes long on the wire (RFC 6455, 5.5.1)."""


class ConnectionLost(LinkError):
    """The connection is over; nothing more can be sent or received on it.

    Args:
        reason: why, in words: the closer's reason, else what was seen from here.
        code: the close code (RFC 6455, 7.4): 1006 if the other side vanished without one.
    """

    code: ClassVar[str] = "MESH-E310"

    def __init__(self, reason: str, close_code: int) -> None:
        self.reason = printable(reason)
        self.close_code = close_code
        super().__init__(f"the connection ended: {self.reason or 'no reason given'} ({close_code})")


class DialFailed(LinkError):
    """No connection could be made; nothing is left open.

    Args:
        url: what was dialled.
        cause: what went wrong, without the URL.
        fix: what to try.
    """

    code: ClassVar[str] = "MESH-E311"

    def __init__(self, url: str, cause: str, *, fix: str) -> None:
        self.url = printable(url)
        self.cause = printable(cause)
        super().__init__(f"cannot reach {self.url}: {self.cause}", fix=fix)


class ListenFailed(MeshError):
    """An address cannot be listened on; no port is open."""

    code: ClassVar[str] = "MESH-E312"


def printable(text: str) -> str:
    """`text` on one line, cut to what a close reason can hold, with everything unprintable shown as `?`."""
    return "".join(c if c.isprintable() else "?" for c in text[:REASON_CHARACTERS])
