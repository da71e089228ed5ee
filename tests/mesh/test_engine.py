"""The engine as its driver sees it: the same inputs give the same effects, and every duty has its place."""

from __future__ import annotations

from random import Random

import pytest

from invitations.peers import InvitationRow
from mesh.effects import Answer, Due
from mesh.engine import DUE_PAGE, Engine
from mesh.facts import Kind
from mesh.lifecycle import TERMINAL, State
from mesh.limits import Limits
from mesh.opening import Snapshot
from mesh.origin import Put
from tests.mesh.pair import START_MS, TEXT, ZONE, Mesh, Pair, card_of, identity_of, peer_row


def engine(pair: Pair, seed: int = 1) -> Engine:
    node = pair.portal
    made = Engine(node.card, node.identity.sign, Random(seed).randbytes, node.limits, node.access)
    made.open(Snapshot())
    made.pair(peer_row(card_of("cluster")))
    return made


def test_the_same_inputs_give_the_same_effects() -> None:
    runs = []
    for _ in range(2):
        made = engine(Pair())
        steps = [made.end_step(START_MS)]
        for token in range(5):
            made.put(token, Put(ZONE, "portal.cluster", TEXT, key=f"k{token % 2}"), START_MS + token)
            steps.append(made.end_step(START_MS + token))
        runs.append([(step.batch, step.replies, step.queries, step.send) for step in steps])
    assert runs[0] == runs[1]
    other = engine(Pair(), seed=2)
    assert other.end_step(START_MS).batch.incarnations != runs[0][0][0].incarnations


def test_an_opening_is_committed_with_the_first_step() -> None:
    pair = Pair(connected=False)
    (_, first), *_ = [*pair.portal.store.open().incarnations, None]  # type: ignore[misc]
    assert first == 1
    pair.put("portal.cluster")
    pair.join()
    pair.crash("portal")
    assert [number for _, number in pair.portal.store.open().incarnations] == [1, 2]
    # An opening that gave out nothing starts where the one before did.
    pair.crash("portal")
    assert [number for _, number in pair.portal.store.open().incarnations] == [1, 2, 2]


def test_numbers_go_on_above_everything_that_was_stored() -> None:
    pair = Pair()
    for _ in range(3):
        pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    old = pair.portal.engine.ledger.next_number
    pair.crash("portal")
    assert pair.portal.engine.ledger.next_number == old
    assert pair.portal.engine.ledger.next_seq == 4


def test_jobs_may_be_put_for_an_agent_that_was_only_invited() -> None:
    pair = Pair()
    invitation = InvitationRow(*(b"i" * 16, b"s" * 32, "late", "instance", ZONE, (), 0, 1 << 40, None, 0, "open"))
    pair.portal.engine.expect(invitation)
    pair.step("portal")
    assert pair.portal.store.invitations() == [invitation]
    job_id = pair.put("portal.late")
    assert pair.portal.state(job_id) is State.PENDING
    pair.crash("portal")
    board = pair.portal.board("late")
    assert (board.fingerprint, board.waiting) == (None, {"0:": 1})
    pair.portal.engine.pair(peer_row(card_of("late", kind="instance")), invitation.burned(b"f" * 20))
    pair.step("portal")
    assert pair.portal.board("late").fingerprint == identity_of("late").fingerprint
    assert [row.state for row in pair.portal.store.invitations()] == ["used"]
    assert {row.name for row in pair.portal.store.peers()} == {"cluster", "late"}


def test_pairing_again_keeps_the_board() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    board = pair.portal.board("cluster")
    assert pair.portal.engine.pair(peer_row(pair.cluster.card)) is board
    pair.step("portal")
    pair.run_all("cluster")
    assert pair.portal.state(job_id) is State.COMPLETE


def test_a_board_that_is_not_there() -> None:
    assert Pair().portal.engine.board(ZONE, "nobody") is None
    assert Pair().portal.engine.board("moon", "cluster") is None


def test_deadlines() -> None:
    pair = Pair(connected=False)
    portal = pair.portal.engine
    pair.tick()
    quiet = portal.next_deadline_ms()
    assert quiet is None or quiet > START_MS
    pair.put("portal.cluster", life_s=5)
    assert portal.next_deadline_ms() == START_MS + 5_000
    pair.wait(6)
    later = portal.next_deadline_ms()
    assert later is None or later > START_MS + 6_000


def test_the_destination_reports_in_time() -> None:
    pair = Pair()
    pair.put("portal.cluster")
    pair.settle()
    pair.tick()
    deadline = pair.cluster.engine.next_deadline_ms()
    assert deadline is not None
    assert deadline <= START_MS + 100


