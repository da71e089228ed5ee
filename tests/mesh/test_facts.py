"""Facts: what goes in comes out, every wrong shape is refused, and no bytes raise anything but `FactError`."""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mesh.errors import FactError
from mesh.facts import (
    Cancel,
    Content,
    Delete,
    Fact,
    Kind,
    Outcome,
    Progress,
    Reject,
    Request,
    decode,
    depth_of,
    event_of,
    id_text,
    job_id_of,
    make,
    short_text,
)
from mesh.lifecycle import Event

JOB = b"\x01" * 26
SIGNER = b"\x02" * 20
NOW = 1_700_000_000_000
CONTENTS: dict[Kind, Content] = {
    Kind.REQUEST: Request(
        *(1, b"n" * 16, "lab", "a.b", SIGNER, None, "add_user u.p.o", None, "", "", NOW, NOW + 1, None, None, None)
    ),
    Kind.CANCEL: Cancel(1, JOB, SIGNER, NOW),
    Kind.DELETE: Delete(1, JOB, SIGNER, NOW),
    Kind.PROGRESS: Progress(1, JOB, SIGNER, 2, "running", 1, "half", 0.5, NOW),
    Kind.OUTCOME: Outcome(1, JOB, SIGNER, 3, "complete", "str", '"ok"', None, 1, NOW, NOW + 1, False),
    Kind.REJECT: Reject(1, JOB, SIGNER, "b", "no_route", "there is no way", "make one", NOW),
}
FULL = CONTENTS[Kind.REQUEST]._replace(  # type: ignore[call-arg]
    destination=SIGNER,
    payload=[b"h" * 32, 5],
    options={"retries": 2},
    parent=JOB,
    lineage=[[b"body", b"proof", b"card"]],
)
ALL = [*CONTENTS.items(), (Kind.REQUEST, FULL)]
# What a field may be besides what it is above.
OPTIONAL = {Kind.REQUEST: {5, 7, 12, 13, 14}, Kind.PROGRESS: {6, 7}, Kind.OUTCOME: {5, 6, 7}}
SAMPLES: tuple[Any, ...] = (None, True, 7, 0.5, "text", b"bytes", ["list"], {"map": 1})


def refused(kind: int, array: object) -> str:
    with pytest.raises(FactError) as caught:
        decode(kind, msgpack.packb(array), b"")
    return caught.value.message


def test_the_room_of_a_payload_is_that_of_its_depth() -> None:
    assert [depth_of(CONTENTS[kind]) for kind in CONTENTS] == [0] * len(CONTENTS)
    depths = [depth_of(FULL._replace(lineage=[[b"body", b"proof", b"card"]] * deep)) for deep in (0, 1, 15, 16, 40)]  # type: ignore[call-arg]
    assert depths == [0, 1, 15, 15, 15]


@pytest.mark.parametrize(("kind", "content"), ALL)
def test_what_is_made_is_read_back(kind: Kind, content: Content) -> None:
    made = make(kind, content)
    read = decode(kind, made.body, b"proof")
    assert read.content == content
    assert type(read.content) is type(content)
    assert (read.kind, read.body, read.proof, read.job_id) == (kind, made.body, b"proof", made.job_id)
    assert made.proof == b""


@pytest.mark.parametrize(("kind", "content"), ALL)
def test_a_field_of_another_type_is_refused(kind: Kind, content: Content) -> None:
    for index, value in enumerate(content):
        for sample in SAMPLES:
            if type(sample) is type(value) or (index in OPTIONAL.get(kind, ()) and sample is None):
                continue
            if kind is Kind.PROGRESS and index == 7 and type(sample) in (int, float):
                continue
            if index in OPTIONAL.get(kind, ()) and value is None:
                continue
            array = list(content)
            array[index] = sample
            assert refused(kind, array), (kind, index, sample)


@pytest.mark.parametrize(("kind", "content"), ALL)
def test_a_fact_has_all_its_fields_and_no_more(kind: Kind, content: Content) -> None:
    for size in range(len(content)):
        assert refused(kind, list(content)[:size]) == "the fact has not the fields of its kind"
    assert refused(kind, [*content, 1]) == "the fact has not the fields of its kind"
    assert refused(kind, {"version": 1}) == "the fact has not the fields of its kind"
    assert refused(kind, 5) == "the fact has not the fields of its kind"


@pytest.mark.parametrize(("kind", "content"), ALL)
def test_every_truncation_and_a_tail_are_refused(kind: Kind, content: Content) -> None:
    body = make(kind, content).body
    for size in range(len(body)):
        with pytest.raises(FactError):
            decode(kind, body[:size], b"")
    with pytest.raises(FactError, match="not readable"):
        decode(kind, body + b"\x00", b"")


