"""Named situations, each in a few lines: what a reference system fails, and what delivery rules were made for."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from mesh.facts import Kind
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.messages import FactMessage, Message
from mesh.room import Room
from mesh.simulation.history import Told
from mesh.simulation.program import POISON
from mesh.simulation.simulation import Simulation
from mesh.simulation.verdict import violations
from mesh.simulation.world import Faults

CHAIN = (("a", "b"), ("b", "c"))
QUIET = Faults(crash=0.0, lumps=0.0, fails=0.0, reports=0.0)


def made(links: tuple[tuple[str, ...], ...] = CHAIN, **wishes: object) -> Simulation:
    """A mesh without random faults, whose links stand."""
    wishes.setdefault("faults", QUIET)
    wishes.setdefault("seed", 7)
    run = Simulation(links, **wishes)  # type: ignore[arg-type]
    run.run(1)
    return run


def put(run: Simulation, path: str = "a.b.c", text: str = "add_user fred.proj.org", **wishes: object) -> bytes:
    """Put a job and give its id, which is durable."""
    before = set(run.history.told)
    run.put(path, text, **wishes)  # type: ignore[arg-type]
    run.run(0.05)
    (job_id,) = [one for one, told in run.history.told.items() if one not in before and told.acknowledged]
    return job_id


def told(run: Simulation, job_id: bytes) -> Told:
    return run.history.told[job_id]


def state(run: Simulation, name: str, job_id: bytes) -> State:
    return run.hosts[name].jobs()[job_id].state


def settled(run: Simulation, seconds: float = 60.0) -> Simulation:
    """Heal the mesh, let it settle, and see that every invariant held."""
    run.heal(seconds)
    assert violations(run) == []
    return run


def lost_and_back(run: Simulation, name: str) -> None:
    """Take an agent's store away, and wait until it is back."""
    run.stores.lose(name)
    run.run(8)


# -- crashes and links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_s", [0.01, 0.05, 0.1, 0.5, 1.0, 2.0])
def test_every_agent_killed_at_once_loses_no_job(after_s: float) -> None:
    run = made()
    ids = [put(run, text=f"add_user u{number}.proj.org") for number in range(20)]
    run.run(after_s)
    for name in run.hosts:
        run.crash(name)
    settled(run)
    assert {state(run, "a", job_id) for job_id in ids} == {State.COMPLETE}
    assert all(run.history.effects[job_id] == 1 for job_id in ids)


def test_a_silent_link_is_replaced_within_seconds() -> None:
    """The far end vanishes without a word: pings find out, and the next link carries what waited."""
    run = made()
    run.stall("b", "c", 10_000)
    job_id = put(run)
    run.run(30)
    assert state(run, "a", job_id) is State.PENDING
    run.wires.between("b", "c").stalled_ms = 0
    run.run(10)
    assert state(run, "a", job_id) is State.COMPLETE
    settled(run)


def test_jobs_for_an_absent_peer_run_when_it_comes_and_expired_ones_say_so() -> None:
    run = made(limits=Limits(credit_jobs=50))
    run.cut("b", "c", down_s=60)
    lasting = [put(run, text=f"add_user u{number}.proj.org") for number in range(100)]
    brief = [put(run, text=f"add_user v{number}.proj.org", life_s=20) for number in range(10)]
    run.run(90)
    settled(run)
    assert {state(run, "a", job_id) for job_id in lasting} == {State.COMPLETE}
    assert {state(run, "a", job_id) for job_id in brief} == {State.EXPIRED}
    assert not any(run.history.starts[job_id] for job_id in brief)


def test_a_board_with_unfinished_jobs_resumes_with_what_changed() -> None:
    """15: after a short cut only records above the acknowledged number travel."""
    run = made(
        (("a", "b"),), limits=Limits(handlers=1), faults=Faults(delay_ms=5, handler_ms=60_000, crash=0.0, lumps=0.0)
    )
    for number in range(300):
        run.put("a.b", f"add_user u{number}.proj.org")
    run.run(20)
    sent: list[Message] = []
    sending = run.hosts["a"].points.sending

    def count(board_id: int, peer: str, messages: list[Message]) -> None:
        sent.extend(message for message in messages if isinstance(message, FactMessage))
        sending(board_id, peer, messages)

    run.hosts["a"].points.sending = count  # type: ignore[method-assign,assignment]
    run.cut("a", "b", down_s=1)
    run.put("a.b", "add_user last.proj.org")
    run.run(5)
    assert len(sent) == 1


