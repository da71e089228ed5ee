"""Noise_IKpsk2: published vectors, an independent implementation as oracle, and all that must be refused."""

from __future__ import annotations

import copy
import json
import pickle
from hashlib import blake2s
from pathlib import Path
from random import Random
from typing import Any

import pytest
from nacl.bindings import crypto_scalarmult
from nacl.exceptions import CryptoError
from noise.connection import Keypair, NoiseConnection

from mesh.errors import HandshakeError, SessionError
from mesh.noise import (
    MESSAGE_BYTES,
    PROTOCOL_NAME,
    CipherState,
    Handshake,
    KeyHolder,
    PairKey,
    Split,
    SymmetricState,
    public_key,
)

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "noise_vectors.json").read_text())[
    "vectors"
]
PROLOGUE = b"hopboard/1"
PSK = b"\x5a" * 32

LOW_ORDER = [
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
]
LOW_ORDER += [point[:31] + bytes((point[31] | 0x80,)) for point in LOW_ORDER]  # X25519 ignores the top bit


def key(name: str) -> bytes:
    return blake2s(name.encode()).digest()


def initiator(**changes: Any) -> Handshake:
    arguments: dict[str, Any] = {
        "initiator": True,
        "prologue": PROLOGUE,
        "static": key("initiator static"),
        "ephemeral": key("initiator ephemeral"),
        "remote_static": public_key(key("responder static")),
    }
    return Handshake(**(arguments | changes))


def responder(**changes: Any) -> Handshake:
    arguments: dict[str, Any] = {
        "initiator": False,
        "prologue": PROLOGUE,
        "static": key("responder static"),
        "ephemeral": key("responder ephemeral"),
    }
    return Handshake(**(arguments | changes))


def connected() -> tuple[Split, Split]:
    one, two = initiator(), responder()
    two.read_message(one.write_message(b"first"))
    one.read_message(two.write_message(b"second", PSK), PSK)
    return one.split(), two.split()


def flips(message: bytes) -> list[bytes]:
    number = int.from_bytes(message, "big")
    return [(number ^ (1 << bit)).to_bytes(len(message), "big") for bit in range(len(message) * 8)]


def vectors(protocol: bytes) -> list[dict[str, Any]]:
    found = [vector for vector in VECTORS if vector["protocol_name"].encode() == protocol]
    assert found
    return found


def check_transport(vector: dict[str, Any], one: tuple[CipherState, ...], two: tuple[CipherState, ...]) -> None:
    """`one` and `two` are (send, receive); the third message is the initiator's."""
    for turn, message in enumerate(vector["messages"][2:]):
        sender, receiver = (one, two) if turn % 2 == 0 else (two, one)
        payload, ciphertext = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        assert sender[0].encrypt(payload) == ciphertext
        assert receiver[1].decrypt(ciphertext) == payload


@pytest.mark.parametrize("vector", vectors(PROTOCOL_NAME))
def test_the_published_vector_of_the_pattern(vector: dict[str, Any]) -> None:
    raw = {
        name: bytes.fromhex(value)
        for name, value in vector.items()
        if name.startswith(("init_", "resp_")) and isinstance(value, str)
    }
    (psk,) = map(bytes.fromhex, vector["init_psks"])
    one = Handshake(
        initiator=True,
        prologue=raw["init_prologue"],
        static=raw["init_static"],
        ephemeral=raw["init_ephemeral"],
        remote_static=raw["init_remote_static"],
    )
    two = Handshake(
        initiator=False,
        prologue=raw["resp_prologue"],
        static=raw["resp_static"],
        ephemeral=raw["resp_ephemeral"],
    )
    first, second = vector["messages"][:2]
    assert one.write_message(bytes.fromhex(first["payload"])).hex() == first["ciphertext"]
    assert two.read_message(bytes.fromhex(first["ciphertext"])).hex() == first["payload"]
    assert two.remote_static == public_key(raw["init_static"])
    assert two.write_message(bytes.fromhex(second["payload"]), psk).hex() == second["ciphertext"]
    assert one.read_message(bytes.fromhex(second["ciphertext"]), psk).hex() == second["payload"]
    assert one.binding.hex() == two.binding.hex() == vector["handshake_hash"]
    one_split, two_split = one.split(), two.split()
    check_transport(vector, one_split[:2], two_split[:2])
    assert one_split.pair_key == two_split.pair_key


