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
_LONGEST: Final = _SIGNATURE + MAX_STEPS * _STEP
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
_LEFT: Final = b"\x00"
_RIGHT: Final = b"\x01"
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
    rows = [leaves]
    while len(row := rows[-1]) > 1:
        above = [
            blake2b(_NODE + first + second, digest_size=32).digest()
            for first, second in zip(row[::2], row[1::2], strict=False)
        ]
        if len(row) % 2:
            above.append(row[-1])
        rows.append(above)
    # From the root down: the proof of a child is the step beside it before the proof of its parent.
    steps = [b""]
    for row in rows[-2::-1]:
        below: list[bytes] = []
        for parent, first, second in zip(steps, row[::2], row[1::2], strict=False):
            below += (_RIGHT + second + parent, _LEFT + first + parent)
        if len(row) % 2:
            below.append(steps[-1])
        steps = below
    signature = sign(_DOMAIN + rows[-1][0])
    return [signature + path for path in steps]


class Verifier:
    """Checks proofs and remembers what held, so that a batch costs one verification and a hash a fact, beside
    that of the fact itself.

    A node whose path to a signed root was checked is remembered with the rest of that path, and so are the siblings on
    it, whose paths follow from it: the next proof that comes to the node with the same rest needs no hash and no
    signature beyond it. What is remembered is the exact bytes, so that a proof which holds here holds everywhere.

    Args:
        verify: `verify(public_key, data, signature) -> bool`, an Ed25519 check.
        capacity: how many nodes are remembered; all are forgotten when there are as many.
    """

    __slots__ = ("_capacity", "_nodes", "_verify")

    def __init__(self, verify: Callable[[bytes, bytes, bytes], bool], *, capacity: int = 8_192) -> None:
        self._verify = verify
        self._capacity = capacity
        self._nodes: dict[bytes, tuple[bytes, bytes, bytes]] = {}

    def holds(self, leaf: bytes, proof: bytes, public_key: bytes) -> bool:
        """Say whether `public_key` signed the fact whose hash `leaf` is. A malformed proof does not hold."""
        size = len(proof)
        if size < _SIGNATURE or (size - _SIGNATURE) % _STEP or size > _LONGEST:
            return False
        signature = proof[:_SIGNATURE]
        node = leaf
        nodes = self._nodes
        fresh = []
        start = _SIGNATURE
        while nodes.get(node) != (signature, public_key, proof[start:]):
            fresh.append((node, start))
            if start == size:
                if not self._verify(public_key, _DOMAIN + node, signature):
                    return False
                break
            side = proof[start]
            sibling = proof[start + 1 : start + _STEP]
            start += _STEP
            if side == 1:
                node = blake2b(_NODE + node + sibling, digest_size=32).digest()
            elif side == 0:
                node = blake2b(_NODE + sibling + node, digest_size=32).digest()
            else:
                return False
        if len(nodes) >= self._capacity:
            nodes.clear()
        for node, start in fresh:
            nodes[node] = (signature, public_key, proof[start:])
            if start < size:
                other = _LEFT if proof[start] else _RIGHT
                above = start + _STEP
                nodes[proof[start + 1 : above]] = (signature, public_key, other + node + proof[above:])
        return True
