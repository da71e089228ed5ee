"""For whom a job speaks: a chain of Requests holds whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from invitations.identity import verify
from mesh.facts import VERSION, Fact, Kind, Request
from mesh.limits import Limits
from mesh.lineage import Speaker, speaker_of
from mesh.proof import Verifier
from tests.mesh.pair import START_MS, ZONE, card_of, identity_of, signed

LIMITS = Limits()


def fp(name: str) -> bytes:
    return identity_of(name).fingerprint


def request(on: str, text: str, parents: list[Fact], *, signer: str | None = None, **changes: Any) -> Fact:
    """A Request by the first agent of the path `on` with `parents`, nearest first."""
    origin = on.partition(".")[0]
    lineage = [[one.body, one.proof, card_of(one.content.path.partition(".")[0]).data] for one in parents]  # type: ignore[union-attr]
    fields: dict[str, Any] = {
        "destination": fp(on.rpartition(".")[2]),
        "parent": parents[0].job_id if parents else None,
        "lineage": lineage or None,
        **changes,
    }
    content = Request(
        *(VERSION, b"n" * 16, ZONE, on, fp(origin), None, text, None, "", "", START_MS, START_MS + 60_000),
        *(None, None, None),
    )._replace(**fields)
    return signed(signer or origin, Kind.REQUEST, content)


def speaker(fact: Fact, now_ms: int = START_MS, limits: Limits = LIMITS) -> Speaker | None:
    assert isinstance(fact.content, Request)
    return speaker_of(fact.content, Verifier(verify), limits, now_ms)


ROOT = request("portal.cluster", "add_user fred.proj.org", [])
CHILD = request("cluster.account", "add_local_user fred.proj.org:fred", [ROOT])


def chain(length: int) -> Fact:
    """The last of `length` jobs, each put by the destination of the one before."""
    agents = [f"agent-{number}" for number in range(length + 1)]
    made: list[Fact] = []
    for index in range(length):
        made.insert(0, request(f"{agents[index]}.{agents[index + 1]}", f"step_{index}", list(made)))
    return made[0]


def test_a_job_without_parents_speaks_for_its_origin() -> None:
    assert speaker(ROOT) == Speaker(fp("portal"), None)


def test_a_child_speaks_for_the_root() -> None:
    assert speaker(CHILD) == Speaker(fp("portal"), "add_user fred.proj.org")


@pytest.mark.parametrize("parents", [1, 2, 3, 4])
def test_up_to_four_parents(parents: int) -> None:
    assert speaker(chain(parents + 1)) == Speaker(fp("agent-0"), "step_0")


def test_five_parents_are_too_many() -> None:
    assert speaker(chain(6)) is None
    assert speaker(chain(6), limits=Limits(children_depth=5)) == Speaker(fp("agent-0"), "step_0")


def test_a_parent_that_is_named_and_not_shown_gives_no_rights() -> None:
    # Such as the job that this one repeats.
    assert speaker(request("cluster.account", "x", [], parent=ROOT.job_id)) == Speaker(fp("cluster"), None)


def test_the_child_of_a_job_that_repeats_another_has_its_rights() -> None:
    again = request("portal.cluster", "add_user fred.proj.org", [], parent=b"x" * 26)
    assert speaker(request("cluster.account", "x", [again])) == Speaker(fp("portal"), "add_user fred.proj.org")


@pytest.mark.parametrize(
    "changes",
    [
        {"parent": b"x" * 26},
        {"parent": None},
        {"zone": "other"},
        {"path": "mallory.account"},
        {"origin": fp("mallory")},
    ],
)
def test_a_child_that_does_not_follow_from_its_parent(changes: dict[str, Any]) -> None:
    assert speaker(request("cluster.account", "x", [ROOT], **changes)) is None


def test_a_parent_that_names_no_key_may_be_anybodys_of_that_name() -> None:
    root = request("portal.cluster", "x", [], destination=None)
    assert speaker(request("cluster.account", "y", [root])) == Speaker(fp("portal"), "x")


def test_every_parent_has_to_be_in_time() -> None:
    expires = START_MS + 60_000
    late = expires + int(LIMITS.run_s * 1000)
    assert speaker(CHILD, now_ms=late) is not None
    assert speaker(CHILD, now_ms=late + 1) is None


def broken(index: int, value: bytes) -> Fact:
    lineage = [[ROOT.body, ROOT.proof, card_of("portal").data]]
    lineage[0][index] = value
    return request("cluster.account", "x", [ROOT], lineage=lineage)


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, b"no fact"),
        (0, CHILD.body),
        (1, b""),
        (1, ROOT.proof[:-1] + bytes([ROOT.proof[-1] ^ 1])),
        (2, b"no card"),
        (2, card_of("cluster").data),
    ],
)
def test_evidence_that_does_not_hold(index: int, value: bytes) -> None:
    assert speaker(broken(index, value)) is None


def test_a_parent_signed_by_another_key() -> None:
    forged = request("portal.cluster", "x", [], signer="mallory")
    assert speaker(request("cluster.account", "y", [forged])) is None


def test_a_lineage_that_was_cut_short_does_not_hold() -> None:
    # The middle one names a parent of its own: whoever leaves it out would choose who speaks.
    grandchild = request("account.disk", "x", [CHILD, ROOT])
    assert speaker(grandchild) == Speaker(fp("portal"), "add_user fred.proj.org")
    assert speaker(request("account.disk", "x", [CHILD])) is None
