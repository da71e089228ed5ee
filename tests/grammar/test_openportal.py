"""The vocabulary is the one that GRAMMAR.md shows, and each line of its tables is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import grammar
from grammar.arguments import type_name
from grammar.kinds import KINDS, parse_kind
from grammar.openportal import VOCABULARY
from tests.grammar.strategies import ARGUMENTS

MANUAL = Path(grammar.__file__).with_name("GRAMMAR.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\d)\.[^\n]*\n(.*?)(?=^## |\Z)", MANUAL, re.DOTALL | re.MULTILINE))


def table(section: str, columns: int) -> list[list[str]]:
    rows = [line.strip("|").split(" | ") for line in SECTIONS[section].splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("`") for cell in row] for row in rows if len(row) == columns]


INSTRUCTIONS = [row for row in table("3", 4) if row[0] != "keyword"]
DIFFERENCES = [row for row in table("5", 4) if row[0] != "kind"]
VALUES = [row for row in table("2", 3) if row[0] in KINDS]


def test_there_are_64_instructions_under_67_keywords() -> None:
    assert len(VOCABULARY) == 64
    assert len(VOCABULARY.keywords) == 67


def test_the_manual_lists_each_of_them() -> None:
    listed = [tuple(row[0].replace("`", "").split(", ")) for row in INSTRUCTIONS]
    assert listed == [(row.keyword, *row.aliases) for row in VOCABULARY]


@pytest.mark.parametrize("row", INSTRUCTIONS, ids=lambda row: row[0])
def test_each_example_both_ways(row: list[str]) -> None:
    keywords, example, result, right = row
    instruction = VOCABULARY.parse(example)
    assert str(instruction) == example
    assert VOCABULARY.parse(str(instruction)).arguments == instruction.arguments
    declaration = instruction.declaration
    assert declaration is not None
    assert declaration.example == example
    assert (type_name(declaration.result), declaration.right) == (result, right)
    assert declaration.read_only is (right == "read")
    assert declaration.bind(*instruction.arguments) == instruction
    assert declaration.bind(*(text for text in instruction.texts if text is not None)) == instruction
    for keyword in keywords.replace("`", "").split(", "):
        assert VOCABULARY.parse(keyword + example.removeprefix(declaration.keyword)) == instruction


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: f"{row[0]}-{row[1]}")
def test_each_difference(row: list[str]) -> None:
    kind, text, here, _ = row
    answer = parse_kind(kind, text)
    assert (answer["canonical"] if answer["ok"] else "refused") == here


@pytest.mark.parametrize("row", VALUES, ids=lambda row: row[0])
def test_each_kind_of_value(row: list[str]) -> None:
    answer = parse_kind(row[0], row[1])
    assert answer["ok"]
    assert answer["canonical"] == row[1]


def test_the_program_in_the_manual_runs() -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", SECTIONS["4"], re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"__name__": __name__}
    exec(program, names)
    vocabulary = names["vocabulary"]
    assert isinstance(vocabulary, grammar.Vocabulary)
    assert vocabulary.parse('set_note urgent=true note="see  me" user=fred.proj.org').arguments[2] is True
    assert vocabulary.get("set_note").usage == "set_note <user> <note> [urgent=<urgent>]"  # type: ignore[union-attr]


def test_every_kind_is_in_the_manual() -> None:
    assert {row[0] for row in VALUES} | {"instruction", "command"} == set(KINDS)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("add_user fred smith.proj.org", "add_user fred smith.proj.org"),
        ("add_user  fred . proj . org ", "add_user fred.proj.org"),
        ("set_limit proj.org 36000", "set_limit proj.org 10 hours"),
        ("set_project_quota proj.org home 1 0 G B", "set_project_quota proj.org home 10GB"),
        ("add_offerings a.b,c.d,a.b", "add_offerings [a.b, c.d]"),
        ("submit a.b  set_limit  p.o  1  h", "submit a.b set_limit p.o 1 hour"),
        ('create_project p.o "{\\"name\\": \\"x\\"}"', 'create_project p.o {"name":"x"}'),
        ("get_usage_report proj.org THIS_WEEK", "get_usage_report proj.org"),
        ("list_awards org", "get_awards org"),
    ],
)
def test_canonical_texts(text: str, canonical: str) -> None:
    assert str(VOCABULARY.parse(text)) == canonical


@pytest.mark.parametrize("declaration", VOCABULARY, ids=lambda row: row.keyword)
def test_a_missing_argument_is_named(declaration: grammar.Declaration) -> None:
    if declaration.parameters:
        with pytest.raises(grammar.GrammarError) as caught:
            VOCABULARY.parse(declaration.keyword)
        assert f"<{declaration.parameters[0].name}>" in caught.value.message
        assert caught.value.column == len(declaration.keyword) + 1


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("add_user a.b.c d.e.f", 16),
        ("add_user a.b.c x:y", 16),
        ("add_user first a.second b.c  d", 30),
        ("get_projects org a.b", 18),
        ("get_limit a.b c.d", 15),
        ("get_users a.b  c.d e.f", 16),
        ("add_local_project a.b:c d:e", 25),
        ("add_local_user f.p.o:u:my g.x", 27),
        ("clear_user_quota f.p.o home now", 29),
        ("get_offerings a.b", 15),
    ],
)
def test_an_argument_too_many_is_said_to_be_one(text: str, column: int) -> None:
    with pytest.raises(grammar.GrammarError, match="and here is one more") as caught:
        VOCABULARY.parse(text)
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("add_user a.b c.d.e f", "has 4 parts, not 3"),
        ("add_user a.b", "has no portal part"),
        ("get_users a", "no portal"),
    ],
)
def test_a_part_too_many_or_too_few_is_said_to_be_one(text: str, message: str) -> None:
    with pytest.raises(grammar.GrammarError, match=message):
        VOCABULARY.parse(text)


@pytest.mark.parametrize("text", ["add_user a.b.c x:y", "add_local_project a.b:my group.x", "get_awards x"])
def test_a_last_part_with_a_space_comes_back_from_a_quotation(text: str) -> None:
    keyword, _, subject = text.partition(" ")
    known = VOCABULARY.get(keyword)
    assert known is not None
    made = known.bind(subject)
    assert VOCABULARY.parse(str(made)) == made
    assert str(made) == (text if " " not in subject else f'{keyword} "{subject}"')


def test_submit_is_checked_all_the_way_down() -> None:
    for text, column in (("submit a.b add_user fred", 25), ("submit a.b nothing x", 12), ("submit a.b", 11)):
        with pytest.raises(grammar.GrammarError) as caught:
            VOCABULARY.parse(text)
        assert caught.value.column == column
    with pytest.raises(grammar.GrammarError):
        VOCABULARY.parse("submit a.b " * 300 + "get_offerings")


@pytest.mark.parametrize("declaration", VOCABULARY, ids=lambda row: row.keyword)
@given(data=st.data())
def test_every_instruction_comes_back_from_its_text(declaration: grammar.Declaration, data: st.DataObject) -> None:
    if declaration.keyword == "submit":
        inner = VOCABULARY.parse(data.draw(st.sampled_from([row.example for row in VOCABULARY])))
        arguments = [data.draw(ARGUMENTS[grammar.Destination]), inner]
    else:
        arguments = [data.draw(ARGUMENTS[parameter.type.annotation]) for parameter in declaration.parameters]
    made = declaration.bind(*arguments)
    read = VOCABULARY.parse(str(made))
    assert read.arguments == made.arguments == tuple(arguments)
    assert [type(argument) for argument in read.arguments] == [type(argument) for argument in arguments]
    assert str(read) == str(made)
    given_by_text = declaration.bind(*(text for text in made.texts if text is not None))
    assert given_by_text == made
