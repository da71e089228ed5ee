"""Noise, revision 34, for the one pattern links use: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s.

    <- s                     the dialler knows the responder's static key beforehand
    ...
    -> e, es, s, ss          message 1: who dials, hidden from everybody but the responder
    <- e, ee, se, psk        message 2: proves both static keys and the pre-shared key

Names follow the specification; section numbers in comments are its. Nothing here does I/O or makes
randomness: the ephemeral private key is an argument, and must never be used twice. Another pattern, or this
one without its pre-shared key, cannot be asked for.

What Python cannot do is said plainly: keys are `bytes`, and memory that held them is not wiped.
"""

from __future__ import annotations

import hmac
from enum import Enum
from hashlib import blake2s
from typing import Final, NamedTuple, NoReturn, SupportsIndex

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from mesh.errors import HandshakeError, SessionError

PROTOCOL_NAME: Final = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
MESSAGE_BYTES: Final = 65_535
"""Longest Noise message, handshake or transport (section 3)."""

_SEALED_KEY: Final = KEY_BYTES + TAG_BYTES
_FIRST_BYTES: Final = KEY_BYTES + _SEALED_KEY + TAG_BYTES
_SECOND_BYTES: Final = KEY_BYTES + TAG_BYTES
_REKEY_NONCE: Final = 2**64 - 1
_NONCE_BYTES: Final = 12
_NONCE_SHIFT: Final = 32
"""Section 12: a nonce is 32 zero bits and then the counter, which is the counter shifted, little-endian."""


class KeyHolder:
    """Something that holds key material: it never shows it, and is neither copied nor pickled.

    A copy would use a (key, nonce) pair a second time.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} holds keys and cannot be copied or pickled")


class PairKey(KeyHolder, bytes):
    """32 bytes of key that do not show themselves; `bytes(key)` is the plain form."""

    __slots__ = ()


class CipherState(KeyHolder):
    """One direction's key and the counter that is its nonce (section 5.1)."""

    __slots__ = ("_key", "_next")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._next = 0

    def encrypt(self, plaintext: bytes, associated: bytes | None = None) -> bytes:
        """Seal `plaintext` under the next nonce; the result is 16 bytes longer.

        Raises:
            SessionError: the nonces of this key are used up.
        """
        number = self._next
        if number >= _REKEY_NONCE:
            raise SessionError("the nonces of a session are used up", fix="connect again")
        sealed: bytes = crypto_aead_chacha20poly1305_ietf_encrypt(
            plaintext, associated, (number << _NONCE_SHIFT).to_bytes(_NONCE_BYTES, "little"), self._key
        )
        self._next = number + 1
        return sealed

    def decrypt(self, sealed: bytes, associated: bytes | None = None) -> bytes:
        """Open what was sealed under the next nonce. `sealed` is at least a tag long: the caller looks first.

        Raises:
            nacl.exceptions.CryptoError: it was not sealed so. The counter stays; the caller must give up.
            SessionError: the nonces of this key are used up.
        """
        number = self._next
        if number >= _REKEY_NONCE:
            raise SessionError("the nonces of a session are used up", fix="connect again")
        plaintext: bytes = crypto_aead_chacha20poly1305_ietf_decrypt(
            sealed, associated, (number << _NONCE_SHIFT).to_bytes(_NONCE_BYTES, "little"), self._key
        )
        self._next = number + 1
        return plaintext

    def rekey(self) -> None:
        """Replace the key by a one-way function of it (section 4.2); the counter goes on."""
        sealed = crypto_aead_chacha20poly1305_ietf_encrypt(
            bytes(KEY_BYTES), None, (_REKEY_NONCE << _NONCE_SHIFT).to_bytes(_NONCE_BYTES, "little"), self._key
        )
        self._key = sealed[:KEY_BYTES]


