"""Identifiers are their text, carry their parts, and cannot be changed."""

from __future__ import annotations

import copy
import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from grammar.errors import GrammarError
from grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
    portal_of,
    portals_of,
)

ALL = (PortalIdentifier, ProjectIdentifier, UserIdentifier, ProjectMapping, UserMapping)
LETTERS = st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters=".:/")
PART = (
    st.text(LETTERS, min_size=1, max_size=12)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: text == text.strip() and not set(text) & set(".:/ "))
)


def test_parts() -> None:
    user = UserIdentifier.parse("fred.proj.org")
    assert (user.username, user.user, user.project, user.portal) == ("fred", "fred", "proj", "org")
    assert user.project_identifier == ProjectIdentifier.parse("proj.org")
    mapping = UserMapping.parse("fred.proj.org:fred01:proj_group")
    assert (mapping.user, mapping.local_user, mapping.local_group) == (user, "fred01", "proj_group")
    assert mapping.project_mapping == "proj.org:proj_group"
    assert ProjectMapping.parse("proj.org:g").project.portal == "org"


@pytest.mark.parametrize("kind", ALL)
def test_equal_to_text_with_the_same_hash(kind: type[UserIdentifier]) -> None:
    value = kind.parse(kind.EXAMPLE)
    assert value == kind.EXAMPLE
    assert hash(value) == hash(kind.EXAMPLE)
    assert {kind.EXAMPLE: 1}[value] == 1
    assert str(value) == kind.EXAMPLE
    assert type(str(value)) is str
    assert kind.__name__ in repr(value)


@pytest.mark.parametrize("kind", ALL)
def test_frozen_copied_and_pickled(kind: type[UserIdentifier]) -> None:
    value = kind.parse(kind.EXAMPLE)
    with pytest.raises(AttributeError):
        value.portal = "other"
    with pytest.raises(AttributeError):
        del value.portal
    assert copy.copy(value) is value
    assert copy.deepcopy(value) is value
    again = pickle.loads(pickle.dumps(value))
    assert type(again) is kind
    assert again == value
    assert again.portal == value.portal


def test_ordered_as_text() -> None:
    names = ["b.p.o", "a.p.o", "c.p.o"]
    assert sorted(map(UserIdentifier.parse, names)) == sorted(names)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (" fred . proj . org ", ("fred", "proj", "org")),
        ("fred smith.my proj.the org", ("fred smith", "my proj", "the org")),
        ("a:b.c:d.e", ("a:b", "c:d", "e")),
        ("Zoë.物理.Ωmega", ("Zoë", "物理", "Ωmega")),
        ("Zoe\u0308.p.o", ("Zoë", "p", "o")),
        ("FRED.Proj.Org", ("FRED", "Proj", "Org")),
    ],
)
def test_taken_as_the_reference_takes_them(text: str, parts: tuple[str, str, str]) -> None:
    user = UserIdentifier.parse(text)
    assert (user.username, user.project, user.portal) == parts


@pytest.mark.parametrize(
    ("kind", "text", "column"),
    [
        (UserIdentifier, "", 1),
        (UserIdentifier, "fred", 5),
        (UserIdentifier, "  fred..org ", 8),
        (PortalIdentifier, "  a b", 4),
        (ProjectMapping, " proj:a", 6),
        (UserIdentifier, "fred.proj", 10),
        (UserIdentifier, "fred.proj.org.x", 14),
        (UserIdentifier, ".proj.org", 1),
        (UserIdentifier, "fred..org", 6),
        (UserIdentifier, "fred. .org", 6),
        (UserIdentifier, "fred.proj.", 11),
        (UserIdentifier, "fred.pr\x00oj.org", 8),
        (ProjectIdentifier, "proj", 5),
        (ProjectIdentifier, "a.b.c", 4),
        (PortalIdentifier, "", 1),
        (PortalIdentifier, "a.b", 2),
        (PortalIdentifier, "a b", 2),
        (ProjectMapping, "proj.org", 9),
        (ProjectMapping, "proj.org:", 10),
        (ProjectMapping, "proj.org:a:b", 11),
        (ProjectMapping, "proj.org:.a", 10),
        (ProjectMapping, "proj.org:a/", 10),
        (ProjectMapping, "proj:a", 5),
        (UserMapping, "fred.proj.org:/etc:g", 15),
        (UserMapping, "fred.proj.org:fred:", 20),
        (UserMapping, "fred.proj.org:fred", 19),
        (UserMapping, "a:b.c.d:u:g", 10),
        (UserIdentifier, "x" * 5000, 4097),
    ],
)
def test_refused_with_the_column(kind: type[UserIdentifier], text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        kind.parse(text)
    assert caught.value.column == column


@given(PART, PART, PART, PART, PART)
def test_round_trip(a: str, b: str, c: str, d: str, e: str) -> None:
    user = UserIdentifier.parse(f"{a}.{b}.{c}")
    assert (user.username, user.project, user.portal) == (a, b, c)
    assert UserIdentifier.parse(str(user)) == user
    mapping = UserMapping.parse(f"{user}:{d}:{e}")
    assert UserMapping.parse(str(mapping)) == mapping
    assert (mapping.user, mapping.local_user, mapping.local_group) == (user, d, e)


@given(st.text(max_size=40), st.sampled_from(ALL))
def test_any_text_is_taken_or_refused(text: str, kind: type[UserIdentifier]) -> None:
    try:
        value = kind.parse(text)
    except GrammarError:
        return
    assert kind.parse(str(value)) == value


def test_portal_of() -> None:
    for kind in ALL:
        assert portal_of(kind.parse(kind.EXAMPLE)) == "org"
    assert portal_of("fred.proj.org") is None


def test_portals_of_looks_inside() -> None:
    class Move(BaseModel):
        user: UserIdentifier
        targets: list[ProjectIdentifier]

    move = Move.model_validate({"user": "a.b.one", "targets": ["p.two", "p.one", "p.three"]})
    assert portals_of((move, {"x": PortalIdentifier.parse("four")})) == ("one", "two", "three", "four")


def test_pydantic() -> None:
    class Model(BaseModel):
        user: UserIdentifier

    model = Model.model_validate_json('{"user": "fred.proj.org"}')
    assert type(model.user) is UserIdentifier
    assert model.model_dump_json() == '{"user":"fred.proj.org"}'
    assert Model.model_validate(model.model_dump()) == model
    schema = TypeAdapter(UserIdentifier).json_schema()
    assert (schema["type"], schema["title"], schema["examples"]) == (
        "string",
        "UserIdentifier",
        ["fred.proj.org"],
    )
    with pytest.raises(ValidationError):
        Model.model_validate({"user": "fred"})
    with pytest.raises(ValidationError):
        Model.model_validate({"user": 3})
