"""A command: where, and what. `portal.cluster add_user fred.proj.org`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Self

from grammar.destination import Destination
from grammar.errors import GrammarError
from grammar.instruction import Instruction
from grammar.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """A destination and an instruction for its last agent; `str` is the text that travels, and what it is equal to."""

    destination: Destination
    instruction: Instruction

    @classmethod
    def parse(cls, text: str, vocabulary: Vocabulary, *, lenient: bool = True) -> Self:
        """Reads a command.

        Args:
            text: path, keyword and arguments, separated by spaces.
            vocabulary: gives the arguments their types.
            lenient: take an instruction that the vocabulary lacks, as opaque text.

        Raises:
            GrammarError: with the column in `text`.
        """
        start = 0 if text[:1] != " " else len(text) - len(text.lstrip(" "))
        end = text.find(" ", start)
        try:
            destination = Destination.parse(text[start:] if end < 0 else text[start:end])
        except GrammarError as error:
            raise error.within(text, start) from None
        if end < 0:
            message = "the instruction is missing"
            raise GrammarError(message, text=text, column=len(text) + 1, expected="a space and an instruction")
        try:
            return cls(destination, vocabulary.read(text[end + 1 :], lenient=lenient))
        except GrammarError as error:
            raise error.within(text, end + 1) from None

    def resolved(self, today: date) -> Self:
        """The command with words such as `this_week` replaced by dates: what is put is what was meant that day."""
        return type(self)(self.destination, self.instruction.resolved(today))

    def __str__(self) -> str:
        return f"{self.destination} {self.instruction}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Command, str)):
            return str(self) == str(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


def split(text: str) -> tuple[str, str, str]:
    """Path, keyword and the rest of a command, each as text, nothing checked.

    A part that is not there is empty.
    """
    path, _, instruction = text.strip(" ").partition(" ")
    keyword, _, rest = instruction.lstrip(" ").partition(" ")
    return path, keyword, rest.lstrip(" ")
