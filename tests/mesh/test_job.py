"""A job is a join of facts: any order, any repetition, one result; and a row tells when it is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.codec import pack, unpack
from mesh.errors import CorruptRow
from mesh.facts import Cancel, Content, Delete, Fact, Kind, Outcome, Progress, Reject, Request, make
from mesh.job import Job, Merge
from mesh.lane import HAS, NEVER, Lane
from mesh.lifecycle import Role, State
from mesh.routing import Place
from mesh.row import Row
from mesh.storage.columns import row_of

SIGNER = b"s" * 20
NOW = 1_700_000_000_000
NAMES = ("a", "b", "c")


def proved(kind: Kind, content: Content) -> Fact:
    fact = make(kind, content)
    fact.proof = b"proof"
    return fact


REQUEST = proved(
    Kind.REQUEST,
    Request(
        *(1, b"n" * 16, "lab", "a.b.c", SIGNER, None, "add_user u.p.o", None, "", "", NOW, NOW + 9, None, None, None)
    ),
)
ID = REQUEST.job_id
CANCEL = proved(Kind.CANCEL, Cancel(1, ID, SIGNER, NOW))
DELETE = proved(Kind.DELETE, Delete(1, ID, SIGNER, NOW))


def progress(number: int, state: str = "running", message: str | None = None) -> Fact:
    return proved(Kind.PROGRESS, Progress(1, ID, SIGNER, number, state, 1, message, None, NOW))


def outcome(state: str = "complete", number: int = 9, result: str | None = '"ok"') -> Fact:
    error = ["failed", "why"] if state == "error" else None
    return proved(Kind.OUTCOME, Outcome(1, ID, SIGNER, number, state, None, result, error, 1, NOW, NOW, False))


def reject(reason: str = "no_route") -> Fact:
    return proved(Kind.REJECT, Reject(1, ID, SIGNER, "b", reason, "why", "fix", NOW))


def place_on(path: str) -> Place:
    return Place(tuple(path.split(".")), 1)


def new_job(role: Role = Role.HOP, *facts: Fact) -> Job:
    job = Job(ID, 5, role, NOW)
    job.place = Place(NAMES, 1)
    job.up, job.down = Lane(1), Lane(2)
    for fact in facts:
        job.merge(fact, None, NOW)
    return job


def content_of(job: Job) -> tuple[object, ...]:
    # The version of a tombstone says nothing: whether it saw the reports is not remembered.
    version = 0 if job.state is State.DELETED else job.version
    return job.state, version, tuple(None if fact is None else (fact.kind, fact.body) for fact in job.facts)


def merged(facts: Sequence[Fact], role: Role = Role.HOP) -> tuple[object, ...]:
    return content_of(new_job(role, *facts))


# -- merging ------------------------------------------------------------------------------------------------------

# What an honest mesh makes of one job: reports with rising numbers and one end by its destination, a hop's claim
# only where nobody further down ever had the job, and what the origin may say at any time.
REPORTS = st.lists(
    st.builds(progress, st.integers(2, 5), st.sampled_from(["claimed", "running"]), st.sampled_from([None, "x", "y"])),
    max_size=4,
)
ENDS = st.sampled_from([[], [outcome()], [outcome("error")], [outcome("expired")], [outcome("cancelled")]])
WISHES = st.sampled_from([[], [CANCEL], [DELETE], [CANCEL, DELETE]])
HISTORIES = st.builds(lambda reports, ends, wishes: [REQUEST, *reports, *ends, *wishes], REPORTS, ENDS, WISHES)
CLAIMS = st.builds(
    lambda claim, wishes: [REQUEST, claim, *wishes],
    st.sampled_from([reject(), reject("expired"), reject("cancelled")]),
    WISHES,
)


@given(HISTORIES | CLAIMS, st.randoms(use_true_random=False), st.sampled_from([Role.ORIGIN, Role.HOP]))
@settings(max_examples=150)
def test_any_order_with_repetitions_makes_the_same_job(facts: list[Fact], random: Any, role: Role) -> None:
    again = facts + random.choices(facts, k=3)
    random.shuffle(again)
    assert merged(again, role) == merged(facts, role)


@given(HISTORIES, HISTORIES, HISTORIES)
def test_the_join_is_associative(one: list[Fact], two: list[Fact], three: list[Fact]) -> None:
    ends = {fact.body for fact in one + two + three if fact.kind is Kind.OUTCOME}
    if len(ends) > 1:
        return

    def join(left: Sequence[Fact], right: Sequence[Fact]) -> list[Fact]:
        return [fact for fact in new_job(Role.HOP, *left, *right).facts if fact is not None]

    assert content_of(new_job(Role.HOP, *join(join(one, two), three))) == content_of(
        new_job(Role.HOP, *join(one, join(two, three)))
    )


@pytest.mark.parametrize("end", ["complete", "error", "expired", "cancelled"])
@pytest.mark.parametrize("claim", ["no_route", "expired", "cancelled"])
def test_an_outcome_overrides_a_reject_in_either_order(claim: str, end: str) -> None:
    for facts in ([REQUEST, reject(claim), outcome(end)], [REQUEST, outcome(end), reject(claim)]):
        assert new_job(Role.ORIGIN, *facts).state == end


JOINS = [
    (reject(), outcome()),
    (reject(), progress(2)),
    (reject(), reject("expired")),
    (reject("cancelled"), reject("expired")),
    (reject("lost"), outcome("error")),
]


@pytest.mark.parametrize(("one", "other"), JOINS)
def test_what_only_a_restored_mesh_brings_together_joins_to_the_same_facts(one: Fact, other: Fact) -> None:
    first, second = new_job(Role.ORIGIN, REQUEST, one, other), new_job(Role.ORIGIN, REQUEST, other, one)
    assert content_of(first)[2] == content_of(second)[2]


@pytest.mark.parametrize(("one", "other"), [JOINS[0], JOINS[4]])
def test_an_outcome_gives_the_state_whatever_a_hop_said(one: Fact, other: Fact) -> None:
    assert merged([REQUEST, one, other]) == merged([REQUEST, other, one])


@pytest.mark.parametrize(("one", "other"), JOINS[1:4])
def test_what_a_caller_was_told_stays_until_the_destination_ends_the_job(one: Fact, other: Fact) -> None:
    for first, second in ((one, other), (other, one)):
        told = new_job(Role.ORIGIN, REQUEST, first).state
        assert new_job(Role.ORIGIN, REQUEST, first, second).state is told or told is State.PENDING


def test_of_two_rejects_the_one_that_is_not_kept_is_answered_with_the_other() -> None:
    low, high = sorted((reject(), reject("expired")), key=Fact.digest)
    job = new_job(Role.ORIGIN, REQUEST)
    assert job.down is not None
    assert job.merge(low, job.down, NOW) is Merge.CHANGED
    assert job.merge(high, job.down, NOW) is Merge.KEPT
    assert (job.facts[Kind.REJECT], job.down.sent[Kind.REJECT]) == (low, NEVER)
    assert job.merge(high, None, NOW) is Merge.SAME
    job = new_job(Role.ORIGIN, REQUEST, high)
    assert job.merge(low, job.down, NOW) is Merge.CHANGED
    assert job.facts[Kind.REJECT] is low


def test_of_two_reports_the_higher_number_holds_then_the_higher_hash() -> None:
    low, high = progress(2, "running"), progress(3, "claimed")
    for order in permutations((low, high)):
        job = new_job(Role.ORIGIN, REQUEST, *order)
        assert (job.progress, job.version, job.state) == (high.content, 3, State.CLAIMED)
    twins = sorted((progress(2, message="x"), progress(2, message="y")), key=Fact.digest)
    for order in permutations(twins):
        assert new_job(Role.ORIGIN, REQUEST, *order).facts[Kind.PROGRESS] is twins[1]


def test_a_report_after_the_end_is_too_late() -> None:
    job = new_job(Role.ORIGIN, REQUEST, progress(2), outcome())
    assert job.progress is None
    assert job.merge(progress(20), None, NOW) is Merge.SAME
    assert (job.state, job.progress, job.version) == (State.COMPLETE, None, 9)


def test_a_second_outcome_is_kept_as_evidence_and_not_shown() -> None:
    first, second = outcome(), outcome("error")
    job = new_job(Role.ORIGIN, REQUEST, first)
    assert job.merge(second, job.down, NOW) is Merge.CONFLICT
    assert job.merge(second, job.down, NOW) is Merge.CONFLICT
    assert job.merge(first, job.down, NOW) is Merge.SAME
    assert (job.state, job.outcome) == (State.COMPLETE, first.content)
    assert job.evidence == [second.body, b"proof"]


def test_evidence_is_bounded() -> None:
    job = new_job(Role.ORIGIN, REQUEST, outcome())
    others = [outcome(result=f'"{number}{"x" * 32_000}"') for number in range(4)]
    for other in others:
        assert job.merge(other, job.down, NOW) is Merge.CONFLICT
    again = Job.from_row(job.row(None), place_on)
    assert again.evidence == [others[0].body, b"proof"]


@pytest.mark.parametrize("role", [Role.ORIGIN, Role.HOP])
@pytest.mark.parametrize("other", [CANCEL, progress(2), outcome(), reject()])
def test_a_delete_wins_in_either_order(role: Role, other: Fact) -> None:
    for order in permutations((other, DELETE)):
        job = new_job(role, REQUEST, *order)
        assert job.state is State.DELETED
        assert [fact.kind for fact in job.facts if fact is not None] == [Kind.REQUEST, Kind.DELETE]
        assert job.merge(other, job.down, NOW) is Merge.SAME


def test_a_tombstone_takes_its_request() -> None:
    job = new_job(Role.DESTINATION, DELETE)
    assert job.merge(REQUEST, job.up, NOW) is Merge.CHANGED
    assert job.state is State.DELETED


def test_a_second_cancel_changes_nothing() -> None:
    job = new_job(Role.HOP, REQUEST, CANCEL)
    assert job.merge(proved(Kind.CANCEL, Cancel(1, ID, SIGNER, NOW + 1)), job.up, NOW) is Merge.SAME
    assert job.facts[Kind.CANCEL] is CANCEL


# -- lanes --------------------------------------------------------------------------------------------------------


def test_facts_spread_away_from_where_they_came_and_only_their_way() -> None:
    job = Job(ID, 5, Role.HOP, NOW)
    job.place = Place(NAMES, 1)
    job.up, job.down = Lane(1), Lane(2)
    job.merge(REQUEST, job.up, NOW)
    assert ((NEVER in job.up.sent), job.down.sent[Kind.REQUEST]) == (False, NEVER)
    job.merge(CANCEL, job.up, NOW)
    assert job.down.sent[Kind.CANCEL] == NEVER
    job.merge(progress(2), job.down, NOW)
    assert (job.up.sent[Kind.PROGRESS], job.down.sent[Kind.PROGRESS]) == (NEVER, HAS)
    job.merge(outcome(), job.down, NOW)
    assert (job.up.sent[Kind.OUTCOME], job.up.sent[Kind.PROGRESS]) == (NEVER, HAS)


def test_what_comes_from_the_other_side_goes_on_all_the_same() -> None:
    """Who said it has lost its store: a Cancel from below goes up though the job is over here, an Outcome goes down."""
    job = new_job(Role.HOP, REQUEST, reject())
    assert job.up is not None
    assert job.down is not None
    job.merge(CANCEL, job.down, NOW)
    assert (job.up.sent[Kind.CANCEL], job.down.sent[Kind.CANCEL]) == (NEVER, HAS)
    job.merge(outcome(), job.up, NOW)
    assert (job.up.sent[Kind.OUTCOME], job.down.sent[Kind.OUTCOME]) == (HAS, NEVER)
    told = new_job(Role.HOP)
    assert told.up is not None
    assert told.down is not None
    told.merge(REQUEST, told.down, NOW)
    told.merge(reject(), told.up, NOW)
    assert told.down.sent[Kind.REJECT] == HAS


def test_the_lane_of_a_board() -> None:
    job = new_job()
    assert job.lane_of(1) is job.up
    assert job.lane_of(2) is job.down
    assert job.lane_of(3) is None
    job.up = job.down = None
    assert (job.lane_of(1), job.lanes) == (None, ())
    job.merge(REQUEST, None, NOW)
    job.merge(outcome(), None, NOW)
    assert job.outcome is not None


# -- rows ---------------------------------------------------------------------------------------------------------


def rich(role: Role = Role.HOP) -> Job:
    job = new_job(role, REQUEST, CANCEL, outcome())
    job.merge(outcome("error"), job.down, NOW + 5)
    assert job.up is not None
    assert job.down is not None
    job.attempt, job.started_ms, job.crashes, job.alone, job.key = 2, NOW + 1, 3, 1, "key"
    job.up.carry(11, 0)
    job.down.carry(12, 0)
    job.down.offered = job.down.reissued = True
    return job


def waiting() -> Job:
    job = new_job(Role.HOP, REQUEST)
    assert job.up is not None
    assert job.down is not None
    job.up.counted = job.down.waiting = True
    job.key = "key"
    return job


def lane_content(lane: Lane | None) -> object:
    return lane and (lane.board, lane.number, lane.sent, lane.offered, lane.reissued, lane.waiting, lane.counted)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("live", [True, False])
def test_a_row_is_read_back(role: Role, live: bool) -> None:
    job = rich(role) if not live else new_job(role, REQUEST)
    if live:
        assert job.up is not None
        assert job.down is not None
        job.up.counted = job.down.waiting = True
    row = job.row(NOW + 77)
    assert (row.seq, row.id, row.due_ms, row.live, row.waiting) == (5, ID, NOW + 77, live, live)
    assert (row.up_board, row.down_board) == (1, 2)
    assert (row.up_branch, row.down_branch) == (("0:c", "0:") if live else (None, None))
    again = Job.from_row(row, place_on)
    assert content_of(again) == content_of(job)
    for name in ("id", "seq", "role", "changed_ms", "attempt", "started_ms", "crashes", "alone", "key", "evidence"):
        assert getattr(again, name) == getattr(job, name)
    assert (again.place, again.branch, again.depth) == (Place(NAMES, 1), "0:", 0)
    assert again.up is not None
    assert again.down is not None
    assert again.up.counted is live
    assert again.down.counted is False
    assert (again.up.sent, again.down.sent) == (job.up and job.up.sent, job.down and job.down.sent)
    assert (again.down.offered, again.down.reissued, again.down.waiting) == (not live, not live, live)
    assert Job.from_row(again.row(NOW + 77), place_on).row(NOW + 77) == row


def test_an_offered_live_job_is_counted_again_from_its_row() -> None:
    job = new_job(Role.ORIGIN, REQUEST)
    job.up = None
    assert job.down is not None
    job.down.offered = job.down.counted = True
    again = Job.from_row(job.row(None), place_on)
    assert again.up is None
    assert again.down is not None
    assert again.down.counted
    assert again.lanes == (again.down,)


def test_a_row_without_lanes() -> None:
    job = new_job(Role.ORIGIN, REQUEST)
    job.up = job.down = None
    row = job.row(None)
    assert (row.up_board, row.down_board, row.up_number, row.down_number) == (None, None, 0, 0)
    assert Job.from_row(row, place_on).lanes == ()


def test_a_trimmed_row_keeps_its_state() -> None:
    job = Job.from_row(rich().row(None)._replace(facts=None), place_on)
    assert (job.state, job.live, job.outcome, job.reject, job.progress) == (State.COMPLETE, False, None, None, None)
    assert job.place.names == ()
    with pytest.raises(AssertionError, match="no request"):
        job.request  # noqa: B018


def test_a_tombstone_without_a_request_is_read_back() -> None:
    job = new_job(Role.HOP, DELETE)
    assert Job.from_row(job.row(None), place_on).state is State.DELETED


def flips(data: bytes | int) -> list[bytes] | list[int]:
    if isinstance(data, int):
        return [data ^ 1 << index for index in range(32)]
    return [data[:index] + bytes([data[index] ^ 1 << index % 8]) + data[index + 1 :] for index in range(len(data))]


@pytest.mark.parametrize("part", ["record", "facts", "check", "id"])
def test_every_flipped_byte_is_noticed(part: str) -> None:
    row = rich().row(NOW)
    for damaged in flips(getattr(row, part)):
        with pytest.raises(CorruptRow, match="of job"):
            Job.from_row(row._replace(**{part: damaged}), place_on)


@pytest.mark.parametrize("column", Row._fields[:14])
@pytest.mark.parametrize("live", [True, False])
def test_every_column_follows_from_the_blobs(column: str, live: bool) -> None:
    row = (waiting() if live else rich()).row(NOW)
    was = getattr(row, column)
    others: list[object] = [None, 0, 1, 2, 77, "0:elsewhere", b"x" * 26]
    for other in others:
        read = row_of(row._replace(**{column: other}))
        if other != was and read != row:
            with pytest.raises(CorruptRow, match="of job"):
                Job.from_row(read, place_on)


def test_the_facts_of_a_live_job_are_never_trimmed() -> None:
    with pytest.raises(CorruptRow, match="gone"):
        Job.from_row(waiting().row(NOW)._replace(facts=None), place_on)


@pytest.mark.parametrize("part", ["record", "facts"])
def test_every_truncation_is_noticed(part: str) -> None:
    row = rich().row(NOW)
    whole = getattr(row, part)
    for size in range(0, len(whole), 7):
        with pytest.raises(CorruptRow):
            Job.from_row(row._replace(**{part: whole[:size]}), place_on)


def forge(row: Row, change: Any) -> Row:
    """A row whose checksum is right and whose record is nonsense: written by another version, say."""
    record = pack(change(unpack(row.record)))
    return row._replace(record=record, check=crc32(record, crc32(row.id)))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record[:-1],
        lambda record: [*record, 1],
        lambda record: 5,
        lambda record: [record[0], 99, *record[2:]],
        lambda record: [*record[:2], 99, *record[3:]],
        lambda record: [*record[:2], "x", *record[3:]],
        lambda record: [*record[:9], 5, *record[10:]],
    ],
)
def test_a_record_of_another_shape_is_corrupt(change: Any) -> None:
    with pytest.raises(CorruptRow):
        Job.from_row(forge(rich().row(None), change), place_on)


@pytest.mark.parametrize(
    "other",
    [
        outcome(result='"another one"'),
        proved(Kind.REQUEST, REQUEST.content._replace(instruction="remove_user u.p.o")),  # type: ignore[call-arg]
        proved(Kind.CANCEL, CANCEL.content._replace(job_id=b"x" * 26)),  # type: ignore[call-arg]
    ],
)
def test_facts_that_are_others_are_corrupt_whatever_the_checksums_say(other: Fact) -> None:
    row = rich().row(None)
    assert row.facts is not None
    kept = [fact for fact in unpack(row.facts) if fact[0] != other.kind]
    facts = pack([*kept, [int(other.kind), other.body, other.proof]])
    changed = forge(row, lambda record: [*record[:13], crc32(facts), *record[14:]])
    with pytest.raises(CorruptRow, match="are others"):
        Job.from_row(changed._replace(facts=facts), place_on)


def test_a_row_of_another_agents_job_is_corrupt() -> None:
    def not_ours(path: str) -> tuple[tuple[str, ...], int]:
        raise ValueError("the stored path does not name this agent")

    with pytest.raises(CorruptRow, match="does not name this agent"):
        Job.from_row(rich().row(None), not_ours)


def test_the_largest_request_and_outcome_fit_a_row() -> None:
    content = REQUEST.content
    assert isinstance(content, Request)
    big = proved(Kind.REQUEST, content._replace(options={"note": "x" * 32_500}))
    job = Job(big.job_id, 5, Role.HOP, NOW)
    job.place = Place(NAMES, 1)
    job.merge(big, None, NOW)
    ended = outcome(result='"' + "y" * 33_000 + '"').content
    for kind, other in ((Kind.OUTCOME, ended), (Kind.CANCEL, CANCEL.content)):
        job.merge(proved(kind, other._replace(job_id=big.job_id)), None, NOW)  # type: ignore[call-arg]
    assert content_of(Job.from_row(job.row(None), place_on)) == content_of(job)


def test_a_job_is_shown_by_its_short_name() -> None:
    assert repr(new_job()) == f"<job {ID[6:10].hex()} hop pending>"
