"""Declarations from typed functions and classes."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pytest

from grammar.errors import GrammarError
from grammar.identifiers import UserIdentifier, UserMapping
from grammar.instruction import Instruction
from grammar.parameters import Form
from grammar.signatures import declarations_of, declare
from grammar.vocabulary import Vocabulary


class Context:
    """What a handler gets besides its arguments."""


async def add_note(user: UserIdentifier, context: Context, note: Annotated[str, "what to say"] = "hi") -> UserMapping:
    """Adds a note.

    More about it.
    """
    raise NotImplementedError


def test_a_function() -> None:
    declaration = declare(add_note, skip={"context"}, right="admin", idempotent=False, example="add_note a.b.c")
    assert declaration.keyword == "add_note"
    assert declaration.help == "Adds a note.\n\nMore about it."
    assert declaration.result is UserMapping
    assert declaration.result_name == "UserMapping"
    assert [parameter.name for parameter in declaration.parameters] == ["user", "note"]
    assert declaration.parameters[1].help == "what to say"
    assert declaration.parameters[1].default == "hi"
    assert (declaration.right, declaration.read_only, declaration.idempotent) == ("admin", False, False)
    assert declaration.portal_parameters == ("user",)


def test_skip_by_annotation() -> None:
    declaration = declare(add_note, skip=lambda annotation: annotation is Context, keyword="notes.add")
    assert declaration.usage == "notes.add <user> [<note>]"


def test_read_only_needs_the_right_to_read() -> None:
    assert declare(add_note, skip=["context"], read_only=True).right == "read"
    assert declare(add_note, skip=["context"], read_only=True, right="admin").right == "admin"


def test_a_class() -> None:
    @dataclasses.dataclass
    class Resize:
        """Changes the size of a machine."""

        id: int
        cores: int = 4

    assert declare(Resize, keyword="vm.resize").result_name == "None"
    declaration = declare(Resize, keyword="vm.resize", result=bool)
    assert declaration.usage == "vm.resize <id> [<cores>]"
    assert declaration.help == "Changes the size of a machine."
    assert declaration.result_name == "bool"
    assert declaration.parse("7 cores=8").arguments == (7, 8)


def test_forms_follow_the_signature() -> None:
    def verb(a: int, /, b: int, *, c: int) -> None: ...

    declaration = declare(verb)
    assert [parameter.form for parameter in declaration.parameters] == [Form.POSITION, Form.EITHER, Form.NAME]
    assert str(declaration.parse("1 2 c=3")) == "verb 1 2 c=3"
    assert str(declaration.parse("c=3 b=2 1")) == "verb 1 2 c=3"
    with pytest.raises(GrammarError):
        declaration.parse("a=1 2 c=3")
    with pytest.raises(GrammarError):
        declaration.parse("1 2 3")


def test_an_instruction_inside() -> None:
    def later(what: Instruction) -> object: ...  # type: ignore[empty-body]

    declaration = declare(later)
    assert declaration.nests
    assert declaration.parse("add_user a  b").arguments == (Instruction.opaque("add_user", "a  b"),)


def _bad() -> list[object]:
    def unannotated(a) -> None: ...  # type: ignore[no-untyped-def]
    def many(*a: int) -> None: ...
    def named(**a: int) -> None: ...
    def odd(a: dict[str, int]) -> None: ...
    def missing(a: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821
    def optional(a: int | None) -> None: ...
    def optional_default(a: int | None = 3) -> None: ...
    def default(a: int = "x") -> None: ...  # type: ignore[assignment]

    return [unannotated, many, named, odd, missing, optional, optional_default, default]


@pytest.mark.parametrize("function", _bad(), ids=lambda function: function.__name__)
def test_refused(function: object) -> None:
    with pytest.raises(GrammarError) as caught:
        declare(function)  # type: ignore[arg-type]
    assert function.__name__ in caught.value.message  # type: ignore[attr-defined]


def test_a_lambda_needs_a_keyword() -> None:
    with pytest.raises(GrammarError):
        declare(lambda: None)
    assert declare(lambda: None, keyword="nothing").help == ""


def test_what_a_package_offers() -> None:
    def ping() -> None: ...

    one = declare(ping)
    assert declarations_of(one) == (one,)
    assert declarations_of([one, ping]) == (one, one)
    assert declarations_of(Vocabulary([one])) == (one,)
    assert declarations_of(ping) == (one,)
    for wrong in (3, "ping", [3]):
        with pytest.raises(GrammarError):
            declarations_of(wrong)
