"""When jobs that were claimed are reported on: not before they have waited, and not once they are over."""

from __future__ import annotations

from mesh.facts import Kind
from mesh.lifecycle import State
from mesh.messages import FactMessage
from tests.mesh.pair import Pair


def deadline(pair: Pair) -> int | None:
    return pair.cluster.engine.destination.next_deadline_ms()


def reports(pair: Pair) -> int:
    return len([one for one in pair.sent("cluster", "portal", FactMessage) if one.kind == Kind.PROGRESS])


def test_nobody_wakes_up_for_jobs_that_are_over() -> None:
    pair = Pair()
    jobs = [pair.put("portal.cluster") for _ in range(3)]
    pair.settle()
    first = deadline(pair)
    assert first is not None
    pair.finish("cluster", jobs[0])
    pair.finish("cluster", jobs[1])
    assert deadline(pair) == first, "the third has waited as long"
    pair.finish("cluster", jobs[2])
    assert deadline(pair) is None


def test_what_lives_longer_is_reported_once() -> None:
    pair = Pair()
    quick, slow = pair.put("portal.cluster"), pair.put("portal.cluster")
    pair.settle()
    pair.finish("cluster", quick)
    pair.wait(1)
    assert reports(pair) == 1
    assert pair.portal.state(slow) is State.RUNNING
    pair.wait(60)
    assert reports(pair) == 1
    assert deadline(pair) is None
