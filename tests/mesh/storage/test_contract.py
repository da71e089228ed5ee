"""What every store does: one suite, on the durable one and on its twin in memory, and both against each other."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.effects import (
    Answer,
    AtNumber,
    Batch,
    ById,
    ByKey,
    Due,
    Numbered,
    Query,
    Shared,
    Unfinished,
    Waiting,
)
from mesh.opening import Snapshot
from mesh.row import Row
from mesh.storage.columns import DESTINATION, HOP, ORIGIN
from mesh.storage.contract import Store
from mesh.storage.memory import MemoryStore
from mesh.storage.sqlite import SqliteStore
from tests.mesh.storage.conftest import OpenStore
from tests.mesh.storage.rows import (
    COMPLETE,
    ERROR,
    PENDING,
    TOMBSTONE,
    board,
    invitation,
    job_id,
    peer,
    put,
    row,
    seqs,
)


def reopened(store: Store) -> Snapshot:
    store.close()
    return store.open()


def found(store: Store, query: Query) -> list[int]:
    return seqs(store.read(query).rows)


# --- what is put is found ---


def test_a_row_comes_back_as_it_was_put(store: Store) -> None:
    whole = row(7, key="a key", waiting=1, due_ms=5, up_number=3, down_number=4, facts=b"\x00facts")
    put(store, whole)
    assert store.read(ById((job_id(7),))).rows == [whole]


def test_a_row_replaces_the_one_with_its_seq(store: Store) -> None:
    put(store, row(1), row(2))
    later = row(1, live=0, up_number=9, facts=None, record=b"later")
    put(store, later)
    assert store.read(ById((job_id(2), job_id(1)))).rows == [row(2), later]


def test_the_last_of_several_batches_holds(store: Store) -> None:
    store.apply(
        [Batch(rows=[row(1), row(2)]), Batch(rows=[row(1, down_number=5)]), Batch(rows=[row(1, down_number=6)])]
    )
    assert store.read(ById((job_id(1),))).rows == [row(1, down_number=6)]
    assert found(store, Numbered(2, 1, 0, 5, 10)) == []


@pytest.mark.parametrize("jobs", [1, 15, 16, 17, 127, 128, 145, 300])
def test_groups_of_any_size_are_written_whole(store: Store, jobs: int) -> None:
    rows = [row(seq) for seq in range(1, jobs + 1)]
    put(store, *rows)
    assert store.list_jobs(live=None, states=(), after=0, limit=1_000) == rows[::-1]


def test_the_answer_names_its_query(store: Store) -> None:
    query = ById((job_id(404),))
    assert store.read(query) == Answer(query, [])


def test_ids_are_answered_in_their_order_and_unknown_ones_left_out(store: Store) -> None:
    put(store, row(1), row(2), row(3))
    assert found(store, ById((job_id(3), job_id(9), job_id(1)))) == [3, 1]


def test_a_key_gives_the_last_job_that_had_it(store: Store) -> None:
    put(store, row(1, key="other"), row(2, key="key"), row(3, key="key"))
    assert found(store, ByKey("key")) == [3]
    assert found(store, ByKey("none")) == []


def test_numbers_of_a_board_are_found_in_order_in_both_directions(store: Store) -> None:
    put(store, row(1, down_number=30), row(2, down_number=10), row(3, up_board=2, up_number=20, down_board=3))
    put(store, row(4, up_number=15), row(5))
    assert found(store, Numbered(2, 1, 0, 100, 10)) == [2, 3, 1]
    assert found(store, Numbered(2, 1, 10, 30, 10)) == [3, 1]
    assert found(store, Numbered(2, 1, 9, 29, 10)) == [2, 3]
    assert found(store, Numbered(2, 1, 0, 100, 2)) == [2, 3]
    assert found(store, Numbered(1, 1, 0, 100, 10)) == [4]


def test_refused_numbers_are_found(store: Store) -> None:
    put(store, row(1, down_number=30), row(2, down_number=10), row(3, up_board=2, up_number=20, down_board=3))
    refused = ((30, "busy", ""), (20, "busy", ""), (11, "busy", ""))
    assert found(store, AtNumber(2, 0, refused)) == [3, 1]
    assert found(store, AtNumber(1, 0, refused)) == []


def test_waiting_jobs_are_found_by_branch_in_the_order_they_came(store: Store) -> None:
    put(store, row(3, waiting=1), row(1, waiting=1), row(2, waiting=1, down_branch="0:near"), row(4))
    assert found(store, Waiting(2, 1, "0:far", 10)) == [1, 3]
    assert found(store, Waiting(2, 1, "0:far", 1)) == [1]
    assert found(store, Waiting(1, 1, "0:far", 10)) == []
    assert found(store, Waiting(2, 1, "0:far", 10, 2, (2,))) == [3]
    assert found(store, Waiting(2, 1, "0:far", 10, 9, (2,))) == []
    assert found(store, Waiting(2, 1, "0:far", 10, 9, (7,))) == [1, 3]
    put(store, row(1, waiting=0, down_number=1))
    assert found(store, Waiting(2, 1, "0:far", 10)) == [3]


def test_a_damaged_row_is_in_no_count_and_waits_for_nothing_until_it_is_replaced(store: Store) -> None:
    put(store, row(1, waiting=1, due_ms=5), row(2))
    put(store, quarantined=[1, 9])
    assert found(store, ById((job_id(1),))) == [1]
    assert found(store, Waiting(2, 1, "0:far", 10)) == []
    assert found(store, Due(9, 10, 1, ())) == []
    assert store.read(Due(9, 10, 1, ())).next_ms is None
    opened = reopened(store)
    assert (opened.waiting, opened.offered, opened.accepted) == ((), ((2, "0:far", 1),), ((1, "0:", 1),))
    put(store, row(1, waiting=1), quarantined=[1])
    assert found(store, Waiting(2, 1, "0:far", 10)) == [1]


def test_shared_jobs_of_a_board_are_paged_in_the_order_they_came(store: Store) -> None:
    put(store, row(1), row(2, up_board=2, down_board=3), row(3, up_board=3, down_board=None), row(4, live=0))
    put(store, row(5, live=0, facts=None))
    assert found(store, Shared(2, 1, 0, 10)) == [1, 2, 4]
    assert found(store, Shared(2, 1, 0, 2)) == [1, 2]
    assert found(store, Shared(2, 1, 2, 2)) == [4]
    assert found(store, Shared(1, 1, 0, 10)) == [1, 4]


def test_unfinished_jobs_are_live_ones_that_end_here(store: Store) -> None:
    ours = {"role": DESTINATION, "down_board": None, "down_branch": None}
    put(store, row(1), row(2, **ours), row(3, **ours), row(4, live=0, **ours), row(5, up_board=2, **ours))
    assert found(store, Unfinished(1, 0, 10)) == [2, 3]
    assert found(store, Unfinished(1, 2, 10)) == [3]
    assert found(store, Unfinished(1, 0, 1)) == [2]


def test_due_jobs_come_earliest_first_with_the_time_of_the_next(store: Store) -> None:
    put(store, row(1, due_ms=30), row(2, due_ms=10), row(3, due_ms=20), row(4), row(5, live=0, due_ms=1))
    answer = store.read(Due(20, 10, 0, ()))
    assert (seqs(answer.rows), answer.next_ms) == ([2, 3], 30)
    answer = store.read(Due(20, 1, 0, ()))
    assert (seqs(answer.rows), answer.next_ms) == ([2], 20)
    answer = store.read(Due(30, 10, 0, ()))
    assert (seqs(answer.rows), answer.next_ms) == ([2, 3, 1], None)
    answer = store.read(Due(9, 10, 0, ()))
    assert (answer.rows, answer.next_ms) == ([], 10)


def test_a_job_of_an_earlier_opening_is_not_due_before_its_boards_are_proved(store: Store) -> None:
    put(store, row(1, due_ms=1), row(2, due_ms=2, up_board=None), row(3, due_ms=3, up_board=3, down_board=None))
    put(store, row(9, due_ms=4))
    answer = store.read(Due(10, 10, 9, (1, 2)))
    assert (seqs(answer.rows), answer.next_ms) == ([3, 9], None)
    answer = store.read(Due(2, 10, 9, (1, 2)))
    assert (seqs(answer.rows), answer.next_ms) == ([], 3)
    assert found(store, Due(10, 10, 9, ())) == [1, 2, 3, 9]


# --- what is not needed goes ---


def test_trimming_takes_the_facts_of_finished_jobs_in_its_range(store: Store) -> None:
    put(store, *(row(seq, live=0, up_number=seq * 10) for seq in range(1, 5)))
    put(store, row(5, up_number=25), row(6, live=0, up_board=3, up_number=26), row(7, live=0, down_number=27))
    put(store, trims=[(1, 10, 30)])
    trimmed = {one.seq for one in store.list_jobs(live=None, states=(), after=0, limit=10) if one.facts is None}
    assert trimmed == {2, 3}
    assert found(store, Shared(1, 1, 0, 10)) == [1, 4, 5, 7]
    assert found(store, Numbered(1, 1, 0, 100, 10)) == [1, 2, 5, 3, 4]


def test_a_tombstone_keeps_its_delete(store: Store) -> None:
    put(store, row(1, live=0, up_number=10, state=TOMBSTONE), trims=[(1, 0, 10)])
    assert store.read(ById((job_id(1),))).rows[0].facts is not None


def test_a_trimmed_job_can_be_put_again(store: Store) -> None:
    put(store, row(1, live=0, up_number=10), trims=[(1, 0, 10)])
    put(store, row(1, live=0, up_number=10, facts=b"again"))
    assert found(store, Shared(1, 1, 0, 10)) == [1]


def test_finished_jobs_of_others_go_at_their_horizon(store: Store) -> None:
    put(store, row(1, live=0, due_ms=10), row(2, live=0, due_ms=11), row(3, due_ms=5), row(4, live=0, due_ms=None))
    put(store, row(5, live=0, due_ms=10, role=DESTINATION))
    put(store, collect_ms=10)
    assert seqs(store.list_jobs(live=None, states=(), after=0, limit=10)) == [4, 3, 2]
    assert found(store, ById((job_id(1),))) == []


def test_as_many_of_our_own_finished_jobs_stay_as_were_asked_for(open_store: OpenStore) -> None:
    store = open_store(keep_jobs=2)
    put(store, *(row(seq, live=0, role=ORIGIN, due_ms=100 - seq) for seq in range(1, 6)))
    put(store, row(6, role=ORIGIN, due_ms=1), row(7, live=0, due_ms=1))
    put(store, collect_ms=97)
    assert seqs(store.list_jobs(live=None, states=(), after=0, limit=10)) == [6, 2, 1]
    put(store, collect_ms=1_000)
    assert seqs(store.list_jobs(live=None, states=(), after=0, limit=10)) == [6, 2, 1]


# --- for people ---


def test_jobs_are_listed_newest_first(store: Store) -> None:
    put(store, row(1), row(2, live=0), row(3, live=0, state=ERROR), row(4))

    def listed(live: bool | None = None, states: tuple[int, ...] = (), after: int = 0, limit: int = 10) -> list[int]:
        return seqs(store.list_jobs(live=live, states=states, after=after, limit=limit))

    assert listed() == [4, 3, 2, 1]
    assert listed(limit=2) == [4, 3]
    assert listed(after=3) == [2, 1]
    assert listed(live=True) == [4, 1]
    assert listed(live=True, after=4) == [1]
    assert listed(live=False) == [3, 2]
    assert listed(states=(ERROR, PENDING)) == [4, 3, 1]
    assert listed(live=False, states=(ERROR, PENDING)) == [3]
    assert listed(live=True, states=(COMPLETE,)) == []


def test_a_short_id_finds_its_job(store: Store) -> None:
    put(store, *(row(seq) for seq in range(1, 400)))
    assert seqs(store.find_short(job_id(17)[6:10], 10)) == [17]
    assert store.find_short(b"\x00\x00\x00\x00", 10) == []


def test_an_ambiguous_short_id_gives_the_newest_first(store: Store) -> None:
    rows = [row(seq) for seq in range(1, 600)]
    put(store, *rows)
    first = job_id(1)[6:7]
    alike = [one.seq for one in reversed(rows) if one.id[6:7] == first]
    assert len(alike) > 1
    assert seqs(store.find_short(first, 10)) == alike[:10]
    assert seqs(store.find_short(first, 1)) == alike[:1]


def test_peers_and_invitations_are_replaced_by_their_keys(store: Store) -> None:
    put(store, peers=[peer(1), peer(2)], invitations=[invitation(1), invitation(2)])
    put(store, peers=[peer(1, state="revoked")], invitations=[invitation(2, failures=3)])
    assert sorted(store.peers(), key=lambda one: one.name) == [peer(1, state="revoked"), peer(2)]
    assert sorted(store.invitations(), key=lambda one: one.name) == [invitation(1), invitation(2, failures=3)]


# --- the opening ---


def told(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot whose parts can be compared: most have no order."""
    unordered = ("cards", "pins", "portals", "ids", "keys", "waiting", "offered", "accepted", "strays")
    return {
        name: sorted(getattr(snapshot, name)) if name in unordered else getattr(snapshot, name)
        for name in (field.name for field in fields(Snapshot))
    }


