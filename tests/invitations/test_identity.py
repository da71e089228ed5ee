from __future__ import annotations

import copy
import pickle
import stat
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult
from nacl.signing import SigningKey

from invitations.documents import to_base64
from invitations.errors import FileError, IdentityError
from invitations.fingerprint import fingerprint, fingerprint_text
from invitations.identity import Identity, load_identity, save_identity, verify
from invitations.vault import LEAST_MEMORY_BYTES


@pytest.fixture
def identity() -> Identity:
    return Identity.generate(Random(1).randbytes)


def test_keys_are_those_of_the_two_standards(identity: Identity) -> None:
    seed = Random(1).randbytes(32)
    assert identity.public_key == bytes(SigningKey(seed).verify_key)
    assert identity.fingerprint == fingerprint(identity.public_key)
    other = Identity.generate(Random(2).randbytes)
    shared = crypto_scalarmult(identity.link_key, other.link_public)
    assert shared == crypto_scalarmult(other.link_key, identity.link_public)


@given(st.binary(max_size=200))
def test_signature_is_plain_ed25519(data: bytes) -> None:
    identity = Identity(bytes(32), bytes(range(32)))
    signature = identity.sign(data)
    assert signature == SigningKey(bytes(32)).sign(data).signature
    assert verify(identity.public_key, data, signature)


def test_verify_says_no_and_never_raises(identity: Identity) -> None:
    signature = identity.sign(b"data")
    assert not verify(identity.public_key, b"Data", signature)
    assert not verify(Identity.generate(Random(2).randbytes).public_key, b"data", signature)
    assert not verify(identity.public_key, b"data", signature[:63])
    assert not verify(identity.public_key, b"ata", signature + b"d")
    assert not verify(b"short", b"data", signature)
    assert not verify(bytes(32), b"data", signature)
    for i in range(64):
        assert not verify(identity.public_key, b"data", signature[:i] + bytes([signature[i] ^ 1]) + signature[i + 1 :])


def test_keeps_its_keys_to_itself(identity: Identity) -> None:
    assert repr(identity) == f"<Identity {fingerprint_text(identity.fingerprint)}>"
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            copying(identity)
    with pytest.raises(ValueError, match="32 bytes"):
        Identity(b"x", bytes(32))


def test_file_round_trip(identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "identity.toml"
    save_identity(path, identity)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load_identity(path)
    assert again.private_bytes() == identity.private_bytes()
    assert load_identity(path, "unneeded").fingerprint == identity.fingerprint
    with pytest.raises(FileError, match="exists already"):
        save_identity(path, Identity.generate(Random(2).randbytes))
    assert load_identity(path).fingerprint == identity.fingerprint


def test_sealed_file(identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "identity.toml"
    save_identity(path, identity, "open sesame", memory_bytes=LEAST_MEMORY_BYTES)
    text = path.read_text()
    private = identity.private_bytes()
    assert to_base64(private[:32]) not in text
    assert to_base64(private[32:]) not in text
    assert load_identity(path, "open sesame").private_bytes() == private
    with pytest.raises(IdentityError, match="is sealed"):
        load_identity(path)
    with pytest.raises(IdentityError, match="does not open") as caught:
        load_identity(path, "CANARY")
    assert "CANARY" not in f"{caught.value} {caught.value.fix}"


def test_refuses_a_file_that_others_can_read(identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "identity.toml"
    save_identity(path, identity)
    path.chmod(0o640)
    with pytest.raises(IdentityError, match="by others") as caught:
        load_identity(path)
    assert caught.value.fix == f"chmod 600 {path}"


def test_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="does not exist") as caught:
        load_identity(tmp_path / "identity.toml")
    assert "mesh init" in caught.value.fix


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("signing_key", "#"),
        ("link_key", "#"),
        ('fingerprint = "', 'fingerprint = "a'),
        ("version = 1", "version = 2"),
        ('"identity"', '"card"'),
    ],
)
def test_refuses_a_damaged_file(identity: Identity, tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "identity.toml"
    save_identity(path, identity)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(IdentityError) as caught:
        load_identity(path)
    assert caught.value.fix
    assert to_base64(identity.link_key) not in str(caught.value)


def test_refuses_a_sealed_table_of_something_else(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "identity.toml"
    monkeypatch.setattr(Identity, "private_bytes", lambda _self: b"x" * 65)
    save_identity(path, identity, "open sesame", memory_bytes=LEAST_MEMORY_BYTES)
    with pytest.raises(IdentityError, match="neither"):
        load_identity(path, "open sesame")


def test_a_link_key_that_is_another_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.toml"
    save_identity(path, Identity.generate(Random(1).randbytes))
    other = tmp_path / "other.toml"
    save_identity(other, Identity.generate(Random(2).randbytes))
    strange = next(line for line in other.read_text().splitlines() if line.startswith("link_key"))
    lines = [strange if line.startswith("link_key") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    with pytest.raises(IdentityError, match="link key") as raised:
        load_identity(path)
    assert raised.value.key == "link_public"
