"""One link as bytes: the handshake of the two ends, then frames sealed and opened (PROTOCOL.md, "Links").

    Dialing                           Answering
    first() ------ message 1 -------> read()    who dials, which versions, which invitation
    finish() <----- message 2 ------- answer()  the version both speak
    Session <------- frames --------> Session

It knows neither sockets nor boards: the transport moves the bytes, `codec` fills the frames. Message 1
changes no state anywhere; the answering end believes that the dialler is there once a frame opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2s
from hmac import compare_digest
from typing import Any, Final

from nacl.exceptions import CryptoError

from mesh.codec import DocumentLimits, pack, unpack
from mesh.errors import CodecError, HandshakeError, SessionError
from mesh.limits import FRAME_BYTES
from mesh.noise import MESSAGE_BYTES, TAG_BYTES, CipherState, Handshake, KeyHolder, PairKey, public_key

PROLOGUE: Final = b"hopboard/1"
"""Protocol and version family: agents of another family cannot read each other's first message."""

PREAUTH_BYTES: Final = 2_048
"""Longest message before the link is authenticated (`Limits.preauth_bytes`)."""

VERSIONS: Final = (1, 1)
"""Lowest and highest link version this code speaks, inside the family of the prologue."""

INVITATION_ID_BYTES: Final = 16
MAC_BYTES: Final = 16

REKEY_FRAMES: Final = 2**16
REKEY_BYTES: Final = 2**28
"""A direction's key is replaced after this many frames or bytes of plaintext, whichever comes first."""

_PAYLOAD: Final = DocumentLimits(bytes=PREAUTH_BYTES, array=16, map=16, depth=4)
_VERSION_MAX: Final = 0xFFFF

Versions = tuple[int, int]
"""(lowest, highest) link version an agent speaks."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What message 1 says, sealed for this agent alone. It may be a replay: nothing durable follows from it.

    `link_public` is the dialler's X25519 key (32 bytes); `invitation_id` (16 bytes) names the psk: the id of the
    invitation whose secret it is, or the pairing id of a pair key; None where one pair key only is possible.
    """

    link_public: bytes
    versions: Versions
    invitation_id: bytes | None


class Session(KeyHolder):
    """An open link: seals what is sent and opens what comes, in order, each frame once.

    Both directions have a key and a counter of their own and replace the key at the same frame on both ends.
    Once a frame did not open, or after `close`, the keys are gone and every call raises `SessionError`.

    `pair_key` (32 bytes) is known to the two ends alone; after a handshake under an invitation's secret it
    becomes the psk of all later ones. `binding` (32 bytes, not secret) is the handshake's hash and the same
    at both ends. `version` is the link version agreed on. `confirmed` says that the other end has proven to
    be there now: at once for the dialler, with the first frame that opens for the one that answered.
    """

    __slots__ = ("_receiving", "_sending", "binding", "confirmed", "pair_key", "version")

    def __init__(self, handshake: Handshake, *, version: int, confirmed: bool) -> None:
        send, receive, pair_key = handshake.split()
        self._sending: _Direction | None = _Direction(send)
        self._receiving: _Direction | None = _Direction(receive)
        self.pair_key: Final[PairKey] = pair_key
        self.binding: Final = handshake.binding
        self.version: Final = version
        self.confirmed = confirmed

    def seal(self, plaintext: bytes) -> bytes:
        """Seal one frame of at most 65,519 bytes; the result, 16 bytes longer, must be the next thing sent.

        Raises:
            SessionError: the session is closed; or `plaintext` is too long, which leaves the session open.
        """
        sending = self._sending
        if sending is None:
            raise SessionError("the session is closed", fix="connect again")
        size = len(plaintext)
        if size > FRAME_BYTES:
            raise SessionError(f"a frame of {size:,} bytes exceeds the limit of {FRAME_BYTES:,}")
        frame = sending.cipher.encrypt(plaintext)
        sending.count(size)
        return frame

    def open(self, frame: bytes) -> bytes:
        """Open the next frame that came.

        Raises:
            SessionError: the session is closed; or the frame is not the next one the other end sealed:
                changed, replayed, out of order, this end's own, or of an impossible length. The session is
                then closed.
        """
        receiving = self._receiving
        if receiving is None:
            raise SessionError("the session is closed", fix="connect again")
        try:
            if not TAG_BYTES <= len(frame) <= MESSAGE_BYTES:
                raise CryptoError("length")
            plaintext = receiving.cipher.decrypt(frame)
        except CryptoError:
            self.close()
            raise SessionError("a frame does not open: the link is closed", fix="connect again") from None
        receiving.count(len(plaintext))
        self.confirmed = True
        return plaintext

    def close(self) -> None:
        """Forget the keys of both directions; harmless when they are gone already."""
        self._sending = self._receiving = None


