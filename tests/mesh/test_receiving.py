"""Blobs on their way in: what an agent takes of a peer, in which order, and how much (R14)."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from mesh.blobs import TRANSFERS, Key, name_blob
from mesh.facts import Kind
from mesh.lifecycle import State
from mesh.messages import WITHOUT, Ack, BlobMessage, Confirm, FactMessage, Held, Message, SliceMessage, Type, encode
from mesh.quotas import DEEPEST, Quota
from mesh.room import Room
from tests.mesh.blob_mesh import DATA, LARGE, chain, leftovers, payload_key, result_of, stored
from tests.mesh.pair import Mesh

PAYLOAD = name_blob(DATA)
KEY = Key(b"\x01" * 26, 1, PAYLOAD.name.hash)


def slice_of(key: Key, offset: int, size: int = 64, data: bytes = DATA) -> SliceMessage:
    return SliceMessage(*key, offset, data[offset : offset + size])


def said(mesh: Mesh) -> list[Held]:
    """What b has said of blobs, delivered or not."""
    return [*mesh.sent("b", "a", Held), *[m for m in mesh.waiting("b", "a") if isinstance(m, Held)]]


@pytest.fixture
def mesh() -> Mesh:
    return chain("a", "b")


def test_what_is_offered_is_answered_after_the_commit(mesh: Mesh) -> None:
    mesh.hold("b")
    mesh.inject("a", "b", BlobMessage(*KEY, len(DATA)))
    assert said(mesh) == []
    mesh.release("b")
    assert said(mesh) == [Held(*KEY, 0, "")]


def test_slices_are_acknowledged_after_their_commit_and_not_before(mesh: Mesh) -> None:
    mesh.inject("a", "b", BlobMessage(*KEY, len(DATA)))
    mesh.hold("b")
    mesh.inject("a", "b", slice_of(KEY, 0), slice_of(KEY, 64))
    mesh.inject("a", "b", slice_of(KEY, 128))
    assert [held.held for held in said(mesh)] == [0]
    assert not mesh["b"].store.slices
    mesh.release("b")
    assert [held.held for held in said(mesh)] == [0, 128, 192]
    assert len(mesh["b"].store.slices) == 3


def test_what_is_offered_once_more_is_not_dropped_before_its_fact_can_come(mesh: Mesh) -> None:
    """It has waited for a fact for so long that it may go; but the sender counts on it from this step on."""
    mesh.inject("a", "b", BlobMessage(*KEY, len(DATA)), *[slice_of(KEY, offset) for offset in range(0, len(DATA), 64)])
    mesh.reconnect("a", "b")
    node = mesh["b"]
    mesh.now_ms += int(node.engine.limits.blob_orphan_s * 1000)
    node.engine.received(node.board("a"), [BlobMessage(*KEY, len(DATA))], mesh.now_ms)
    node.engine.tick(mesh.now_ms)
    mesh.step("b")
    assert said(mesh)[-1] == Held(*KEY, len(DATA), "")
    assert len(mesh["b"].store.slices) == 16


LIES: dict[str, tuple[list[Message], str]] = {
    "a slice that nobody asked for": ([slice_of(KEY, 0)], "nobody asked for"),
    "the same slice twice": (
        [BlobMessage(*KEY, 1024), slice_of(KEY, 0), slice_of(KEY, 0)],
        "does not follow",
    ),
    "overlapping slices": ([BlobMessage(*KEY, 1024), slice_of(KEY, 0), slice_of(KEY, 32)], "does not follow"),
    "a hole": ([BlobMessage(*KEY, 1024), slice_of(KEY, 64)], "does not follow"),
    "beyond its length": ([BlobMessage(*KEY, 65), slice_of(KEY, 0), slice_of(KEY, 64)], "does not follow"),
    "after its end": (
        [
            BlobMessage(*KEY._replace(hash=name_blob(DATA[:64]).name.hash), 64),
            slice_of(KEY._replace(hash=name_blob(DATA[:64]).name.hash), 0),
            slice_of(KEY._replace(hash=name_blob(DATA[:64]).name.hash), 64),
        ],
        "nobody asked for",
    ),
    "tiny slices": ([BlobMessage(*KEY, 1024), slice_of(KEY, 0, 1)], "a size that nobody sends"),
    "empty slices": ([BlobMessage(*KEY, 1024), slice_of(KEY, 0, 0)], "a size that nobody sends"),
    "other bytes": ([BlobMessage(*KEY, 64), slice_of(KEY, 0)], "not those that its name says"),
    "another length": ([BlobMessage(*KEY, 1024), BlobMessage(*KEY, 1000)], "changed its length"),
    "another depth": ([BlobMessage(*KEY, 1024), BlobMessage(*KEY, 1024, 1)], "changed its length or depth"),
    "a depth that is not told": ([BlobMessage(*KEY, 1024, DEEPEST + 1)], "a depth that it cannot have"),
    "a result of a depth": ([BlobMessage(*KEY._replace(kind=5), 1024, 1)], "a depth that it cannot have"),
    "a kind that has no blob": ([BlobMessage(*KEY._replace(kind=2), 1024)], "no fact can name"),
    "no hash": ([BlobMessage(*KEY._replace(hash=b"short"), 1024)], "no fact can name"),
    "no job": ([BlobMessage(*KEY._replace(job=b"short"), 1024)], "no fact can name"),
    "too many at a time": (
        [BlobMessage(*KEY._replace(job=bytes([n]) * 26), 1024) for n in range(TRANSFERS + 1)],
        f"more than {TRANSFERS} blobs",
    ),
    "too many of a depth at a time": (
        [
            BlobMessage(*KEY._replace(job=bytes([n]) * 26), 1024, depth)
            for n, depth in enumerate([0] * TRANSFERS + [1] * (TRANSFERS + 1))
        ],
        f"more than {TRANSFERS} blobs",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_peer_that_lies_loses_its_link(mesh: Mesh, lie: str) -> None:
    messages, reason = LIES[lie]
    for message in messages:
        assert mesh["b"].closed == []
        mesh.inject("a", "b", message)
    assert [reason in text for text in mesh["b"].closed] == [True], mesh["b"].closed
    mesh.connect("a", "b")
    mesh.settle()
    job_id = mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    assert [start.job_id for start in mesh["b"].starts] == [job_id], "the next link is like any other"


def test_bytes_that_are_wrong_are_thrown_away(mesh: Mesh) -> None:
    mesh.inject("a", "b", BlobMessage(*KEY, 128))
    mesh.inject("a", "b", slice_of(KEY, 0))
    assert len(mesh["b"].store.slices) == 1
    mesh.inject("a", "b", slice_of(KEY, 64))
    assert not mesh["b"].store.blobs
    assert not mesh["b"].store.slices
    assert leftovers(mesh) == {}


def test_a_blob_above_the_limit_is_never_taken(mesh: Mesh) -> None:
    mesh.inject("a", "b", BlobMessage(*KEY, 2_001))
    assert [(held.held, held.reason) for held in said(mesh)] == [(0, 'agent "b" takes at most 2000 bytes, not 2001')]
    assert not mesh["b"].store.blobs


def test_what_is_not_sent_after_all_is_dropped(mesh: Mesh) -> None:
    mesh.inject("a", "b", BlobMessage(*KEY, 1024))
    mesh.inject("a", "b", slice_of(KEY, 0))
    mesh.inject("a", "b", BlobMessage(*KEY, 0))
    assert leftovers(mesh) == {}
    assert not mesh["b"].store.slices
    mesh.inject("a", "b", BlobMessage(*KEY, 0))
    assert mesh["b"].closed == []


def test_a_fact_whose_bytes_are_not_there_is_refused_and_both_are_sent_again(mesh: Mesh) -> None:
    job_id = mesh.put("a.b", payload=PAYLOAD)
    while not [m for m in mesh.waiting("a", "b") if isinstance(m, FactMessage)]:
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
    # As if it had lain there for an hour without its fact.
    mesh["b"].engine.ledger.blobs.arriving.clear()
    mesh["b"].store.blobs.clear()
    mesh["b"].store.slices.clear()
    mesh.settle()
    assert mesh["b"].closed == mesh["a"].closed == []
    assert len(mesh.sent("a", "b", SliceMessage)) == 32
    mesh.run_all("b")
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert leftovers(mesh) == {}


def forgotten(mesh: Mesh, above: str, below: str) -> None:
    """Go on until a fact is on its way from one to the other; the bytes that it names are gone there by then."""
    while not [m for m in mesh.waiting(above, below) if isinstance(m, FactMessage)]:
        mesh.deliver(above, below)
        mesh.deliver(below, above)
    mesh[below].engine.ledger.blobs.arriving.clear()
    mesh[below].store.blobs.clear()
    mesh[below].store.slices.clear()


def test_a_request_whose_bytes_were_dropped_twice_was_never_offered() -> None:
    """The peer never held it (R6): it is not marked as sent before, and a hop may still say that it expired."""
    mesh = chain("a", "b")
    job_id = mesh.put("a.b", payload=PAYLOAD, life_s=100)
    for _ in range(2):
        forgotten(mesh, "a", "b")
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
    lane = mesh["a"].job(job_id).down
    assert lane is not None
    assert (lane.offered, lane.reissued) == (False, False)
    assert len(mesh["a"].closed) == 1
    mesh.wait(200)
    mesh.settle()
    assert mesh["a"].state(job_id) is State.EXPIRED
    assert leftovers(mesh) == {}


def test_a_request_whose_bytes_were_lost_with_the_store_that_took_it_stays_offered() -> None:
    """The peer does not hold the bytes, and may have held the job (R6): a hop must not say that it expired."""
    mesh = chain("a", "b", "c")
    copy = mesh["b"].store.copy()
    job_id = mesh.put("a.b.c", payload=PAYLOAD, life_s=100)
    while not mesh["b"].knows(job_id):
        mesh.deliver("b", "a")
        mesh.deliver("a", "b")
    # Nothing of it arrives at a, while c runs it.
    mesh.cut("a", "b")
    mesh.settle()
    assert mesh["c"].starts
    mesh.cut("b", "c")
    mesh.restore("b", copy)
    mesh.connect("a", "b")
    for _ in range(20):
        if not mesh["a"].board("b").last_refusal:
            mesh.deliver("a", "b")
            mesh.deliver("b", "a")
    assert mesh["a"].board("b").last_refusal.startswith("no_blob")
    lane = mesh["a"].job(job_id).down
    assert lane is not None
    assert (lane.offered, lane.reissued) == (True, False)
    mesh.cut("a", "b")
    mesh.wait(200)
    assert mesh["a"].state(job_id) is State.PENDING


def test_a_request_whose_payload_was_dropped_waits_for_the_neighbour_above_too() -> None:
    """Both stores beside the second board are old copies that agree with each other; only the origin knows the end."""
    mesh = chain("a", "b", "c")
    mesh.cut("b", "c")
    job_id = mesh.put("a.b.c", "charge", payload=PAYLOAD)
    mesh.settle()
    mesh.connect("b", "c")
    forgotten(mesh, "b", "c")
    mesh.cut("b", "c")
    mesh.connect("b", "c")
    while not mesh["b"].board("c").last_refusal:
        mesh.deliver("b", "c")
        mesh.deliver("c", "b")
    old = [mesh[name].store.copy() for name in "bc"]
    mesh.settle()
    mesh.run_all("c")
    assert mesh["a"].state(job_id) is State.COMPLETE
    for name, store in zip("bc", old, strict=True):
        mesh.restore(name, store)
    mesh.connect("b", "c")
    mesh.settle()
    assert not mesh["c"].starts
    mesh.connect("a", "b")
    mesh.settle()
    assert not mesh["c"].starts
    assert [mesh[name].state(job_id) for name in "abc"] == [State.COMPLETE] * 3
    assert leftovers(mesh) == {}


def test_a_result_that_was_refused_is_not_home_under_its_old_number() -> None:
    """That number is home once the refusal was confirmed, which may take as long as another one is not."""
    mesh = chain("a", "b", "c")
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.finish("c", job_id, LARGE)
    while mesh["b"].state(job_id) is not State.COMPLETE:
        for one, other in ("bc", "cb"):
            mesh.deliver(one, other)
    forgotten(mesh, "b", "a")
    mesh.deliver("b", "a", 9)
    mesh.deliver("a", "b", 9)
    (late,) = [m for m in mesh.waiting("b", "a") if isinstance(m, Confirm)]
    mesh.wire["b", "a"].remove(encode(Type.CONFIRM, late))
    forgotten(mesh, "b", "a")
    mesh.inject("b", "a", late)
    mesh.deliver("a", "b", 2)
    mesh.settle()
    mesh.reconnect("a", "b")
    assert result_of(mesh, "a", job_id) == str(LARGE.result).encode()
    assert not mesh["b"].store.blobs
    assert leftovers(mesh) == {}


def test_what_no_fact_names_is_dropped_after_an_hour(mesh: Mesh) -> None:
    mesh.inject("a", "b", BlobMessage(*KEY, 1024))
    mesh.inject("a", "b", slice_of(KEY, 0))
    mesh.cut("a", "b")
    mesh.wait(3_500)
    assert len(mesh["b"].store.slices) == 1
    mesh.wait(200)
    assert not mesh["b"].store.blobs
    assert not mesh["b"].store.slices
    assert leftovers(mesh) == {}


def test_what_was_found_at_a_start_is_dropped_after_an_hour_too(mesh: Mesh) -> None:
    mesh.inject("a", "b", BlobMessage(*KEY, 64))
    whole = KEY._replace(hash=name_blob(DATA[:64]).name.hash)
    mesh.inject("a", "b", BlobMessage(*whole, 64))
    mesh.inject("a", "b", slice_of(whole, 0))
    mesh.crash("b")
    mesh.wait(3_700)
    assert not mesh["b"].store.blobs
    assert leftovers(mesh) == {}


def test_room_is_made_by_dropping_what_waits_longest() -> None:
    mesh = chain("a", "b", blob_arriving_bytes=300)
    keys = []
    for n in range(4):
        mesh.reconnect("a", "b")
        data = bytes([n]) * 100
        key = Key(bytes([n]) * 26, 1, name_blob(data).name.hash)
        keys.append(key)
        mesh.inject("a", "b", BlobMessage(*key, 100))
        mesh.inject("a", "b", slice_of(key, 0, 64, data), slice_of(key, 64, 64, data))
        mesh.now_ms += 10
    assert [blob.job for blob in mesh["b"].store.blobs.values()] == [key.job for key in keys[1:]]
    assert mesh["b"].closed == []


def test_what_is_whole_waits_for_its_fact_and_gives_way_on_the_next_link() -> None:
    """Where only one has room, each would be dropped for the next one, and come again for ever."""
    mesh = chain("a", "b", blob_arriving_bytes=1)
    jobs = [mesh.put("a.b", f"add_user u{n}.proj.org", payload=name_blob(bytes([n]) * 64)) for n in range(4)]
    mesh.settle()
    assert [m for m in mesh.sent("b", "a", Ack) if m.refused] == []
    assert len(mesh.sent("a", "b", SliceMessage)) == 4
    assert [mesh["b"].state(job_id) for job_id in jobs] == [State.RUNNING] * 4
    first, second = (Key(bytes([n]) * 26, 1, name_blob(DATA[n : n + 64]).name.hash) for n in (1, 2))
    mesh.inject("a", "b", BlobMessage(*first, 64))
    mesh.inject("a", "b", slice_of(first, 0, 64, DATA[1:65]))
    mesh.inject("a", "b", BlobMessage(*second, 64))
    assert said(mesh)[-1] == Held(*first, 64, ""), "the second one waits for room"
    mesh.reconnect("a", "b")
    mesh.inject("a", "b", BlobMessage(*second, 64))
    assert said(mesh)[-1] == Held(*second, 0, "")


def test_what_a_deleted_job_does_not_need_gives_its_room_back_with_its_fact() -> None:
    mesh = chain("a", "b")
    job_id = mesh.put("a.b")
    mesh.settle()
    mesh.finish("b", job_id, LARGE)
    while not [m for m in mesh.waiting("b", "a") if isinstance(m, FactMessage)]:
        mesh.deliver("b", "a")
        mesh.deliver("a", "b")
    mesh.delete("a", job_id)
    mesh.deliver("b", "a")
    assert not mesh["a"].engine.ledger.blobs.arriving
    mesh.settle()
    assert leftovers(mesh) == {}


def test_the_bytes_of_a_refused_job_give_way_to_others() -> None:
    """It is offered again when there is room for it; until then others may need the room."""
    mesh = chain("a", "b", blob_arriving_bytes=1)
    first = mesh.put("a.b", "add_user u1.proj.org", payload=name_blob(b"1" * 64))
    while not [m for m in mesh.waiting("a", "b") if isinstance(m, FactMessage)]:
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
    mesh["b"].engine.ledger.room = Room.DISK_FULL
    mesh.settle()
    mesh["b"].engine.ledger.room = Room.ENOUGH
    assert not mesh["b"].knows(first)
    other = Key(b"\x01" * 26, 1, name_blob(DATA[:64]).name.hash)
    mesh.inject("a", "b", BlobMessage(*other, 64))
    assert said(mesh)[-1] == Held(*other, 0, "")


def test_small_blobs_count_as_slices_so_that_there_are_few() -> None:
    mesh = chain("a", "b", blob_arriving_bytes=64 * 5)
    for n in range(20):
        key = Key(bytes([n]) * 26, 1, name_blob(bytes([n])).name.hash)
        mesh.inject("a", "b", BlobMessage(*key, 1))
        mesh.inject("a", "b", SliceMessage(*key, 0, bytes([n])))
    assert len(mesh["b"].store.blobs) == 5


def test_what_is_being_sent_is_not_dropped_for_more() -> None:
    mesh = chain("a", "b", blob_arriving_bytes=1_500)
    first, second = (Key(bytes([n]) * 26, 1, KEY.hash) for n in (1, 2))
    mesh.inject("a", "b", BlobMessage(*first, 1024))
    mesh.inject("a", "b", BlobMessage(*second, 1024))
    assert said(mesh) == [Held(*first, 0, "")], "the second waits for room"
    mesh.inject("a", "b", BlobMessage(*first, 0))
    assert said(mesh)[-1] == Held(*second, 0, "")


def test_a_peer_fills_its_quota_and_no_more() -> None:
    mesh = chain("a", "b", blob_quota_bytes=2_500)
    jobs = [mesh.put("a.b", f"add_user u{n}.proj.org", payload=name_blob(bytes([n]) * 1_000)) for n in range(5)]
    mesh.settle()
    assert len(mesh["b"].starts) == 2
    assert sum(len(part.data) for part in mesh["b"].store.slices.values()) <= 2_500
    small = mesh.put("a.b", "add_user small.proj.org")
    mesh.settle()
    assert mesh["b"].knows(small), "small jobs need no quota"
    mesh.run_all("b")
    assert [mesh["a"].state(job_id) for job_id in jobs] == [State.COMPLETE] * 5
    assert leftovers(mesh) == {}


def test_a_quota_is_looked_up_before_it_is_believed_to_be_full() -> None:
    mesh = chain("a", "b", blob_quota_bytes=2_500)
    board = mesh["b"].board("a")
    mesh["b"].engine.ledger.blobs.quotas.add(Quota(board.id, Kind.REQUEST, 0), 2_400)
    mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    assert len(mesh["b"].starts) == 1


def test_a_child_does_not_wait_for_the_room_that_its_parents_keep() -> None:
    """Nor for a turn behind others that wait for it: those wait for the child."""
    mesh = chain("a", "b", blob_quota_bytes=1)
    parent = mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    others = [mesh.put("a.b", f"add_user u{n}.proj.org", payload=PAYLOAD) for n in range(TRANSFERS + 2)]
    child = mesh.put("b.a", "idle", parent=parent, payload=PAYLOAD)
    mesh.settle()
    grandchild = mesh.put("a.b", "idle", parent=child, payload=PAYLOAD)
    mesh.settle()
    assert [start.job_id for start in mesh["b"].starts] == [parent, grandchild]
    last = mesh.put("a.b", "idle", parent=child, payload=PAYLOAD)
    mesh.settle()
    assert not mesh["b"].knows(last), "its own depth has no more room than another one"
    for name in ("b", "a", "b"):
        mesh.run_all(name)
    assert {mesh["a"].state(job_id) for job_id in (parent, *others, grandchild, last)} == {State.COMPLETE}
    assert mesh["b"].state(child) is State.COMPLETE
    assert leftovers(mesh) == {}


def test_the_room_of_a_depth_is_known_after_a_start() -> None:
    mesh = chain("a", "b", blob_quota_bytes=1)
    parent = mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    child = mesh.put("b.a", "idle", parent=parent, payload=PAYLOAD)
    mesh.settle()
    mesh.put("a.b", "idle", parent=child, payload=PAYLOAD)
    mesh.settle()
    taken = mesh["b"].engine.ledger.blobs.quotas.taken
    assert {quota.depth: size for quota, size in taken.items()} == {0: len(DATA), 2: len(DATA)}
    mesh.crash("b")
    assert mesh["b"].engine.ledger.blobs.quotas.taken == taken


@pytest.mark.parametrize("flags", [0, WITHOUT])
def test_bytes_that_came_into_the_room_of_another_depth_are_not_named(mesh: Mesh, flags: int) -> None:
    """Or a peer would fill the room of one depth by way of another, of which nothing is ever taken."""
    elsewhere = chain("a", "b")
    elsewhere.cut("a", "b")
    data = DATA[:64]
    job_id = elsewhere.put("a.b", payload=name_blob(data))
    fact = elsewhere["a"].job(job_id).facts[Kind.REQUEST]
    assert fact is not None
    mesh.inject("a", "b", BlobMessage(*payload_key(job_id, data), 64, 1))
    mesh.inject("a", "b", slice_of(payload_key(job_id, data), 0))
    assert said(mesh)[-1].held == 64
    mesh.record("a", "b", fact, flags=flags)
    assert mesh.refusals("a", "b") == ([] if flags else ["no_blob"])
    assert mesh["b"].engine.ledger.blobs.quotas.taken == {}
    assert not mesh["b"].starts


def test_results_are_the_origins_own() -> None:
    mesh = chain("a", "b", blob_quota_bytes=1_500)
    for n in range(4):
        job_id = mesh.put("a.b", f"add_user u{n}.proj.org")
        mesh.settle()
        mesh.finish("b", job_id, LARGE)
        mesh.settle()
        assert result_of(mesh, "a", job_id) is not None
    assert leftovers(mesh) == {}


def test_half_a_blob_is_hashed_from_the_disk_after_a_start(mesh: Mesh) -> None:
    job_id = mesh.put("a.b", payload=PAYLOAD)
    while len(mesh["b"].store.slices) < 12:
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.settle()
    assert stored(mesh, "b", job_id, Kind.REQUEST) == DATA
    assert len(mesh.sent("a", "b", SliceMessage)) < 20


def test_half_a_blob_that_was_damaged_begins_anew(mesh: Mesh) -> None:
    job_id = mesh.put("a.b", payload=PAYLOAD)
    while len(mesh["b"].store.slices) < 12:
        mesh.deliver("a", "b")
        mesh.deliver("b", "a")
    # A store tells a damaged slice as a missing one.
    del mesh["b"].store.slices[sorted(mesh["b"].store.slices)[9]]
    mesh.crash("b")
    mesh.connect("a", "b")
    mesh.settle()
    assert stored(mesh, "b", job_id, Kind.REQUEST) == DATA
    mesh.run_all("b")
    assert mesh["a"].state(job_id) is State.COMPLETE
    assert leftovers(mesh) == {}


def test_what_is_held_by_a_fact_is_not_needed_again(mesh: Mesh) -> None:
    job_id = mesh.put("a.b", payload=PAYLOAD)
    mesh.settle()
    mesh.inject("a", "b", BlobMessage(*payload_key(job_id), len(DATA)))
    assert said(mesh)[-1].held == len(DATA)
    assert len(mesh["b"].store.blobs) == 1


def test_bytes_of_one_board_are_not_those_of_another() -> None:
    """A neighbour that is not on the path cannot spoil what an honest one sends."""
    mesh = Mesh(("a", "b"), ("x", "b"), limits=dict.fromkeys("abx", chain("a", "b")["a"].limits))
    job_id = mesh.put("a.b", payload=PAYLOAD)
    key = payload_key(job_id)
    mesh.inject("x", "b", BlobMessage(*key, len(DATA)))
    mesh.inject("x", "b", SliceMessage(*key, 0, b"x" * 64))
    mesh.settle()
    assert [start.job_id for start in mesh["b"].starts] == [job_id]
    assert stored(mesh, "b", job_id, Kind.REQUEST) == DATA


def test_hashes_are_blake2b_256() -> None:
    assert PAYLOAD.name.hash == blake2b(DATA, digest_size=32).digest()