@pytest.mark.parametrize("vector", vectors(b"Noise_IK_25519_ChaChaPoly_BLAKE2s"), ids=lambda v: v["source"])
def test_published_vectors_without_psk_prove_the_symmetric_state(vector: dict[str, Any]) -> None:
    """Plain IK cannot be asked for; its tokens are spelt out here."""
    static, ephemeral, remote = (bytes.fromhex(vector[f"init_{k}"]) for k in ("static", "ephemeral", "remote_static"))
    theirs = bytes.fromhex(vector["resp_ephemeral"])
    first, second = vector["messages"][:2]
    state = SymmetricState(b"Noise_IK_25519_ChaChaPoly_BLAKE2s")
    state.mix_hash(bytes.fromhex(vector["init_prologue"]))
    state.mix_hash(remote)
    state.mix_hash(public_key(ephemeral))
    state.mix_key(crypto_scalarmult(ephemeral, remote))
    sealed_static = state.encrypt_and_hash(public_key(static))
    state.mix_key(crypto_scalarmult(static, remote))
    payload = state.encrypt_and_hash(bytes.fromhex(first["payload"]))
    assert (public_key(ephemeral) + sealed_static + payload).hex() == first["ciphertext"]
    answer = bytes.fromhex(second["ciphertext"])
    assert answer[:32] == public_key(theirs)
    state.mix_hash(answer[:32])
    state.mix_key(crypto_scalarmult(ephemeral, answer[:32]))
    state.mix_key(crypto_scalarmult(static, answer[:32]))
    assert state.decrypt_and_hash(answer[32:]).hex() == second["payload"]
    if "handshake_hash" in vector:
        assert state.hash.hex() == vector["handshake_hash"]
    send, receive, _ = state.split()
    check_transport(vector, (CipherState(send), CipherState(receive)), (CipherState(receive), CipherState(send)))


def test_a_short_protocol_name_is_padded_not_hashed() -> None:
    assert SymmetricState(b"Noise_X").hash == b"Noise_X" + bytes(25)


@pytest.mark.parametrize("we_dial", [True, False])
def test_an_independent_implementation_agrees(we_dial: bool) -> None:
    for seed in range(25):
        random = Random(f"{we_dial} {seed}")
        ours, theirs, ephemeral, psk = (random.randbytes(32) for _ in range(4))
        prologue = random.randbytes(random.randrange(40))
        other = NoiseConnection.from_name(PROTOCOL_NAME)
        other.set_prologue(prologue)
        other.set_psks(psk)
        other.set_keypair_from_private_bytes(Keypair.STATIC, theirs)
        if we_dial:
            other.set_as_responder()
        else:
            other.set_as_initiator()
            other.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, public_key(ours))
        other.start_handshake()
        we = Handshake(
            initiator=we_dial,
            prologue=prologue,
            static=ours,
            ephemeral=ephemeral,
            remote_static=public_key(theirs) if we_dial else None,
        )
        first, second = random.randbytes(random.randrange(200)), random.randbytes(random.randrange(200))
        if we_dial:
            assert other.read_message(we.write_message(first)) == first
            assert we.read_message(bytes(other.write_message(second)), psk) == second
        else:
            assert we.read_message(bytes(other.write_message(first))) == first
            assert other.read_message(we.write_message(second, psk)) == second
        assert we.remote_static == public_key(theirs)
        assert we.binding == other.get_handshake_hash()
        send, receive, _ = we.split()
        for turn in range(8):
            plaintext = random.randbytes(random.randrange(2_000))
            assert other.decrypt(send.encrypt(plaintext)) == plaintext
            assert receive.decrypt(other.encrypt(plaintext)) == plaintext
            if turn == 3:
                send.rekey()
                other.rekey_inbound_cipher()
            if turn == 5:
                receive.rekey()
                other.rekey_outbound_cipher()


def test_the_pair_key_is_shared_and_is_no_transport_key() -> None:
    one, two = connected()
    assert one.pair_key == two.pair_key
    assert len(one.pair_key) == 32
    for cipher in (one.send, one.receive):
        assert CipherState(one.pair_key).encrypt(b"") != cipher.encrypt(b"")


def test_the_pair_key_depends_on_the_psk() -> None:
    keys = set()
    for psk in (PSK, bytes(32)):
        one, two = initiator(), responder()
        two.read_message(one.write_message(b""))
        one.read_message(two.write_message(b"", psk), psk)
        keys.add(bytes(one.split().pair_key))
    assert len(keys) == 2


def test_every_flipped_bit_of_message_1_is_refused() -> None:
    message = initiator().write_message(b"versions")
    for flipped in flips(message):
        with pytest.raises(HandshakeError):
            responder().read_message(flipped)