class _Direction(KeyHolder):
    """One cipher and what it has carried since its key was last replaced."""

    __slots__ = ("_bytes", "_frames", "cipher")

    def __init__(self, cipher: CipherState) -> None:
        self.cipher: Final = cipher
        self._frames = 0
        self._bytes = 0

    def count(self, size: int) -> None:
        """Count one frame of `size` bytes of plaintext, and replace the key when it is due."""
        self._frames += 1
        self._bytes += size
        if self._frames >= REKEY_FRAMES or self._bytes >= REKEY_BYTES:
            self.cipher.rekey()
            self._frames = self._bytes = 0


class Dialing(KeyHolder):
    """The end that dials: `first`, then `finish` with what came back.

    Args:
        link_private: this agent's X25519 private key, 32 bytes.
        remote_link_public: the peer's public key, from its card, 32 bytes.
        psk: the invitation's secret the first time, afterwards the pair key; 32 bytes.
        invitation_id: 16 bytes that name `psk`: the id of its invitation, or the pairing id of a pair key.
        ephemeral: 32 fresh random bytes.
        versions: lowest and highest link version this end speaks.

    Raises:
        HandshakeError: an argument of the wrong length, or versions out of order.
    """

    __slots__ = ("_handshake", "_invitation_id", "_psk", "_remote_public", "_versions")

    def __init__(
        self,
        link_private: bytes,
        remote_link_public: bytes,
        psk: bytes,
        *,
        invitation_id: bytes | None,
        ephemeral: bytes,
        versions: Versions = VERSIONS,
    ) -> None:
        if not _are_versions(*versions) or not _is_invitation(invitation_id):
            raise HandshakeError("versions or invitation id cannot be put into a message")
        self._handshake: Final = Handshake(
            initiator=True,
            prologue=PROLOGUE,
            static=link_private,
            remote_static=remote_link_public,
            ephemeral=ephemeral,
        )
        self._remote_public: Final = remote_link_public
        self._psk: Final = psk
        self._invitation_id: Final = invitation_id
        self._versions: Final = versions

    def first(self) -> bytes:
        """Return message 1, once.

        Raises:
            HandshakeError: it was written before, or the peer's key is no usable one.
        """
        message = self._handshake.write_message(pack([*self._versions, self._invitation_id]))
        return _mac1(self._remote_public, message) + message

    def finish(self, message: bytes) -> Session:
        """Read message 2; the peer is proven to be there now and to hold its key and the psk.

        Raises:
            HandshakeError: it does not open, or its version was not offered. The handshake is over.
        """
        _check_size(message)
        version = _array(self._handshake.read_message(message, self._psk), 1)[0]
        low, high = self._versions
        if type(version) is not int or not low <= version <= high:
            raise HandshakeError("the peer answered with a link version that was not offered")
        return Session(self._handshake, version=version, confirmed=True)


