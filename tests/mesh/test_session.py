"""Both ends of a link without a socket: greeting, versions, frames, rekeying, and what must be refused."""

from __future__ import annotations

import copy
import pickle
import re
from hashlib import blake2s
from pathlib import Path
from random import Random
from typing import Any

import pytest
from noise.connection import Keypair, NoiseConnection

from mesh import session as session_module
from mesh.codec import pack, unpack_frame
from mesh.errors import HandshakeError, LinkError, SessionError
from mesh.limits import FRAME_BYTES, Limits
from mesh.noise import PROTOCOL_NAME, Handshake, public_key
from mesh.session import (
    PREAUTH_BYTES,
    PROLOGUE,
    REKEY_BYTES,
    REKEY_FRAMES,
    Answering,
    Dialing,
    Greeting,
    Session,
)

INVITATION = b"invitation id 16"
PSK = b"\x5a" * 32


def key(name: str) -> bytes:
    return blake2s(name.encode()).digest()


DIALLER = key("dialler")
ANSWERER = key("answerer")


def dialing(**changes: Any) -> Dialing:
    arguments: dict[str, Any] = {
        "invitation_id": None,
        "ephemeral": key("dialler ephemeral"),
        "psk": PSK,
        "link_private": DIALLER,
        "remote_link_public": public_key(ANSWERER),
    }
    return Dialing(**(arguments | changes))


def answering(**changes: Any) -> Answering:
    arguments: dict[str, Any] = {"link_private": ANSWERER, "ephemeral": key("answerer ephemeral")}
    return Answering(**(arguments | changes))


def connected() -> tuple[Session, Session]:
    """The dialler's session and the other one."""
    dialler, answerer = dialing(), answering()
    answerer.read(dialler.first())
    message, theirs = answerer.answer(PSK)
    return dialler.finish(message), theirs


def forged(payload: bytes) -> bytes:
    """Message 1 of a peer with valid keys that says what it likes."""
    remote = public_key(ANSWERER)
    handshake = Handshake(
        initiator=True, prologue=PROLOGUE, static=DIALLER, ephemeral=key("forger"), remote_static=remote
    )
    message = handshake.write_message(payload)
    return blake2s(message, key=remote, digest_size=16).digest() + message


def vectors() -> dict[str, bytes]:
    folder = Path(session_module.__file__).parent
    text = "".join(path.read_text() for path in sorted(folder.glob("PROTOCOL*.md")))
    found: dict[str, bytes] = {}
    for block in re.findall(r"```vectors-links\n(.*?)```", text, re.DOTALL):
        for name, value in re.findall(r"^(\w+) =((?:\s+[0-9a-f]+$)+)", block, re.MULTILINE):
            found[name] = bytes.fromhex(value)
    return found


def test_the_vectors_of_the_protocol_document() -> None:
    v = vectors()
    assert public_key(v["dialler_private"]) == v["dialler_public"]
    assert public_key(v["answerer_private"]) == v["answerer_public"]
    dialler = Dialing(
        v["dialler_private"],
        v["answerer_public"],
        v["psk"],
        invitation_id=v["invitation_id"],
        ephemeral=v["dialler_ephemeral"],
        versions=(1, 3),
    )
    answerer = Answering(v["answerer_private"], v["answerer_ephemeral"], versions=(1, 2))
    assert dialler.first() == v["message_1"]
    assert answerer.read(v["message_1"]) == Greeting(v["dialler_public"], (1, 3), v["invitation_id"])
    message, theirs = answerer.answer(v["psk"])
    assert message == v["message_2"]
    ours = dialler.finish(v["message_2"])
    for session in (ours, theirs):
        assert (session.version, session.binding, session.pair_key) == (2, v["binding"], v["pair_key"])
    assert unpack_frame(v["plaintext"]) == [[8], [2, 7, b"\x01\x02", None, {"k": [True, 1.5]}]]
    assert ours.seal(v["plaintext"]) == v["dialler_frame_0"]
    assert theirs.open(v["dialler_frame_0"]) == v["plaintext"]
    assert theirs.seal(v["plaintext"]) == v["answerer_frame_0"]
    assert ours.open(v["answerer_frame_0"]) == v["plaintext"]
    for _ in range(65_535):
        ours.seal(b"")
    assert ours.seal(v["plaintext"]) == v["dialler_frame_65536"]