def test_every_flipped_bit_of_message_2_is_refused() -> None:
    two = responder()
    two.read_message(initiator().write_message(b""))
    message = two.write_message(b"ok", PSK)
    for flipped in flips(message):
        one = initiator()
        one.write_message(b"")
        with pytest.raises(HandshakeError):
            one.read_message(flipped, PSK)


@pytest.mark.parametrize("payload", [b"", b"x" * 50])
def test_every_truncation_and_an_extension_of_both_messages_is_refused(payload: bytes) -> None:
    one, two = initiator(), responder()
    first = one.write_message(payload)
    for message in [*(first[:size] for size in range(len(first))), first + b"\0", bytes(MESSAGE_BYTES + 1)]:
        with pytest.raises(HandshakeError):
            responder().read_message(message)
    two.read_message(first)
    second = two.write_message(payload, PSK)
    for message in [*(second[:size] for size in range(len(second))), second + b"\0"]:
        one = initiator()
        one.write_message(payload)
        with pytest.raises(HandshakeError):
            one.read_message(message, PSK)


def test_a_wrong_psk_is_refused_by_the_initiator() -> None:
    one, two = initiator(), responder()
    two.read_message(one.write_message(b""))
    message = two.write_message(b"", bytes(32))
    with pytest.raises(HandshakeError, match="message 2 does not open"):
        one.read_message(message, PSK)


@pytest.mark.parametrize(
    "changes", [{"prologue": b"hopboard/2"}, {"static": key("another agent")}], ids=["prologue", "static key"]
)
def test_a_message_for_somebody_else_is_refused(changes: dict[str, bytes]) -> None:
    message = initiator().write_message(b"")
    with pytest.raises(HandshakeError, match="message 1 does not open"):
        responder(**changes).read_message(message)


def test_message_2_of_another_handshake_is_refused() -> None:
    two = responder()
    two.read_message(initiator().write_message(b""))
    message = two.write_message(b"", PSK)
    one = initiator(ephemeral=key("another ephemeral"))
    one.write_message(b"")
    with pytest.raises(HandshakeError):
        one.read_message(message, PSK)


def test_message_1_reflected_is_refused() -> None:
    one = initiator()
    message = one.write_message(b"")
    with pytest.raises(HandshakeError):
        one.read_message(message, PSK)


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:4] + point.hex()[-2:])
def test_low_order_points_are_refused_everywhere(point: bytes) -> None:
    with pytest.raises(HandshakeError, match="not usable"):
        initiator(remote_static=point).write_message(b"")
    with pytest.raises(HandshakeError, match="does not open"):
        responder().read_message(point + bytes(64))
    one = initiator()
    one.write_message(b"")
    with pytest.raises(HandshakeError, match="does not open"):
        one.read_message(point + bytes(16), PSK)
    # A static key is sealed in message 1, so a forger has to run the tokens himself to get it in.
    remote, ephemeral = public_key(key("responder static")), key("forger")
    state = SymmetricState(PROTOCOL_NAME)
    for data in (PROLOGUE, remote, public_key(ephemeral)):
        state.mix_hash(data)
    state.mix_key(public_key(ephemeral))
    state.mix_key(crypto_scalarmult(ephemeral, remote))
    sealed = state.encrypt_and_hash(point)
    state.mix_key(bytes(32))  # what a library without the check would compute for ss
    with pytest.raises(HandshakeError, match="does not open"):
        responder().read_message(public_key(ephemeral) + sealed + state.encrypt_and_hash(b""))


def test_a_replayed_a_skipped_a_reflected_and_a_changed_transport_message_are_refused() -> None:
    one, two = connected()
    first, second = one.send.encrypt(b"1"), one.send.encrypt(b"2")
    with pytest.raises(CryptoError):
        two.receive.decrypt(second)
    assert two.receive.decrypt(first) == b"1"
    with pytest.raises(CryptoError):
        two.receive.decrypt(first)
    with pytest.raises(CryptoError):
        one.receive.decrypt(second)
    for flipped in flips(second):
        with pytest.raises(CryptoError):
            two.receive.decrypt(flipped)
    assert two.receive.decrypt(second) == b"2"  # a failure moves no counter


def test_associated_data_is_bound() -> None:
    sealed = CipherState(PSK).encrypt(b"text", b"data")
    with pytest.raises(CryptoError):
        CipherState(PSK).decrypt(sealed, b"date")
    assert CipherState(PSK).decrypt(sealed, b"data") == b"text"


