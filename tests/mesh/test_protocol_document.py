"""PROTOCOL.md says what the code does: its tables are compared, its vectors executed, both ways.

A value in a vector block is either bytes, `name = hex`, or a document, `name := JSON` with bytes as `h'0102'`; lines
that go on are indented. Where a table or a conversation differs from the code, the failure shows what the code says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from invitations import invitation as invitation_file
from invitations import refusal
from invitations.card import Card, make_card
from invitations.fingerprint import fingerprint_text, fingerprint_words
from invitations.identity import Identity
from invitations.invitation import make_invitation
from invitations.peers import pairing_id
from mesh import facts as facts_module
from mesh.arrival import REASONS
from mesh.codec import pack, unpack
from mesh.facts import Content, Kind
from mesh.lifecycle import TRANSITIONS, Event, Role, State
from mesh.limits import Limits
from mesh.messages import Message, Type

DOCUMENT = (Path(facts_module.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
CONTENTS: dict[Kind, Callable[..., Content]] = {
    Kind.REQUEST: facts_module.Request,
    Kind.CANCEL: facts_module.Cancel,
    Kind.DELETE: facts_module.Delete,
    Kind.PROGRESS: facts_module.Progress,
    Kind.OUTCOME: facts_module.Outcome,
    Kind.REJECT: facts_module.Reject,
}
MESSAGES = {code: type_ for code, type_ in zip(Type, get_args(Message), strict=True)}
CARD_FROM = 1_700_000_000
NOW_MS = 1_700_000_100_000
ZONE = "lab"
PATH = "portal.cluster"
AGENTS = ("portal", "bridge", "cluster")


# -- reading the document ---------------------------------------------------------------------------------------------


def vectors(tag: str) -> dict[str, Any]:
    """The named values of the blocks with that tag: bytes, or what the JSON says."""
    found: dict[str, Any] = {}
    for block in re.findall(rf"```{tag}\n(.*?)```", DOCUMENT, re.DOTALL):
        for name, sign, value in re.findall(r"^(\S+) (:?=)((?:[ \n]+[^\n]+(?=\n))(?:\n +[^\n]+)*)", block, re.MULTILINE):
            assert name not in found, f"{name} is there twice"
            found[name] = told(value) if sign == ":=" else bytes.fromhex(value)
    assert found, f"the document has no block {tag}"
    return found


def told(text: str) -> Any:
    """A value of the document's notation."""
    return _with_bytes(json.loads(re.sub(r"h'([0-9a-f\s]*)'", lambda hit: json.dumps("h'" + hit[1]), text)))


def _with_bytes(value: Any) -> Any:
    match value:
        case str() if value.startswith("h'"):
            return bytes.fromhex(value[2:])
        case list():
            return [_with_bytes(item) for item in value]
        case dict():
            return {key: _with_bytes(item) for key, item in value.items()}
        case _:
            return value


def shown(value: Any) -> str:
    """`value` in the document's notation."""
    match value:
        case bytes():
            return f"h'{value.hex()}'"
        case list() | tuple():
            return f"[{', '.join(map(shown, value))}]"
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)}: {shown(item)}" for key, item in value.items()) + "}"
        case _:
            return json.dumps(value)


def generated(name: str) -> str:
    """What stands between the marks of a generated part."""
    found = re.search(rf"<!-- generated: {name} -->\n(.*?)\n<!-- end -->", DOCUMENT, re.DOTALL)
    assert found is not None, f"the document has no generated part {name}"
    return found[1].strip()


def rows(*heads: str) -> list[list[str]]:
    """The cells of every row of the tables whose first cells are `heads`."""
    found: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\n)+", DOCUMENT, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        if lines[0][: len(heads)] == list(heads):
            found += lines[2:]
    assert found, f"the document has no table {heads}"
    return found


def code_words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# -- what the document is made of -------------------------------------------------------------------------------------