@pytest.mark.parametrize("kind", [-1, 0, 7, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(FactError, match=f"no fact has kind {kind}"):
        decode(kind, make(Kind.CANCEL, CONTENTS[Kind.CANCEL]).body, b"")


@pytest.mark.parametrize(("kind", "content"), ALL)
def test_another_version_is_refused_and_named(kind: Kind, content: Content) -> None:
    assert refused(kind, [2, *content[1:]]) == "the fact is of version 2, this agent knows 1"
    assert refused(kind, [0, *content[1:]])


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": b"n" * 15},
        {"nonce": b""},
        {"origin": b"o" * 19},
        {"destination": b""},
        {"destination": b"d" * 21},
        {"created_ms": 0},
        {"created_ms": -1},
        {"created_ms": 1 << 48, "expires_ms": (1 << 48) + 1},
        {"expires_ms": NOW},
        {"expires_ms": NOW - 1},
        {"expires_ms": 1 << 48},
        {"parent": b""},
        {"parent": b"p" * 27},
        {"lineage": [b"body"]},
        {"lineage": [[b"body", b"proof"]]},
        {"lineage": [[b"body", b"proof", b"card", b""]]},
        {"lineage": [[b"body", b"proof", "card"]]},
        {"lineage": [[b"body", b"proof", b"card"], None]},
    ],
)
def test_bounds_of_a_request(change: dict[str, Any]) -> None:
    assert refused(Kind.REQUEST, list(CONTENTS[Kind.REQUEST]._replace(**change)))


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.REQUEST])
@pytest.mark.parametrize("change", [{"job_id": b"j" * 25}, {"job_id": b""}, {"signer": b"s" * 21}, {"signer": b""}])
def test_a_fact_names_job_and_signer(kind: Kind, change: dict[str, Any]) -> None:
    assert refused(kind, list(CONTENTS[kind]._replace(**change))) == "the fact names no job or no signer"


@pytest.mark.parametrize("state", ["pending", "complete", "", "Running"])
def test_progress_is_claimed_or_running(state: str) -> None:
    assert (
        refused(Kind.PROGRESS, list(CONTENTS[Kind.PROGRESS]._replace(state=state))) == "progress is claimed or running"
    )  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "change",
    [
        {"state": "running"},
        {"state": "rejected"},
        {"state": "deleted"},
        {"state": "error"},
        {"state": "error", "error": ["failed"]},
        {"state": "error", "error": ["failed", "why", "more"]},
        {"state": "error", "error": ["failed", None]},
        {"state": "error", "error": []},
        {"error": ["failed", "why"]},
        {"state": "expired", "error": ["failed", "why"]},
    ],
)
def test_bounds_of_an_outcome(change: dict[str, Any]) -> None:
    assert refused(Kind.OUTCOME, list(CONTENTS[Kind.OUTCOME]._replace(**change)))


@given(st.integers(-1, 8), st.binary(max_size=200))
@settings(max_examples=150)
def test_no_bytes_raise_anything_but_a_fact_error(kind: int, body: bytes) -> None:
    with suppress(FactError):
        decode(kind, body, b"")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(ALL), st.dictionaries(st.integers(0, 14), VALUES, max_size=3))
@example((Kind.OUTCOME, CONTENTS[Kind.OUTCOME]), {4: "error", 7: [1, 2]})
@settings(max_examples=150)
def test_no_fields_raise_anything_but_a_fact_error(fact: tuple[Kind, Content], changes: dict[int, Any]) -> None:
    kind, content = fact
    array = list(content)
    for index, value in changes.items():
        array[index % len(array)] = value
    try:
        read = decode(kind, msgpack.packb(array), b"")
    except FactError:
        return
    assert len(read.job_id) == 26
    event_of(read.content)


def test_the_id_of_a_job_is_its_time_and_the_hash_of_its_bytes() -> None:
    fact = make(Kind.REQUEST, CONTENTS[Kind.REQUEST])
    assert fact.job_id == NOW.to_bytes(6, "big") + blake2b(fact.body, digest_size=20).digest()
    assert fact.job_id == job_id_of(NOW, fact.body)
    later = make(Kind.REQUEST, CONTENTS[Kind.REQUEST]._replace(created_ms=NOW + 1, expires_ms=NOW + 2))  # type: ignore[call-arg]
    assert fact.job_id < later.job_id


def test_people_see_the_hash_part() -> None:
    job_id = bytes(range(26))
    assert id_text(job_id) == "000102030405060708090a0b0c0d0e0f10111213141516171819"
    assert short_text(job_id) == "06070809"


def test_the_proof_is_not_part_of_a_fact() -> None:
    fact = make(Kind.CANCEL, CONTENTS[Kind.CANCEL])
    assert fact.digest() == decode(Kind.CANCEL, fact.body, b"proof").digest()
    assert fact.digest() != Fact(Kind.DELETE, fact.body, b"", fact.content).digest()


def test_a_fact_is_shown_without_its_content() -> None:
    fact = make(Kind.REJECT, CONTENTS[Kind.REJECT])
    assert repr(fact) == f"<reject {len(fact.body)} bytes>"


@pytest.mark.parametrize(
    ("kind", "change", "event"),
    [
        (Kind.REQUEST, {}, None),
        (Kind.CANCEL, {}, None),
        (Kind.DELETE, {}, Event.DELETED),
        (Kind.PROGRESS, {}, Event.RUNNING),
        (Kind.PROGRESS, {"state": "claimed"}, Event.CLAIMED),
        (Kind.OUTCOME, {}, Event.COMPLETE),
        (Kind.OUTCOME, {"state": "error", "error": ["failed", "why"]}, Event.ERROR),
        (Kind.OUTCOME, {"state": "expired"}, Event.EXPIRED),
        (Kind.OUTCOME, {"state": "cancelled"}, Event.CANCELLED),
        (Kind.REJECT, {}, Event.REJECTED),
        (Kind.REJECT, {"reason": "expired"}, Event.REJECTED_EXPIRED),
        (Kind.REJECT, {"reason": "cancelled"}, Event.REJECTED_CANCELLED),
        (Kind.REJECT, {"reason": "lost"}, Event.REJECTED_LOST),
    ],
)
def test_the_event_of_a_fact(kind: Kind, change: dict[str, Any], event: Event | None) -> None:
    content = CONTENTS[kind]._replace(**change)
    assert decode(kind, make(kind, content).body, b"").content == content
    assert event_of(content) is event
