"""Ends on their way home through a hop: under which number, and who knows when they are there (R7)."""

from __future__ import annotations

import pytest

from mesh.dispatch import PAGE
from mesh.ending import Ending
from mesh.facts import VERSION, Kind, Reject
from mesh.ledger import TRIM
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import FactMessage, Hello
from mesh.storage.memory import MemoryStore
from tests.mesh.blob_mesh import LARGE, chain, leftovers, result_of, stored
from tests.mesh.pair import DONE, START_MS, ZONE, Mesh, Pair, identity_of, signed

CHAIN = (("a", "b"), ("b", "c"))


def over_at_c(mesh: Mesh, jobs: int = 1) -> list[bytes]:
    """Jobs of a that c has done, while b has no link to a."""
    ids = [mesh.put("a.b.c") for _ in range(jobs)]
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("c")
    return ids


def away(mesh: Mesh) -> tuple[int, int]:
    """How many ends that came from c are not home as far as b knows: with a number, and from before its opening."""
    inbox = mesh["b"].board("c").inbox
    return len(inbox.away), inbox.strays


def is_home(mesh: Mesh, job_id: bytes) -> bool:
    """Whether c takes the end of a job to be home."""
    lane = mesh["c"].job(job_id).up
    assert lane is not None
    return lane.number <= mesh["c"].board("b").outbox.home


def greet(mesh: Mesh, peer: str, name: str) -> None:
    """Connect two agents. `name` takes all that `peer` says in the step in which it reads the first page of what it is
    to send: as when both wait while it commits the greeting."""
    node = mesh[name]
    mesh.connect(peer, name)
    mesh.deliver(name, peer)
    hello, *rest = mesh.waiting(peer, name)
    mesh.wire[peer, name].clear()
    assert isinstance(hello, Hello)
    node.engine.connected(node.board(peer), hello, mesh.now_ms)
    effects = node.engine.end_step(mesh.now_ms)
    node.store.apply([effects.batch])
    node.engine.committed(effects.step)
    for packed in effects.send.values():
        mesh.wire[name, peer].extend(packed)
    for query in effects.queries:
        node.engine.answer(node.store.read(query), mesh.now_ms)
    node.engine.received(node.board(peer), rest, mesh.now_ms)
    mesh.step(name)


def exchange_up(mesh: Mesh) -> None:
    """Let a and b say everything, and see that c takes nothing to be home that a does not have."""
    ids = [row.id for row in mesh["c"].store.rows.values()]
    while mesh.wire["a", "b"] or mesh.wire["b", "a"]:
        for one, other in (("b", "a"), ("a", "b"), ("b", "c")):
            mesh.deliver(one, other)
            early = [job_id for job_id in ids if is_home(mesh, job_id) and not mesh["a"].knows(job_id)]
            assert not early
    mesh.settle()


def all_home(mesh: Mesh, ids: list[bytes]) -> bool:
    """Whether jobs are over, and everybody knows that."""
    outbox = mesh["c"].board("b").outbox
    over = all(mesh["a"].state(one) is State.COMPLETE and is_home(mesh, one) for one in ids)
    return over and away(mesh) == (0, 0) and not mesh["b"].board("a").outbox.relayed and outbox.home == outbox.last


# -- a full exchange with the agent above -----------------------------------------------------------------------------


def test_what_the_agent_above_brings_itself_while_it_is_to_be_sent_again_is_home() -> None:
    """b lost its store, and hears of the job from c first. Then a brings all of it in the step in which b reads the row
    for a: so nothing goes up, and no number of that board will ever be home."""
    mesh = Mesh(*CHAIN)
    ids = over_at_c(mesh)
    mesh.connect("a", "b")
    mesh.settle()
    mesh.restore("b", MemoryStore())
    mesh.connect("b", "c")
    mesh.settle()
    assert away(mesh) == (1, 0)
    mesh.seen.clear()
    greet(mesh, "a", "b")
    mesh.settle()
    assert not mesh["b"].board("a").exchanging
    assert not mesh.sent("b", "a", FactMessage)
    assert all_home(mesh, ids)


def test_what_came_before_a_full_exchange_is_home_when_it_is_told_again() -> None:
    """a takes all below the first number of b's opening as received, and so as home: also what it has lost."""
    mesh = Mesh(*CHAIN)
    old = mesh["a"].store.copy()
    ids = over_at_c(mesh, 3)
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.settle()
    assert away(mesh) == (0, 3)
    # The board of b in a's old copy knows no position of this one: found out by what b knows acknowledged.
    mesh.restore("a", old)
    mesh.connect("a", "b")
    exchange_up(mesh)
    assert any("lost what" in alarm for alarm in mesh["b"].alarms)
    assert all_home(mesh, ids)