def test_rekey_changes_the_key_and_keeps_the_counter() -> None:
    one, two = CipherState(PSK), CipherState(PSK)
    assert two.decrypt(one.encrypt(b"a")) == b"a"
    one.rekey()
    sealed = one.encrypt(b"b")
    with pytest.raises(CryptoError):
        two.decrypt(sealed)
    two.rekey()
    assert two.decrypt(sealed) == b"b"


def test_the_last_nonce_is_kept_for_rekey() -> None:
    one, two = CipherState(PSK), CipherState(PSK)
    one._next = two._next = 2**64 - 2
    sealed = one.encrypt(b"last")
    assert two.decrypt(sealed) == b"last"
    with pytest.raises(SessionError, match="used up"):
        one.encrypt(b"")
    with pytest.raises(SessionError, match="used up"):
        two.decrypt(sealed)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_length_are_refused(size: int) -> None:
    """The C call would read past the end of a short one."""
    short = bytes(size)
    for name in ("static", "ephemeral", "remote_static"):
        with pytest.raises(HandshakeError, match="32 bytes"):
            initiator(**{name: short})
    with pytest.raises(HandshakeError, match="32 bytes"):
        public_key(short)
    one, two = initiator(), responder()
    two.read_message(one.write_message(b""))
    with pytest.raises(HandshakeError, match="32 bytes"):
        two.write_message(b"", short)
    with pytest.raises(HandshakeError, match="32 bytes"):
        one.read_message(bytes(48), short)


def test_the_psk_cannot_be_left_out() -> None:
    one, two = initiator(), responder()
    two.read_message(one.write_message(b""))
    with pytest.raises(HandshakeError):
        two.write_message(b"")
    with pytest.raises(HandshakeError):
        one.read_message(bytes(48))


def test_only_the_initiator_names_the_other_end() -> None:
    with pytest.raises(HandshakeError):
        initiator(remote_static=None)
    with pytest.raises(HandshakeError):
        responder(remote_static=public_key(PSK))


def test_a_payload_too_long_for_a_message_is_refused() -> None:
    with pytest.raises(HandshakeError, match="exceeds"):
        initiator().write_message(bytes(MESSAGE_BYTES))


def test_calls_out_of_order_end_the_handshake() -> None:
    message = initiator().write_message(b"")
    wrong: list[tuple[Handshake, str, tuple[bytes, ...]]] = [
        (initiator(), "read_message", (bytes(48), PSK)),
        (initiator(), "split", ()),
        (responder(), "write_message", (b"", PSK)),
        (responder(), "split", ()),
    ]
    for handshake, verb, arguments in wrong:
        with pytest.raises(HandshakeError, match="was due"):
            getattr(handshake, verb)(*arguments)
        with pytest.raises(HandshakeError, match="nothing more was due"):
            handshake.write_message(b"") if handshake.remote_static else handshake.read_message(message)


def test_a_handshake_splits_once_and_writes_once() -> None:
    one, two = initiator(), responder()
    two.read_message(one.write_message(b""))
    one.read_message(two.write_message(b"", PSK), PSK)
    one.split()
    for call in (one.split, lambda: one.write_message(b""), lambda: two.write_message(b"", PSK), two.split):
        with pytest.raises(HandshakeError):
            call()


def test_a_split_forgets_what_its_keys_were_made_of() -> None:
    one, two = initiator(), responder()
    two.read_message(one.write_message(b""))
    one.read_message(two.write_message(b"", PSK), PSK)
    binding = one.binding
    one.split()
    assert one._static == one._ephemeral == one._symmetric._chaining == b""
    assert one._symmetric._cipher is None
    assert one.binding == binding == two.binding


def test_nothing_that_holds_keys_shows_copies_or_pickles_them() -> None:
    one, _ = connected()
    symmetric = SymmetricState(PROTOCOL_NAME)
    holders: list[KeyHolder] = [initiator(), symmetric, one.send, one.pair_key]
    for holder in holders:
        for text in (repr(holder), str(holder), f"{holder}", repr([holder])):
            assert text.strip("[]") == f"<{type(holder).__name__}>"
        for copier in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="holds keys"):
                copier(holder)


def test_a_pair_key_is_bytes() -> None:
    pair_key = PairKey(PSK)
    assert pair_key == PSK
    assert type(bytes(pair_key)) is bytes
    assert CipherState(pair_key).encrypt(b"x") == CipherState(PSK).encrypt(b"x")