# -- full disks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_disks_that_fill_up_at_any_moment_lose_nothing(seed: int) -> None:
    """R10: rooms come and go among crashes and cuts; in the end every job that was acknowledged is done."""
    run = made((("a", "b"), ("b", "c"), ("b", "d")), seed=seed, faults=Faults())
    draw = Random(seed)
    for number in range(30):
        path = draw.choice(["a.b.c", "a.b.d", "c.b.a", "b.d"])
        run.put(path, f"add_user u{number}.proj.org", on_reply=lambda _: None)
        run.run(draw.uniform(0.0, 0.4))
        full = draw.choice([Room.DISK_FULL, Room.STORE_FULL])
        run.fill(draw.choice("abcd"), full, seconds=draw.uniform(0.0, 2.0))
        if draw.random() < 0.1:
            run.crash(draw.choice("abcd"))
        if draw.random() < 0.1:
            run.cut(*draw.choice([("a", "b"), ("b", "c")]))
    settled(run)
    acknowledged = [job_id for job_id, told in run.history.told.items() if told.acknowledged]
    assert acknowledged
    assert all(not run.hosts[told(run, one).path[0]].jobs()[one].live for one in acknowledged)


# -- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [-600, 600])
def test_a_clock_ten_minutes_off_is_named_and_no_job_is_lost(skew_s: int) -> None:
    run = made((("a", "b"),), skews_ms={"b": skew_s * 1000})
    job_id = put(run, "a.b")
    run.run(30)
    assert state(run, "a", job_id) is State.PENDING
    assert run.history.starts[job_id] == 0
    assert "set them right" in run.hosts["a"].board(run.wires.between("a", "b")).credit_reason
    assert any("the clock of" in alarm.text for alarm in run.history.alarms)
    run.hosts["b"].skew_ms = 0
    run.cut("a", "b", down_s=1)
    run.run(30)
    assert state(run, "a", job_id) is State.COMPLETE


@pytest.mark.parametrize("skew_s", [-600, 600])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_clock_that_is_set_right_lets_jobs_go_on_the_same_link(name: str, skew_s: int) -> None:
    run = made(skews_ms={name: skew_s * 1000})
    job_id = put(run)
    run.run(30)
    assert run.history.starts[job_id] == 0
    cuts = run.history.cuts
    run.hosts[name].skew_ms = 0
    run.run(90)
    assert state(run, "a", job_id) is not State.PENDING
    assert run.history.cuts == cuts
    if state(run, "a", job_id) is not State.COMPLETE:
        # It was made by a clock that was ten minutes ahead or behind: then somebody says so.
        assert name == "a"
        assert run.hosts["a"].jobs()[job_id].reject is not None


def test_a_job_that_waited_for_a_clock_says_so_when_it_expires() -> None:
    run = made((("a", "b"),), skews_ms={"b": 600_000})
    job_id = put(run, "a.b", life_s=20)
    run.run(30)
    reject = run.hosts["a"].jobs()[job_id].reject
    assert reject is not None
    assert reject.message == (
        'expired at "a" while waiting for "b": the clocks of "b" and "a" are 600 s apart: set them right'
    )


# -- cancel and delete ----------------------------------------------------------------------------------------------


def test_a_cancel_reaches_a_running_handler() -> None:
    run = made(faults=Faults(handler_ms=100_000, crash=0.0, lumps=0.0, reports=0.0))
    job_id = put(run)
    run.run(1)
    assert run.history.starts[job_id] == 1
    run.cancel(job_id)
    settled(run)
    outcome = run.hosts["a"].jobs()[job_id].outcome
    assert outcome is not None
    assert outcome.state == State.CANCELLED
    assert outcome.unknown_effect


def test_a_cancel_that_overtakes_the_start_wins() -> None:
    run = made(limits=Limits(handlers=1), faults=Faults(handler_ms=5_000, crash=0.0, lumps=0.0))
    ids = [put(run, text=f"add_user u{number}.proj.org") for number in range(8)]
    run.run(0.5)
    run.cancel(ids[-1])
    settled(run)
    assert state(run, "a", ids[-1]) is State.CANCELLED
    assert run.history.starts[ids[-1]] == 0


