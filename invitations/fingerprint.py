"""Fingerprints: the short public name of an identity key, as bytes, text to copy, and words to read aloud."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from invitations.errors import FingerprintError

FINGERPRINT_BYTES: Final = 20
FINGERPRINT_CHARACTERS: Final = 32

_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_CONSONANTS: Final = "bdfghjklmnprstvz"
_VOWELS: Final = "aiou"
_WORDS: Final = 6


def fingerprint(public_key: bytes) -> bytes:
    """The fingerprint (20 bytes, BLAKE2b-160) of an Ed25519 public key (32 bytes)."""
    return hashlib.blake2b(public_key, digest_size=FINGERPRINT_BYTES).digest()


def fingerprint_text(fp: bytes) -> str:
    """A fingerprint (20 bytes) as 32 characters of lower-case base32: they hold exactly 160 bits."""
    return base64.b32encode(fp).decode().lower()


def parse_fingerprint(text: str) -> bytes:
    """The 20 bytes of a fingerprint written by `fingerprint_text`; upper case and surrounding space are
    forgiven.

    Raises:
        FingerprintError: another length, or a character that base32 does not have.
    """
    word = text.strip().lower()
    if len(word) != FINGERPRINT_CHARACTERS:
        raise FingerprintError(
            f"a fingerprint has {FINGERPRINT_CHARACTERS} characters, this has {len(word)}",
            fix="copy the whole fingerprint, as `mesh peers` shows it",
        )
    strange = next((character for character in word if character not in _ALPHABET), None)
    if strange is not None:
        raise FingerprintError(
            f"a fingerprint has the characters a-z and 2-7 only, not {strange!r}",
            fix="copy the fingerprint again; 0, 1, 8 and 9 never occur in one",
        )
    return base64.b32decode(word.upper())


def fingerprint_words(fp: bytes) -> str:
    """Six words for two people to compare by voice, from the first 96 bits of a fingerprint.

    Each word is a proquint (D. Wilkerson, "A Proposal for Proquints", arXiv:0901.4016): 16 bits as
    consonant, vowel, consonant, vowel, consonant, pronounceable in most languages and without a word list.
    To make a key whose words equal those of a given one takes about 2**96 tries.
    """
    return " ".join(_word(int.from_bytes(fp[2 * i : 2 * i + 2])) for i in range(_WORDS))


def _word(bits: int) -> str:
    return (
        _CONSONANTS[bits >> 12]
        + _VOWELS[bits >> 10 & 3]
        + _CONSONANTS[bits >> 6 & 15]
        + _VOWELS[bits >> 4 & 3]
        + _CONSONANTS[bits & 15]
    )
