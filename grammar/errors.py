"""Errors of the language, and the shape that every error of Hopboard has.

Every error a person can meet is a `MeshError`: a stable code to look up, one sentence that says the cause and
one that says the fix. Floors above derive their own; nothing here prints, logs or knows where it is shown.
"""

from __future__ import annotations

from typing import ClassVar, Self

_WINDOW = 100
"""Characters of a text shown around the column of an error.

A text may be 4 KiB long, a terminal line is not.
"""


class MeshError(Exception):
    """An error that a person may see.

    Args:
        message: one sentence with the cause, no full stop needed.
        fix: what to do next, as one sentence or a command; empty when the message already says it.

    `code` is stable across releases. `exit_code` is the command line's exit status for it
    (1 job failed, 2 usage, 3 unreachable, 4 denied, 5 not known yet).
    """

    code: ClassVar[str] = "MESH-E000"
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message


class GrammarError(MeshError, ValueError):
    """A text that the language does not take.

    Args:
        message: what is wrong, one sentence.
        text: the whole text that was parsed.
        column: 1-based position in `text` where the trouble starts.
        expected: what would have been taken there.
        nearest: the nearest known word, or None.
    """

    code: ClassVar[str] = "MESH-E100"

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        column: int = 1,
        expected: str = "",
        nearest: str | None = None,
        fix: str = "",
    ) -> None:
        if not fix and nearest is not None:
            fix = f'did you mean "{nearest}"?'
        super().__init__(message, fix=fix)
        self.text = text
        self.column = column
        self.expected = expected
        self.nearest = nearest

    def within(self, text: str, offset: int) -> Self:
        """The same error, told about the longer `text` in which the faulty one starts at 0-based `offset`."""
        return type(self)(
            self.message,
            text=text,
            column=min(self.column + offset, len(text) + 1),
            expected=self.expected,
            nearest=self.nearest,
            fix=self.fix,
        )

    def pointer(self) -> str:
        """Two lines for a terminal: the text around the trouble, and a caret under its column.

        Characters that would move the cursor are shown as spaces, so that the caret stands where it should.
        """
        start = max(0, self.column - 1 - _WINDOW // 2)
        shown = self.text[start : start + _WINDOW]
        line = "".join(character if character.isprintable() else " " for character in shown)
        return f"{line}\n{' ' * (self.column - 1 - start)}^"


class UnknownInstruction(GrammarError):
    """A keyword that is in no vocabulary at hand; the state of the parser is unchanged."""

    code: ClassVar[str] = "MESH-E101"
