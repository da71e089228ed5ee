"""Engines joined by links that a test holds in its hand: no event loop, no socket, time by hand.

In the manner of h11's ConnectionPair. `Mesh` is any set of agents with real identities and memory stores; `Pair` is
the two agents most tests need, with short names for its only link. Messages wait on a link until they are delivered,
one at a time or all of them; a cut loses them; a crash throws an engine away and opens a new one on the same store.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from grammar.errors import MeshError
from grammar.instruction import Declaration
from grammar.openportal import VOCABULARY as OPENPORTAL
from invitations.card import Card, make_card
from invitations.identity import Identity
from invitations.peers import PeerRow
from mesh.access import Access
from mesh.board import Board
from mesh.codec import unpack
from mesh.effects import Effects, Lost, Query, Start, Told
from mesh.ending import Ending
from mesh.engine import Engine
from mesh.facts import Fact, Kind, make
from mesh.job import Job
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import END, FactMessage, Hello, Message, read
from mesh.origin import Put
from mesh.proof import leaf_of, sign_batch
from mesh.storage.memory import MemoryStore

START_MS = 1_700_000_000_000
ZONE = "lab"
TEXT = "add_user fred.proj.org"
DONE = Ending(State.COMPLETE, "str", '"done"')
VOCABULARY = OPENPORTAL.extended(
    Declaration("charge", idempotent=False), Declaration("restart", right="admin"), Declaration("idle")
)


def identity_of(name: str) -> Identity:
    """The same keys for the same name in every test."""
    return Identity.generate(Random(name).randbytes)


def card_of(
    name: str, *, zones: tuple[str, ...] = (ZONE,), kind: str = "custom", key: str | None = None, serial: int = 1
) -> Card:
    """The card of the agent `name`, under the keys of `key` if it is another agent that only says so."""
    return make_card(identity_of(key or name), name=name, kind=kind, zones=zones, serial=serial, now=START_MS / 1000)


def signed(signer: str, kind: Kind, content: Any) -> Fact:
    """A fact with a good proof of the agent `signer`."""
    fact = make(kind, content)
    (fact.proof,) = sign_batch([leaf_of(kind, fact.body)], identity_of(signer).sign)
    return fact


@dataclass
class Node:
    """One agent: its store survives a crash, its engine and what hangs on it do not."""

    name: str
    identity: Identity
    card: Card
    store: MemoryStore
    limits: Limits
    access: Access
    random: Random
    skew_ms: int = 0
    engine: Engine = field(init=False)
    boards: list[str] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    stops: list[bytes] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    replies: dict[int, bytes | MeshError] = field(default_factory=dict)
    changed: list[bytes] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    holding: bool = False
    held: deque[tuple[Effects, int]] = field(default_factory=deque)
    committing: bool = False
    queries: list[Query] = field(default_factory=list)

    def board(self, name: str) -> Board:
        board = self.engine.board(ZONE, name)
        assert board is not None
        return board

    def job(self, job_id: bytes) -> Job:
        """The job as the store holds it."""
        for row in self.store.rows.values():
            if row.id == job_id:
                return Job.from_row(row, self.engine.ledger.place_on)
        raise KeyError(f"{self.name} does not hold the job")

    def knows(self, job_id: bytes) -> bool:
        return any(row.id == job_id for row in self.store.rows.values())

    def state(self, job_id: bytes) -> State:
        return self.job(job_id).state


class Mesh:
    """Agents and the links between them.

    Args:
        links: pairs of names; the first of each pair needs no meaning.
        limits: by agent, where they are not the default ones.
        access: further arguments of `Access`, by agent.
        kinds: kinds of agents that are not "custom".
        connected: whether every link is made at once.
    """

    def __init__(
        self,
        *links: tuple[str, str],
        limits: Mapping[str, Limits] | None = None,
        access: Mapping[str, Mapping[str, Any]] | None = None,
        kinds: Mapping[str, str] | None = None,
        connected: bool = True,
    ) -> None:
        self.now_ms = START_MS
        self.nodes: dict[str, Node] = {}
        self.links: dict[frozenset[str], bool] = {}
        self.made: dict[frozenset[str], int] = {}
        self.turn = 0
        self.wire: dict[tuple[str, str], deque[bytes]] = defaultdict(deque)
        self.seen: list[tuple[str, str, Message]] = []
        self._token = 0
        for name in dict.fromkeys(name for ends in links for name in ends):
            rules: dict[str, Any] = {"vocabulary": VOCABULARY, "runs": None, **dict((access or {}).get(name, {}))}
            kind = (kinds or {}).get(name, "custom")
            node = Node(
                name,
                identity_of(name),
                card_of(name, kind=kind),
                MemoryStore(),
                (limits or {}).get(name, Limits()),
                Access(name, **rules),
                Random(f"numbers of {name}"),
            )
            self.nodes[name] = node
        for ends in links:
            self.links[frozenset(ends)] = False
        for node in self.nodes.values():
            self.start(node.name)
        if connected:
            for ends in links:
                self.connect(*ends)
            self.settle()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def neighbours(self, name: str) -> list[str]:
        return [other for ends in self.links if name in ends for other in ends - {name}]

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Open an engine on what the store holds."""
        node = self.nodes[name]
        node.engine = Engine(node.card, node.identity.sign, node.random.randbytes, node.limits, node.access)
        node.engine.open(node.store.open())
        for other in self.neighbours(name):
            if node.engine.board(ZONE, other) is None:
                node.engine.pair(peer_row(self.nodes[other].card))
        self.step(name)

    def crash(self, name: str) -> None:
        """Kill an agent, with what it had not committed, and start it again; its links are cut."""
        node = self.nodes[name]
        node.held.clear()
        node.holding = False
        for other in self.neighbours(name):
            self.cut(name, other)
        node.held.clear()
        node.starts.clear()
        node.stops.clear()
        self.start(name)

    def restore(self, name: str, store: MemoryStore) -> None:
        """Kill an agent and start it on another store."""
        self.nodes[name].store = store
        self.crash(name)

    # -- links --------------------------------------------------------------------------------------------------

    def connect(self, one: str, other: str) -> None:
        """Make a link; both greetings wait to be delivered."""
        assert not self.links[frozenset((one, other))], "the link is up"
        self.links[frozenset((one, other))] = True
        self.turn += 1
        self.made[frozenset((one, other))] = self.turn
        for name, peer in ((one, other), (other, one)):
            node = self.nodes[name]
            node.engine.greet(node.board(peer), self.clock(name))
            self.step(name)

    def cut(self, one: str, other: str) -> None:
        """Cut a link; what is on its way is lost."""
        ends = frozenset((one, other))
        self.wire[one, other].clear()
        self.wire[other, one].clear()
        if not self.links[ends]:
            return
        self.links[ends] = False
        for name, peer in ((one, other), (other, one)):
            node = self.nodes[name]
            node.engine.disconnected(node.board(peer))
            self.step(name)

    def reconnect(self, one: str, other: str) -> None:
        self.cut(one, other)
        self.connect(one, other)
        self.settle()

    def waiting(self, sender: str, receiver: str) -> list[Message]:
        """What is on its way, oldest first."""
        return [message for packed in self.wire[sender, receiver] if (message := read(unpack(packed))) is not None]

    def deliver(self, sender: str, receiver: str, most: int = 1) -> list[Message]:
        """Deliver the oldest messages of one direction, each in a step of its own."""
        delivered: list[Message] = []
        while self.wire[sender, receiver] and len(delivered) < most:
            message = read(unpack(self.wire[sender, receiver].popleft()))
            assert message is not None
            delivered.append(message)
            self.inject(sender, receiver, message)
        return delivered

    def inject(self, sender: str, receiver: str, *messages: Message) -> None:
        """Let `receiver` get messages as if `sender` had sent them, in one step."""
        node = self.nodes[receiver]
        rest = list(messages)
        self.seen += [(sender, receiver, message) for message in messages]
        if isinstance(rest[0], Hello):
            node.engine.connected(node.board(sender), rest.pop(0), self.clock(receiver))  # type: ignore[arg-type]
        if rest:
            node.engine.received(node.board(sender), rest, self.clock(receiver))
        self.step(receiver)

    def settle(self) -> None:
        """Deliver everything until nobody says anything any more."""
        for _ in range(10_000):
            busy = [way for way, packed in self.wire.items() if packed]
            if not busy:
                return
            for sender, receiver in busy:
                self.deliver(sender, receiver)
        raise AssertionError("the agents never stop talking")

    def sent(self, sender: str, receiver: str, kind: type[Message]) -> list[Any]:
        """Messages of a kind that were delivered so far."""
        return [
            message for one, other, message in self.seen if (one, other) == (sender, receiver) and type(message) is kind
        ]

    def record(self, sender: str, receiver: str, *facts: Fact, number: int | None = None, flags: int = 0) -> None:
        """Let `receiver` get a record that nobody's engine made, under the next number of the sender."""
        if number is None:
            ledger, outbox = self.nodes[sender].engine.ledger, self.nodes[sender].board(receiver).outbox
            number = ledger.next_number
            ledger.next_number += 1
            outbox.last = number
            outbox.sent(number, facts[0].job_id, 0)
        messages: list[Message] = [
            FactMessage(number, flags | (END if fact is facts[-1] else 0), fact.kind, fact.body, fact.proof)
            for fact in facts
        ]
        self.inject(sender, receiver, *messages)

    def refusals(self, sender: str, receiver: str) -> list[str]:
        """Reasons that `receiver` gave for records of `sender` and that are not confirmed yet."""
        return [reason for reason, _ in self.nodes[receiver].board(sender).inbox.refused.values()]

    # -- steps --------------------------------------------------------------------------------------------------

    def clock(self, name: str) -> int:
        return self.now_ms + self.nodes[name].skew_ms

    def step(self, name: str) -> None:
        """End the step of an agent and carry it out in the order of `effects`."""
        node = self.nodes[name]
        early = node.engine.early()
        if early is not None:
            node.told += early.told
            for board_id, packed in early.ahead.items():
                self._send(node, board_id, packed, self.turn)
        effects = node.engine.end_step(self.clock(name))
        node.held.append((effects, self.turn))
        if not node.holding and not node.committing:
            self.release(name)

    def hold(self, name: str) -> None:
        """Let the commits of an agent wait, as on a slow disk."""
        self.nodes[name].holding = True

    def release(self, name: str, most: int | None = None) -> None:
        """Commit what waits, oldest first, and do what comes after each commit; with `most`, go on holding."""
        node = self.nodes[name]
        node.holding = most is not None
        node.committing = True
        while node.held and most != 0:
            most = None if most is None else most - 1
            self._carry_out(node, *node.held.popleft())
        node.committing = False

    def _carry_out(self, node: Node, effects: Effects, turn: int) -> None:
        engine = node.engine
        node.store.apply([effects.batch])
        engine.committed(effects.step)
        for board_id, packed in (*effects.send.items(), *effects.slices.items()):
            self._send(node, board_id, packed, turn)
        node.starts += effects.start
        node.stops += effects.stop
        node.changed += effects.changed
        node.alarms += effects.alarms
        node.lost += effects.lost
        for reply in effects.replies:
            node.replies[reply.token] = reply.result
        for query in effects.queries:
            node.queries.append(query)
            engine.answer(node.store.read(query), self.clock(node.name))
            self.step(node.name)
        for board_id, reason in effects.close:
            node.closed.append(reason)
            self.cut(node.name, engine.ledger.boards[board_id].name)

    def _send(self, node: Node, board_id: int, packed: list[bytes], turn: int) -> None:
        # What a step sent belongs to the link that stood when it ended.
        other = node.engine.ledger.boards[board_id].name
        ends = frozenset((node.name, other))
        if self.links[ends] and self.made[ends] <= turn:
            self.wire[node.name, other].extend(packed)

    # -- wishes -------------------------------------------------------------------------------------------------

    def ask(self, name: str, verb: Callable[[Engine, int, int], None]) -> bytes | MeshError | None:
        """Call a verb of an engine with a token and the time; its reply, None while it waits."""
        self._token += 1
        verb(self.nodes[name].engine, self._token, self.clock(name))
        self.step(name)
        return self.nodes[name].replies.get(self._token)

    def put(self, path: str, text: str = TEXT, **wishes: Any) -> bytes:
        """Put a job at the first agent of `path`; its id."""
        wish = Put(wishes.pop("zone", ZONE), path, text, **wishes)
        result = self.ask(path.partition(".")[0], lambda engine, token, now_ms: engine.put(token, wish, now_ms))
        if isinstance(result, MeshError):
            raise result
        assert result is not None
        return result

    def cancel(self, name: str, job_id: bytes) -> bytes | MeshError | None:
        return self.ask(name, lambda engine, token, now_ms: engine.cancel(token, job_id, now_ms))

    def delete(self, name: str, job_id: bytes) -> bytes | MeshError | None:
        return self.ask(name, lambda engine, token, now_ms: engine.delete(token, job_id, now_ms))

    def finish(self, name: str, job_id: bytes, ending: Ending = DONE) -> None:
        """End the handler of a job."""
        self.nodes[name].engine.finished(job_id, ending, self.clock(name))
        self.step(name)

    def run_all(self, name: str) -> None:
        """End every handler that was started, and settle, until none is left."""
        while self.nodes[name].starts:
            start = self.nodes[name].starts.pop(0)
            self.finish(name, start.job_id)
            self.settle()

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass and every agent look at its clock once."""
        self.now_ms += int(seconds * 1000)
        for name, node in self.nodes.items():
            node.engine.tick(self.clock(name))
            self.step(name)

    def wait(self, seconds: float) -> None:
        """Let time pass from deadline to deadline, delivering everything."""
        end = self.now_ms + int(seconds * 1000)
        self.settle()
        for _ in range(10_000):
            deadlines = [due for node in self.nodes.values() if (due := node.engine.next_deadline_ms()) is not None]
            next_ms = min(deadlines, default=end + 1)
            if next_ms > end:
                self.now_ms = end
                return
            self.now_ms = max(self.now_ms, next_ms)
            self.tick()
            self.settle()
        raise AssertionError("there is always another deadline")


class Pair(Mesh):
    """Two agents and their link: jobs go from `portal` to `cluster`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(("portal", "cluster"), **arguments)
        self.portal = self["portal"]
        self.cluster = self["cluster"]

    def join(self) -> None:
        self.connect("portal", "cluster")
        self.settle()

    def part(self) -> None:
        self.cut("portal", "cluster")

    def down(self, most: int = 1) -> list[Message]:
        """Deliver the next messages from portal to cluster."""
        return self.deliver("portal", "cluster", most)

    def up(self, most: int = 1) -> list[Message]:
        """Deliver the next messages from cluster to portal."""
        return self.deliver("cluster", "portal", most)

    def states(self, job_id: bytes) -> tuple[State, State]:
        return self.portal.state(job_id), self.cluster.state(job_id)


def peer_row(card: Card) -> PeerRow:
    """The row of a peer whose key was pinned by an invitation."""
    return PeerRow(
        fingerprint=card.fingerprint,
        zone=card.zones[0],
        name=card.name,
        kind=card.kind,
        card=card.data,
        link_public=card.link_public,
        pair_key=None,
        invitation_id=None,
        secret=None,
        urls=(),
        ranges=(),
        state="pinned",
    )


def facts_in(messages: Iterable[Message]) -> list[str]:
    """The kinds of facts among messages, for comparing at a glance."""
    return [Kind(message.kind).name.lower() for message in messages if isinstance(message, FactMessage)]