def test_many_jobs_fall_due_page_by_page() -> None:
    pair = Pair(connected=False)
    ids = []
    for _ in range(DUE_PAGE + 20):
        pair.portal.engine.put(len(ids) + 1_000, Put(ZONE, "portal.cluster", TEXT, life_s=5), START_MS)
        ids.append(len(ids) + 1_000)
    pair.step("portal")
    later = pair.put("portal.cluster", life_s=50)
    pair.portal.queries.clear()
    pair.wait(6)
    assert [query.limit for query in pair.portal.queries if isinstance(query, Due)] == [DUE_PAGE, DUE_PAGE]
    states = [pair.portal.state(pair.portal.replies[token]) for token in ids]  # type: ignore[arg-type]
    assert states == [State.EXPIRED] * len(ids)
    assert pair.portal.state(later) is State.PENDING
    assert pair.portal.engine.next_deadline_ms() is not None


def test_due_is_asked_for_once_at_a_time() -> None:
    pair = Pair(connected=False)
    pair.put("portal.cluster", life_s=5)
    pair.hold("portal")
    pair.tick(6)
    pair.tick(1)
    asked = [query for effects, _ in pair.portal.held for query in effects.queries if isinstance(query, Due)]
    assert len(asked) == 1
    pair.release("portal")
    assert [list(State)[row.state] for row in pair.portal.store.rows.values()] == [State.EXPIRED]


def test_what_comes_while_the_store_is_asked_falls_due_in_its_time() -> None:
    pair = Pair(connected=False)
    pair.put("portal.cluster", life_s=5)
    pair.hold("portal")
    pair.tick(6)
    pair.portal.engine.put(1_000, Put(ZONE, "portal.cluster", TEXT, life_s=2), pair.now_ms)
    pair.step("portal")
    pair.release("portal")
    pair.wait(3)
    assert [list(State)[row.state] for row in pair.portal.store.rows.values()] == [State.EXPIRED] * 2


def test_what_has_not_fallen_due_is_left_alone() -> None:
    pair = Pair(connected=False)
    job_id = pair.put("portal.cluster", life_s=50)
    rows = list(pair.portal.store.rows.values())
    query = Due(START_MS, DUE_PAGE, 1, ())
    pair.portal.engine.answer(Answer(query, rows, START_MS + 50_000), START_MS)
    pair.step("portal")
    assert pair.portal.state(job_id) is State.PENDING


def test_recovery_is_paged() -> None:
    pair = Pair(limits={"cluster": Limits(handlers=1)})
    ids = []
    for token in range(300):
        pair.portal.engine.put(1_000 + token, Put(ZONE, "portal.cluster", TEXT), START_MS)
    pair.step("portal")
    ids = [row.id for _, row in sorted(pair.portal.store.rows.items())]
    pair.settle()
    pair.crash("cluster")
    pair.join()
    # One was running, the others had never started.
    pair.run_all("cluster")
    assert [pair.cluster.state(one) for one in ids] == [State.COMPLETE] * 300


def test_two_commands_for_one_job_on_disk() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.portal.engine.ledger.jobs.clear()
    for token in (51, 52):
        pair.portal.engine.cancel(token, job_id, START_MS)
    pair.step("portal")
    assert (pair.portal.replies[51], pair.portal.replies[52]) == (job_id, job_id)


def test_an_agent_is_origin_hop_and_destination_at_once() -> None:
    mesh = Mesh(("a", "b"), ("b", "c"))
    ids = [mesh.put("a.b.c"), mesh.put("b.a", "idle"), mesh.put("c.b", "idle"), mesh.put("c.b.a", "idle")]
    mesh.settle()
    for _ in range(2):
        for name in "abc":
            mesh.run_all(name)
    for job_id, origin in zip(ids, "abcc", strict=True):
        assert mesh[origin].state(job_id) is State.COMPLETE


def test_what_its_driver_may_ask() -> None:
    mesh = Mesh(("a", "b"), ("b", "c"), limits={"b": Limits(handlers=7)})
    job_id = mesh.put("a.b", "idle")
    mesh.settle()
    made = mesh["b"].engine
    assert made.limits == Limits(handlers=7)
    assert [board.name for board in made.boards] == ["a", "c"]
    assert made.zone_of(job_id) == ZONE


def test_a_newer_card_of_our_own_is_shown() -> None:
    pair = Pair()
    card = card_of("portal", zones=(ZONE, "moon"), serial=2)
    pair.portal.engine.show(card)
    assert pair.portal.engine.card == card
    assert pair.portal.engine.ledger.trust.cards[card.fingerprint] == card


