"""Paths name each agent once, and lists of paths are read item by item."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.destination import MAX_HOPS, Destination, Destinations
from grammar.errors import GrammarError

NAME = st.from_regex(r"[a-z0-9]([-_]?[a-z0-9]){0,5}", fullmatch=True)
PATH = st.lists(NAME, min_size=2, max_size=MAX_HOPS, unique=True).map(".".join)


def test_parts() -> None:
    path = Destination.parse("waldur.brics.notebook.shared")
    assert path.agents == ("waldur", "brics", "notebook", "shared")
    assert (path.origin, path.last) == ("waldur", "shared")
    assert [path.after(agent) for agent in path.agents] == ["brics", "notebook", "shared", None]
    assert [path.before(agent) for agent in path.agents] == [None, "waldur", "brics", "notebook"]
    assert path.after("nobody") is None
    assert path.before("nobody") is None
    assert path == "waldur.brics.notebook.shared"


@given(PATH)
def test_round_trip(text: str) -> None:
    assert str(Destination.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("portal", 7),
        ("portal.", 8),
        (".cluster", 1),
        ("a..b", 3),
        ("a.b.a", 5),
        ("a.B", 3),
        ("a.b c", 4),
        ("a.b\n", 4),
        ("a." + "x" * 64, 66),
        (".".join(f"a{index}" for index in range(17)), 55),
        ("a." * 3000, 1024),
    ],
)
def test_refused_with_the_column(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        Destination.parse(text)
    assert caught.value.column == column


@given(st.lists(PATH, max_size=4, unique=True))
def test_lists_round_trip(paths: list[str]) -> None:
    offered = Destinations.parse(f"[{', '.join(paths)}]")
    assert offered.destinations == tuple(paths)
    assert Destinations.parse(str(offered)) == offered
    assert Destinations.parse(",".join(paths)) == offered


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", "[]"),
        ("[]", "[]"),
        (" [ ] ", "[]"),
        ("a.b", "a.b"),
        ("[a.b]", "a.b"),
        ("a.b]", "a.b"),
        ("a.b,,c.d,", "[a.b, c.d]"),
    ],
)
def test_lists_are_read_as_the_reference_reads_them(text: str, canonical: str) -> None:
    assert Destinations.parse(text) == canonical


def test_lists_say_which_item_is_wrong() -> None:
    with pytest.raises(GrammarError) as caught:
        Destinations.parse("[a.b, c.C]")
    assert caught.value.column == 9
