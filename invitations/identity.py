"""An agent's identity: the two private keys that make it who it is, and the file they are kept in.

The Ed25519 key signs cards and facts, and its fingerprint is the agent. The X25519 key is for links alone,
so that it can be changed without becoming someone else, and so that no key is used in two algorithms.
Python cannot wipe `bytes`: the keys stay in the memory of the process; they are kept out of reprs, pickles
and messages.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NoReturn

import tomli_w
from nacl import bindings
from nacl.exceptions import BadSignatureError, CryptoError

from invitations.documents import Document, Key, read_document, to_base64
from invitations.errors import IdentityError, VaultError
from invitations.files import write_private
from invitations.fingerprint import fingerprint, fingerprint_text, fingerprint_words
from invitations.vault import MEMORY_BYTES, Sealed, open_sealed, seal

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


class Identity:
    """The private half of an agent. Immutable by contract; equal to nothing but itself.

    Args:
        seed: the 32 secret bytes that the Ed25519 key pair is made from (RFC 8032).
        link_key: the X25519 private key, 32 bytes.
    """

    __slots__ = ("_public_key", "_seed", "_signing_key", "fingerprint", "link_key", "link_public")

    fingerprint: bytes
    """20 bytes: the agent's short public name."""
    link_key: bytes
    """The private X25519 key (32 bytes), for the handshake only."""
    link_public: bytes
    """The public X25519 key (32 bytes)."""

    def __init__(self, seed: bytes, link_key: bytes) -> None:
        if len(seed) != KEY_BYTES or len(link_key) != KEY_BYTES:
            raise ValueError("an identity is made of two keys of 32 bytes")
        self._seed = seed
        self._public_key, self._signing_key = bindings.crypto_sign_seed_keypair(seed)
        self.link_key = link_key
        self.link_public = bindings.crypto_scalarmult_base(link_key)
        self.fingerprint = fingerprint(self._public_key)

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> Identity:
        """A new identity from 64 bytes of `random`, which gives as many unpredictable bytes as asked."""
        return cls(random(KEY_BYTES), random(KEY_BYTES))

    @property
    def public_key(self) -> bytes:
        """The public Ed25519 key (32 bytes)."""
        return self._public_key

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature (64 bytes) of `data`. Callers begin `data` with a tag for what they sign."""
        return bindings.crypto_sign(data, self._signing_key)[:SIGNATURE_BYTES]

    def private_bytes(self) -> bytes:
        """Seed and link key (64 bytes), for `save_identity` only."""
        return self._seed + self.link_key

    def __repr__(self) -> str:
        return f"<Identity {fingerprint_text(self.fingerprint)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity is not pickled or copied: its keys stay in one place")


def verify(public_key: bytes, data: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is the signature of `data` by `public_key`; wrong sizes are just not."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + data, public_key)
    except (BadSignatureError, CryptoError, ValueError):
        return False
    return True


class IdentityFile(Document):
    """The shape of `identity.toml`: both keys in the clear, or the 64 bytes of both sealed."""

    hopboard: Literal["identity"]
    version: Literal[1]
    fingerprint: str
    words: str = ""
    link_public: Key | None = None
    """What the fingerprint does not cover: a link key that is another one would be refused by every peer."""
    signing_key: Key | None = None
    link_key: Key | None = None
    sealed: Sealed | None = None


def save_identity(
    path: Path,
    identity: Identity,
    passphrase: str | None = None,
    *,
    replace: bool = False,
    random: Callable[[int], bytes] = secrets.token_bytes,
    memory_bytes: int = MEMORY_BYTES,
) -> None:
    """Write `identity` to `path` (mode 0600, whole or not at all).

    Args:
        path: usually `identity.toml` in the agent's folder.
        identity: what to keep.
        passphrase: seals the keys if given.
        replace: False refuses to overwrite, since the keys overwritten would be gone for good.
        random: for salt and nonce of the seal.
        memory_bytes: cost of the seal.

    Raises:
        FileError: the file exists, or cannot be written; nothing has changed.
        VaultError: the passphrase is empty.
    """
    document: dict[str, object] = {
        "hopboard": "identity",
        "version": 1,
        "fingerprint": fingerprint_text(identity.fingerprint),
        "words": fingerprint_words(identity.fingerprint),
        "link_public": to_base64(identity.link_public),
    }
    private = identity.private_bytes()
    if passphrase is None:
        document["signing_key"] = to_base64(private[:KEY_BYTES])
        document["link_key"] = to_base64(private[KEY_BYTES:])
    else:
        sealed = seal(private, passphrase, random=random, memory_bytes=memory_bytes)
        document["sealed"] = sealed.model_dump() | {
            "salt": to_base64(sealed.salt),
            "nonce": to_base64(sealed.nonce),
            "box": to_base64(sealed.box),
        }
    head = "# The private keys of an agent. Who holds this file is the agent: never copy it, never send it.\n\n"
    write_private(path, head + tomli_w.dumps(document), replace=replace)


def load_identity(path: Path, passphrase: str | None = None) -> Identity:
    """Read the identity that `save_identity` wrote.

    Args:
        path: usually `identity.toml` in the agent's folder.
        passphrase: needed if the keys are sealed, ignored if not.

    Raises:
        IdentityError: missing, readable by others, no identity file, sealed and the passphrase missing or
            wrong, or keys that do not match the fingerprint beside them.
    """
    file = read_document(
        path,
        IdentityFile,
        what="an identity file",
        error=IdentityError,
        marker="identity",
        missing="make one with `mesh init NAME`, or name the agent's folder with -C",
        exposed=False,
    )
    identity = _identity(file, path, passphrase)
    if fingerprint_text(identity.fingerprint) != file.fingerprint:
        raise IdentityError(
            f"{path}: the keys are not those of the fingerprint beside them",
            path=path,
            key="fingerprint",
            fix="restore the file from a backup",
        )
    if file.link_public not in {None, identity.link_public}:
        raise IdentityError(
            f"{path}: the link key is not that of the public one beside it",
            path=path,
            key="link_public",
            fix="restore the file from a backup",
        )
    return identity


def _identity(file: IdentityFile, path: Path, passphrase: str | None) -> Identity:
    match file:
        case IdentityFile(sealed=None, signing_key=bytes(seed), link_key=bytes(link_key)):
            return Identity(seed, link_key)
        case IdentityFile(sealed=Sealed() as sealed, signing_key=None, link_key=None):
            private = _opened(sealed, path, passphrase)
            if len(private) == 2 * KEY_BYTES:
                return Identity(private[:KEY_BYTES], private[KEY_BYTES:])
    raise IdentityError(
        f"{path} holds neither signing_key and link_key nor one sealed table with both",
        path=path,
        fix="restore the file from a backup",
    )


def _opened(sealed: Sealed, path: Path, passphrase: str | None) -> bytes:
    if passphrase is None:
        raise IdentityError(
            f"{path} is sealed and no passphrase was given",
            path=path,
            key="sealed",
            fix="give its passphrase",
        )
    try:
        return open_sealed(sealed, passphrase)
    except VaultError as error:
        raise IdentityError(f"{path}: {error.message}", path=path, key="sealed", fix=error.fix) from None
