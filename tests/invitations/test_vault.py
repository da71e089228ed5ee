from __future__ import annotations

from random import Random

import pytest
from pydantic import ValidationError

from invitations.documents import to_base64
from invitations.errors import VaultError
from invitations.vault import LEAST_MEMORY_BYTES, Sealed, open_sealed, seal

SECRET = b"CANARY" * 8


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    return seal(SECRET, "pass word", random=Random(1).randbytes, operations=1, memory_bytes=LEAST_MEMORY_BYTES)


def test_opens_with_its_passphrase_only(sealed: Sealed) -> None:
    assert open_sealed(sealed, "pass word") == SECRET
    for wrong in ("", "pass  word", "Pass word"):
        with pytest.raises(VaultError, match="does not open"):
            open_sealed(sealed, wrong)


@pytest.mark.parametrize("name", ["salt", "nonce", "box"])
def test_any_change_keeps_it_shut(sealed: Sealed, name: str) -> None:
    value: bytes = getattr(sealed, name)
    changed = sealed.model_copy(update={name: bytes([value[0] ^ 1]) + value[1:]})
    with pytest.raises(VaultError):
        open_sealed(changed, "pass word")
    with pytest.raises(VaultError):
        open_sealed(sealed.model_copy(update={"operations": 2}), "pass word")


def test_is_safe_to_show_and_salted(sealed: Sealed) -> None:
    assert b"CANARY" not in sealed.box
    assert "CANARY" not in repr(sealed)
    other = seal(SECRET, "pass word", random=Random(2).randbytes, operations=1, memory_bytes=LEAST_MEMORY_BYTES)
    assert (other.salt, other.box) != (sealed.salt, sealed.box)


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(VaultError, match="empty"):
        seal(SECRET, "", random=Random(1).randbytes)


@pytest.mark.parametrize(
    "change",
    [
        {"operations": 0},
        {"operations": 1000},
        {"memory_bytes": 8192},
        {"memory_bytes": 2**40},
        {"method": "plain"},
        {"salt": to_base64(bytes(8))},
        {"nonce": to_base64(bytes(8))},
    ],
)
def test_a_planted_cost_is_refused_before_it_is_paid(sealed: Sealed, change: dict[str, object]) -> None:
    table = sealed.model_dump() | {key: to_base64(getattr(sealed, key)) for key in ("salt", "nonce", "box")}
    assert Sealed.model_validate(table) == sealed
    with pytest.raises(ValidationError):
        Sealed.model_validate(table | change)


def test_says_when_the_machine_is_too_small(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("nacl.bindings.crypto_pwhash_alg", fail)
    with pytest.raises(VaultError, match="memory"):
        open_sealed(sealed, "pass word")
