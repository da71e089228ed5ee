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


class _Path:
    """The way from one fact to its signature that was checked last.

    Attributes:
        public_key: under which the signature holds.
        proof: of that fact.
        nodes: the hashes along it, from the fact's own to the root.
    """

    __slots__ = ("nodes", "proof", "public_key")

    def __init__(self, public_key: bytes, proof: bytes, nodes: list[bytes]) -> None:
        self.public_key = public_key
        self.proof = proof
        self.nodes = nodes


class Verifier:
    """Checks proofs and remembers what held, so that a batch costs one verification and a hash a fact, beside
    that of the fact itself.

    Of each signature the path that was checked last is remembered. A proof that comes to a node of it, or to the
    sibling of one, and goes on from there by the same bytes, needs no hash and no signature beyond: most facts come in
    the order in which they were signed. What is compared is the exact bytes, so that a proof which holds here holds
    everywhere.

    Args:
        verify: `verify(public_key, data, signature) -> bool`, an Ed25519 check.
        capacity: how many signatures are remembered; all are forgotten when there are as many.
    """

    __slots__ = ("_capacity", "_paths", "_verify")

    def __init__(self, verify: Callable[[bytes, bytes, bytes], bool], *, capacity: int = 1_024) -> None:
        self._verify = verify
        self._capacity = capacity
        self._paths: dict[bytes, _Path] = {}

    def holds(self, leaf: bytes, proof: bytes, public_key: bytes) -> bool:
        """Say whether `public_key` signed the fact whose hash `leaf` is. A malformed proof does not hold."""
        size = len(proof)
        if size < _SIGNATURE or (size - _SIGNATURE) % _STEP or size > _LONGEST:
            return False
        signature = proof[:_SIGNATURE]
        known = self._paths.get(signature)
        if known is not None and known.public_key != public_key:
            known = None
        # One of another length belongs to another depth of the tree: only its root is the same.
        beside = known if known is not None and len(known.proof) == size else None
        node = leaf
        nodes = [leaf]
        for start in range(_SIGNATURE, size, _STEP):
            if beside is not None and _joins(beside, node, len(nodes) - 1, proof, start):
                beside.proof = proof
                beside.nodes = nodes + beside.nodes[len(nodes) :]
                return True
            side = proof[start]
            sibling = proof[start + 1 : start + _STEP]
            if side == 1:
                node = blake2b(_NODE + node + sibling, digest_size=32).digest()
            elif side == 0:
                node = blake2b(_NODE + sibling + node, digest_size=32).digest()
            else:
                return False
            nodes.append(node)
        if known is not None and node == known.nodes[-1]:
            if size <= len(known.proof):
                return True
        elif not self._verify(public_key, _DOMAIN + node, signature):
            return False
        if len(self._paths) >= self._capacity:
            self._paths.clear()
        self._paths[signature] = _Path(public_key, proof, nodes)
        return True


def _joins(path: _Path, node: bytes, level: int, proof: bytes, start: int) -> bool:
    """Whether a proof that has come to `node` goes on as a checked path of the same length does: from the same node, or
    from the sibling of the path's own to the node above both."""
    checked = path.proof
    if node == path.nodes[level]:
        return proof[start:] == checked[start:]
    above = start + _STEP
    return (
        node == checked[start + 1 : above]
        and proof[start + 1 : above] == path.nodes[level]
        and proof[start] + checked[start] == 1
        and proof[above:] == checked[above:]
    )
