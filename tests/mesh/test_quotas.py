"""How much of the room for blobs is taken."""

from __future__ import annotations

from mesh.quotas import Quota, Quotas

PARENTS = Quota(1, 1, 0)
CHILDREN = Quota(1, 1, 1)


def test_each_quota_is_counted_by_itself() -> None:
    quotas = Quotas()
    quotas.add(PARENTS, 5)
    quotas.add(PARENTS, 6)
    quotas.add(CHILDREN, 7)
    quotas.discount(PARENTS, 4)
    assert quotas.taken == {PARENTS: 7, CHILDREN: 7}
    assert quotas.freed == {1}


def test_what_was_counted_too_low_is_not_below_nothing() -> None:
    quotas = Quotas()
    quotas.discount(PARENTS, 4)
    quotas.add(PARENTS, 3)
    assert quotas.taken == {PARENTS: 3}


def test_what_was_made_here_takes_nobodys_room() -> None:
    quotas = Quotas()
    quotas.discount(Quota(0, 5, 0), 4)
    assert (quotas.taken, quotas.freed) == ({}, set())


def test_a_store_is_asked_once_at_a_time_and_believed() -> None:
    quotas = Quotas()
    quotas.add(PARENTS, 9)
    assert [quotas.ask(PARENTS), quotas.ask(PARENTS), quotas.ask(CHILDREN)] == [True, False, True]
    assert quotas.told(PARENTS, 5)
    assert quotas.taken[PARENTS] == 5
    assert quotas.ask(PARENTS)
    assert not quotas.told(PARENTS, 5)
