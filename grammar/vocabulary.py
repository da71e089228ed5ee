"""The set of instructions that an agent understands.

A vocabulary is a value: it is extended by copy, handed to whoever reads texts, and never global, so that two
agents in one process may speak two languages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn, get_args, get_origin

from grammar.errors import GrammarError, UnknownInstruction
from grammar.instruction import MAX_INSTRUCTION, Declaration, Instruction, check_keyword, check_length
from grammar.names import nearest

__all__ = ["MAX_INSTRUCTION", "MAX_NESTING", "Vocabulary"]

MAX_NESTING: Final = 8
"""Instructions inside one another (`submit ... submit ...`)."""


class Vocabulary:
    """An immutable set of declarations, found by keyword or alias; iteration is in the order of declaration.

    `types` are the types that the results of its instructions have, by name: `decode` takes the vocabulary for them.
    """

    __slots__ = ("_declarations", "_rows", "types")

    types: Mapping[str, type]
    _declarations: tuple[Declaration, ...]
    _rows: Mapping[str, Declaration]

    def __init__(self, declarations: Iterable[Declaration] = ()) -> None:
        """Takes the declarations; raises GrammarError when two have one keyword."""
        rows: dict[str, Declaration] = {}
        types: dict[str, type] = {}
        known = tuple(declarations)
        for declaration in known:
            _collect(declaration.result, types)
            for keyword in (declaration.keyword, *declaration.aliases):
                if keyword in rows:
                    message = f'two instructions are called "{keyword}"'
                    raise GrammarError(message, text=keyword, fix="rename one, or replace it with extended()")
                rows[keyword] = declaration
        put = object.__setattr__
        put(self, "_declarations", known)
        put(self, "_rows", MappingProxyType(rows))
        put(self, "types", MappingProxyType(types))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Vocabulary cannot be changed; extended() makes a new one")

    def extended(self, *declarations: Declaration) -> Vocabulary:
        """A copy with more declarations; one that has a known keyword takes the place of the old one."""
        keywords = {keyword for row in declarations for keyword in (row.keyword, *row.aliases)}
        kept = (row for row in self._declarations if keywords.isdisjoint((row.keyword, *row.aliases)))
        return Vocabulary((*kept, *declarations))

    def get(self, keyword: str) -> Declaration | None:
        """The declaration of a keyword or alias, or None."""
        return self._rows.get(keyword)

    @property
    def keywords(self) -> tuple[str, ...]:
        """Every keyword and alias, sorted."""
        return tuple(sorted(self._rows))

    def __contains__(self, keyword: object) -> bool:
        return keyword in self._rows

    def __iter__(self) -> Iterator[Declaration]:
        return iter(self._declarations)

    def __len__(self) -> int:
        return len(self._declarations)

    def __eq__(self, other: object) -> bool:
        return self._declarations == other._declarations if isinstance(other, Vocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.keywords)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} instructions)"

    def parse(self, text: str) -> Instruction:
        """Reads an instruction of this vocabulary.

        Raises:
            UnknownInstruction: the keyword is not in it; the error names the nearest one that is.
            GrammarError: the arguments do not fit, or the text is too long.
        """
        return self._read(text, lenient=False, depth=0)

    def read(self, text: str, *, lenient: bool = True) -> Instruction:
        """Like `parse`, but an instruction with an unknown keyword is opaque when `lenient`."""
        return self._read(text, lenient=lenient, depth=0)

    def _read(self, text: str, *, lenient: bool, depth: int) -> Instruction:
        check_length(text)
        if depth > MAX_NESTING:
            message = f"more than {MAX_NESTING} instructions are inside one another"
            raise GrammarError(message, text=text)
        start = 0 if text[:1] != " " else len(text) - len(text.lstrip(" "))
        end = text.find(" ", start)
        keyword, rest = (text[start:], "") if end < 0 else (text[start:end], text[end + 1 :])
        declaration = self._rows.get(keyword)
        if declaration is None:
            return self._unknown(text, keyword, rest, start, lenient)
        try:
            if not declaration.nests:
                return declaration.parse(rest)
            return declaration.parse(rest, read=lambda inner: self._read(inner, lenient=lenient, depth=depth + 1))
        except GrammarError as error:
            raise error.within(text, len(text) if end < 0 else end + 1) from None

    def _unknown(self, text: str, keyword: str, rest: str, start: int, lenient: bool) -> Instruction:
        try:
            check_keyword(keyword)
        except GrammarError as error:
            near = None if lenient else nearest(keyword, self._rows)
            raise GrammarError(
                error.message, text=text, column=error.column + start, expected=error.expected, nearest=near
            ) from None
        if lenient:
            return Instruction.opaque(keyword, rest)
        raise UnknownInstruction(
            f'"{keyword}" is no known instruction',
            text=text,
            column=start + 1,
            expected="a keyword of the vocabulary",
            nearest=nearest(keyword, self._rows),
        )


def _collect(annotation: Any, found: dict[str, type]) -> None:
    for argument in get_args(annotation):
        _collect(argument, found)
    if get_origin(annotation) is None and isinstance(annotation, type):
        found[annotation.__name__] = annotation
