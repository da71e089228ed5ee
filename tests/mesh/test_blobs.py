"""Names, slices, and the lists of what is on its way."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

import pytest

from mesh.blobs import SLICE_BYTES, TRANSFERS, Arriving, Blobs, Deliveries, Delivery, Key, cut, name_blob
from mesh.limits import Limits

KEY = Key(b"j" * 26, 1, b"h" * 32)
OTHER = Key(b"k" * 26, 5, b"h" * 32)


def test_a_blob_is_named_by_hash_and_length() -> None:
    assert name_blob(b"abc").name == (blake2b(b"abc", digest_size=32).digest(), 3)
    assert name_blob(b"").name.length == 0


@pytest.mark.parametrize(("size", "lengths"), [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (0, [])])
def test_slices_are_whole_but_for_the_last(size: int, lengths: list[int]) -> None:
    slices = cut(7, bytes(range(size)), 4)
    assert [len(part.data) for part in slices] == lengths
    assert [part.offset for part in slices] == list(range(0, size, 4))
    assert b"".join(part.data for part in slices) == bytes(range(size))
    assert {part.blob for part in slices} <= {7}


def test_what_we_send_is_not_longer_than_what_is_taken() -> None:
    assert Limits().slice_bytes <= SLICE_BYTES


def test_what_arrives_is_whole_when_all_is_held() -> None:
    arriving = Arriving(3, KEY, 10, 1, 2, 5, held=4)
    assert not arriving.whole
    assert arriving.row() == (3, *KEY, 10, 1, 2, 4, 0, 0, None, 5)
    assert arriving.quota == (2, 1, 1)
    arriving.held = 10
    assert arriving.whole


def test_what_was_under_way_is_begun_again_on_another_link() -> None:
    deliveries = Deliveries()
    delivery = deliveries.due[KEY] = Delivery(KEY, 100)
    deliveries.on(1)
    deliveries.open[KEY] = delivery
    delivery.held, delivery.sent, delivery.reading = 10, 40, 20
    assert deliveries.flight == 50
    deliveries.held.add(OTHER)
    assert deliveries.on(1).open == {KEY: delivery}
    assert deliveries.on(2).open == {}
    assert (deliveries.waits(KEY), deliveries.held) == (True, set())
    assert (delivery.held, delivery.sent, delivery.flight) == (None, 0, 0)


def test_payloads_of_each_depth_and_results_have_their_own_ways() -> None:
    deliveries = Deliveries()
    deliveries.on(1)
    for depth, kind in ((0, 1), (1, 1), (0, 5)):
        for n in range(TRANSFERS + 1):
            key = Key(bytes([10 * depth + n]) * 26, kind, b"h" * 32)
            deliveries.due[key] = Delivery(key, 1, depth)
            deliveries.enqueue(deliveries.due[key])
    while (key := deliveries.next()) is not None:
        deliveries.open[key] = deliveries.due[key]
    assert Counter(delivery.way for delivery in deliveries.open.values()) == {
        (1, 0): TRANSFERS,
        (1, 1): TRANSFERS,
        (5, 0): TRANSFERS,
    }


def test_a_job_is_owing_until_nothing_of_it_is_owed() -> None:
    blobs = Blobs()
    second = KEY._replace(hash=b"i" * 32)
    for key in (KEY, second, OTHER):
        blobs.owe(1, Delivery(key, 5))
    blobs.owe(2, Delivery(OTHER, 5))
    assert blobs.used
    assert blobs.owing == {KEY.job: {1}, OTHER.job: {1, 2}}
    blobs.settle(1, KEY)
    assert blobs.owing[KEY.job] == {1}
    blobs.settle(1, second)
    blobs.settle(2, OTHER)
    assert blobs.owing == {OTHER.job: {1}}
    assert blobs.settle(1, KEY) is None


def test_numbers_of_blobs_are_given_once() -> None:
    blobs = Blobs()
    assert [blobs.new_id(), blobs.new_id()] == [1, 2]