def test_an_independent_implementation_answers_us() -> None:
    other = NoiseConnection.from_name(PROTOCOL_NAME)
    other.set_as_responder()
    other.set_prologue(b"hopboard/1")
    other.set_psks(PSK)
    other.set_keypair_from_private_bytes(Keypair.STATIC, ANSWERER)
    other.start_handshake()
    dialler = dialing(invitation_id=INVITATION)
    first = dialler.first()
    assert first[:16] == blake2s(first[16:], key=public_key(ANSWERER), digest_size=16).digest()
    assert other.read_message(first[16:]) == pack([1, 1, INVITATION])
    session = dialler.finish(bytes(other.write_message(pack([1, "for later"]))))
    assert session.binding == other.get_handshake_hash()
    assert other.decrypt(session.seal(b"there")) == b"there"
    assert session.open(other.encrypt(b"back")) == b"back"


def test_both_ends_agree() -> None:
    ours, theirs = connected()
    assert ours.binding == theirs.binding
    assert ours.pair_key == theirs.pair_key
    assert (ours.version, theirs.version) == (1, 1)
    random = Random(3)
    for _ in range(50):
        sender, receiver = random.choice(((ours, theirs), (theirs, ours)))
        plaintext = random.randbytes(random.choice((0, 1, 300, FRAME_BYTES)))
        frame = sender.seal(plaintext)
        assert len(frame) == len(plaintext) + 16
        assert receiver.open(frame) == plaintext


def test_another_ephemeral_makes_another_session() -> None:
    bindings, keys = set(), set()
    for ephemeral in (key("one"), key("two")):
        dialler, answerer = dialing(ephemeral=ephemeral), answering()
        answerer.read(dialler.first())
        _, session = answerer.answer(PSK)
        bindings.add(session.binding)
        keys.add(bytes(session.pair_key))
    assert len(bindings) == len(keys) == 2


@pytest.mark.parametrize("invitation", [None, INVITATION])
def test_the_greeting_says_who_dials_and_under_which_invitation(invitation: bytes | None) -> None:
    greeting = answering().read(dialing(invitation_id=invitation, versions=(2, 7)).first())
    assert greeting == Greeting(public_key(DIALLER), (2, 7), invitation)


def test_the_dialler_is_confirmed_by_its_first_frame() -> None:
    ours, theirs = connected()
    assert ours.confirmed
    assert not theirs.confirmed
    with pytest.raises(SessionError):
        theirs.open(bytes(16))
    assert not theirs.confirmed
    ours, theirs = connected()
    theirs.open(ours.seal(b""))
    assert theirs.confirmed


@pytest.mark.parametrize(
    ("dialled", "answered", "version"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 3), (1, 2), 2),
        ((1, 2), (2, 9), 2),
        ((3, 5), (1, 4), 4),
        ((2, 2), (1, 65_535), 2),
        ((1, 1), (2, 2), None),
        ((4, 5), (1, 3), None),
    ],
)
def test_the_highest_common_version_is_taken(
    dialled: tuple[int, int], answered: tuple[int, int], version: int | None
) -> None:
    dialler, answerer = dialing(versions=dialled), answering(versions=answered)
    answerer.read(dialler.first())
    if version is None:
        with pytest.raises(HandshakeError, match="no common version") as caught:
            answerer.answer(PSK)
        assert caught.value.fix
        return
    message, theirs = answerer.answer(PSK)
    assert dialler.finish(message).version == theirs.version == version


