from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitations.errors import FingerprintError
from invitations.fingerprint import fingerprint, fingerprint_text, fingerprint_words, parse_fingerprint

FINGERPRINTS = st.binary(min_size=20, max_size=20)


def test_is_blake2b_at_160_bits() -> None:
    key = bytes(range(32))
    assert fingerprint(key) == hashlib.blake2b(key, digest_size=20).digest()
    assert fingerprint_text(fingerprint(key)) == "wgythom7kfxgzawo3kes55npkd5ewttr"


@given(FINGERPRINTS)
def test_text_round_trip(fp: bytes) -> None:
    text = fingerprint_text(fp)
    assert re.fullmatch(r"[a-z2-7]{32}", text)
    assert parse_fingerprint(text) == fp
    assert parse_fingerprint(f" {text.upper()}\n") == fp


@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 33, "a" * 31 + "1", "a" * 31 + "=", "é" * 32, "a-" * 16])
def test_refuses_other_texts(text: str) -> None:
    with pytest.raises(FingerprintError) as caught:
        parse_fingerprint(text)
    assert caught.value.fix


def test_words_are_proquints() -> None:
    # 127.0.0.1 is "lusab-babad" in the proquint paper.
    assert fingerprint_words(bytes([127, 0, 0, 1]) + bytes(16)) == "lusab babad babab babab babab babab"


@given(FINGERPRINTS, FINGERPRINTS)
def test_words_tell_fingerprints_apart(one: bytes, other: bytes) -> None:
    assert re.fullmatch(r"(?:[a-z]{5} ){5}[a-z]{5}", fingerprint_words(one))
    assert (fingerprint_words(one) == fingerprint_words(other)) == (one[:12] == other[:12])
