"""A command is a path and an instruction, and nothing of its text is lost."""

from __future__ import annotations

import pytest

from grammar.command import Command, split
from grammar.errors import GrammarError, UnknownInstruction
from grammar.openportal import VOCABULARY


def test_parse_and_format() -> None:
    command = Command.parse("portal.cluster add_user fred.proj.org", VOCABULARY)
    assert command.destination.agents == ("portal", "cluster")
    assert command.instruction.keyword == "add_user"
    assert command.instruction.arguments == ("fred.proj.org",)
    assert command.instruction.portals == ("org",)
    assert str(command) == "portal.cluster add_user fred.proj.org"
    assert Command.parse(str(command), VOCABULARY) == command


def test_an_unknown_keyword_is_kept_as_it_is() -> None:
    command = Command.parse('a.b frobnicate  {"x":  1}  "y', VOCABULARY)
    assert command.instruction.declaration is None
    assert command.instruction.arguments == ('{"x":  1}  "y',)
    assert str(command) == 'a.b frobnicate {"x":  1}  "y'
    with pytest.raises(UnknownInstruction):
        Command.parse("a.b frobnicate x", VOCABULARY, lenient=False)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("portal", 7),
        ("portal.cluster", 15),
        ("portal.cluster ", 16),
        ("portal.cluster add_user", 24),
        ("portal.cluster add_user fred", 29),
        ("portal.cluster add_user fred.proj.org extra", 39),
        ("  portal.Cluster add_user x", 10),
        ("portal.cluster ADD_USER x", 16),
    ],
)
def test_refused_with_the_column(text: str, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        Command.parse(text, VOCABULARY)
    assert caught.value.column == column
    assert caught.value.text == text


def test_split_is_a_first_cut() -> None:
    assert split("  a.b  add_user   x  y ") == ("a.b", "add_user", "x  y")
    assert split("a.b") == ("a.b", "", "")
    assert split("") == ("", "", "")


def test_a_command_is_equal_to_its_text() -> None:
    command = Command.parse("portal.cluster  add_user fred.proj.org", VOCABULARY)
    assert command == "portal.cluster add_user fred.proj.org"
    assert hash(command) == hash("portal.cluster add_user fred.proj.org")
    assert command == Command.parse(str(command), VOCABULARY)
    assert command != Command.parse("portal.cluster add_user jane.proj.org", VOCABULARY)
    assert command != 3
    assert {command: 1}["portal.cluster add_user fred.proj.org"] == 1  # type: ignore[index]