def test_an_old_number_is_not_home_with_the_new_one_of_another_job() -> None:
    """The first job that comes again has a number above those that all of them had before."""
    mesh = Mesh(*CHAIN)
    old = mesh["a"].store.copy()
    ids = over_at_c(mesh, 3)
    assert away(mesh) == (3, 0)
    mesh.restore("a", old)
    mesh.connect("a", "b")
    exchange_up(mesh)
    assert all_home(mesh, ids)


def test_nothing_is_trimmed_before_a_full_exchange_has_told_it() -> None:
    """portal takes all below the first number of cluster's opening as home, and says so while a page is to be read."""
    pair = Pair(limits={"cluster": Limits(resident_jobs=8)})
    old = pair.portal.store.copy()
    ids = [pair.put("portal.cluster") for _ in range(PAGE + 40)]
    pair.settle()
    pair.part()
    # Numbers rise over all boards of a store, of which another one was busy.
    pair.cluster.engine.ledger.next_number += TRIM
    pair.run_all("cluster")
    pair.crash("cluster")
    pair.restore("portal", old)
    greet(pair, "portal", "cluster")
    pair.settle()
    assert {pair.portal.state(one) for one in ids} == {State.COMPLETE}


def test_what_is_said_to_be_home_during_a_full_exchange_is_heeded_at_its_end() -> None:
    """The last page is empty: all is home before it is read, and nothing is acknowledged after it."""
    mesh = Mesh(*CHAIN)
    old = mesh["a"].store.copy()
    ids = over_at_c(mesh, PAGE)
    mesh.restore("a", old)
    mesh.connect("a", "b")
    mesh.deliver("b", "a")
    b = mesh["b"]
    mesh.hold("b")
    mesh.deliver("a", "b")
    mesh.release("b", 1)
    # The first page is numbered, and is sent with its commit, before the second one is asked for.
    effects, turn = b.held.popleft()
    queries, effects.queries = effects.queries, []
    mesh.holding = True  # type: ignore[attr-defined]
    b.held.appendleft((effects, turn))
    mesh.release("b")
    mesh.settle()
    assert b.board("a").outbox.flight == {}
    assert b.board("a").exchanging
    for query in queries:
        b.engine.answer(b.store.read(query), mesh.now_ms)
        mesh.step("b")
    mesh.settle()
    assert all_home(mesh, ids)


def test_a_full_exchange_that_is_cut_again_and_again_brings_everything_home_in_the_end() -> None:
    mesh = Mesh(*CHAIN)
    old = mesh["a"].store.copy()
    ids = over_at_c(mesh, 5)
    mesh.restore("a", old)
    for steps in range(1, 14):
        mesh.connect("a", "b")
        for _ in range(steps):
            for one, other in (("a", "b"), ("b", "a"), ("b", "c")):
                mesh.deliver(one, other)
                assert all(mesh["a"].knows(job_id) for job_id in ids if is_home(mesh, job_id))
        mesh.cut("a", "b")
        if steps % 4 == 0:
            mesh.crash("b")
            mesh.connect("b", "c")
            mesh.settle()
    mesh.connect("a", "b")
    exchange_up(mesh)
    assert all_home(mesh, ids)


# -- a full exchange with the agent below -----------------------------------------------------------------------------


def test_a_number_that_a_restored_store_gives_again_is_not_home_with_its_first_life() -> None:
    """c gave number 2 to the end of a job of a; its old copy does not know that, and gives it to one of d."""
    mesh = Mesh(("a", "b"), ("d", "b"), ("b", "c"))
    of_d = mesh.put("d.b.c", "add_user jane.proj.net")
    mesh.settle()
    of_a = mesh.put("a.b.c")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.cut("d", "b")
    mesh.finish("c", of_d)
    mesh.settle()
    old = mesh["c"].store.copy()
    mesh.finish("c", of_a)
    mesh.settle()
    inbox = mesh["b"].board("c").inbox
    assert list(inbox.away) == [1, 2]
    mesh.restore("c", old)
    mesh.connect("b", "c")
    mesh.settle()
    assert list(inbox.away) == [2]
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(of_a) is State.COMPLETE
    assert not is_home(mesh, of_d)
    mesh.connect("d", "b")
    mesh.settle()
    assert mesh["d"].state(of_d) is State.COMPLETE
    assert is_home(mesh, of_d)
    assert away(mesh) == (0, 0)


# -- another number ---------------------------------------------------------------------------------------------------