def test_a_deleted_job_stays_deleted_whatever_comes_back() -> None:
    """The destination is put back to a time before the delete: the tombstone is told to it again."""
    run = made()
    job_id = put(run)
    run.run(5)
    run.stores.keep_copy("c")
    run.delete(job_id)
    run.run(5)
    run.stores.restore("c")
    run.run(10)
    settled(run)
    assert {state(run, name, job_id) for name in run.hosts} == {State.DELETED}


# -- stores ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b", "c"])
def test_a_lost_store_is_noticed_and_every_job_ends(name: str) -> None:
    run = made()
    done = [put(run, text=f"add_user u{number}.proj.org") for number in range(5)]
    run.run(10)
    waiting = [put(run, text=f"add_user v{number}.proj.org") for number in range(5)]
    lost_and_back(run, name)
    settled(run)
    assert any("lost what" in alarm.text for alarm in run.history.alarms)
    assert {state(run, "a", job_id) for job_id in done} == {State.COMPLETE}
    assert {state(run, "a", job_id) for job_id in waiting} == {State.COMPLETE}


def test_a_job_counts_as_put_though_its_agent_stops_before_anybody_is_told() -> None:
    """The last commit of a clean stop makes it durable: what its destination loses afterwards is lost after the put."""
    run = made(faults=Faults(commit_ms=50, crash=0.0, lumps=0.0, reports=0.0, fails=0.0))
    run.put("a.b.c", "add_user fred.proj.org")
    run.stop("a")
    put_ms = run.world.now_ms
    (job_id,) = run.hosts["a"].jobs()
    assert (told(run, job_id).put_ms, told(run, job_id).acknowledged) == (put_ms, False)
    while not run.history.starts[job_id]:
        run.run(0.005)
    run.cut("b", "c", down_s=20)
    run.run(5)
    assert state(run, "c", job_id) is State.COMPLETE
    lost_and_back(run, "c")
    settled(run)
    assert (run.history.starts[job_id], run.history.deaths[job_id]) == (2, 0)
    assert set(told(run, job_id).durable) == {State.COMPLETE}, "of what it committed, the ends"


def test_what_is_not_idempotent_does_not_run_again_for_a_lost_store() -> None:
    """R5: a Request that may have been there before ends as lost, with its effect unknown."""
    run = made(faults=Faults(handler_ms=60_000, crash=0.0, lumps=0.0, reports=0.0, fails=0.0))
    job_id = put(run, text="charge")
    run.run(2)
    assert run.history.starts[job_id] == 1
    lost_and_back(run, "c")
    settled(run)
    outcome = run.hosts["a"].jobs()[job_id].outcome
    assert outcome is not None
    assert outcome.error is not None
    assert outcome.error[0] == "lost"
    assert outcome.unknown_effect
    assert run.history.starts[job_id] == 1


@pytest.mark.parametrize("later", ["lab", "den"])
def test_a_loss_that_shows_in_one_zone_is_known_in_the_other(later: str) -> None:
    """R4: one store has one sequence of numbers, so a Request that is sent again in either zone may have run."""
    run = made((("a", "b", "lab"), ("a", "b", "den")))
    run.stores.keep_copy("a")
    put(run, "b.a", zone="den")
    run.run(5)
    job_id = put(run, "b.a", "charge")
    while not run.history.starts[job_id]:
        run.run(0.001)
    for zone in ("lab", "den"):
        # Before b is told of it.
        wire = run.wires.between("a", "b", zone)
        wire.allowed = False
        run.wires.down(wire)
    run.run(5)
    run.stores.restore("a")
    run.run(8)
    for zone in sorted(("lab", "den"), key=later.__eq__):
        wire = run.wires.between("a", "b", zone)
        wire.allowed = True
        run.wires.dial(wire)
        run.run(5)
    settled(run)
    assert run.history.starts[job_id] == 1
    outcome = run.hosts["b"].jobs()[job_id].outcome
    assert outcome is not None
    assert (outcome.error or [""])[0] == "lost"


def test_what_is_not_idempotent_is_interrupted_by_a_crash() -> None:
    run = made(faults=Faults(handler_ms=60_000, crash=0.0, lumps=0.0, reports=0.0, fails=0.0))
    job_id = put(run, text="charge")
    run.run(2)
    run.crash("c")
    settled(run)
    outcome = run.hosts["a"].jobs()[job_id].outcome
    assert outcome is not None
    assert outcome.error is not None
    assert outcome.error[0] == "interrupted"
    assert run.history.starts[job_id] == 1


