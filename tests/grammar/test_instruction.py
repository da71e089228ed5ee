"""Instructions: exact text both ways, arguments by position and by name, and errors with a column."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from grammar.dates import DateRange
from grammar.errors import GrammarError
from grammar.identifiers import ProjectIdentifier, UserIdentifier
from grammar.instruction import Declaration, Instruction, check_keyword
from grammar.openportal import VOCABULARY
from grammar.parameters import Form, Parameter
from grammar.quantities import Usage
from grammar.signatures import declare


class Plan(BaseModel):
    name: str
    size: int = 3


def start(id: int, name: str = "x y", *, tags: list[str] = (), note: str | None = None) -> str: ...  # type: ignore[assignment, empty-body]
def move(user: UserIdentifier, target: ProjectIdentifier) -> None: ...
def make(name: str, plan: Plan) -> None: ...
def write(user: UserIdentifier, text: str) -> None: ...
def ping() -> None: ...


START = declare(start, keyword="vm_manager.start")
MOVE = declare(move)
MAKE = declare(make)
WRITE = declare(write, rest=True)
PING = declare(ping)


@pytest.mark.parametrize(
    ("text", "canonical", "values"),
    [
        ("10", "10", (10, "x y", (), None)),
        ("id=10", "10", (10, "x y", (), None)),
        ('10 "a b"', '10 "a b"', (10, "a b", (), None)),
        ('name="a b" id=10', '10 "a b"', (10, "a b", (), None)),
        ("10 q tags=a,b", '10 q tags=["a","b"]', (10, "q", ("a", "b"), None)),
        (r'10 tags="[\"a b\"]" note=""', r'10 tags="[\"a b\"]" note=""', (10, "x y", ("a b",), "")),
        ("10 note=z", "10 note=z", (10, "x y", (), "z")),
        ('10 "id=3"', '10 "id=3"', (10, "id=3", (), None)),
        ("10 abc==", "10 abc==", (10, "abc==", (), None)),
        ('   10    "x y"   ', "10", (10, "x y", (), None)),
    ],
)
def test_arguments(text: str, canonical: str, values: tuple[Any, ...]) -> None:
    instruction = START.parse(text)
    assert instruction.arguments == values
    assert str(instruction) == f"vm_manager.start {canonical}"
    assert START.parse(canonical) == instruction
    assert START.parse(canonical).arguments == values
    assert START.bind(*values) == instruction


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("x", 1),
        ("10 a b", 6),
        ("10 id=11", 4),
        ("id=10 id=11", 7),
        ("10 a nots=x", 6),
        ("10 tags=[", 10),
        ('10 "a', 4),
        ('10 name="a', 9),
        ("id=x", 4),
    ],
)
def test_refused_with_the_column(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        START.parse(text)
    assert caught.value.column == column


def test_a_wrong_name_names_the_nearest() -> None:
    with pytest.raises(GrammarError) as caught:
        START.parse("10 a nots=x")
    assert caught.value.nearest == "note"


def test_bind() -> None:
    assert MOVE.bind("a.b.c", target="d.e") == "move a.b.c d.e"
    assert START.bind(10, tags=["a"]) == 'vm_manager.start 10 tags=["a"]'
    for values, named in (((1, 2, 3, 4, 5), {}), ((1,), {"id": 2}), ((), {}), ((1,), {"nmae": "x"}), (("x",), {})):
        with pytest.raises(GrammarError):
            START.bind(*values, **named)


def test_json_takes_the_rest_of_the_line_and_keeps_its_spaces() -> None:
    instruction = MAKE.parse('"a b" {"name":  "two  spaces"}')
    assert instruction.arguments == ("a b", Plan(name="two  spaces"))
    assert str(instruction) == 'make "a b" {"name":"two  spaces"}'
    assert MAKE.parse(r'x "{\"name\": \"y\"}"').arguments == ("x", Plan(name="y"))


@given(st.text(max_size=30))
def test_any_text_is_carried_exactly(text: str) -> None:
    for instruction in (WRITE.bind("fred.proj.org", text), START.bind(1, text), START.bind(1, note=text)):
        again = instruction.declaration.parse(str(instruction).partition(" ")[2])  # type: ignore[union-attr]
        assert again == instruction
        assert again.arguments == instruction.arguments


def test_what_is_no_text_is_refused() -> None:
    for call in (
        lambda: WRITE.bind("a.b.c", "\ud800"),
        lambda: WRITE.parse("a.b.c \ud800"),
        lambda: WRITE.parse(r'a.b.c "\ud800"'),
    ):
        with pytest.raises(GrammarError):
            call()


def test_the_rest_of_the_line_may_be_text() -> None:
    assert WRITE.parse("fred.proj.org  two  words ").arguments[1] == "two  words"
    assert str(WRITE.parse('fred.proj.org " x"')) == 'write fred.proj.org " x"'


def test_no_argument() -> None:
    assert str(PING.parse("")) == "ping"
    with pytest.raises(GrammarError) as caught:
        PING.parse("x")
    assert "no argument" in caught.value.message


def test_an_instruction_is_a_value() -> None:
    instruction = MOVE.parse("a.b.c d.e")
    assert instruction == "move a.b.c d.e"
    assert hash(instruction) == hash("move a.b.c d.e")
    assert instruction != "move"
    assert instruction != 3
    assert repr(instruction) == "Instruction('move a.b.c d.e')"
    assert instruction.named == {"user": "a.b.c", "target": "d.e"}
    assert instruction.portals == ("c", "e")
    assert copy.copy(instruction) is copy.deepcopy(instruction) is instruction
    with pytest.raises(AttributeError):
        instruction.keyword = "x"


def test_opaque() -> None:
    opaque = Instruction.opaque("verb", "  a  b ")
    assert (str(opaque), opaque.arguments, opaque.named, opaque.portals) == ("verb a  b", ("a  b",), {}, ())
    assert opaque.texts == ["a  b"]
    assert opaque.resolved(date(2026, 1, 1)) is opaque
    assert Instruction.opaque("verb", "").arguments == ()


def test_the_portals_of_an_instruction_inside_count() -> None:
    assert VOCABULARY.parse("submit a.b add_user fred.proj.org").portals == ("org",)
    assert VOCABULARY.parse('create_project proj.org {"name":"x"}').portals == ("org",)


def test_words_are_resolved_when_asked() -> None:
    today = date(2026, 11, 22)
    instruction = VOCABULARY.parse("submit a.b get_usage_report p.o this_month").resolved(today)
    assert instruction == "submit a.b get_usage_report p.o 2026-11-01:2026-11-30"
    assert VOCABULARY.parse("get_usage_report p.o").arguments[1] == DateRange.parse("this_week")
    same = VOCABULARY.parse("get_limit p.o")
    assert same.resolved(today) is same


@pytest.mark.parametrize("keyword", ["a", "add_user", "vm_manager.start", "a1.b2", "a__b"])
def test_keywords(keyword: str) -> None:
    assert check_keyword(keyword) == keyword


@pytest.mark.parametrize(
    ("keyword", "column"),
    [("", 1), ("Add", 1), ("1a", 1), ("a-b", 2), ("a.b.c", 4), ("a_", 2), ("_a", 1), ("a.", 2), ("a" * 128, 128)],
)
def test_keywords_refused(keyword: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        check_keyword(keyword)
    assert caught.value.column == column


def test_declarations_are_checked() -> None:
    text = WRITE.parameters[1]
    optional = START.parameters[3]
    for parameters in ((text, WRITE.parameters[0]), (text, text)):
        with pytest.raises(GrammarError):
            Declaration("x", parameters)
    with pytest.raises(GrammarError):
        Declaration("x", right="all")  # type: ignore[arg-type]
    first = Parameter("note", optional.type, None, form=Form.POSITION)
    second = Parameter("text", text.type, form=Form.POSITION)
    with pytest.raises(GrammarError):
        Declaration("x", (first, second))


def test_usage_and_result() -> None:
    assert START.usage == "vm_manager.start <id> [<name>] [tags=<tags>] [note=<note>]"
    assert (START.result_name, MOVE.result_name) == ("str", "None")
    assert MOVE.portal_parameters == ("user", "target")


def test_an_identifier_of_ones_own_need_not_be_its_text() -> None:
    class Ticket:
        portal = "org"

        @classmethod
        def parse(cls, text: str) -> Ticket:
            return cls()

        def __str__(self) -> str:
            return "T-1"

    def close(ticket: Ticket) -> None: ...

    instruction = declare(close, names=locals()).parse("1")
    assert str(instruction) == "close T-1"


def test_a_known_instruction_done_by_ones_own_function() -> None:
    def set_limit(whom: ProjectIdentifier, how_much: Usage) -> Usage:
        """Mine."""
        return how_much

    def get_usage_report(project: ProjectIdentifier, span: DateRange): ...  # type: ignore[no-untyped-def]
    def add_user(name: str) -> None: ...

    limit = declare(set_limit, idempotent=False).shaped_as(VOCABULARY.get("set_limit"))  # type: ignore[arg-type]
    instruction = limit.parse("proj.org  10 hours")
    assert instruction == VOCABULARY.parse("set_limit proj.org 10 hours")
    assert instruction.named == {"whom": "proj.org", "how_much": Usage(36_000)}
    assert (limit.help, limit.idempotent) == ("Mine.", False)
    report = declare(get_usage_report).shaped_as(VOCABULARY.get("get_usage_report"))  # type: ignore[arg-type]
    assert report.parse("proj.org").arguments == ("proj.org", "this_week")
    assert report.result_name == "ProjectUsageReport"
    with pytest.raises(GrammarError):
        declare(add_user).shaped_as(VOCABULARY.get("add_user"))  # type: ignore[arg-type]
    assert declare(set_limit).parse("proj.org 10 hours") == instruction
    assert declare(set_limit) == declare(set_limit)
