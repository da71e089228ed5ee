"""For whom a job speaks: the chain of Requests that led to it (PROTOCOL.md 6).

A child job carries its parents' Requests as evidence, nearest first. The root's origin counts as the speaker if every
link of the chain holds: the child names its parent by id, the parent was meant for the child's origin, every proof
verifies under the card that came with it, all are of one zone, and none is past its expiry and run limit.
"""

from __future__ import annotations

from typing import NamedTuple

from invitations.card import Card
from invitations.errors import CardError
from mesh.errors import FactError
from mesh.facts import REQUEST, Request, decode
from mesh.limits import Limits
from mesh.proof import Verifier


class Speaker(NamedTuple):
    """Who stands behind a job: the fingerprint, and the root's instruction text (None without parents)."""

    fingerprint: bytes
    instruction: str | None


def speaker_of(request: Request, verifier: Verifier, limits: Limits, now_ms: int) -> Speaker | None:
    """The root origin of `request`, or None when its lineage does not hold."""
    if not request.lineage:
        # A parent that is named without evidence, such as the job that this one repeats, gives no rights.
        return Speaker(request.origin, None)
    if len(request.lineage) > limits.children_depth:
        return None
    child = request
    for body, proof, card_data in request.lineage:
        try:
            fact = decode(REQUEST, body, proof)
            card = Card.parse(card_data)
        except (FactError, CardError):
            return None
        parent = fact.content
        assert isinstance(parent, Request)
        if (
            child.parent != fact.job_id
            or card.fingerprint != parent.origin
            or parent.zone != request.zone
            or parent.path.rpartition(".")[2] != child.path.partition(".")[0]
            or parent.destination not in (None, child.origin)
            or now_ms > parent.expires_ms + int(limits.run_s * 1000)
            or not verifier.holds(fact.digest(), proof, card.public_key)
        ):
            return None
        child = parent
    if child.lineage:
        # Cut short: whoever made the job would choose which of its ancestors speaks.
        return None
    return Speaker(child.origin, child.instruction)