def test_an_operator_says_whom_to_believe_and_it_stays_so() -> None:
    mesh = Mesh(("a", "b"), ("b", "c"))
    mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    pins = mesh["a"].engine.ledger.trust.pins
    assert pins[ZONE, "b.c"] == identity_of("c").fingerprint
    for fingerprint in (b"f" * 20, b""):
        mesh["a"].engine.trust(ZONE, "b.c", fingerprint)
        mesh.step("a")
        mesh.crash("a")
        assert mesh["a"].engine.ledger.trust.pins.get((ZONE, "b.c")) == (fingerprint or None)
    mesh.connect("a", "b")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE


# -- any schedule -------------------------------------------------------------------------------------------------

LINE = (("a", "b"), ("b", "c"), ("c", "d"))
PATHS = ("a.b.c.d", "a.b.c", "b.c", "c.b.a", "d.c.b.a", "a.b")


def play(draw: Random) -> tuple[Mesh, list[tuple[str, bytes]]]:
    """Half a hundred random things: messages one by one, cuts, crashes, slow commits, ends of handlers."""
    limits = {
        name: Limits(
            window_records=draw.choice((2, 5, 4_096)),
            credit_jobs=draw.choice((2, 4, 20_000)),
            handlers=draw.choice((1, 4, 256)),
            resident_jobs=draw.choice((2, 8, 8_192)),
        )
        for name in "abcd"
    }
    mesh = Mesh(*LINE, limits=limits)
    jobs: list[tuple[str, bytes]] = []
    for _ in range(draw.randint(30, 90)):
        name, ends, path = draw.choice("abcd"), draw.choice(LINE), draw.choice(PATHS)
        node = mesh[name]
        match draw.choices(
            ("put", "deliver", "cut", "connect", "crash", "hold", "release", "finish", "cancel", "delete", "tick"),
            (20, 35, 8, 8, 5, 4, 6, 6, 3, 1, 1),
        )[0]:
            case "put" if not mesh[path[0]].holding:
                jobs.append((path, mesh.put(path, "idle")))
            case "deliver":
                for way in draw.sample(list(mesh.wire), k=min(1, len(mesh.wire))):
                    mesh.deliver(*way, most=draw.randint(1, 6))
            case "cut":
                mesh.cut(*ends)
            case "connect" if not mesh.links[frozenset(ends)]:
                mesh.connect(*ends)
            case "crash":
                mesh.crash(name)
            case "hold":
                mesh.hold(name)
            case "release":
                mesh.release(name, draw.choice((None, 1, 2)))
            case "finish" if node.starts:
                mesh.finish(name, node.starts.pop(draw.randrange(len(node.starts))).job_id)
            case "cancel" | "delete" as verb if jobs:
                origin, job_id = draw.choice(jobs)
                if not mesh[origin[0]].holding:
                    getattr(mesh, verb)(origin[0], job_id)
            case "tick":
                mesh.tick(draw.random())
    return mesh, jobs


def heal(mesh: Mesh) -> None:
    """End all faults, and every handler."""
    for node in mesh.nodes.values():
        mesh.release(node.name)
    for ends in LINE:
        mesh.reconnect(*ends)
    while running := [(node, job_id) for node in mesh.nodes.values() for job_id in node.engine.destination.running]:
        for node, job_id in running:
            mesh.finish(node.name, job_id)
        mesh.settle()
    mesh.wait(1)


@pytest.mark.parametrize("seed", range(40))
def test_after_any_schedule_every_job_is_over_and_all_boards_are_equal(seed: int) -> None:
    mesh, jobs = play(Random(seed))
    heal(mesh)
    for path, job_id in jobs:
        assert mesh[path[0]].state(job_id) in TERMINAL
    for one, other in LINE:
        for name, peer in ((one, other), (other, one)):
            board = mesh[name].board(peer)
            assert (board.open, board.exchanging, board.inbox.refused) == (True, False, {})
            assert (board.offered, board.accepted, board.waiting, board.outbox.flight) == ({}, {}, {}, {})
        for _, job_id in jobs:
            if mesh[one].knows(job_id) and mesh[other].knows(job_id):
                assert facts(mesh, one, job_id) == facts(mesh, other, job_id)


def facts(mesh: Mesh, name: str, job_id: bytes) -> set[tuple[Kind, bytes]]:
    return {(fact.kind, fact.body) for fact in mesh[name].job(job_id).facts if fact is not None}
