"""Parameters: what an instruction takes, and how each argument stands in its text."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final

from grammar.arguments import ArgumentType
from grammar.errors import GrammarError

Reader = Callable[[str], object]
"""Reads the text of an instruction that stands inside another one."""


class Absent(Enum):
    """The default of a parameter that has none."""

    REQUIRED = "required"


REQUIRED: Final = Absent.REQUIRED


class Form(Enum):
    """How an argument may be given."""

    POSITION = "by position"
    NAME = "by name"
    EITHER = "by position or by name"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a declaration.

    `rest` says that the parameter is the last and takes the rest of the line, spaces and all, unless that is
    quoted. `form` says whether it may be given by position, by name, or both.
    """

    name: str
    type: ArgumentType
    default: object = REQUIRED
    help: str = ""
    rest: bool = False
    form: Form = Form.EITHER

    @property
    def required(self) -> bool:
        """Whether the instruction cannot do without it."""
        return self.default is REQUIRED

    @property
    def usage(self) -> str:
        """How it is written in a line of help: `<user>`, `[<range>]`, `name=<name>`."""
        shown = f"{self.name}=<{self.name}>" if self.form is Form.NAME else f"<{self.name}>"
        return shown if self.required else f"[{shown}]"

    def read(self, word: str, text: str, offset: int, read: Reader | None) -> object:
        """The value of the argument `word`, which stands at `offset` of `text`; raises GrammarError about `text`."""
        try:
            if read is not None and self.type.is_instruction:
                return read(word)
            return self.type.parse(word)
        except GrammarError as error:
            raise error.within(text, offset) from None

    def bind(self, value: object) -> object:
        """The value if it is of the parameter's type, else what its text is read as; raises GrammarError."""
        if (value is None and self.default is None) or self.type.accepts(value):
            return value
        if isinstance(value, list) and self.type.accepts(tuple(value)):
            return tuple(value)
        if self.type.name == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str):
            return self.type.parse(value)
        message = f"{self.name} is a {self.type.name}, not a {type(value).__name__}"
        raise GrammarError(message, expected=self.type.name)

    def stands_alone(self, text: str, names: Collection[str] = ()) -> bool:
        """Whether the text of this argument may end an instruction as it is, spaces included.

        It may not when it would be read as something else: as quoted, as given by one of `names`, or as cut short.
        """
        if not text or text[0] in ' "' or text[-1] == " " or not text.isprintable():
            return False
        if any(text.startswith(f"{name}=") for name in names):
            return False
        return not (self.type.is_identifier and _stray_word(self.type, text))

    def rest_of_line(self, text: str, start: int) -> tuple[str, int]:
        """The last argument, which starts at `start` and is not quoted, and where it ends: with the line.

        An identifier may have spaces in it, but a word after its end is more likely a mistake than a part of the last
        name, so it ends there; a last name with a space in it must be quoted.
        """
        rest = text[start:].rstrip(" ")
        if self.type.is_identifier and (stray := _stray_word(self.type, rest)):
            return rest[:stray].rstrip(" "), start + stray
        return rest, len(text)


def _stray_word(kind: ArgumentType, text: str) -> int:
    """Where the first word after an identifier starts, or 0: the last of its parts ends at a space."""
    last = _last_part(kind, text)
    while text[last : last + 1] == " ":
        last += 1
    end = text.find(" ", last)
    return 0 if end < 0 else len(text) - len(text[end:].lstrip(" "))


def _last_part(kind: ArgumentType, text: str) -> int:
    """Where the last part starts: behind as many separators as there have to be; a word after it may have more.

    It is the end of the text when there are fewer.
    """
    if kind.separators is None:
        return max(text.rfind("."), text.rfind(":")) + 1
    last = 0
    for separator in kind.separators:
        last = text.find(separator, last) + 1
        if not last:
            return len(text)
    return last