@pytest.mark.parametrize("payload", [pack([4]), pack([0]), pack(["1"]), pack([True]), pack([]), pack(1), b"\xc1", b""])
def test_an_answer_with_a_version_not_offered_is_refused(payload: bytes) -> None:
    other = Handshake(initiator=False, prologue=PROLOGUE, static=ANSWERER, ephemeral=key("x"))
    dialler = dialing(versions=(1, 3))
    other.read_message(dialler.first()[16:])
    with pytest.raises(HandshakeError):
        dialler.finish(other.write_message(payload, PSK))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        pack(None),
        pack([]),
        pack([1, 1]),
        pack([0, 1, None]),
        pack([2, 1, None]),
        pack([1, 65_536, None]),
        pack([1.0, 1, None]),
        pack([True, True, None]),
        pack([1, "1", None]),
        pack([1, 1, "invitation id 16"]),
        pack([1, 1, b"short"]),
        pack([1, 1, b""]),
        pack({"versions": 1}),
        b"\x91" * 100 + b"\x01",
        pack([1, 1, None, [0] * 17]),
    ],
    ids=lambda payload: payload[:12].hex(),
)
def test_a_senseless_greeting_of_a_peer_with_valid_keys_is_refused(payload: bytes) -> None:
    answerer = answering()
    with pytest.raises(HandshakeError):
        answerer.read(forged(payload))
    with pytest.raises(HandshakeError):
        answerer.answer(PSK)


def test_a_later_version_may_say_more() -> None:
    greeting = answering().read(forged(pack([1, 2, None, "more", {"yet": "more"}])))
    assert greeting == Greeting(public_key(DIALLER), (1, 2), None)


def test_garbage_is_refused_before_any_curve_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    public = public_key(ANSWERER)
    monkeypatch.setattr("mesh.noise.crypto_scalarmult", None)
    monkeypatch.setattr("mesh.noise.crypto_scalarmult_base", None)
    random = Random(5)
    for size in (0, 1, 15, 16, 17, 128, PREAUTH_BYTES):
        with pytest.raises(HandshakeError, match="not meant"):
            answering(link_public=public).read(random.randbytes(size))
    with pytest.raises(HandshakeError, match="exceeds"):
        answering(link_public=public).read(bytes(PREAUTH_BYTES + 1))


def test_one_first_message_is_read_good_or_bad() -> None:
    first = dialing().first()
    used, spoilt = answering(), answering()
    used.read(first)
    with pytest.raises(HandshakeError, match="not meant"):
        spoilt.read(bytes(128))
    for answerer in (used, spoilt):
        with pytest.raises(HandshakeError, match="before"):
            answerer.read(first)


def test_a_given_public_key_saves_work_and_changes_nothing() -> None:
    first = dialing().first()
    assert answering(link_public=public_key(ANSWERER)).read(first) == answering().read(first)


def test_every_flipped_bit_of_both_messages_is_refused() -> None:
    first = dialing(invitation_id=INVITATION).first()
    number = int.from_bytes(first, "big")
    public = public_key(ANSWERER)
    for bit in range(len(first) * 8):
        with pytest.raises(HandshakeError):
            answering(link_public=public).read((number ^ 1 << bit).to_bytes(len(first), "big"))
    answerer = answering()
    answerer.read(dialing().first())
    message, _ = answerer.answer(PSK)
    number = int.from_bytes(message, "big")
    for bit in range(len(message) * 8):
        dialler = dialing()
        dialler.first()
        with pytest.raises(HandshakeError):
            dialler.finish((number ^ 1 << bit).to_bytes(len(message), "big"))


def test_a_wrong_psk_shows_at_the_dialler() -> None:
    dialler, answerer = dialing(psk=bytes(32)), answering()
    answerer.read(dialler.first())
    message, theirs = answerer.answer(PSK)
    with pytest.raises(HandshakeError):
        dialler.finish(message)
    with pytest.raises(HandshakeError):
        dialler.finish(message)
    assert not theirs.confirmed


