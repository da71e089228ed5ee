"""What every value of the language has in common: it comes from a text and goes back to it.

A value type offers `parse(text)`, which raises nothing but `GrammarError`, and `str(value)`, its canonical
text, with `parse(str(value)) == value`. `Value` adds what pydantic needs, so that each type can be a field of
a model and shows up in its JSON schema as a string.
"""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar, Final, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from grammar.errors import GrammarError

MAX_VALUE: Final = 4096
"""Characters in the text of one value; the limit of a whole instruction, in bytes, is in `instruction`."""


MAX_MARKS: Final = 30
"""Combining marks on one letter: the limit of Unicode's stream-safe text format (UAX #15), enough for every script.

Normalisation sorts the marks of a letter, which takes time that grows with the square of their number.
"""


class Value:
    """Mixin of a value type; the type itself is immutable and implements `parse` and `__str__`.

    `EXAMPLE` is one canonical text of the type, used in help, schema and tests.
    """

    __slots__ = ()

    EXAMPLE: ClassVar[str] = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads one value from its text; raises GrammarError with the column of the trouble."""
        raise NotImplementedError

    @classmethod
    def _validate(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        message = f"a {cls.__name__} is written as text, not as {type(value).__name__}"
        raise GrammarError(message, expected=cls.EXAMPLE)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        summary = (cls.__doc__ or "").strip().partition("\n")[0]
        return {"type": "string", "title": cls.__name__, "description": summary, "examples": [cls.EXAMPLE]}


def check_size(text: str, what: str) -> None:
    """Refuses a text too long to be a value, before any work that grows with it."""
    if len(text) > MAX_VALUE:
        message = f"the {what} is longer than {MAX_VALUE} characters"
        raise GrammarError(message, text=text, column=MAX_VALUE + 1)


def normalise(text: str, what: str) -> str:
    """The text in Unicode form NFC, without spaces around it.

    Two spellings of one accented letter would otherwise be two users. Control characters and halves of
    surrogate pairs are refused: identifiers are written into logs, terminals and shell commands.
    """
    check_size(text, what)
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    _check_marks(text, what)
    given, text = text, unicodedata.normalize("NFC", text).strip()
    check_size(text, what)  # NFC can make a text longer
    for position, character in enumerate(text):
        if unicodedata.category(character) in {"Cc", "Cs"}:
            message = f"the {what} has the control character U+{ord(character):04X}"
            raise fault(message, given, position + 1, "printable characters")
    return text


def _check_marks(text: str, what: str) -> None:
    marks = 0
    for position, character in enumerate(text):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > MAX_MARKS:
            message = f"the {what} has more than {MAX_MARKS} combining marks on one letter"
            raise GrammarError(message, text=text, column=position + 1, expected="letters as people write them")


def fault(message: str, text: str, column: int, expected: str) -> GrammarError:
    """The error for a text whose `normalise`d form has trouble at 1-based `column`, pointing into the text as given."""
    margin = len(text) - len(text.lstrip())
    return GrammarError(message, text=text, column=min(column + margin, len(text) + 1), expected=expected)
