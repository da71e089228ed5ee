"""Reads PROTOCOL.md and makes, from the code, the parts of it that are made from the code.

A value in a vector block is either bytes, `name = hex`, or a document, `name := JSON` with bytes as `h'0102'`; lines
that go on are indented.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from grammar.instruction import Declaration
from grammar.vocabulary import Vocabulary
from invitations.card import Card, make_card
from invitations.identity import Identity
from invitations.peers import PeerRow
from mesh import facts as facts_module
from mesh.access import Access
from mesh.codec import unpack
from mesh.ending import Ending
from mesh.engine import Engine
from mesh.lifecycle import TRANSITIONS, Event, Role, State
from mesh.limits import Limits
from mesh.messages import Hello, Type, read
from mesh.origin import Put
from mesh.storage.memory import MemoryStore

DOCUMENT = Path(facts_module.__file__).parent / "PROTOCOL.md"
CARD_FROM = 1_700_000_000
NOW_MS = 1_700_000_100_000
ZONE = "lab"
PATH = "portal.cluster"


# -- reading the document ---------------------------------------------------------------------------------------------


def text() -> str:
    """The document."""
    return DOCUMENT.read_text(encoding="utf-8")


def vectors(tag: str) -> dict[str, Any]:
    """The named values of the blocks with that tag: bytes, or what the JSON says."""
    found: dict[str, Any] = {}
    for block in re.findall(rf"```{tag}\n(.*?)```", text(), re.DOTALL):
        for name, sign, value in re.findall(
            r"^(\S+) (:?=)((?:[ \n]+[^\n]+(?=\n))(?:\n +[^\n]+)*)", block, re.MULTILINE
        ):
            assert name not in found, f"{name} is there twice"
            found[name] = told(value) if sign == ":=" else bytes.fromhex(value)
    assert found, f"the document has no block {tag}"
    return found


def told(notation: str) -> Any:
    """A value of the document's notation."""
    return _with_bytes(json.loads(re.sub(r"h'([0-9a-f\s]*)'", lambda hit: json.dumps("h'" + hit[1]), notation)))


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
    found = re.search(rf"<!-- generated: {name} -->\n(.*?)\n<!-- end -->", text(), re.DOTALL)
    assert found is not None, f"the document has no generated part {name}"
    return found[1].strip()


def rows(*heads: str) -> list[list[str]]:
    """The cells of every row of the tables whose first cells are `heads`."""
    found: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\n)+", text(), re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        if lines[0][: len(heads)] == list(heads):
            found += lines[2:]
    assert found, f"the document has no table {heads}"
    return found


def code_words(cell: str) -> list[str]:
    """What stands in backquotes."""
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


# -- the agents of the vectors ---------------------------------------------------------------------------------------


def identity(name: str) -> Identity:
    """The keys of an agent of the document."""
    given = vectors("vectors-identities")
    return Identity(given[f"{name}_seed"], given[f"{name}_link_private"])


def card(name: str) -> Card:
    """Its card."""
    kind = "portal" if name == "portal" else "instance"
    return make_card(identity(name), name=name, kind=kind, zones=(ZONE,), serial=1, now=CARD_FROM)


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
                lines.append(
                    f"{len(lines) + 1:02}_{sender.name}_says_{Type(code).name} :=\n    {shown([code, *content])}"
                )
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