def test_an_end_that_moves_to_another_number_is_home_with_that_one() -> None:
    """a has not acknowledged the Outcome when a Reject comes, which goes up beside it under another number."""
    mesh = Mesh(("a", "b"), ("b", "c"), ("c", "d"))
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    mesh.finish("d", job_id)
    mesh.deliver("d", "c", 9)
    mesh.deliver("c", "b", 9)
    outbox, inbox = mesh["b"].board("a").outbox, mesh["b"].board("c").inbox
    ((number, (_, theirs)),) = outbox.relayed.items()
    content = Reject(VERSION, job_id, identity_of("c").fingerprint, "c", "lost", "gone", "", START_MS)
    mesh.record("c", "b", signed("c", Kind.REJECT, content))
    lane = mesh["b"].job(job_id).up
    assert lane is not None
    assert lane.number > number
    assert list(outbox.relayed) == [lane.number]
    # Below, the job has the later one.
    assert len(inbox.away) == 1
    assert theirs not in inbox.away
    mesh.settle()
    assert not inbox.away


@pytest.mark.parametrize("ending", [DONE, LARGE])
def test_an_outcome_is_away_with_the_reject_beside_it_that_goes_up_later(ending: Ending) -> None:
    """b has the Outcome, and is then told c's own Reject in place of one that it brought: of the two numbers b takes
    the later one for what is not home."""
    mesh = chain("a", "b", "c", "d")
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.finish("d", job_id, ending)
    mesh.settle()
    contents = [Reject(VERSION, job_id, identity_of("c").fingerprint, "c", "lost", word, "", START_MS) for word in "xy"]
    kept, other = sorted((signed("c", Kind.REJECT, content) for content in contents), key=lambda fact: fact.digest())
    for fact in (kept, other):
        mesh.record("b", "c", fact)
        mesh.settle()
    assert mesh["b"].job(job_id).reject == kept.content
    outbox = mesh["d"].board("c").outbox
    assert outbox.home < outbox.last
    assert ending is DONE or stored(mesh, "c", job_id, Kind.OUTCOME) is not None
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert outbox.home == outbox.last
    assert not mesh["c"].board("b").outbox.relayed
    assert stored(mesh, "c", job_id, Kind.OUTCOME) is None
    assert leftovers(mesh) == {}


