"""Places on dotted paths, and routes to any agent on them as they are seen from one."""

from __future__ import annotations

import pytest

from mesh.lifecycle import Role
from mesh.routing import Place, place_of, route_down, route_up

NAMES = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("name", "index", "role", "before", "after"),
    [
        ("a", 0, Role.ORIGIN, None, "b"),
        ("b", 1, Role.HOP, "a", "c"),
        ("c", 2, Role.HOP, "b", "d"),
        ("d", 3, Role.DESTINATION, "c", None),
    ],
)
def test_where_an_agent_stands(name: str, index: int, role: Role, before: str | None, after: str | None) -> None:
    place = place_of("a.b.c.d", name)
    assert place == Place(NAMES, index)
    assert (place.role, place.before, place.after) == (role, before, after)


@pytest.mark.parametrize(
    "path",
    ["", "a", ".", "a.", ".a", "a..b", "a.b.a", "A.b", "a b.c", "a.b\n", "x.y", ".".join("abcdefghijklmnopqrst")],
)
def test_a_path_that_is_malformed_or_of_others_has_no_place(path: str) -> None:
    assert place_of(path, "a") is None


@pytest.mark.parametrize(
    ("index", "target", "route"), [(0, 1, "b"), (0, 3, "b.c.d"), (1, 3, "c.d"), (2, 3, "d"), (1, 1, "")]
)
def test_the_route_down(index: int, target: int, route: str) -> None:
    assert route_down(NAMES, index, target) == route


@pytest.mark.parametrize(
    ("index", "target", "route"), [(1, 0, "a"), (3, 0, "c.b.a"), (3, 1, "c.b"), (2, 1, "b"), (1, 1, "")]
)
def test_the_route_up_names_the_nearest_first(index: int, target: int, route: str) -> None:
    assert route_up(NAMES, index, target) == route


@pytest.mark.parametrize(
    ("index", "depth", "down", "up"),
    [(0, 0, "0:c", "0:b"), (1, 0, "0:d", "0:c"), (2, 0, "0:", "0:d"), (0, 2, "2:c", "2:b")],
)
def test_credit_is_counted_by_depth_and_the_agent_beyond_the_next(index: int, depth: int, down: str, up: str) -> None:
    place = Place(NAMES, index)
    assert (place.branch(depth), place.branch_above(depth)) == (down, up)
    if index:
        assert place.branch_above(depth) == Place(NAMES, index - 1).branch(depth)


@pytest.mark.parametrize("index", range(4))
def test_a_place_knows_every_route_from_it(index: int) -> None:
    up = [route_up(NAMES, index, target) for target in range(index)]
    down = [route_down(NAMES, index, target) for target in range(index, 4)]
    assert Place(NAMES, index).routes == (*up, *down)
