"""Batch signatures: one Ed25519 signature for up to 64 facts (PROTOCOL.md 6).

What an agent signs in one step of its loop becomes one Merkle tree in the manner of RFC 6962: a leaf is the hash of
a leaf prefix, the fact's kind and its bytes; a node has a prefix of its own, so that neither can pass for the other.
The signature covers a domain tag and the root. Each fact carries its *proof*:

    signature (64 bytes) | step*       step = side (1 byte: 0 sibling left, 1 sibling right) | sibling (32 bytes)

A fact alone has no steps, and its signature is a plain one. A proof is not part of the fact's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

BATCH: Final = 64
"""Most facts under one signature: six steps, so that a proof stays below 300 bytes."""

MAX_STEPS: Final = 6
_SIGNATURE: Final = 64
_STEP: Final = 33
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
_DOMAIN: Final = b"hopboard/1/facts\x00"


def leaf_of(kind: int, body: bytes) -> bytes:
    """Hash of one fact: 32 bytes over the leaf prefix, the kind (1 byte) and the fact's exact bytes."""
    return blake2b(_LEAF + bytes((kind,)) + body, digest_size=32).digest()


def sign_batch(leaves: Sequence[bytes], sign: Callable[[bytes], bytes]) -> list[bytes]:
    """Sign up to `BATCH` leaves with one signature.

    Args:
        leaves: 1 to 64 hashes of 32 bytes, in the order of their facts.
        sign: gives the 64-byte Ed25519 signature of its argument.

    Returns:
        One proof per leaf, in the same order.
    """
    assert 0 < len(leaves) <= BATCH, "a batch holds 1 to 64 facts"
    paths: list[list[bytes]] = [[] for _ in leaves]
    row = [(leaf, [index]) for index, leaf in enumerate(leaves)]
    while len(row) > 1:
        above = []
        for left in range(0, len(row) - 1, 2):
            (first, under_first), (second, under_second) = row[left], row[left + 1]
            right_step, left_step = b"\x01" + second, b"\x00" + first
            for index in under_first:
                paths[index].append(right_step)
            for index in under_second:
                paths[index].append(left_step)
            above.append((blake2b(_NODE + first + second, digest_size=32).digest(), under_first + under_second))
        if len(row) % 2:
            above.append(row[-1])
        row = above
    signature = sign(_DOMAIN + row[0][0])
    return [signature + b"".join(path) for path in paths]


class Verifier:
    """Checks proofs and remembers the roots that held, so that a batch costs one verification.

    Args:
        verify: `verify(public_key, data, signature) -> bool`, an Ed25519 check.
        capacity: how many (key, signature, root) triples are remembered; the oldest is forgotten first.
    """

    __slots__ = ("_capacity", "_roots", "_verify")

    def __init__(self, verify: Callable[[bytes, bytes, bytes], bool], *, capacity: int = 4_096) -> None:
        self._verify = verify
        self._capacity = capacity
        self._roots: dict[bytes, None] = {}

    def holds(self, kind: int, body: bytes, proof: bytes, public_key: bytes) -> bool:
        """Say whether `public_key` signed the fact (`kind`, `body`). A malformed proof does not hold."""
        size = len(proof) - _SIGNATURE
        if size < 0 or size % _STEP or size > MAX_STEPS * _STEP:
            return False
        node = blake2b(_LEAF + bytes((kind,)) + body, digest_size=32).digest()
        for start in range(_SIGNATURE, len(proof), _STEP):
            sibling = proof[start + 1 : start + _STEP]
            side = proof[start]
            if side == 1:
                node = blake2b(_NODE + node + sibling, digest_size=32).digest()
            elif side == 0:
                node = blake2b(_NODE + sibling + node, digest_size=32).digest()
            else:
                return False
        signature = proof[:_SIGNATURE]
        known = public_key + signature + node
        if known in self._roots:
            return True
        if not self._verify(public_key, _DOMAIN + node, signature):
            return False
        if len(self._roots) >= self._capacity:
            del self._roots[next(iter(self._roots))]
        self._roots[known] = None
        return True