def test_an_outcome_is_away_after_a_restart_though_the_reject_beside_it_was_refused() -> None:
    """b believes d's Reject no more than any word of d, and has the Outcome of e, which a has not."""
    mesh = Mesh(("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))
    job_id = mesh.put("a.b.c.d.e")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.finish("e", job_id)
    mesh.settle()
    mesh["b"].engine.trust(ZONE, "c.d", identity_of("x").fingerprint)
    mesh.step("b")
    contents = [Reject(VERSION, job_id, identity_of("d").fingerprint, "d", "lost", word, "", START_MS) for word in "xy"]
    for fact in sorted((signed("d", Kind.REJECT, content) for content in contents), key=lambda fact: fact.digest()):
        mesh.record("c", "d", fact)
        mesh.settle()
    assert any("identity_changed" in alarm for alarm in mesh["c"].alarms)
    mesh.crash("c")
    mesh.connect("c", "d")
    mesh.settle()
    outbox = mesh["e"].board("d").outbox
    assert outbox.home < outbox.last
    mesh.connect("b", "c")
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert outbox.home == outbox.last


# -- an end that the agent above has as well --------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["b", "d"])
def test_an_end_that_the_hop_above_brought_is_home_when_it_is_at_the_origin(first: str) -> None:
    """c lost its store and hears of the job from both sides. b has the end, and a does not."""
    mesh = Mesh(("a", "b"), ("b", "c"), ("c", "d"))
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    mesh.cut("a", "b")
    mesh.run_all("d")
    mesh.restore("c", MemoryStore())
    for other in (first, "d" if first == "b" else "b"):
        mesh.connect(other, "c")
        mesh.settle()
    outbox, lane = mesh["d"].board("c").outbox, mesh["d"].job(job_id).up
    assert lane is not None
    assert outbox.acked >= lane.number > outbox.home
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert outbox.home >= lane.number
    assert not mesh["c"].board("d").inbox.away
    assert not mesh["b"].board("c").inbox.away


def test_an_outcome_that_gives_way_to_another_one_is_not_home_before_that_one() -> None:
    """Two lives of a destination ended the job, and one end is kept: nothing of the job may go before that is home."""
    mesh = Mesh(*CHAIN)
    (job_id,) = over_at_c(mesh)
    outcome = mesh["c"].job(job_id).outcome
    assert outcome is not None
    mesh.record("c", "b", signed("c", Kind.OUTCOME, outcome._replace(ended_ms=START_MS + 7)))
    inbox = mesh["b"].board("c").inbox
    assert mesh["b"].alarms
    assert mesh.refusals("c", "b") == []
    assert inbox.home < inbox.number
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert inbox.home == inbox.number


def test_a_large_result_that_came_again_is_home_with_its_later_number() -> None:
    """Of its first number b knows no more than that there was one, and the agents on both sides begin anew."""
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    old_a = mesh["a"].store.copy()
    mesh.put("a.b", "idle")
    mesh.settle()
    mesh.cut("a", "b")
    mesh["c"].engine.progress(job_id, "half way", 0.5, mesh.now_ms)
    mesh.step("c")
    mesh.finish("c", job_id, LARGE)
    mesh.settle()
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.settle()
    # With the number of the report, and with its bytes, which have yet to go.
    assert away(mesh) == (0, 2)
    old_c = mesh["c"].store.copy()
    mesh.put("b.c", "idle")
    mesh.settle()
    mesh.restore("c", old_c)
    mesh.connect("b", "c")
    mesh.settle()
    assert away(mesh) == (0, 0)
    outcome = mesh["c"].job(job_id).facts[Kind.OUTCOME]
    assert outcome is not None
    mesh.record("c", "b", outcome)
    number = mesh["b"].board("c").inbox.number
    assert away(mesh) == (1, 0)
    mesh.restore("a", old_a)
    mesh.connect("a", "b")
    while any(mesh.wire.values()):
        for ends in list(mesh.wire):
            mesh.deliver(*ends)
            assert mesh["c"].board("b").outbox.home < number or mesh["a"].state(job_id) is State.COMPLETE
    assert away(mesh) == (0, 0)
    assert mesh["c"].board("b").outbox.home >= number


def test_a_large_result_that_is_told_again_before_its_page_is_read_is_not_home_with_its_first_number() -> None:
    """a went back to before its Cancel, which goes up at once when a asks, and the Outcome behind its bytes only."""
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    old = mesh["a"].store.copy()
    mesh.cancel("a", job_id)
    mesh.settle()
    mesh.finish("c", job_id, LARGE)
    while not mesh["b"].board("a").outbox.relayed:
        for one, other in ("cb", "bc", "ba", "ab"):
            mesh.deliver(one, other)
    mesh.cut("a", "b")
    mesh.settle()
    assert away(mesh) == (1, 0)
    mesh.restore("a", old)
    mesh.connect("a", "b")
    mesh.hold("b")
    while mesh.wire["a", "b"] or mesh.wire["b", "a"]:
        mesh.deliver("b", "a")
        mesh.deliver("a", "b")
    mesh.release("b")
    while any(mesh.wire.values()):
        for ends in list(mesh.wire):
            mesh.deliver(*ends)
            assert not is_home(mesh, job_id) or mesh["a"].job(job_id).outcome is not None
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()
    assert leftovers(mesh) == {}
    assert all_home(mesh, [job_id])


def test_a_large_result_is_not_home_with_a_reject_that_comes_again() -> None:
    """Of the number of the Outcome b knows no more than that there was one; of the Reject it has told a before."""
    mesh = chain("a", "b", "c", "d")
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    content = Reject(VERSION, job_id, identity_of("c").fingerprint, "c", "lost", "gone", "", START_MS)
    reject = signed("c", Kind.REJECT, content)
    mesh.record("c", "b", reject)
    mesh.settle()
    mesh.cut("a", "b")
    mesh.finish("d", job_id, LARGE)
    mesh.settle()
    mesh.crash("b")
    mesh.connect("b", "c")
    mesh.settle()
    assert away(mesh) == (0, 1)
    mesh.record("c", "b", reject)
    inbox = mesh["b"].board("c").inbox
    assert inbox.home < inbox.number
    mesh.connect("a", "b")
    mesh.settle()
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()
    assert inbox.home == inbox.number


def test_a_large_result_that_meets_another_outcome_at_the_hop_above_is_not_home_before_that_one() -> None:
    """d went back to before it ended the job, and c with it; b has the first Outcome, and nobody has told a."""
    mesh = chain("a", "b", "c", "d")
    job_id = mesh.put("a.b.c.d")
    mesh.settle()
    mesh.cut("a", "b")
    copies = {name: mesh[name].store.copy() for name in "cd"}
    mesh.finish("d", job_id)
    mesh.settle()
    for name, copy in copies.items():
        mesh.restore(name, copy)
    mesh.connect("c", "d")
    mesh.settle()
    mesh.finish("d", job_id, LARGE)
    mesh.settle()
    mesh.connect("b", "c")
    mesh.settle()
    assert any("has two outcomes" in alarm for alarm in mesh["c"].alarms)
    outbox = mesh["d"].board("c").outbox
    assert outbox.home < outbox.last
    mesh.connect("a", "b")
    mesh.settle()
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert outbox.home == outbox.last
    assert leftovers(mesh) == {}