def test_a_new_store_is_empty(open_store: OpenStore) -> None:
    store = open_store()
    assert told(reopened(store)) == told(Snapshot(boards=(board(1), board(2), board(3))))


def test_what_was_put_is_told_at_the_next_opening(store: Store) -> None:
    put(
        store,
        row(1, key="a", waiting=1, due_ms=40),
        row(2, key="b", down_number=70, due_ms=30),
        row(8, live=0, up_number=90, due_ms=10),
        boards=[board(1, home=50)],
        incarnations=((b"one", 1), (b"two", 60)),
        cards=[(b"f1", b"old"), (b"f2", b"card")],
        pins=[("zone", "route", b"f1")],
        portals=[("zone", "portal", b"f1")],
    )
    put(store, cards=[(b"f1", b"new")], pins=[("zone", "route", b"f2")], portals=[("other", "portal", b"f2")])
    assert told(reopened(store)) == {
        "boards": (board(1, home=50), board(2), board(3)),
        "cards": [(b"f1", b"new"), (b"f2", b"card")],
        "pins": [("zone", "route", b"f2")],
        "portals": [("other", "portal", b"f2"), ("zone", "portal", b"f1")],
        "incarnations": ((b"one", 1), (b"two", 60)),
        "last_seq": 8,
        "last_number": 90,
        "ids": [job_id(1), job_id(2), job_id(8)],
        "keys": ["a", "b"],
        "waiting": [(2, "0:far", 1)],
        "offered": [(2, "0:far", 1)],
        "accepted": [(1, "0:", 2)],
        "strays": [(1, 90, 2)],
        "next_due_ms": 30,
        "blobs": (),
        "last_blob": 0,
        "counted": (),
    }


