"""The origin: puts that are durable or refused with a fix, keys, cancel and delete."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from grammar.errors import GrammarError, MeshError
from mesh.ending import Ending
from mesh.errors import Busy, Denied, DiskFull, NoSuchJob, NotOurJob, PutRefused, TooLarge, UnknownForPeer, UnknownPeer
from mesh.facts import Kind
from mesh.lifecycle import Role, State
from mesh.limits import Limits
from mesh.origin import Put, hash_of_key
from mesh.room import Room
from tests.mesh.pair import START_MS, TEXT, ZONE, Mesh, Pair, identity_of

FAR = (("portal", "cluster"), ("cluster", "account"))


def refused(error: type[MeshError], path: str = "portal.cluster", text: str = TEXT, **wishes: Any) -> MeshError:
    """What a put that the origin refuses says; nothing of it may stay."""
    pair = Pair(limits={"portal": wishes.pop("limits", Limits())}, access={"portal": wishes.pop("access", {})})
    with pytest.raises(error) as caught:
        pair.put(path, text, **wishes)
    assert type(caught.value) is error
    assert not pair.portal.store.rows
    assert not pair.wire["portal", "cluster"]
    return caught.value


# -- put ----------------------------------------------------------------------------------------------------------


def test_a_put_is_answered_once_it_is_durable() -> None:
    pair = Pair(connected=False)
    pair.hold("portal")
    put = Put(ZONE, "portal.cluster", TEXT)
    assert pair.ask("portal", lambda engine, token, now_ms: engine.put(token, put, now_ms)) is None
    pair.release("portal")
    (job_id,) = pair.portal.replies.values()
    assert isinstance(job_id, bytes)
    assert pair.portal.state(job_id) is State.PENDING
    assert pair.portal.changed == [job_id]


def test_the_request_says_what_was_wished() -> None:
    pair = Pair()
    job_id = pair.put(
        "portal.cluster", "add_user  fred.proj.org", life_s=60, circle="c", context="x", options={"retries": 2}
    )
    job = pair.portal.job(job_id)
    request = job.request
    assert (request.zone, request.path, request.instruction) == (ZONE, "portal.cluster", TEXT)
    assert (request.origin, request.destination) == (
        identity_of("portal").fingerprint,
        identity_of("cluster").fingerprint,
    )
    assert (request.created_ms, request.expires_ms) == (START_MS, START_MS + 60_000)
    assert (request.circle, request.context, request.options) == ("c", "x", {"retries": 2})
    assert (request.parent, request.lineage, request.payload) == (None, None, None)
    assert job.role is Role.ORIGIN


def test_the_default_life_is_that_of_the_limits() -> None:
    pair = Pair(limits={"portal": Limits(life_s=7)})
    assert pair.portal.job(pair.put("portal.cluster")).request.expires_ms == START_MS + 7_000


def test_two_puts_of_the_same_are_two_jobs() -> None:
    pair = Pair()
    assert pair.put("portal.cluster") != pair.put("portal.cluster")


def test_a_far_destination_is_named_once_its_key_is_pinned() -> None:
    mesh = Mesh(*FAR)
    first = mesh.put("portal.cluster.account")
    assert mesh["portal"].job(first).request.destination is None
    mesh.settle()
    mesh.run_all("account")
    second = mesh.put("portal.cluster.account")
    assert mesh["portal"].job(second).request.destination == identity_of("account").fingerprint


@pytest.mark.parametrize("path", ["portal", "portal.", "portal.portal", "Portal.cluster", "portal..cluster", ""])
def test_a_path_that_is_none(path: str) -> None:
    pair = Pair()
    with pytest.raises(GrammarError):
        pair.portal.engine.put(1, Put(ZONE, path, TEXT), START_MS)


def test_a_path_of_another_agent() -> None:
    pair = Pair()
    with pytest.raises(PutRefused) as caught:
        pair.portal.engine.put(1, Put(ZONE, "cluster.portal", TEXT), START_MS)
    assert caught.value.message == 'the path starts with "cluster", and this agent is "portal"'
    assert caught.value.fix == 'start it with "portal", or put the job at "cluster"'


@pytest.mark.parametrize(
    ("path", "zone", "message", "fix"),
    [
        ("portal.clutser", ZONE, 'agent "portal" has no peer "clutser" in zone "lab"', 'did you mean "cluster"?'),
        (
            "portal.zebra",
            ZONE,
            'agent "portal" has no peer "zebra" in zone "lab"',
            "invite it first: mesh invite zebra",
        ),
        ("portal.cluster", "moon", '"cluster" is a peer in zone "lab", not in "moon"', "add --zone lab"),
    ],
)
def test_an_unknown_first_hop(path: str, zone: str, message: str, fix: str) -> None:
    error = refused(UnknownPeer, path, zone=zone)
    assert (error.message, error.fix) == (message, fix)


@pytest.mark.parametrize(
    "text", ["", "ADD_USER fred.proj.org", "add_user", "add_user fred", "add_user fred.proj.org x"]
)
def test_an_instruction_that_is_none(text: str) -> None:
    pair = Pair()
    with pytest.raises(GrammarError):
        pair.put("portal.cluster", text)
    assert not pair.portal.store.rows


def test_an_instruction_that_nobody_here_knows_is_the_destinations_to_judge() -> None:
    pair = Pair()
    assert pair.portal.job(pair.put("portal.cluster", "dance  wild")).request.instruction == "dance wild"


def test_a_keyword_that_the_neighbour_does_not_have() -> None:
    pair = Pair(access={"cluster": {"told": ("add_user", "remove_user")}})
    with pytest.raises(UnknownForPeer) as caught:
        pair.put("portal.cluster", "ad_user fred.proj.org")
    assert (caught.value.message, caught.value.fix) == (
        '"cluster" has no instruction "ad_user"',
        'did you mean "add_user"?',
    )
    with pytest.raises(UnknownForPeer) as caught:
        pair.put("portal.cluster", "dance")
    assert caught.value.fix == "see what it has: mesh peers --json"
    pair.put("portal.cluster", TEXT)


def test_what_a_neighbour_has_is_no_matter_for_what_goes_past_it() -> None:
    mesh = Mesh(*FAR, access={"cluster": {"told": ()}})
    mesh.put("portal.cluster.account", "dance")


def test_sizes() -> None:
    assert "4096 bytes" in refused(TooLarge, text="dance " + "x" * 4_091).message
    refused(TooLarge, text="dance " + "é" * 2_046)
    assert "at most 32768" in refused(TooLarge, options={"note": "x" * 33_000}).message
    Pair().put("portal.cluster", "dance " + "x" * 4_090)


@pytest.mark.parametrize("life_s", [0, -1, 30 * 86_400 + 1, inf, nan])
def test_a_life_out_of_bounds(life_s: float) -> None:
    assert "a job may wait between" in refused(PutRefused, life_s=life_s).message


def test_a_life_below_a_millisecond() -> None:
    pair = Pair(connected=False)
    try:
        job_id = pair.put("portal.cluster", life_s=0.0004)
    except PutRefused:
        return
    pair.portal.job(job_id)


def test_a_portal_that_the_operator_gave_to_another() -> None:
    error = refused(Denied, access={"portals": {"org": b"x" * 20}})
    assert (error.exit_code, 'portal "org"' in error.message) == (4, True)


def test_a_branch_with_too_many_waiting_is_busy_and_the_others_are_not() -> None:
    mesh = Mesh(("portal", "cluster"), limits={"portal": Limits(waiting_jobs=2)}, connected=False)
    for _ in range(2):
        mesh.put("portal.cluster.far")
    with pytest.raises(Busy) as caught:
        mesh.put("portal.cluster.far")
    assert (caught.value.message, caught.value.exit_code) == ('2 jobs wait for "cluster" already', 3)
    mesh.put("portal.cluster")
    mesh.put("portal.cluster.other")
    mesh.connect("portal", "cluster")
    mesh.settle()
    mesh.put("portal.cluster.far")


# -- idempotency keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
def test_a_key_gives_the_same_job(restart: bool) -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster", key="k")
    if restart:
        pair.crash("portal")
    assert pair.put("portal.cluster", key="k") == job_id
    assert len(pair.portal.store.rows) == 1
    assert pair.put("portal.cluster", key="other") != job_id


def damaged(pair: Pair) -> None:
    store = pair.portal.store
    store.rows = {seq: row._replace(record=b"nonsense") for seq, row in store.rows.items()}
    pair.crash("portal")


def test_a_key_of_a_damaged_job_that_was_sent_makes_no_second_one() -> None:
    # Its copy comes back from the neighbour, so both would run.
    pair = Pair()
    job_id = pair.put("portal.cluster", key="k")
    pair.settle()
    damaged(pair)
    with pytest.raises(PutRefused, match="damaged") as caught:
        pair.put("portal.cluster", key="k")
    assert "in a moment" in str(caught.value.fix)
    pair.join()
    pair.settle()
    assert pair.put("portal.cluster", key="k") == job_id
    # The copy that was given back has no number here, and is still not one that never left.
    damaged(pair)
    with pytest.raises(PutRefused, match="damaged"):
        pair.put("portal.cluster", key="k")
    assert not pair.portal.lost


def test_a_key_of_a_damaged_job_that_never_left_is_free_again() -> None:
    pair = Pair()
    pair.part()
    job_id = pair.put("portal.cluster", key="k")
    damaged(pair)
    again = pair.put("portal.cluster", key="k")
    assert again != job_id
    assert len(pair.portal.store.rows) == 2
    # The damaged row has the key too, and its job is older.
    assert pair.put("portal.cluster", key="k") == again
    pair.crash("portal")
    assert pair.put("portal.cluster", key="k") == again


def test_a_key_gives_the_same_job_when_it_is_over() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster", key="k")
    pair.settle()
    pair.run_all("cluster")
    pair.crash("portal")
    assert pair.put("portal.cluster", key="k") == job_id


def test_two_puts_with_one_key_in_one_step_make_one_job() -> None:
    pair = Pair()
    put = Put(ZONE, "portal.cluster", TEXT, key="k")
    for token in (101, 102):
        pair.portal.engine.put(token, put, START_MS)
    pair.step("portal")
    assert pair.portal.replies[101] == pair.portal.replies[102]
    assert len(pair.portal.store.rows) == 1


def test_two_puts_with_a_lost_key_make_one_job() -> None:
    # The filter says maybe, the store says no: the first of those that wait makes the job.
    pair = Pair()
    pair.portal.engine.ledger.keys.add(hash_of_key("k"))
    put = Put(ZONE, "portal.cluster", TEXT, key="k")
    for token in (101, 102):
        pair.portal.engine.put(token, put, START_MS)
    pair.step("portal")
    assert pair.portal.replies[101] == pair.portal.replies[102]
    assert len(pair.portal.store.rows) == 1


@pytest.mark.parametrize(("path", "text"), [("portal.cluster", "add_user anna.proj.org"), ("portal.cluster.far", TEXT)])
def test_a_key_of_another_job_is_refused(path: str, text: str) -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster", key="k")
    with pytest.raises(PutRefused) as caught:
        pair.put(path, text, key="k")
    assert caught.value.message == f'the key "k" was used for another job, job {job_id[6:10].hex()}'


@pytest.mark.parametrize("key", ["", "x" * 129, "a\nb", "\x00"])
def test_a_key_is_short_and_printable(key: str) -> None:
    assert "idempotency key" in refused(PutRefused, key=key).message


def test_a_refused_put_does_not_use_up_its_key() -> None:
    pair = Pair()
    with pytest.raises(TooLarge):
        pair.put("portal.cluster", key="k", options={"note": "x" * 33_000})
    pair.put("portal.cluster", key="k")


# -- children -----------------------------------------------------------------------------------------------------


def child(mesh: Mesh, parent: bytes) -> bytes:
    return mesh.put("cluster.account", "add_local_user fred.proj.org:fred:proj", parent=parent)


def test_a_child_carries_its_parents_request() -> None:
    mesh = Mesh(*FAR)
    parent = mesh.put("portal.cluster")
    mesh.settle()
    job_id = child(mesh, parent)
    request = mesh["cluster"].job(job_id).request
    root = mesh["portal"].job(parent).facts[Kind.REQUEST]
    assert root is not None
    assert (request.parent, request.lineage) == (parent, [[root.body, root.proof, mesh["portal"].card.data]])
    assert mesh["cluster"].job(job_id).depth == 1
    mesh.settle()
    assert mesh["account"].state(job_id) is State.RUNNING


@pytest.mark.parametrize("parent", [b"x" * 26, b""])
def test_a_parent_has_to_run_here(parent: bytes) -> None:
    assert "the parent is not a job that runs here" in refused(PutRefused, parent=parent).message


def test_a_job_of_our_own_is_no_parent() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    with pytest.raises(PutRefused):
        pair.put("portal.cluster", parent=job_id)


def test_children_are_so_many_deep() -> None:
    mesh = Mesh(*FAR, limits={name: Limits(children_depth=1) for name in ("portal", "cluster", "account")})
    parent = mesh.put("portal.cluster")
    mesh.settle()
    job_id = child(mesh, parent)
    mesh.settle()
    with pytest.raises(PutRefused) as caught:
        mesh.put("account.cluster", "dance", parent=job_id)
    assert caught.value.message == "jobs may be 1 deep, this one would be deeper"


def test_a_parent_whose_card_is_not_at_hand() -> None:
    mesh = Mesh(*FAR)
    parent = mesh.put("portal.cluster")
    mesh.settle()
    del mesh["cluster"].engine.ledger.trust.cards[identity_of("portal").fingerprint]
    with pytest.raises(PutRefused, match="not at hand"):
        child(mesh, parent)


# -- cancel -------------------------------------------------------------------------------------------------------


def test_a_job_that_was_never_offered_is_cancelled_here() -> None:
    pair = Pair(connected=False)
    job_id = pair.put("portal.cluster")
    assert pair.cancel("portal", job_id) == job_id
    job = pair.portal.job(job_id)
    assert (job.state, job.facts[Kind.CANCEL], job.reject and job.reject.reason) == (State.CANCELLED, None, "cancelled")
    pair.join()
    assert not pair.cluster.store.rows
    assert pair.portal.board("cluster").waiting == {}


def test_a_job_that_was_offered_is_the_destinations_to_cancel() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.cancel("portal", job_id)
    assert pair.portal.state(job_id) is State.PENDING
    assert pair.portal.job(job_id).facts[Kind.CANCEL] is not None
    # The second Cancel says nothing new.
    rows = pair.portal.job(job_id).row(None)
    pair.cancel("portal", job_id)
    assert pair.portal.job(job_id).row(None) == rows


def test_cancelling_a_job_that_is_over_changes_nothing() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.settle()
    pair.run_all("cluster")
    assert pair.cancel("portal", job_id) == job_id
    assert pair.portal.job(job_id).facts[Kind.CANCEL] is None


def test_after_a_restart_a_waiting_job_is_cancelled_as_if_it_had_gone() -> None:
    # The store has not proved itself yet (R5): the Cancel waits with the job and ends it further down.
    pair = Pair(connected=False)
    job_id = pair.put("portal.cluster")
    pair.crash("portal")
    pair.cancel("portal", job_id)
    assert pair.portal.state(job_id) is State.PENDING
    pair.join()
    assert pair.states(job_id) == (State.CANCELLED, State.CANCELLED)
    assert not pair.cluster.starts


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_only_the_origin_cancels_and_deletes(verb: str) -> None:
    mesh = Mesh(*FAR)
    job_id = mesh.put("portal.cluster.account")
    mesh.settle()
    for name in ("cluster", "account"):
        error = getattr(mesh, verb)(name, job_id)
        assert isinstance(error, NotOurJob)
        assert error.message == f'job {job_id[6:10].hex()} was made by "portal"'


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_a_job_that_nobody_knows(verb: str) -> None:
    assert isinstance(getattr(Pair(), verb)("portal", b"x" * 26), NoSuchJob)


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_a_job_on_disk_is_fetched_first(verb: str) -> None:
    pair = Pair(connected=False)
    job_id = pair.put("portal.cluster")
    pair.crash("portal")
    assert getattr(pair, verb)("portal", job_id) == job_id


# -- delete -------------------------------------------------------------------------------------------------------


def test_a_job_that_was_never_offered_is_deleted_here() -> None:
    pair = Pair(connected=False)
    job_id = pair.put("portal.cluster")
    assert pair.delete("portal", job_id) == job_id
    assert pair.portal.state(job_id) is State.DELETED
    pair.join()
    assert not pair.cluster.store.rows
    assert pair.portal.board("cluster").waiting == {}


@pytest.mark.parametrize("when", ["offered", "running", "over"])
def test_a_deleted_job_is_deleted_everywhere(when: str) -> None:
    mesh = Mesh(*FAR)
    job_id = mesh.put("portal.cluster.account")
    if when != "offered":
        mesh.settle()
    if when == "over":
        mesh.run_all("account")
    mesh.delete("portal", job_id)
    mesh.settle()
    for node in mesh.nodes.values():
        assert node.state(job_id) is State.DELETED
        assert [fact.kind for fact in node.job(job_id).facts if fact is not None] == [Kind.REQUEST, Kind.DELETE]
    assert mesh["account"].stops == ([] if when == "over" else [job_id])
    mesh.finish("account", job_id)
    mesh.settle()
    assert mesh["portal"].state(job_id) is State.DELETED


def test_deleting_twice_changes_nothing() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.delete("portal", job_id)
    row = pair.portal.job(job_id).row(None)
    pair.now_ms += 5
    assert pair.delete("portal", job_id) == job_id
    assert pair.portal.job(job_id).row(None) == row


def test_a_deleted_job_stays_deleted_over_restarts() -> None:
    pair = Pair()
    job_id = pair.put("portal.cluster")
    pair.part()
    pair.delete("portal", job_id)
    pair.crash("portal")
    pair.join()
    assert pair.states(job_id) == (State.DELETED, State.DELETED)
    assert not pair.cluster.starts
    pair.crash("cluster")
    pair.join()
    assert pair.states(job_id) == (State.DELETED, State.DELETED)


def test_a_path_has_at_most_so_many_agents() -> None:
    message = refused(PutRefused, "portal.cluster.c.d", limits=Limits(path_hops=3)).message
    assert message == "a path has at most 3 agents, this one has 4"


# -- retry ------------------------------------------------------------------------------------------------------


def retried(mesh: Mesh, name: str, job_id: bytes, life_s: float | None = None) -> bytes:
    answer = mesh.ask(name, lambda engine, token, now_ms: engine.retry(token, job_id, life_s, now_ms))
    mesh.settle()
    if isinstance(answer, MeshError):
        raise answer
    assert answer is not None
    return answer


FAILED = Ending(State.ERROR, error=("failed", "no"))


def test_a_job_that_failed_is_put_once_more_with_the_old_one_as_parent() -> None:
    pair = Pair()
    job = pair.put("portal.cluster", life_s=99, circle="ring", context="deep", options={"note": "x"})
    pair.settle()
    pair.finish("cluster", job, FAILED)
    pair.settle()
    pair.now_ms += 5_000
    again = retried(pair, "portal", job)
    old, new = pair.portal.job(job).request, pair.portal.job(again).request
    assert again != job
    assert (new.parent, new.lineage) == (job, None)
    assert new.created_ms == old.created_ms + 5_000
    assert new.expires_ms - new.created_ms == 99_000
    for name in ("zone", "path", "origin", "destination", "instruction", "circle", "context", "options"):
        assert getattr(new, name) == getattr(old, name)
    pair.run_all("cluster")
    pair.finish("cluster", again)
    pair.settle()
    assert pair.states(again) == (State.COMPLETE, State.COMPLETE)
    assert pair.states(job) == (State.ERROR, State.ERROR), "the old one stays what it was"


@pytest.mark.parametrize("restart", [False, True])
def test_asking_twice_puts_one(restart: bool) -> None:
    pair = Pair()
    job = pair.put("portal.cluster")
    pair.settle()
    pair.finish("cluster", job, FAILED)
    pair.settle()
    again = retried(pair, "portal", job, 60)
    if restart:
        pair.crash("portal")
    assert retried(pair, "portal", job, 70) == again
    assert len(pair.portal.store.rows) == 2


def test_the_one_that_repeats_is_repeated_by_a_third() -> None:
    pair = Pair()
    jobs = [pair.put("portal.cluster")]
    for _ in range(6):
        pair.settle()
        pair.finish("cluster", jobs[-1], FAILED)
        pair.settle()
        jobs.append(retried(pair, "portal", jobs[-1]))
    assert len(set(jobs)) == 7, "any number of times: a retry is nobody's child"
    assert pair.portal.job(jobs[-1]).depth == 0


def test_what_expired_was_refused_or_cancelled_is_put_again() -> None:
    mesh = Mesh(("a", "b"), connected=False)
    expired = mesh.put("a.b", life_s=1)
    cancelled = mesh.put("a.b")
    mesh.cancel("a", cancelled)
    mesh.wait(2)
    assert [mesh["a"].state(job) for job in (expired, cancelled)] == [State.EXPIRED, State.CANCELLED]
    assert {mesh["a"].state(retried(mesh, "a", job)) for job in (expired, cancelled)} == {State.PENDING}
    mesh.connect("a", "b")
    refused = mesh.put("a.b.nobody")
    mesh.settle()
    assert mesh["a"].state(refused) is State.REJECTED
    assert mesh["a"].state(retried(mesh, "a", refused)) is State.REJECTED


def test_what_is_not_over_was_done_or_is_gone_is_not_put_again() -> None:
    pair = Pair()
    live, done, deleted = (pair.put("portal.cluster") for _ in range(3))
    pair.settle()
    pair.finish("cluster", done)
    pair.delete("portal", deleted)
    pair.settle()
    with pytest.raises(PutRefused, match="is not over") as refused:
        retried(pair, "portal", live)
    assert "mesh watch" in refused.value.fix
    with pytest.raises(PutRefused, match="is complete"):
        retried(pair, "portal", done)
    with pytest.raises(PutRefused, match="is deleted"):
        retried(pair, "portal", deleted)
    with pytest.raises(NoSuchJob):
        retried(pair, "portal", bytes(26))
    with pytest.raises(NotOurJob, match="made by"):
        retried(pair, "cluster", done)


def test_a_child_is_repeated_by_its_parent() -> None:
    mesh = Mesh(("a", "b"), ("b", "c"))
    parent = mesh.put("a.b")
    mesh.settle()
    child = mesh.put("b.c", parent=parent)
    mesh.settle()
    mesh.finish("c", child, FAILED)
    mesh.settle()
    with pytest.raises(PutRefused, match="put by the handler of job") as refused:
        retried(mesh, "b", child)
    assert "where it was put" in refused.value.fix


def test_a_retry_is_refused_as_any_put_is() -> None:
    pair = Pair()
    job = pair.put("portal.cluster")
    pair.settle()
    pair.finish("cluster", job, FAILED)
    pair.settle()
    with pytest.raises(PutRefused, match="may wait between"):
        retried(pair, "portal", job, 1e9)
    pair.portal.engine.room(Room.DISK_FULL, pair.now_ms)
    with pytest.raises(DiskFull):
        retried(pair, "portal", job)
