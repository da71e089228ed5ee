"""Errors of floor 1, codes MESH-E200 to MESH-E209. (`admission.Refused` carries rows, so it lives beside
them: E210.)

No message, fix or attribute here ever holds a secret: documents are named by path and key, never by value.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from grammar.errors import MeshError


class FileError(MeshError):
    """A file cannot be read or written safely; nothing was written, or the earlier content still stands.

    Args:
        message: one sentence with the cause.
        path: the file.
        missing: True if the trouble is that it does not exist.
        fix: what to do next.
    """

    code: ClassVar[str] = "MESH-E200"

    def __init__(self, message: str, *, path: Path, missing: bool = False, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.path = path
        self.missing = missing


class DocumentError(MeshError):
    """A TOML document that is missing, damaged, or not of the kind that was asked for.

    Args:
        message: one sentence with the cause; names the file and the key.
        path: the file, or None when the text did not come from one.
        key: dotted key of the trouble (`agent.zone`), or "".
        nearest: the nearest known key or value, or None.
        line: 1-based line of a syntax error, or None.
        column: 1-based column of a syntax error, or None.
        fix: what to do next.
    """

    code: ClassVar[str] = "MESH-E201"

    def __init__(
        self,
        message: str,
        *,
        path: Path | None = None,
        key: str = "",
        nearest: str | None = None,
        line: int | None = None,
        column: int | None = None,
        fix: str = "",
    ) -> None:
        super().__init__(message, fix=fix)
        self.path = path
        self.key = key
        self.nearest = nearest
        self.line = line
        self.column = column


class FingerprintError(MeshError, ValueError):
    """A text that is no fingerprint."""

    code: ClassVar[str] = "MESH-E202"


class VaultError(MeshError):
    """A sealed secret that does not open: wrong passphrase, or changed since it was sealed."""

    code: ClassVar[str] = "MESH-E203"


class IdentityError(DocumentError):
    """An identity file that cannot be used."""

    code: ClassVar[str] = "MESH-E204"


class CardError(DocumentError):
    """A card that is malformed, over a limit, or not signed by the key it names."""

    code: ClassVar[str] = "MESH-E205"


class InvitationError(DocumentError):
    """An invitation that cannot be made, read or used."""

    code: ClassVar[str] = "MESH-E206"


class PeerError(MeshError):
    """A row that does not fit into the book of peers; the book is unchanged."""

    code: ClassVar[str] = "MESH-E207"


class ConfigError(DocumentError):
    """A configuration file that cannot be used."""

    code: ClassVar[str] = "MESH-E208"


class AddressError(MeshError, ValueError):
    """A text that is no usable URL, address range or listening address."""

    code: ClassVar[str] = "MESH-E209"