def test_the_list_of_incarnations_is_replaced_whole(store: Store) -> None:
    put(store, incarnations=((b"one", 1), (b"two", 5)))
    put(store, incarnations=((b"two", 5), (b"three", 9)))
    assert reopened(store).incarnations == ((b"two", 5), (b"three", 9))


def test_strays_are_finished_jobs_of_a_hop_above_home(store: Store) -> None:
    put(store, *(row(seq, live=0, up_number=seq) for seq in (1, 2, 3, 4)), boards=[board(1, home=2)])
    put(store, row(5, up_number=5), row(6, live=0, up_number=6, role=DESTINATION, down_board=None))
    put(store, row(7, live=0, up_board=3, up_number=7), row(8, live=0, up_number=8, down_board=3))
    # (board they go up, number there, board they came by), in the order of the numbers
    assert reopened(store).strays == ((1, 3, 2), (1, 4, 2), (1, 8, 3), (3, 7, 2))


# --- the twins ---

BOARDS = (1, 2, 3)
NUMBERS = st.integers(0, 12)
TIMES = st.none() | st.integers(0, 20)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    up, down = draw(st.permutations((*BOARDS, None)))[:2]
    seq = draw(st.integers(1, 12))
    live = draw(st.integers(0, 1))
    branch = st.sampled_from(("0:", "1:far"))
    return row(
        seq,
        role=draw(st.sampled_from((ORIGIN, HOP, DESTINATION))),
        live=live,
        state=PENDING if live else draw(st.sampled_from((COMPLETE, ERROR, TOMBSTONE))),
        up_board=up,
        up_number=0 if up is None else draw(NUMBERS),
        down_board=down,
        down_number=0 if down is None else draw(NUMBERS),
        up_branch=draw(branch) if live and up is not None else None,
        down_branch=draw(branch) if live and down is not None else None,
        waiting=draw(st.integers(0, 1)) if live and down is not None else 0,
        due_ms=draw(TIMES),
        key=draw(st.sampled_from((None, "a", "b"))),
        facts=draw(st.sampled_from((b"one", b"two"))) if live else draw(st.sampled_from((None, b"one"))),
    )


