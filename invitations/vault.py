"""Secrets at rest: a short secret sealed under a passphrase, as a TOML table.

The key is argon2id of the passphrase (RFC 9106), the box is XSalsa20-Poly1305 (libsodium's secretbox). The
cost is stored with each box, so that it can be raised later without losing older files; a changed cost or
salt gives another key, and the box does not open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

from nacl import bindings
from nacl.exceptions import CryptoError
from pydantic import Field

from invitations.documents import Base64Bytes, Document
from invitations.errors import VaultError

OPERATIONS: Final = 3
MEMORY_BYTES: Final = 256 * 1024 * 1024
"""libsodium's "moderate" cost: about a second, once, when an agent starts."""

LEAST_MEMORY_BYTES: Final = 64 * 1024 * 1024
MOST_MEMORY_BYTES: Final = 1024 * 1024 * 1024
MOST_OPERATIONS: Final = 10
"""The bounds keep a careless file from being weak and a planted one from eating the machine."""


class Sealed(Document):
    """A sealed secret with all that is needed to open it, except the passphrase. Safe to show."""

    method: Literal["argon2id-secretbox"] = "argon2id-secretbox"
    operations: Annotated[int, Field(ge=1, le=MOST_OPERATIONS)]
    memory_bytes: Annotated[int, Field(ge=LEAST_MEMORY_BYTES, le=MOST_MEMORY_BYTES)]
    salt: Annotated[Base64Bytes, Field(min_length=16, max_length=16)]
    nonce: Annotated[Base64Bytes, Field(min_length=24, max_length=24)]
    box: Base64Bytes


def seal(
    secret: bytes,
    passphrase: str,
    *,
    random: Callable[[int], bytes],
    operations: int = OPERATIONS,
    memory_bytes: int = MEMORY_BYTES,
) -> Sealed:
    """Seal `secret` under `passphrase`.

    Args:
        secret: the bytes to keep.
        passphrase: any non-empty text.
        random: gives that many unpredictable bytes; salt and nonce are drawn from it, never reused.
        operations: passes of argon2id.
        memory_bytes: memory of argon2id, in bytes.

    Raises:
        VaultError: the passphrase is empty.
    """
    if not passphrase:
        raise VaultError("an empty passphrase protects nothing", fix="give a passphrase, or none at all")
    salt = random(bindings.crypto_pwhash_SALTBYTES)
    nonce = random(bindings.crypto_secretbox_NONCEBYTES)
    key = _key(passphrase, salt, operations, memory_bytes)
    return Sealed.model_construct(
        operations=operations,
        memory_bytes=memory_bytes,
        salt=salt,
        nonce=nonce,
        box=bindings.crypto_secretbox_easy(secret, nonce, key),
    )


def open_sealed(sealed: Sealed, passphrase: str) -> bytes:
    """The secret that was sealed.

    Raises:
        VaultError: the passphrase is another one, or the sealed table was changed. The two cannot be told
            apart.
    """
    key = _key(passphrase, sealed.salt, sealed.operations, sealed.memory_bytes)
    try:
        return bindings.crypto_secretbox_open_easy(sealed.box, sealed.nonce, key)
    except CryptoError:
        # `from None`: nothing of the attempt is worth a traceback.
        raise VaultError(
            "the sealed secret does not open with this passphrase",
            fix="give the passphrase it was sealed with; if that is right, the file is damaged: restore it",
        ) from None


def _key(passphrase: str, salt: bytes, operations: int, memory_bytes: int) -> bytes:
    try:
        return bindings.crypto_pwhash_alg(
            bindings.crypto_secretbox_KEYBYTES,
            passphrase.encode(),
            salt,
            operations,
            memory_bytes,
            bindings.crypto_pwhash_ALG_ARGON2ID13,
        )
    except (CryptoError, MemoryError):
        raise VaultError(
            f"this machine cannot spare the {memory_bytes} bytes of memory that the seal asks for",
            fix="free some memory, or raise the limit of this process",
        ) from None