def test_a_store_that_comes_back_beside_its_restored_copy_is_noticed() -> None:
    """Two lives of one store: each time the other one comes, what was committed of the first is missed."""
    run = made((("a", "b"),))
    put(run, "a.b")
    run.run(5)
    run.stores.keep_copy("b")
    run.crash("b", down_s=1)
    run.run(10)
    put(run, "a.b", "add_user g.proj.org")
    run.run(5)
    newer = run.hosts["b"].disk.copy()
    run.stores.restore("b")
    run.run(10)
    missed = [alarm for alarm in run.history.alarms if "lost what" in alarm.text and alarm.name == "a"]
    assert len(missed) == 1
    put(run, "a.b", "add_user h.proj.org")
    run.run(5)
    run.hosts["b"].copies.append((run.world.now_ms, newer))
    run.stores.restore("b")
    run.run(10)
    missed = [alarm for alarm in run.history.alarms if "lost what" in alarm.text and alarm.name == "a"]
    assert len(missed) == 2
    settled(run)


@pytest.mark.parametrize("lost", ["c", "bc", "bd", "ace", "bcd"])
@pytest.mark.parametrize("seed", range(8))
def test_ends_come_home_through_stores_that_are_lost_side_by_side(lost: str, seed: int) -> None:
    """R7: both neighbours of a hop, a hop between them, or all three, while links come and go during the exchanges."""
    links = (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))
    run = made(links, seed=seed, faults=Faults(crash=0.0, fails=0.0, lumps=0.6, delay_ms=20))
    draw = Random(seed)

    def work(seconds: float) -> None:
        for path in ("a.b.c.d.e", "e.d.c.b.a", "b.c.d", "d.c.b"):
            run.put(path, f"add_user fred.proj.{path[0]}", on_reply=lambda _: None)
        run.run(seconds)

    work(draw.uniform(0.1, 1))
    for name in lost:
        run.stores.keep_copy(name)
    run.cut(*draw.choice(links), down_s=4)
    work(draw.uniform(0.5, 2))
    for name in draw.sample(lost, len(lost)):
        (run.stores.restore if draw.random() < 0.5 else run.stores.lose)(name)
        run.run(draw.choice([0.0, 2.0]))
    for _ in range(4):
        run.cut(*draw.choice(links), down_s=0.1)
        work(draw.uniform(0.0, 0.5))
    settled(run)


def test_an_idempotency_key_is_one_job_across_crashes() -> None:
    run = made()
    ids = set()
    for _ in range(5):
        run.put("a.b.c", "add_user fred.proj.org", key="once", on_reply=ids.add)
        run.run(0.2)
        run.crash("a", down_s=0.1)
        run.run(1)
    settled(run)
    assert len(ids) == 1
    assert len(run.history.keys["a", "once"]) == 1


def test_ids_are_forgotten_after_their_horizon_and_not_before() -> None:
    """11 and R7: memory is bounded, and what could still be accepted is known."""
    run = made(limits=Limits(run_s=60.0, ping_s=600.0, dead_s=1_500.0))
    job_id = put(run, life_s=60)
    run.run(3_600)
    assert all(job_id in run.hosts[name].jobs() for name in run.hosts)
    run.run(7_200)
    put(run, text="add_user later.proj.org")
    run.run(120)
    assert job_id not in run.hosts["b"].jobs()
    assert job_id not in run.hosts["c"].jobs()
    assert violations(run) == []


def test_an_outcome_has_the_same_bytes_everywhere() -> None:
    run = made()
    job_id = put(run)
    settled(run)
    facts = {run.hosts[name].jobs()[job_id].facts[Kind.OUTCOME] for name in run.hosts}
    assert len({fact.body for fact in facts if fact is not None}) == 1


def test_a_mesh_has_not_settled_while_a_caller_has_yet_to_ask() -> None:
    """Quiet for seconds, and then a job comes that kills its agent: `heal` waits for what becomes of both."""
    run = made((("a", "b"),))
    run.later(9_000, lambda: run.put("a.b", POISON))
    settled(run)
    (job_id,) = run.history.told
    assert state(run, "a", job_id) is State.ERROR
    assert run.history.crashes >= 2


def test_jobs_that_run_one_after_the_other_have_each_their_time_to_end() -> None:
    """More than a minute of work where credit lets one job run at a time: slow, and not stuck."""
    scarce, long = Limits(credit_jobs=1), replace(QUIET, handler_ms=20_000)
    run = made((("a", "b"),), limits=scarce, faults=long)
    for number in range(12):
        put(run, "a.b", f"add_user u{number}.proj.org")
    before_ms = run.world.now_ms
    run.heal(10.0, each_s=20.0)
    assert run.world.now_ms - before_ms > 60_000
    assert violations(run) == []