BATCHES = st.builds(
    Batch,
    rows=st.lists(rows(), max_size=20),
    boards=st.lists(st.builds(board, st.sampled_from(BOARDS), home=NUMBERS), max_size=2),
    cards=st.lists(st.tuples(st.sampled_from((b"f1", b"f2")), st.binary(max_size=2)), max_size=2),
    pins=st.lists(st.tuples(st.just("zone"), st.sampled_from(("r1", "r2")), st.binary(max_size=2)), max_size=2),
    peers=st.lists(st.builds(peer, st.integers(1, 3), state=st.sampled_from(("pinned", "revoked"))), max_size=2),
    invitations=st.lists(st.builds(invitation, st.integers(1, 3), failures=NUMBERS), max_size=2),
    trims=st.lists(st.tuples(st.sampled_from(BOARDS), NUMBERS, NUMBERS), max_size=2),
    quarantined=st.lists(st.integers(1, 14), max_size=2),
    collect_ms=TIMES,
)
AFTER = st.integers(0, 12)
LIMITS = st.integers(1, 8)
QUERIES: st.SearchStrategy[Query] = st.one_of(
    st.builds(ById, st.lists(st.integers(1, 14).map(job_id), max_size=4).map(tuple)),
    st.builds(ByKey, st.sampled_from(("a", "b", "c"))),
    st.builds(Numbered, st.sampled_from(BOARDS), st.just(1), AFTER, NUMBERS, LIMITS),
    st.builds(
        AtNumber,
        st.sampled_from(BOARDS),
        st.just(0),
        st.lists(st.tuples(st.integers(1, 12), st.just(""), st.just(""))).map(tuple),
    ),
    st.builds(
        Waiting,
        st.sampled_from(BOARDS),
        st.just(1),
        st.sampled_from(("0:", "1:far")),
        LIMITS,
        AFTER,
        st.lists(st.sampled_from(BOARDS)).map(tuple),
    ),
    st.builds(Shared, st.sampled_from(BOARDS), st.just(1), AFTER, LIMITS),
    st.builds(Unfinished, st.sampled_from(BOARDS), AFTER, LIMITS),
    st.builds(Due, st.integers(0, 20), LIMITS, AFTER, st.lists(st.sampled_from(BOARDS)).map(tuple)),
)