def test_the_pair_key_is_the_psk_of_the_next_handshake() -> None:
    pair_key = connected()[0].pair_key
    dialler, answerer = dialing(psk=pair_key, ephemeral=key("next")), answering(ephemeral=key("next too"))
    answerer.read(dialler.first())
    message, theirs = answerer.answer(pair_key)
    assert theirs.open(dialler.finish(message).seal(b"again")) == b"again"


def test_a_replayed_greeting_gets_a_session_that_no_replay_confirms() -> None:
    dialler, answerer = dialing(), answering()
    first = dialler.first()
    answerer.read(first)
    message, _ = answerer.answer(PSK)
    recorded = dialler.finish(message).seal(b"hello")
    replayed = answering(ephemeral=key("fresh"))
    replayed.read(first)
    _, session = replayed.answer(PSK)
    with pytest.raises(SessionError):
        session.open(recorded)
    assert not session.confirmed


def test_arguments_of_the_wrong_form_are_refused() -> None:
    for changes in (
        {"invitation_id": b"short"},
        {"versions": (2, 1)},
        {"versions": (0, 1)},
        {"versions": (1, 65_536)},
        {"link_private": bytes(31)},
        {"remote_link_public": bytes(33)},
        {"ephemeral": b""},
    ):
        with pytest.raises(HandshakeError):
            dialing(**changes)
    with pytest.raises(HandshakeError):
        answering(link_private=bytes(31))
    answerer = answering()
    with pytest.raises(HandshakeError, match="no greeting"):
        answerer.answer(PSK)
    answerer.read(dialing().first())
    with pytest.raises(HandshakeError):
        answerer.answer(b"short")


def test_an_overlong_answer_is_refused() -> None:
    dialler = dialing()
    dialler.first()
    with pytest.raises(HandshakeError, match="exceeds"):
        dialler.finish(bytes(PREAUTH_BYTES + 1))


def broken_frames(first: bytes, second: bytes, own: bytes) -> dict[str, bytes]:
    return {
        "replayed": first,
        "reflected": own,
        "flipped": bytes((second[0] ^ 1,)) + second[1:],
        "truncated": second[:-1],
        "extended": second + b"\0",
        "empty": b"",
        "shorter than a tag": bytes(15),
        "longer than a frame": bytes(65_536),
    }


@pytest.mark.parametrize("name", broken_frames(b"x", b"x", b"x"))
def test_a_frame_that_does_not_open_ends_the_session_for_good(name: str) -> None:
    ours, theirs = connected()
    first, second, own = ours.seal(b"1"), ours.seal(b"2"), theirs.seal(b"own")
    assert theirs.open(first) == b"1"
    with pytest.raises(SessionError, match="does not open"):
        theirs.open(broken_frames(first, second, own)[name])
    with pytest.raises(SessionError, match="closed"):
        theirs.open(second)
    with pytest.raises(SessionError, match="closed"):
        theirs.seal(b"")


def test_a_skipped_frame_ends_the_session() -> None:
    ours, theirs = connected()
    ours.seal(b"dropped")
    with pytest.raises(SessionError):
        theirs.open(ours.seal(b"next"))


def test_every_flipped_bit_of_a_frame_is_refused() -> None:
    ours, _ = connected()
    frame = ours.seal(b"text")
    number = int.from_bytes(frame, "big")
    for bit in range(len(frame) * 8):
        _, theirs = connected()
        with pytest.raises(SessionError):
            theirs.open((number ^ 1 << bit).to_bytes(len(frame), "big"))


def test_a_frame_of_another_session_is_refused() -> None:
    ours, _ = connected()
    answerer = answering(ephemeral=key("other"))
    answerer.read(dialing().first())
    _, theirs = answerer.answer(PSK)
    with pytest.raises(SessionError):
        theirs.open(ours.seal(b"x"))


