"""PROTOCOL.md says what the code does: its tables are compared, its vectors executed, both ways.

Where a table, a diagram or the conversation differs from the code, the failure shows what to paste.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import get_args

import pytest

from invitations import card as card_file
from invitations import invitation as invitation_file
from invitations import refusal
from invitations.card import Card
from invitations.fingerprint import fingerprint_text, fingerprint_words
from invitations.identity import verify
from invitations.invitation import make_invitation, parse_invitation
from invitations.peers import pairing_id
from mesh import facts as facts_module
from mesh.arrival import ROOM, SLACK
from mesh.codec import MESSAGE_BYTES, FramePacker, pack, unpack, unpack_frame
from mesh.destination import MESSAGE_BYTES as REPORT_BYTES
from mesh.dispatch import TOLD_REFUSALS
from mesh.ending import ERROR_BYTES
from mesh.errors import FactError
from mesh.exchange import MAX_FACTS, MAX_REFUSED
from mesh.facts import Content, Kind, decode, job_id_of, make
from mesh.ledger import TRIM
from mesh.lifecycle import TRANSITIONS, Role
from mesh.limits import Limits
from mesh.lineage import Speaker, speaker_of
from mesh.messages import OPTIONAL, Message, Type, encode, read
from mesh.positions import KEPT
from mesh.proof import BATCH, Verifier, leaf_of, sign_batch
from mesh.refusals import REASONS
from mesh.replication import DETAIL
from mesh.session import PROLOGUE, REKEY_BYTES, REKEY_FRAMES
from mesh.transport.connection import SUBPROTOCOL
from mesh.transport.contract import PREAUTH_BYTES, PREAUTH_MESSAGES
from tests.mesh.protocol_document import (
    card,
    code_words,
    conversation,
    generated,
    identity,
    lifecycle_diagram,
    lifecycle_table,
    rows,
    text,
    vectors,
)

CONTENTS: dict[Kind, Callable[..., Content]] = {
    Kind.REQUEST: facts_module.Request,
    Kind.CANCEL: facts_module.Cancel,
    Kind.DELETE: facts_module.Delete,
    Kind.PROGRESS: facts_module.Progress,
    Kind.OUTCOME: facts_module.Outcome,
    Kind.REJECT: facts_module.Reject,
}
# By name: the order of the union is nobody's promise.
MESSAGES: dict[str, type[Message]] = {
    type_.__name__.removesuffix("Message").upper(): type_ for type_ in get_args(Message)
}


def type_of(code: Type) -> type[Message]:
    return MESSAGES[code.name.replace("_", "")]


AGENTS = ("portal", "bridge", "cluster")


@pytest.mark.parametrize(("role", "name"), [(Role.HOP, "watching"), (Role.DESTINATION, "running")])
@pytest.mark.parametrize(("part", "make_part"), [("table", lifecycle_table), ("diagram", lifecycle_diagram)])
def test_the_life_of_a_job(role: Role, name: str, part: str, make_part: Callable[[Role], str]) -> None:
    assert TRANSITIONS[Role.ORIGIN] == TRANSITIONS[Role.HOP], "one table for both"
    wanted = make_part(role)
    assert generated(f"{name} {part}") == wanted, f"paste this:\n{wanted}"


def test_the_limits() -> None:
    limits = Limits()
    wanted = [[f"`{field.name}`", f"{getattr(limits, field.name):,}"] for field in fields(limits)]
    assert [row[:2] for row in rows("limit", "default")] == wanted, "\n".join(f"| {a} | {b} |" for a, b in wanted)


def test_every_message_is_described() -> None:
    wanted = [(f"{int(code)} {code.name}", list(type_of(code)._fields)) for code in Type]
    assert [(row[0], code_words(row[1])) for row in rows("message", "fields")] == wanted


def test_every_fact_is_described() -> None:
    wanted = [(f"{int(kind)} {kind.name.title()}", name) for kind in Kind for name in CONTENTS[kind]._fields]  # type: ignore[attr-defined]
    found = [(row[0], name) for row in rows("fact", "field") for name in code_words(row[1])]
    assert found == wanted


def test_every_reason_of_a_refused_record_is_in_the_one_table() -> None:
    wanted = {reason: consequence.name for reason, consequence in REASONS.items()}
    assert {code_words(row[0])[0]: code_words(row[3])[0] for row in rows("reason", "given when")} == wanted


def test_every_reason_of_a_refused_link_is_described() -> None:
    found = [word for row in rows("refusal", "when") for word in code_words(row[0])]
    assert found == list(get_args(refusal.Reason))


@pytest.mark.parametrize(
    "sentence",
    [
        f"A card has at most {card_file.MAX_CARD_BYTES:,} bytes, 1 to {card_file.MAX_ZONES} different zones",
        f"and lasts at most {card_file.MAX_LIFE_S // 86_400} days",
        f"`valid from - {card_file.SKEW_S} s <= now <= valid to`",
        f"(where the inviter listens; 1 to {invitation_file.MAX_URLS},",
        f"(CIDR, at most {invitation_file.MAX_RANGES}; empty is anywhere)",
        f"It lasts {invitation_file.LIFE_S // 3_600} hours by default and {invitation_file.MAX_LIFE_S // 86_400} days",
        f"subprotocol `{SUBPROTOCOL}`",
        f"| until the other end is authenticated | {PREAUTH_BYTES:,} bytes | {PREAUTH_MESSAGES} |",
        f"The prologue is the {len(PROLOGUE)} bytes `{PROLOGUE.decode()}`",
        f"{REKEY_FRAMES:,} frames or {REKEY_BYTES:,} bytes",
        f"one after the other, each at most {MESSAGE_BYTES:,} bytes",
        f"More than {MAX_FACTS} under one number",
        f"the next closes the link. A receiver tells {DETAIL} characters of detail",
        f"(the {TOLD_REFUSALS} oldest) until the sender's CONFIRM; {MAX_REFUSED} without one",
        f"cut to {ERROR_BYTES:,} bytes by its maker",
        f"cut to {REPORT_BYTES:,} bytes by its maker",
        f"No fact has more than {Limits().result_bytes + ROOM:,} bytes",
        f"credit x {SLACK}",
        f"the newest {KEPT} are kept",
        f"(the code does so {TRIM} numbers at a time)",
        f"What an agent signs in one step (1 to {BATCH} facts; more make several batches)",
        f"An unknown type of {OPTIONAL} or above is passed over",
    ],
)
def test_numbers_in_sentences(sentence: str) -> None:
    assert sentence in " ".join(text().split())


# -- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AGENTS)
def test_identities(name: str) -> None:
    given, one = vectors("vectors-identities"), identity(name)
    assert (one.public_key, one.link_public) == (given[f"{name}_public"], given[f"{name}_link_public"])
    assert one.fingerprint == given[f"{name}_fingerprint"]
    assert fingerprint_text(one.fingerprint) == given[f"{name}_text"]
    assert fingerprint_words(one.fingerprint) == given[f"{name}_words"]


def test_the_card() -> None:
    given = vectors("vectors-card")
    read_back = Card.parse(given["card"])
    version, name, kind, zones, *numbers = given["card_content"]
    assert pack(given["card_content"]) == given["card_body"]
    assert unpack(given["card"]) == [given["card_body"], given["card_signature"]]
    assert (version, name, kind, tuple(zones)) == (1, read_back.name, read_back.kind, read_back.zones)
    assert numbers == [
        *(read_back.public_key, read_back.link_public),
        *(read_back.serial, read_back.valid_from, read_back.valid_to),
    ]
    assert card("portal").data == given["card"]


def test_the_invitation() -> None:
    given = vectors("vectors-invitation")
    content = given["invitation_content"]
    _, id_, secret, card_data, urls, name, kind, zone, ranges, not_before, not_after = content
    given_out = [secret, id_]
    made = make_invitation(
        identity("portal"),
        Card.parse(card_data),
        urls=tuple(urls),
        name=name,
        zone=zone,
        now=not_before,
        random=lambda size: given_out.pop(),
        kind=kind,
        ranges=tuple(ranges),
        life_s=not_after - not_before,
    )
    assert b"hopboard/1/invitation\0" + pack(content) == given["invitation_signed"]
    assert made.signature == given["invitation_signature"]
    assert parse_invitation(made.to_toml(), not_before) == made
    assert pairing_id(given["pair_key"]) == given["pairing_id"]


def fact_names() -> list[str]:
    return [name.removesuffix("_content") for name in vectors("vectors-facts") if name.endswith("_content")]


@pytest.mark.parametrize("name", fact_names())
def test_facts(name: str) -> None:
    given = vectors("vectors-facts")
    kind = Kind[name.partition("_")[0].upper()]
    content = CONTENTS[kind](*given[f"{name}_content"])
    body, proof = given[f"{name}_body"], given[f"{name}_proof"]
    assert make(kind, content).body == body
    fact = decode(kind, body, proof)
    assert (fact.content, fact.job_id) == (content, given["job_id"])
    leaf = given[f"{name}_leaf"]
    assert leaf_of(kind, body) == fact.digest() == leaf
    signer = {"request": "portal", "cancel": "portal", "delete": "portal", "reject": "bridge"}.get(name, "cluster")
    assert Verifier(verify).holds(leaf, proof, identity(signer).public_key)
    assert not Verifier(verify).holds(leaf_of(kind, body + b"\0"), proof, identity(signer).public_key)


def test_the_job_id() -> None:
    given = vectors("vectors-facts")
    created = given["request_content"][10]
    assert job_id_of(created, given["request_body"]) == given["job_id"]


def test_one_signature_for_three_facts() -> None:
    given = vectors("vectors-facts")
    leaves = [given[f"{name}_leaf"] for name in ("progress_claimed", "progress_running", "outcome")]
    signed: list[bytes] = []

    def sign(data: bytes) -> bytes:
        signed.append(data)
        return identity("cluster").sign(data)

    proofs = [given[f"{name}_proof"] for name in ("progress_claimed", "progress_running", "outcome")]
    assert sign_batch(leaves, sign) == proofs
    assert signed == [b"hopboard/1/facts\0" + given["batch_root"]]
    assert len({proof[:64] for proof in proofs}) == 1


@pytest.mark.parametrize("name", sorted(vectors("vectors-bad-facts")))
def test_bytes_that_are_no_fact(name: str) -> None:
    body = vectors("vectors-bad-facts")[name]
    assert unpack(body), "the bytes are a document"
    with pytest.raises(FactError):
        decode(Kind[name.partition("_")[0].upper()], body, bytes(64))


def test_a_child_speaks_for_the_root_of_its_lineage() -> None:
    given = vectors("vectors-lineage")
    child = facts_module.Request(*given["child_content"])
    assert make(Kind.REQUEST, child).body == given["child_body"]
    speaker = speaker_of(child, Verifier(verify), Limits(), child.created_ms)
    assert speaker == Speaker(identity("portal").fingerprint, "add_user fred.proj.org")


def message_names() -> list[str]:
    return [name.removesuffix("_content") for name in vectors("vectors-messages") if name.endswith("_content")]


@pytest.mark.parametrize("name", message_names())
def test_messages(name: str) -> None:
    given = vectors("vectors-messages")
    code, *content = given[f"{name}_content"]
    message = type_of(Type(code))(*content)
    assert encode(Type(code), message) == given[name] == pack([code, *content])
    assert read(unpack(given[name])) == message


def test_there_is_a_vector_for_every_message() -> None:
    given = vectors("vectors-messages")
    assert {given[f"{name}_content"][0] for name in message_names()} == set(Type)


def test_a_frame_of_two_messages() -> None:
    given = vectors("vectors-messages")
    packer = FramePacker()
    packer.extend([given["ping"], given["confirm"]])
    assert packer.take() == [given["frame"]]
    assert unpack_frame(given["frame"]) == [given["ping_content"], given["confirm_content"]]


def test_a_conversation() -> None:
    wanted = conversation()
    found = re.search(r"```vectors-conversation\n(.*?)\n```", text(), re.DOTALL)
    assert found is not None
    assert found[1] == wanted, f"paste this:\n{wanted}"