class SymmetricState(KeyHolder):
    """Chaining key, transcript hash and the key of the moment (section 5.2).

    `hash` is public: after the last message it names the session, and both ends have the same one.
    """

    __slots__ = ("_chaining", "_cipher", "hash")

    def __init__(self, protocol_name: bytes) -> None:
        short = len(protocol_name) <= KEY_BYTES
        self.hash = protocol_name.ljust(KEY_BYTES, b"\0") if short else blake2s(protocol_name).digest()
        self._chaining = self.hash
        self._cipher: CipherState | None = None

    def mix_key(self, material: bytes) -> None:
        """Stir a Diffie-Hellman result (or, in a psk pattern, an ephemeral public key) into the keys."""
        self._chaining, key, _ = _hkdf(self._chaining, material)
        self._cipher = CipherState(key)

    def mix_hash(self, data: bytes) -> None:
        """Add `data` to the transcript."""
        self.hash = blake2s(self.hash + data).digest()

    def mix_key_and_hash(self, psk: bytes) -> None:
        """Stir a pre-shared key into keys and transcript (the `psk` token)."""
        self._chaining, digest, key = _hkdf(self._chaining, psk)
        self.mix_hash(digest)
        self._cipher = CipherState(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Seal `plaintext`, bound to the transcript so far, and add the result to it."""
        assert self._cipher is not None, "no IK pattern seals anything before its first mix_key"
        sealed = self._cipher.encrypt(plaintext, self.hash)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        """Inverse of `encrypt_and_hash`; raises nacl's CryptoError, after which this state is of no use."""
        assert self._cipher is not None, "no IK pattern opens anything before its first mix_key"
        plaintext = self._cipher.decrypt(sealed, self.hash)
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[bytes, bytes, bytes]:
        """The initiator's sending key, the responder's, and a third output that no transport uses.

        What they were made of is forgotten: only `hash` is of use afterwards.
        """
        keys = _hkdf(self._chaining, b"")
        self._chaining, self._cipher = b"", None
        return keys


class Split(NamedTuple):
    """What a finished handshake leaves: a cipher for each direction, and a key only the two ends know."""

    send: CipherState
    receive: CipherState
    pair_key: PairKey


class _Turn(Enum):
    FIRST = "message 1"
    SECOND = "message 2"
    SPLIT = "the split"
    OVER = "nothing more"


class Handshake(KeyHolder):
    """One end of one handshake: `write_message` and `read_message` once each in due order, then `split`.

    Any failure, a call out of order included, ends it: every later call raises `HandshakeError`.

    Args:
        initiator: whether this end dials.
        prologue: bytes both ends must have alike.
        static: this end's static private key, 32 bytes.
        ephemeral: a fresh private key, 32 random bytes, never used for anything else.
        remote_static: the responder's static public key; None for the responder, who learns the initiator's.

    Raises:
        HandshakeError: a key is not 32 bytes, or the initiator names no responder.
    """

    __slots__ = (
        "_ephemeral",
        "_initiator",
        "_public",
        "_remote_ephemeral",
        "_static",
        "_symmetric",
        "_turn",
        "remote_static",
    )

    def __init__(
        self,
        *,
        initiator: bool,
        prologue: bytes,
        static: bytes,
        ephemeral: bytes,
        remote_static: bytes | None = None,
    ) -> None:
        if initiator is (remote_static is None):
            raise HandshakeError("the initiator, and only it, knows the other end's static key beforehand")
        self._initiator = initiator
        self._static = _checked(static)
        self._ephemeral = _checked(ephemeral)
        self._public = public_key(static)
        self.remote_static = None if remote_static is None else _checked(remote_static)
        self._remote_ephemeral = b""
        self._symmetric = SymmetricState(PROTOCOL_NAME)
        self._symmetric.mix_hash(prologue)
        self._symmetric.mix_hash(self.remote_static or self._public)
        self._turn = _Turn.FIRST

    @property
    def binding(self) -> bytes:
        """The transcript's hash, 32 bytes, not secret; after message 2 it names this session and no other."""
        return self._symmetric.hash

    def write_message(self, payload: bytes, psk: bytes | None = None) -> bytes:
        """Write this end's message.

        Args:
            payload: what travels inside. In message 1 it can be replayed and has no forward secrecy.
            psk: 32 bytes, given by the responder here; the initiator gives it to `read_message`.

        Raises:
            HandshakeError: not this end's turn, no pre-shared key, or a peer's key of low order.
        """
        turn = self._begin(_Turn.FIRST if self._initiator else _Turn.SECOND)
        try:
            if turn is _Turn.FIRST:
                message = self._write_first(payload)
            else:
                message = self._write_second(payload, _checked(psk))
        except CryptoError:
            raise HandshakeError(f"{turn.value} cannot be made: a key of the peer is not usable") from None
        if len(message) > MESSAGE_BYTES:
            raise HandshakeError(f"{turn.value} exceeds {MESSAGE_BYTES:,} bytes")
        self._end(turn)
        return message

    def read_message(self, message: bytes, psk: bytes | None = None) -> bytes:
        """Read the other end's message.

        Args:
            message: its bytes as they came.
            psk: 32 bytes, given by the initiator here; the responder gives it to `write_message`.

        Returns:
            The payload. For the responder `remote_static` is known from here on; that its owner is there
            *now* is proven only by the first transport message, because message 1 can be replayed.

        Raises:
            HandshakeError: not this end's turn, no pre-shared key, or the message is not what the other end
                of this handshake wrote for this end.
        """
        turn = self._begin(_Turn.SECOND if self._initiator else _Turn.FIRST)
        least = _FIRST_BYTES if turn is _Turn.FIRST else _SECOND_BYTES
        if not least <= len(message) <= MESSAGE_BYTES:
            raise HandshakeError(f"{turn.value} has an impossible length")
        try:
            if turn is _Turn.FIRST:
                payload = self._read_first(message)
            else:
                payload = self._read_second(message, _checked(psk))
        except CryptoError:
            raise HandshakeError(f"{turn.value} does not open") from None
        self._end(turn)
        return payload

    def split(self) -> Split:
        """Turn the finished handshake into ciphers, once, and forget every other key.

        Raises:
            HandshakeError: the handshake is not finished, or was split before.
        """
        self._begin(_Turn.SPLIT)
        first, second, third = self._symmetric.split()
        self._static = self._ephemeral = b""
        send, receive = (first, second) if self._initiator else (second, first)
        return Split(CipherState(send), CipherState(receive), PairKey(third))

    def _begin(self, turn: _Turn) -> _Turn:
        """Take `turn`; until `_end` says otherwise the handshake has failed."""
        due, self._turn = self._turn, _Turn.OVER
        if due is not turn:
            raise HandshakeError(f"a handshake was asked for {turn.value} when {due.value} was due")
        return turn

    def _end(self, turn: _Turn) -> None:
        self._turn = _Turn.SECOND if turn is _Turn.FIRST else _Turn.SPLIT

    def _mix_ephemeral(self, public: bytes) -> bytes:
        self._symmetric.mix_hash(public)
        self._symmetric.mix_key(public)  # section 9.2: only in psk patterns
        return public

    def _write_first(self, payload: bytes) -> bytes:
        symmetric, remote = self._symmetric, _checked(self.remote_static)
        ephemeral = self._mix_ephemeral(public_key(self._ephemeral))
        symmetric.mix_key(crypto_scalarmult(self._ephemeral, remote))  # es
        static = symmetric.encrypt_and_hash(self._public)
        symmetric.mix_key(crypto_scalarmult(self._static, remote))  # ss
        return ephemeral + static + symmetric.encrypt_and_hash(payload)

    def _read_first(self, message: bytes) -> bytes:
        symmetric = self._symmetric
        ephemeral = self._mix_ephemeral(message[:KEY_BYTES])
        symmetric.mix_key(crypto_scalarmult(self._static, ephemeral))  # es
        static = symmetric.decrypt_and_hash(message[KEY_BYTES : KEY_BYTES + _SEALED_KEY])
        symmetric.mix_key(crypto_scalarmult(self._static, static))  # ss
        payload = symmetric.decrypt_and_hash(message[KEY_BYTES + _SEALED_KEY :])
        self.remote_static = static
        self._remote_ephemeral = ephemeral
        return payload

    def _write_second(self, payload: bytes, psk: bytes) -> bytes:
        symmetric = self._symmetric
        ephemeral = self._mix_ephemeral(public_key(self._ephemeral))
        symmetric.mix_key(crypto_scalarmult(self._ephemeral, self._remote_ephemeral))  # ee
        symmetric.mix_key(crypto_scalarmult(self._ephemeral, _checked(self.remote_static)))  # se
        symmetric.mix_key_and_hash(psk)
        return ephemeral + symmetric.encrypt_and_hash(payload)

    def _read_second(self, message: bytes, psk: bytes) -> bytes:
        symmetric = self._symmetric
        ephemeral = self._mix_ephemeral(message[:KEY_BYTES])
        symmetric.mix_key(crypto_scalarmult(self._ephemeral, ephemeral))  # ee
        symmetric.mix_key(crypto_scalarmult(self._static, ephemeral))  # se
        symmetric.mix_key_and_hash(psk)
        return symmetric.decrypt_and_hash(message[KEY_BYTES:])


def public_key(private: bytes) -> bytes:
    """The X25519 public key of a private one; both are 32 bytes.

    Raises:
        HandshakeError: `private` is not 32 bytes.
    """
    public: bytes = crypto_scalarmult_base(_checked(private))
    return public


def _checked(key: bytes | None) -> bytes:
    """Refuse what is no key: the binding reads 32 bytes from where its argument lies, however short it is."""
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise HandshakeError(f"a key is missing or is not {KEY_BYTES} bytes")
    return key


def _hkdf(chaining: bytes, material: bytes) -> tuple[bytes, bytes, bytes]:
    """HKDF of section 4.3. Its form with two outputs is the first two of these three."""
    secret = hmac.digest(chaining, material, blake2s)
    first = hmac.digest(secret, b"\x01", blake2s)
    second = hmac.digest(secret, first + b"\x02", blake2s)
    return first, second, hmac.digest(secret, second + b"\x03", blake2s)