def test_a_plaintext_too_long_leaves_the_session_as_it_was() -> None:
    ours, theirs = connected()
    with pytest.raises(SessionError, match="exceeds"):
        ours.seal(bytes(FRAME_BYTES + 1))
    assert theirs.open(ours.seal(bytes(FRAME_BYTES))) == bytes(FRAME_BYTES)


def test_a_closed_session_stays_closed() -> None:
    ours, theirs = connected()
    frame = theirs.seal(b"")
    ours.close()
    ours.close()
    with pytest.raises(SessionError, match="closed"):
        ours.open(frame)
    with pytest.raises(SessionError, match="closed"):
        ours.seal(b"")


@pytest.mark.interpreted
def test_keys_are_replaced_at_the_same_frame_on_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """By frames, by bytes, and each direction for itself, with bounds small enough to pass them often."""
    monkeypatch.setattr("mesh.session.REKEY_FRAMES", 7)
    monkeypatch.setattr("mesh.session.REKEY_BYTES", 1_000)
    rekeyed: list[int] = []
    original = type(connected()[0]._sending.cipher).rekey  # type: ignore[union-attr]

    def rekey(cipher: Any) -> None:
        rekeyed.append(id(cipher))
        original(cipher)

    monkeypatch.setattr("mesh.noise.CipherState.rekey", rekey)
    ours, theirs = connected()
    random = Random(7)
    for _ in range(300):
        sender, receiver = random.choice(((ours, theirs), (theirs, ours)))
        plaintext = random.randbytes(random.choice((0, 10, 400)))
        assert receiver.open(sender.seal(plaintext)) == plaintext
    assert len(rekeyed) > 80
    counts = [rekeyed.count(cipher) for cipher in set(rekeyed)]
    assert len(counts) == 4


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("frames", "size", "sizes"),
    [(3, 10**9, [0, 500, 0]), (10**9, 1_000, [400, 599, 1])],
    ids=["frames", "bytes"],
)
def test_the_key_is_replaced_exactly_after_the_frame_that_reaches_the_bound(
    frames: int, size: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.session.REKEY_FRAMES", frames)
    monkeypatch.setattr("mesh.session.REKEY_BYTES", size)
    ours, _ = connected()
    assert ours._sending is not None
    cipher = ours._sending.cipher
    keys = []
    for length in sizes * 3:
        keys.append(cipher._key)
        ours.seal(bytes(length))
    assert [keys.index(key) for key in keys] == [0, 0, 0, 3, 3, 3, 6, 6, 6]
    assert cipher._key not in keys
    assert cipher._next == 9


def test_the_bounds_are_those_of_the_protocol() -> None:
    assert (REKEY_FRAMES, REKEY_BYTES) == (65_536, 268_435_456)
    assert Limits().preauth_bytes == PREAUTH_BYTES


def test_nothing_shows_copies_or_pickles_keys() -> None:
    ours, _ = connected()
    for holder in (dialing(), answering(), ours, ours.pair_key):
        assert f"{holder} {holder!r}" == f"<{type(holder).__name__}> <{type(holder).__name__}>"
        for copier in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="holds keys"):
                copier(holder)


def test_errors_name_no_key_and_carry_a_code() -> None:
    answerer = answering()
    with pytest.raises(LinkError) as first:
        answerer.read(bytes(128))
    ours, theirs = connected()
    with pytest.raises(LinkError) as second:
        theirs.open(ours.seal(PSK)[:-1])
    for caught, code in ((first, "MESH-E302"), (second, "MESH-E303")):
        error = caught.value
        assert error.code == code
        assert error.fix
        for secret in (PSK, ANSWERER, DIALLER, bytes(ours.pair_key)):
            assert secret.hex()[:8] not in f"{error}{error.fix}{error!r}"