def lifecycle_table(role: Role) -> str:
    """A role's part of the lifecycle as a table: rows are states, columns what happens."""
    table = TRANSITIONS[role]
    events = [event for event in Event if any(event in row for row in table.values())]
    lines = [["", *events], ["---"] * (len(events) + 1)]
    lines += [[f"**{state}**", *(row.get(event, "") for event in events)] for state, row in table.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def lifecycle_diagram(role: Role) -> str:
    """The same as a diagram: states that behave alike share a box, and an arrow says what leads along it."""
    table = TRANSITIONS[role]
    boxes: list[list[State]] = []
    for state, row in table.items():
        box = next((box for box in boxes if table[box[0]] == row), None)
        if box is None:
            boxes.append([state])
        else:
            box.append(state)
    name_of = {state: "_".join(box) for box in boxes for state in box}
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{" / ".join(box)}" as {"_".join(box)}' for box in boxes if len(box) > 1]
    for box in boxes:
        arrows: dict[str, list[str]] = {}
        for event, target in table[box[0]].items():
            arrows.setdefault(name_of[target], []).append(event)
        lines += [f"    {name_of[box[0]]} --> {target}: {', '.join(events)}" for target, events in arrows.items()]
    return "\n".join([*lines, "```"])


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
    wanted = [(f"{int(code)} {code.name}", list(MESSAGES[code]._fields)) for code in Type]
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


# -- vectors ----------------------------------------------------------------------------------------------------------


def identity(name: str) -> Identity:
    given = vectors("vectors-identities")
    return Identity(given[f"{name}_seed"], given[f"{name}_link_private"])


def card(name: str) -> Card:
    kind = "portal" if name == "portal" else "instance"
    return make_card(identity(name), name=name, kind=kind, zones=(ZONE,), serial=1, now=CARD_FROM)


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
    assert invitation_file.parse_invitation(made.to_toml(), not_before) == made
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
    assert leaf_of(kind, body) == given[f"{name}_leaf"]
    signer = {"request": "portal", "cancel": "portal", "delete": "portal", "reject": "bridge"}.get(name, "cluster")
    assert Verifier(verify).holds(kind, body, proof, identity(signer).public_key)
    assert not Verifier(verify).holds(kind, body + b"\0", proof, identity(signer).public_key)


def test_the_job_id_and_the_digest() -> None:
    given = vectors("vectors-facts")
    created = given["request_content"][10]
    assert job_id_of(created, given["request_body"]) == given["job_id"]
    outcome = decode(Kind.OUTCOME, given["outcome_body"], given["outcome_proof"])
    assert outcome.digest() == given["outcome_digest"]


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
    message = MESSAGES[Type(code)](*content)
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


# -- a conversation ---------------------------------------------------------------------------------------------------


class End:
    """One agent of the conversation; everything random of it is one byte, repeated."""

    def __init__(self, name: str, peer: str, byte: int, limits: Limits) -> None:
        vocabulary = Vocabulary([Declaration("greet")])
        access = Access(name, vocabulary, runs=frozenset({"greet"}), told=("greet",))
        self.name = name
        self.store = MemoryStore()
        self.engine = Engine(card(name), identity(name).sign, lambda size: bytes((byte,)) * size, limits, access)
        self.engine.open(self.store.open())
        row = card(peer)
        self.engine.pair(
            PeerRow(
                fingerprint=row.fingerprint, zone=ZONE, name=peer, kind=row.kind, card=row.data,
                link_public=row.link_public, pair_key=None, invitation_id=None, secret=None, urls=(), ranges=(),
                state="pinned",
            )
        )  # fmt: skip
        self.step(NOW_MS)
        board = self.engine.board(ZONE, peer)
        assert board is not None
        self.board = board

    def step(self, now_ms: int) -> list[bytes]:
        """Commit, and what is sent after it."""
        effects = self.engine.end_step(now_ms)
        self.store.apply([effects.batch])
        sent = [packed for packed_list in effects.send.values() for packed in packed_list]
        for query in effects.queries:
            self.engine.answer(self.store.read(query), now_ms)
            sent += self.step(now_ms)
        return sent

    def take(self, packed: list[bytes], now_ms: int) -> list[bytes]:
        """What is said after these messages, each read from its bytes."""
        messages = [message for data in packed if (message := read(unpack(data))) is not None]
        if messages and isinstance(messages[0], Hello):
            self.engine.connected(self.board, messages.pop(0), now_ms)  # type: ignore[arg-type]
        if messages:
            self.engine.received(self.board, messages, now_ms)
        return self.step(now_ms)


def conversation() -> str:
    """Two agents greet; one job is done, another is refused; as the lines of the document."""
    portal = End("portal", "cluster", 0xA1, Limits())
    cluster = End("cluster", "portal", 0xC1, Limits(life_max_s=7_200.0))
    lines: list[str] = []

    def say(sender: End, packed: list[bytes], now_ms: int) -> None:
        """Note what is said and deliver it, back and forth, until nobody answers."""
        while packed:
            for data in packed:
                code, *content = unpack(data)
                lines.append(f"{len(lines) + 1:02}_{sender.name}_says_{Type(code).name} :=\n    {shown([code, *content])}")
            sender = cluster if sender is portal else portal
            packed = sender.take(packed, now_ms)

    greetings = []
    for end in (portal, cluster):
        end.engine.greet(end.board, NOW_MS)
        greetings.append(end.step(NOW_MS))
    answers = []
    for end, greeting in ((portal, greetings[0]), (cluster, greetings[1])):
        lines.append(f"{len(lines) + 1:02}_{end.name}_says_HELLO :=\n    {shown(unpack(greeting[0]))}")
    for end, greeting in ((portal, greetings[1]), (cluster, greetings[0])):
        answers.append((end, end.take(greeting, NOW_MS)))
    for end, packed in answers:
        say(end, packed, NOW_MS)
    portal.engine.put(1, Put(ZONE, PATH, "greet"), NOW_MS + 10)
    say(portal, portal.step(NOW_MS + 10), NOW_MS + 20)
    (job_id,) = cluster.engine.destination.running
    cluster.engine.finished(job_id, Ending(State.COMPLETE, "str", '"hello"'), NOW_MS + 30)
    say(cluster, cluster.step(NOW_MS + 30), NOW_MS + 40)
    portal.engine.put(2, Put(ZONE, PATH, "greet", life_s=86_400.0), NOW_MS + 50)
    say(portal, portal.step(NOW_MS + 50), NOW_MS + 60)
    states = [job.state for job in portal.engine.ledger.jobs.values()]
    assert states == [State.COMPLETE, State.REJECTED]
    return "\n".join(lines)


def test_a_conversation() -> None:
    wanted = conversation()
    found = re.search(r"```vectors-conversation\n(.*?)\n```", DOCUMENT, re.DOTALL)
    assert found is not None
    assert found[1] == wanted, f"paste this:\n{wanted}"
