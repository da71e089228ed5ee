"""The filter of ids: it never forgets one, seldom imagines one, and grows with what it holds."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from mesh.known import Known


def ids(count: int, seed: int = 1) -> list[bytes]:
    random = Random(seed)
    return [random.randbytes(26) for _ in range(count)]


def test_an_empty_filter_knows_nothing() -> None:
    assert not any(Known().maybe(one) for one in ids(1_000))


def test_no_id_is_forgotten_over_many_layers() -> None:
    held = ids(30_000)
    known = Known(held[:10])
    for one in held[10:]:
        known.add(one)
    assert all(known.maybe(one) for one in held)
    assert len(known._layers) == 4
    # 64 bits an id in layers that double: at most 32 bytes an id just after a new layer was begun.
    assert sum(len(layer) for layer in known._layers) < 32 * len(held)


def test_few_strangers_pass_for_known() -> None:
    known = Known(ids(2_048))
    wrong = sum(known.maybe(one) for one in ids(200_000, seed=2))
    assert wrong < 5


@given(st.lists(st.binary(min_size=20, max_size=26), max_size=30))
def test_what_was_added_is_known(held: list[bytes]) -> None:
    known = Known(held)
    assert all(known.maybe(one) for one in held)


def test_a_short_id_is_looked_up_all_the_same() -> None:
    assert not Known(ids(5)).maybe(b"short")