class Answering(KeyHolder):
    """The end that is dialled: `read`, then find the psk, then `answer`. Any failure ends it.

    Args:
        link_private: this agent's X25519 private key, 32 bytes.
        ephemeral: 32 fresh random bytes.
        link_public: public key of `link_private`, which a listener has at hand: garbage then costs one hash.
        versions: lowest and highest link version this end speaks.

    Raises:
        HandshakeError: a key is not 32 bytes.
    """

    __slots__ = ("_begun", "_ephemeral", "_greeting", "_handshake", "_private", "_public", "_versions")

    def __init__(
        self,
        link_private: bytes,
        ephemeral: bytes,
        *,
        link_public: bytes | None = None,
        versions: Versions = VERSIONS,
    ) -> None:
        self._private: Final = link_private
        self._public: Final = public_key(link_private) if link_public is None else link_public
        self._ephemeral: Final = ephemeral
        self._versions: Final = versions
        self._begun = False
        self._handshake: Handshake | None = None
        self._greeting: Greeting | None = None

    def read(self, message: bytes) -> Greeting:
        """Read message 1, once. Nothing but the mac is computed for bytes not meant for this agent's key.

        Raises:
            HandshakeError: it is not meant for this agent, does not open, or says nothing sensible.
        """
        if self._begun:
            raise HandshakeError("a first message was read before")
        self._begun = True
        _check_size(message)
        noise = message[MAC_BYTES:]
        if not compare_digest(message[:MAC_BYTES], _mac1(self._public, noise)):
            raise HandshakeError(
                "message 1 is not meant for this agent's link key",
                fix="give the dialler a current card or a new invitation of this agent",
            )
        self._handshake = handshake = Handshake(
            initiator=False, prologue=PROLOGUE, static=self._private, ephemeral=self._ephemeral
        )
        low, high, invitation_id = _array(handshake.read_message(noise), 3)[:3]
        if not _are_versions(low, high) or not _is_invitation(invitation_id):
            raise HandshakeError("message 1 carries no versions or a malformed invitation id")
        assert handshake.remote_static is not None, "message 1 was read"
        self._greeting = Greeting(handshake.remote_static, (low, high), invitation_id)
        return self._greeting

    def answer(self, psk: bytes) -> tuple[bytes, Session]:
        """Return message 2 and the session, which is unconfirmed until a frame opens.

        Args:
            psk: the secret of the invitation that the greeting names, else the pair key; 32 bytes.

        Raises:
            HandshakeError: no greeting was read, no common version, or the dialler's key is not usable.
        """
        greeting, handshake = self._greeting, self._handshake
        if greeting is None or handshake is None:
            raise HandshakeError("there is no greeting to answer")
        low, high = self._versions
        version = min(high, greeting.versions[1])
        if version < max(low, greeting.versions[0]):
            theirs = f"{greeting.versions[0]} to {greeting.versions[1]}"
            raise HandshakeError(
                f"no common version: the peer speaks {theirs}, this agent {low} to {high}",
                fix="bring both agents to releases that share a link version",
            )
        message = handshake.write_message(pack([version]), psk)
        return message, Session(handshake, version=version, confirmed=False)


def _mac1(responder_public: bytes, message: bytes) -> bytes:
    """What shows a stranger's bytes for what they are before any curve arithmetic; it proves nothing else."""
    return blake2s(message, key=responder_public, digest_size=MAC_BYTES).digest()


def _check_size(message: bytes) -> None:
    if len(message) > PREAUTH_BYTES:
        raise HandshakeError(f"a handshake message exceeds {PREAUTH_BYTES:,} bytes")


def _array(payload: bytes, least: int) -> list[Any]:
    """Read a payload: an array; items after the first `least` are for later versions, and passed over."""
    try:
        array = unpack(payload, _PAYLOAD)
    except CodecError as error:
        raise HandshakeError(f"the payload of a handshake message is malformed: {error.message}") from None
    if type(array) is not list or len(array) < least:
        raise HandshakeError("the payload of a handshake message has not its fields")
    return array


def _are_versions(low: object, high: object) -> bool:
    return type(low) is int and type(high) is int and 1 <= low <= high <= _VERSION_MAX


def _is_invitation(value: object) -> bool:
    return value is None or (type(value) is bytes and len(value) == INVITATION_ID_BYTES)