@pytest.mark.parametrize("path", ["a.b", "c.a.b"])
def test_a_request_that_a_restored_store_takes_for_sent_goes_again(path: str) -> None:
    """R4: it had a number, and moved to a later one of which the peer never heard. What lay between the peer took, so
    that no position shows that anything is missing."""
    faults = replace(QUIET, delay_ms=40, handler_ms=3_000, down_s=1.0)
    run = made((("a", "b"), ("c", "a")), faults=faults, limits=Limits(window_records=1))
    wire, host = run.wires.between("a", "b"), run.hosts["a"]
    between = put(run, "b.a")
    run.run(0.4)
    while host.board(wire).outbox.flight:
        run.run(0.001)
    run.put(path, "add_user fred.proj.org")
    while not (found := host.jobs().keys() - {between}):
        run.run(0.001)
    (job_id,) = found
    while not (lane := host.jobs()[job_id].down) or not lane.number:
        run.run(0.001)
    run.cut("a", "b", down_s=15)
    run.run(0.2)
    if path == "c.a.b":
        # It waits without a number, since its origin is away (R5).
        run.cut("c", "a", down_s=30)
        run.crash("a", down_s=0.1)
        run.run(0.2)
    while host.jobs()[between].live:
        run.run(0.01)
    run.stores.keep_copy("a")
    if path == "a.b":
        run.cancel(job_id)
    while state(run, "b", between) is not State.COMPLETE:
        run.run(0.001)
    run.cut("a", "b", down_s=2)
    assert job_id not in run.hosts["b"].jobs()
    run.stores.restore("a")
    run.run(5)
    assert (job_id in run.hosts["b"].jobs()) == (path == "a.b")
    settled(run)
    assert state(run, path[0], job_id) is State.COMPLETE
    assert not run.history.alarms


# -- two zones, one store -----------------------------------------------------------------------------------------


def in_two_zones(run: Simulation, *, copied: bool) -> bytes:
    """Agent b loses what a heard of in zone den alone, and what it did for a job of zone lab; both links are cut.

    Args:
        run: of the agents a and b.
        copied: the store that b gets back holds the job, and not that it ran.
    """
    lab, den = (run.wires.between("a", "b", zone) for zone in ("lab", "den"))
    if not copied:
        run.stores.keep_copy("b")
    # One handler at a time: the job of zone lab waits until this one is over.
    first = put(run, "a.b", zone="den")
    ids: list[bytes] = []
    run.put("a.b", "charge", on_reply=ids.append)  # type: ignore[arg-type]
    while not run.hosts["b"].disk.by_id.keys() & set(ids):
        run.run(0.001)
    (job_id,) = ids
    lab.allowed = False
    run.wires.down(lab)
    assert run.hosts["a"].board(lab).outbox.acked == 0
    if copied:
        run.stores.keep_copy("b")
    while not run.history.effects[job_id] or not told(run, first).states:
        run.run(0.001)
    den.allowed = False
    run.wires.down(den)
    run.stores.restore("b")
    (loss,) = run.history.losses
    assert loss.shown == {("a", "den")}
    assert job_id in (loss.changed if copied else loss.rows)
    run.run(8)
    return job_id


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("first", ["lab", "den"])
def test_a_loss_that_shows_in_one_zone_is_one_in_every_zone(first: str, copied: bool) -> None:
    run = made(
        (("a", "b", "lab"), ("a", "b", "den")),
        limits=Limits(handlers=1),
        faults=replace(QUIET, delay_ms=5, commit_ms=1, handler_ms=1_000),
    )
    job_id = in_two_zones(run, copied=copied)
    wire = run.wires.between("a", "b", first)
    wire.allowed = True
    run.wires.dial(wire)
    # Agent b goes on before a has heard of it.
    wire.busy_ms["b"] = run.world.now_ms + 500
    run.run(5)
    settled(run)
    if copied and first == "lab":
        # Nobody has told b by then, and a may meet it in zone den long after, or never.
        assert run.history.starts[job_id] == 2
    else:
        assert run.history.starts[job_id] == 1
        outcome = run.hosts["a"].jobs()[job_id].outcome
        assert outcome is not None
        assert outcome.error is not None
        assert outcome.error[0] == "lost"
