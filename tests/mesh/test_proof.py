"""Batch signatures: every fact of every batch holds alone, and nothing else does."""

from __future__ import annotations

from hashlib import blake2b
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitations.identity import Identity, verify
from mesh.proof import BATCH, MAX_STEPS, Verifier, leaf_of, sign_batch

ANNA = Identity.generate(Random(1).randbytes)
BERT = Identity.generate(Random(2).randbytes)


def batch(size: int) -> tuple[list[bytes], list[bytes]]:
    bodies = [b"fact %d" % number for number in range(size)]
    return bodies, sign_batch([leaf_of(1, body) for body in bodies], ANNA.sign)


class Counting:
    """An Ed25519 check that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        self.asked += 1
        return verify(public_key, data, signature)


@pytest.mark.parametrize("size", range(1, BATCH + 1))
def test_every_fact_of_a_batch_holds_for_one_verification(size: int) -> None:
    bodies, proofs = batch(size)
    check = Counting()
    verifier = Verifier(check)
    assert all(
        verifier.holds(leaf_of(1, body), proof, ANNA.public_key) for body, proof in zip(bodies, proofs, strict=True)
    )
    assert check.asked == 1
    assert len({proof[:64] for proof in proofs}) == 1
    assert max(len(proof) for proof in proofs) <= 64 + MAX_STEPS * 33


def test_a_batch_of_one_is_a_plain_signature() -> None:
    (body,), (proof,) = batch(1)
    assert len(proof) == 64
    assert verify(ANNA.public_key, b"hopboard/1/facts\x00" + leaf_of(1, body), proof)


def test_the_tree_is_that_of_the_rule() -> None:
    def node(left: bytes, right: bytes) -> bytes:
        return blake2b(b"\x01" + left + right, digest_size=32).digest()

    bodies, proofs = batch(3)
    one, two, three = (blake2b(b"\x00\x01" + body, digest_size=32).digest() for body in bodies)
    assert proofs[0][64:] == b"\x01" + two + b"\x01" + three
    assert proofs[1][64:] == b"\x00" + one + b"\x01" + three
    assert proofs[2][64:] == b"\x00" + node(one, two)
    assert verify(ANNA.public_key, b"hopboard/1/facts\x00" + node(node(one, two), three), proofs[0][:64])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_flipped_bit_is_refused(size: int) -> None:
    bodies, proofs = batch(size)
    verifier = Verifier(verify)
    body, proof = bodies[-1], proofs[-1]
    assert verifier.holds(leaf_of(1, body), proof, ANNA.public_key)
    for index in range(len(proof) * 8):
        damaged = bytearray(proof)
        damaged[index // 8] ^= 1 << index % 8
        assert not verifier.holds(leaf_of(1, body), bytes(damaged), ANNA.public_key)
    for index in range(len(body) * 8):
        other = bytearray(body)
        other[index // 8] ^= 1 << index % 8
        assert not verifier.holds(leaf_of(1, bytes(other)), proof, ANNA.public_key)


def test_another_kind_key_or_place_is_refused() -> None:
    bodies, proofs = batch(4)
    verifier = Verifier(verify)
    assert verifier.holds(leaf_of(1, bodies[0]), proofs[0], ANNA.public_key)
    assert not verifier.holds(leaf_of(2, bodies[0]), proofs[0], ANNA.public_key)
    assert not verifier.holds(leaf_of(1, bodies[0]), proofs[0], BERT.public_key)
    assert not verifier.holds(leaf_of(1, bodies[0]), proofs[1], ANNA.public_key)


def test_a_node_does_not_pass_for_a_fact() -> None:
    bodies, proofs = batch(4)
    leaves = [leaf_of(1, body) for body in bodies]
    inner = b"\x01" + leaves[0] + leaves[1]
    above = proofs[0][:64] + proofs[0][64 + 33 :]
    # A body that spells an inner node, offered with the rest of the path.
    assert not Verifier(verify).holds(leaf_of(inner[0], inner[1:]), above, ANNA.public_key)


@pytest.mark.parametrize("size", [0, 1, 63, 65, 64 + 32, 64 + 34, 64 + 7 * 33, 64 + 70 * 33])
def test_a_proof_of_another_length_is_refused(size: int) -> None:
    check = Counting()
    assert not Verifier(check).holds(leaf_of(1, b"fact"), b"\x00" * size, ANNA.public_key)
    assert check.asked == 0


@given(st.binary(max_size=300))
def test_no_proof_is_guessed(proof: bytes) -> None:
    assert not Verifier(verify).holds(leaf_of(1, b"fact"), proof, ANNA.public_key)


@pytest.mark.parametrize("size", [0, BATCH + 1])
def test_a_batch_holds_1_to_64_facts(size: int) -> None:
    with pytest.raises(AssertionError, match="1 to 64"):
        sign_batch([b"\x00" * 32] * size, ANNA.sign)


def test_a_full_cache_starts_again() -> None:
    check = Counting()
    verifier = Verifier(check, capacity=2)
    leaves = [leaf_of(1, body) for body in (b"one", b"two", b"three")]
    made = [(leaf, sign_batch([leaf], ANNA.sign)[0]) for leaf in leaves]
    for leaf, proof in made:
        assert verifier.holds(leaf, proof, ANNA.public_key)
    assert check.asked == 3
    assert verifier.holds(*made[2], ANNA.public_key)
    assert check.asked == 3
    assert verifier.holds(*made[0], ANNA.public_key)
    assert check.asked == 4


def test_the_cache_stays_within_its_capacity_and_keeps_no_failure() -> None:
    verifier = Verifier(verify, capacity=8)
    for number in range(50):
        body = b"%d" % number
        (proof,) = sign_batch([leaf_of(1, body)], ANNA.sign)
        assert verifier.holds(leaf_of(1, body), proof, ANNA.public_key)
        assert not verifier.holds(leaf_of(1, body), proof, BERT.public_key)
        assert len(verifier._paths) <= 8


@pytest.mark.parametrize("size", [1, 2, 7, 33, 64])
def test_facts_come_in_any_order(size: int) -> None:
    bodies, proofs = batch(size)
    order = list(zip(bodies, proofs, strict=True)) * 2
    Random(size).shuffle(order)
    check = Counting()
    verifier = Verifier(check)
    assert all(verifier.holds(leaf_of(1, body), proof, ANNA.public_key) for body, proof in order)
    assert check.asked == 1


def test_in_the_order_of_their_signing_a_fact_costs_one_hash() -> None:
    bodies, proofs = batch(64)
    verifier, hashed = Verifier(verify), 0
    leaves = [leaf_of(1, body) for body in bodies]
    for leaf, proof in zip(leaves, proofs, strict=True):
        before = verifier._paths.get(proof[:64])
        known = set(before.nodes) if before is not None else set()
        assert verifier.holds(leaf, proof, ANNA.public_key)
        hashed += len(set(verifier._paths[proof[:64]].nodes) - known - {leaf})
    assert hashed == 63, "each node above the leaves once"


@pytest.mark.parametrize("first", [0, 3, 12])
def test_what_is_remembered_vouches_for_the_exact_bytes_only(first: int) -> None:
    bodies, proofs = batch(13)
    check = Counting()
    verifier = Verifier(check)
    assert verifier.holds(leaf_of(1, bodies[first]), proofs[first], ANNA.public_key)
    for body, proof in zip(bodies, proofs, strict=True):
        for place in range(len(proof)):
            other = proof[:place] + bytes((proof[place] ^ 1,)) + proof[place + 1 :]
            assert not verifier.holds(leaf_of(1, body), other, ANNA.public_key)
        assert not verifier.holds(leaf_of(1, body), proof, BERT.public_key)
        assert verifier.holds(leaf_of(1, body), proof, ANNA.public_key)
