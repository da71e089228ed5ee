"""Errors carry text, column, what was expected and the nearest word."""

from __future__ import annotations

from grammar.errors import GrammarError, MeshError, UnknownInstruction


def test_within_moves_the_column_and_keeps_the_kind() -> None:
    inner = UnknownInstruction("no such verb", text="ad_user", column=3, expected="a verb", nearest="add_user")
    outer = inner.within("a.b ad_user", 4)
    assert type(outer) is UnknownInstruction
    assert (outer.text, outer.column, outer.expected, outer.nearest) == (
        "a.b ad_user",
        7,
        "a verb",
        "add_user",
    )
    assert outer.fix == 'did you mean "add_user"?'


def test_within_never_points_past_the_end() -> None:
    assert GrammarError("x", text="abc", column=9).within("abcdef", 4).column == 7


def test_pointer_puts_the_caret_under_the_column() -> None:
    assert GrammarError("x", text="a.b c", column=5).pointer() == "a.b c\n    ^"


def test_pointer_cuts_a_long_text_and_hides_control_characters() -> None:
    text = "x" * 2000 + "\x1b[31m" + "y" * 2000
    line, caret = GrammarError("x", text=text, column=2001).pointer().splitlines()
    assert len(line) <= 100
    assert "\x1b" not in line
    assert line[caret.index("^")] == " "


def test_errors_are_mesh_errors_and_value_errors() -> None:
    error = GrammarError("cause", fix="do this")
    assert isinstance(error, MeshError)
    assert isinstance(error, ValueError)
    assert (str(error), error.fix, error.code, error.exit_code) == ("cause", "do this", "MESH-E100", 2)
