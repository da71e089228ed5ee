"""Payloads that a caller of the local door has handed over in pieces, and not put yet."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from typing import Final

from agents.errors import AgentError
from mesh.errors import TooLarge

MOST: Final = 4
"""Payloads of one caller that may be under way."""


class Uploads:
    """The payloads of one caller."""

    def __init__(self) -> None:
        self._open: dict[int, bytearray] = {}
        self._last = 0

    def add(self, number: int | None, data: str, most: int) -> int:
        """Append a piece.

        Args:
            number: of which payload; None begins one.
            data: the bytes, in base64.
            most: bytes that a payload may have.

        Returns:
            The number of the payload.

        Raises:
            TooLarge: it has more than `most`; it is forgotten.
            AgentError: no such payload, too many of them, or no base64.
        """
        try:
            piece = b64decode(data, validate=True)
        except (Error, ValueError) as error:
            raise AgentError("a piece of a payload is not base64") from error
        if number is None:
            if len(self._open) >= MOST:
                raise AgentError(f"{MOST} payloads were handed over and not put", fix="put them first")
            self._last += 1
            number = self._last
            self._open[number] = bytearray()
        held = self._held(number)
        if len(held) + len(piece) > most:
            del self._open[number]
            raise TooLarge(
                f"a payload has at most {most} bytes, this one has more",
                fix="put the bytes where the destination can fetch them, and say where",
            )
        held += piece
        return number

    def take(self, number: int) -> bytes:
        """The whole payload, which is forgotten here.

        Raises:
            AgentError: there is none of that number.
        """
        held = bytes(self._held(number))
        del self._open[number]
        return held

    def _held(self, number: int) -> bytearray:
        held = self._open.get(number)
        if held is None:
            raise AgentError(
                f"no payload {number} was handed over on this connection", fix="upload it again, then put the job"
            )
        return held
