"""A revoked peer: what only it could end is lost, what it never had waits for its successor, its key starts nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.effects import Revoked
from mesh.ending import Ending
from mesh.facts import Kind
from mesh.lifecycle import State
from mesh.limits import Limits
from tests.mesh.blob_mesh import LARGE, small
from tests.mesh.pair import DONE, ZONE, Mesh, card_of, identity_of, peer_row

CHAIN = (("a", "b"), ("b", "c"))


def revoke(mesh: Mesh, name: str, peer: str) -> None:
    row = replace(peer_row(mesh[peer].card), pair_key=None, secret=None, state="revoked")
    mesh[name].engine.revoke([row])
    mesh.step(name)
    mesh.settle()


def test_the_link_of_a_revoked_peer_closes_at_once() -> None:
    mesh = Mesh(*CHAIN)
    revoke(mesh, "a", "b")
    assert mesh["a"].closed == ["this peer was revoked"]
    assert [(row.name, row.state) for row in mesh["a"].store.peers()] == [("b", "revoked")]
    board = mesh["a"].engine.board(ZONE, "b")
    assert board is None or board.fingerprint is None


def test_what_was_offered_to_it_is_lost_and_its_effect_unknown() -> None:
    mesh = Mesh(*CHAIN)
    ids = [mesh.put("a.b.c") for _ in range(3)]
    mesh.settle()
    revoke(mesh, "b", "c")
    for one in ids:
        assert [mesh[name].state(one) for name in "ab"] == [State.REJECTED] * 2
        reject = mesh["a"].job(one).reject
        assert reject is not None
        assert (reject.agent, reject.reason) == ("b", "lost")
        assert reject.message == '"c" was revoked while it had this job: effect unknown'
    assert mesh["b"].board("a").accepted == {}


def test_what_was_reported_running_is_lost_too() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.wait(1)
    assert mesh["a"].state(job_id) is State.RUNNING
    revoke(mesh, "b", "c")
    assert [mesh[name].state(job_id) for name in "ab"] == [State.REJECTED] * 2


def test_what_is_over_stays_as_it_is() -> None:
    mesh = Mesh(*CHAIN)
    job_id = mesh.put("a.b.c")
    mesh.settle()
    mesh.run_all("c")
    revoke(mesh, "b", "c")
    assert [mesh[name].state(job_id) for name in "ab"] == [State.COMPLETE] * 2


def test_what_it_was_never_offered_waits_for_its_successor() -> None:
    mesh = Mesh(("a", "b"), connected=False)
    job_id = mesh.put("a.b")
    revoke(mesh, "a", "b")
    assert mesh["a"].state(job_id) is State.PENDING
    mesh["a"].engine.pair(peer_row(card_of("b", key="new b")))
    mesh.step("a")
    board = mesh["a"].board("b")
    assert (board.fingerprint, board.waiting) == (identity_of("new b").fingerprint, {"0:": 1})
    mesh.crash("a")
    assert mesh["a"].board("b").waiting == {"0:": 1}
    assert mesh["a"].state(job_id) is State.PENDING


def test_a_job_of_a_revoked_peer_does_not_start_any_more() -> None:
    mesh = Mesh(("a", "z"), limits={"z": Limits(handlers=1)})
    running, waiting = mesh.put("a.z", "idle"), mesh.put("a.z", "idle")
    mesh.settle()
    revoke(mesh, "z", "a")
    assert mesh["z"].state(running) is State.RUNNING
    outcome = mesh["z"].job(waiting).outcome
    assert outcome is not None
    assert outcome.error == ["denied", 'agent "z" has revoked "a", which brought the job']
    mesh.finish("z", running)
    assert mesh["z"].state(running) is State.COMPLETE
    assert len(mesh["z"].starts) == 1


def test_a_job_of_a_revoked_key_does_not_start_on_another_way() -> None:
    mesh = Mesh(("a", "b"), ("b", "z"), ("a", "z"), limits={"z": Limits(handlers=1)})
    first = mesh.put("a.b.z", "idle")
    second = mesh.put("a.b.z", "idle")
    mesh.settle()
    revoke(mesh, "z", "a")
    mesh.finish("z", first)
    mesh.settle()
    outcome = mesh["a"].job(second).outcome
    assert outcome is not None
    assert outcome.error == ["denied", 'agent "z" has revoked the key of "a"']


def test_many_jobs_are_looked_through_page_by_page() -> None:
    mesh = Mesh(("a", "b"))
    for _ in range(300):
        mesh.put("a.b", "idle")
    mesh.settle()
    revoke(mesh, "a", "b")
    assert sum(isinstance(query, Revoked) for query in mesh["a"].queries) == 2
    states = {mesh["a"].state(row.id) for row in mesh["a"].store.rows.values()}
    assert states == {State.REJECTED}
    assert all(mesh["a"].job(row.id).facts[Kind.REJECT] for row in mesh["a"].store.rows.values())


def test_a_peer_without_a_board_is_revoked_all_the_same() -> None:
    mesh = Mesh(("a", "b"))
    row = replace(peer_row(card_of("stranger")), state="revoked")
    mesh["a"].engine.revoke([row])
    mesh.step("a")
    assert identity_of("stranger").fingerprint in mesh["a"].engine.ledger.revoked


def test_a_retired_board_stays_retired_over_restarts() -> None:
    mesh = Mesh(*CHAIN)
    mesh.put("a.b.c")
    mesh.settle()
    revoke(mesh, "b", "c")
    retired = [board for board in mesh["b"].engine.ledger.boards.values() if board.retired]
    mesh.crash("b")
    assert [board.id for board in mesh["b"].engine.ledger.boards.values() if board.retired] == [retired[0].id]
    assert identity_of("c").fingerprint in mesh["b"].engine.ledger.revoked
    assert mesh["b"].board("c").id != retired[0].id


@pytest.mark.parametrize("over", [True, False])
@pytest.mark.parametrize("ending", [DONE, LARGE])
def test_what_goes_up_to_a_revoked_peer_holds_no_other_end_back(over: bool, ending: Ending) -> None:
    """A revocation counts as its acknowledgement: for the agent below all of it is as good as home."""
    links = (("a", "b"), ("d", "b"), ("b", "c"))
    mesh = Mesh(*links, limits=small("a", "b", "c", "d"))
    ids = [mesh.put("a.b.c", "idle"), mesh.put("d.b.c", "idle")]
    mesh.settle()
    mesh.cut("a", "b")
    if not over:
        revoke(mesh, "b", "a")
    for job_id in ids:
        mesh.finish("c", job_id, ending)
    mesh.settle()
    if over:
        revoke(mesh, "b", "a")
    outbox = mesh["c"].board("b").outbox
    assert mesh["d"].state(ids[1]) is State.COMPLETE
    assert outbox.home == outbox.last
    assert not mesh["b"].engine.ledger.blobs.owing
    mesh.crash("b")
    mesh.connect("d", "b")
    mesh.settle()
    assert mesh["b"].board("c").inbox.home == outbox.last