@given(
    steps=st.lists(st.tuples(BATCHES, st.lists(QUERIES, max_size=12)), max_size=6),
    lists=st.lists(st.tuples(st.sampled_from((None, True, False)), st.sets(st.integers(0, 10)), AFTER, LIMITS)),
)
def test_both_stores_give_the_same_answers(
    steps: list[tuple[Batch, list[Query]]], lists: list[tuple[bool | None, set[int], int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory, sqlite = MemoryStore(keep_jobs=2), SqliteStore(Path(folder) / "store.db", keep_jobs=2)
        stores: tuple[Store, Store] = (memory, sqlite)
        for store in stores:
            store.open()
            put(store, boards=[board(number) for number in BOARDS])
        for batch, queries in steps:
            for store in stores:
                store.apply([batch])
            for query in queries:
                assert sqlite.read(query) == memory.read(query)
            assert sorted(sqlite.peers(), key=repr) == sorted(memory.peers(), key=repr)
            assert sorted(sqlite.invitations(), key=repr) == sorted(memory.invitations(), key=repr)
        for live, states, after, limit in lists:
            one, two = (store.list_jobs(live=live, states=tuple(states), after=after, limit=limit) for store in stores)
            assert one == two
        prefix = job_id(3)[6:7]
        assert sqlite.find_short(prefix, 3) == memory.find_short(prefix, 3)
        assert told(reopened(sqlite)) == told(reopened(memory))
        sqlite.close()
