"""An instruction: what to do, as one exact text with typed parts; and the declaration that types it.

`Declaration` is a row of a vocabulary: keyword, parameters, result, and what may be done with it.
`Instruction` is one use of it. An instruction whose keyword is in no vocabulary at hand is *opaque*: its text
is kept as it is, so that an agent in the middle of a path forwards what it does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, Literal, NoReturn

from grammar.arguments import ArgumentType, type_name
from grammar.dates import DateRange
from grammar.errors import GrammarError
from grammar.identifiers import portals_of
from grammar.names import MAX_NAME, nearest
from grammar.parameters import Form, Parameter, Reader
from grammar.quoting import is_plain, next_token, quote, quoted, skip_spaces

Right = Literal["read", "write", "admin"]

__all__ = [
    "INSTRUCTION",
    "MAX_INSTRUCTION",
    "MAX_KEYWORD",
    "RIGHTS",
    "Declaration",
    "Instruction",
    "Parameter",
    "Right",
    "check_keyword",
    "check_length",
]

RIGHTS: Final = ("read", "write", "admin")
"""What a caller must be allowed to do, from least to most."""

_KEYWORD = re.compile(r"[a-z][a-z0-9]*(?:_+[a-z0-9]+)*(?:\.[a-z][a-z0-9]*(?:_+[a-z0-9]+)*)?")
_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_PLAIN = re.compile(r"[!#-<>-~]+")

MAX_INSTRUCTION: Final = 4096
"""Bytes of UTF-8 in the text of one instruction, as it is given and in its canonical form."""

MAX_KEYWORD: Final = 2 * MAX_NAME + 1
"""Characters in a keyword: an actor's name, a dot, an action's name."""


class Instruction:
    """One use of an instruction. Immutable; equal to its canonical text, and hashed as it.

    `keyword` is the verb, `arguments` the typed values in the order of the declaration (defaults filled in),
    and `declaration` the row that typed them. An opaque instruction has no declaration, and its one argument,
    if any, is the rest of its text.
    """

    __slots__ = ("_text", "arguments", "declaration", "keyword")

    keyword: str
    arguments: tuple[object, ...]
    declaration: Declaration | None
    _text: str

    def __init__(
        self, keyword: str, arguments: tuple[object, ...], text: str, declaration: Declaration | None = None
    ) -> None:
        _put_keyword(self, keyword)
        _put_arguments(self, arguments)
        _put_declaration(self, declaration)
        _put_text(self, text)

    @classmethod
    def opaque(cls, keyword: str, rest: str) -> Instruction:
        """An instruction that no vocabulary at hand knows; `rest` is kept exactly, less the spaces around it."""
        rest = rest.strip(" ")
        return cls(keyword, (rest,) if rest else (), f"{keyword} {rest}" if rest else keyword)

    @property
    def portals(self) -> tuple[str, ...]:
        """Every portal that the arguments name, in order, each once; the ownership rule holds for all of them."""
        found: dict[str, None] = {}
        for argument in self.arguments:
            if type(argument) is str:
                # Plain text names none: identifiers are of types of their own.
                continue
            inner = argument.portals if isinstance(argument, Instruction) else portals_of(argument)
            found.update(dict.fromkeys(inner))
        return tuple(found)

    @property
    def named(self) -> dict[str, object]:
        """The arguments by the names of their parameters; empty when the instruction is opaque."""
        if self.declaration is None:
            return {}
        names = (parameter.name for parameter in self.declaration.parameters)
        return dict(zip(names, self.arguments, strict=True))

    @property
    def texts(self) -> list[str | None]:
        """The canonical text of each argument; None for one that was left out and has no default."""
        if self.declaration is None:
            return [str(argument) for argument in self.arguments]
        pairs = zip(self.declaration.parameters, self.arguments, strict=True)
        return [None if value is None else parameter.type.format(value) for parameter, value in pairs]

    def resolved(self, today: date) -> Instruction:
        """The instruction with words such as `this_week` replaced by the dates they mean on the day `today`.

        Whoever puts a job calls this, so that a job that waits overnight still means the days its author
        meant.
        """
        if self.declaration is None:
            return self
        values = tuple(_resolved(argument, today) for argument in self.arguments)
        return self if values == self.arguments else self.declaration.bind(*values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an Instruction cannot be changed")

    def __deepcopy__(self, memo: object) -> Instruction:
        return self

    def __copy__(self) -> Instruction:
        return self

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Instruction({self._text!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Instruction):
            return self._text == other._text
        if isinstance(other, str):
            return self._text == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)


# What `object.__setattr__` does, in two thirds of the time: every job is read as an instruction at both of its ends.
_put_keyword: Final = Instruction.__dict__["keyword"].__set__
_put_arguments: Final = Instruction.__dict__["arguments"].__set__
_put_declaration: Final = Instruction.__dict__["declaration"].__set__
_put_text: Final = Instruction.__dict__["_text"].__set__


@dataclass(frozen=True, slots=True)
class Declaration:
    """One row of a vocabulary.

    `result` is the annotation of what the instruction gives back. `right` is what a caller must be allowed to
    do, `read_only` says that it changes nothing, `idempotent` that doing it twice is doing it once (it may
    run again after a crash). `aliases` are other keywords for the same instruction.
    """

    keyword: str
    parameters: tuple[Parameter, ...] = ()
    result: Any = None
    help: str = ""
    example: str = ""
    right: Right = "write"
    read_only: bool = False
    idempotent: bool = True
    aliases: tuple[str, ...] = ()
    nests: bool = field(init=False, repr=False, compare=False)
    _single: Parameter | None = field(init=False, repr=False, compare=False)
    _names: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for keyword in (self.keyword, *self.aliases):
            check_keyword(keyword)
        if self.right not in RIGHTS:
            raise GrammarError(f'"{self.right}" is no right', expected=", ".join(RIGHTS))
        parameters = self.parameters
        if len({parameter.name for parameter in parameters}) != len(parameters):
            raise GrammarError(f"{self.keyword} has two parameters of one name")
        if any(parameter.rest for parameter in parameters[:-1]):
            raise GrammarError(f"{self.keyword}: only the last parameter can take the rest of the line")
        put = object.__setattr__
        put(self, "nests", any(parameter.type.is_instruction for parameter in parameters))
        only = parameters[0] if len(parameters) == 1 else None
        single = only is not None and (only.type.is_identifier or (only.type.annotation is str and only.required))
        put(self, "_single", only if only and single and only.form is not Form.NAME else None)
        put(self, "_names", frozenset(p.name for p in parameters if p.form is not Form.POSITION))
        positional = [p for p in parameters if p.form is Form.POSITION]
        if any(p.default is None for p in positional[:-1]):
            raise GrammarError(f"{self.keyword}: only the last parameter before the / may be None")

    @property
    def result_name(self) -> str:
        """What people call the result type: `list[UserMapping]`."""
        return type_name(self.result)

    @property
    def portal_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that say which portal the instruction is about."""
        return tuple(parameter.name for parameter in self.parameters if parameter.type.is_identifier)

    @property
    def usage(self) -> str:
        """One line that shows how the instruction is written: `set_limit <project> <limit>`."""
        return " ".join([self.keyword, *(parameter.usage for parameter in self.parameters)])

    def shaped_as(self, known: Declaration) -> Declaration:
        """This declaration, for a keyword that is known: its arguments are read and written as the known one's are.

        Whoever does a known instruction in a function of their own names the parameters as they like; the text is that
        of everybody else. Help, right and flags stay; the result does when there is one.

        Raises:
            GrammarError: it takes other arguments than the known one.
        """
        given = [parameter.type.name for parameter in self.parameters]
        wanted = [parameter.type.name for parameter in known.parameters]
        if given != wanted:
            message = f"{self.keyword} takes ({', '.join(wanted)}), not ({', '.join(given)})"
            raise GrammarError(message, expected=known.usage, fix="use these types, or choose another keyword")
        return replace(
            self,
            keyword=known.keyword,
            parameters=tuple(
                replace(theirs, name=mine.name, help=mine.help or theirs.help)
                for mine, theirs in zip(self.parameters, known.parameters, strict=True)
            ),
            result=known.result if self.result is None else self.result,
            help=self.help or known.help,
            example=self.example or known.example,
            aliases=known.aliases,
        )

    def parse(self, text: str, *, read: Reader | None = None) -> Instruction:
        """Reads the arguments, that is, the text after the keyword.

        Args:
            text: the arguments, as `quoting` describes them.
            read: reads an instruction inside this one (`submit`); without it, that one stays opaque.

        Raises:
            GrammarError: with the column in `text`.
        """
        single = self._single
        if single is not None and _PLAIN.fullmatch(text):
            # One plain identifier or word, by far the most common text: no need to look for quotes and names.
            value = single.read(text, text, 0, read)
            if value == text:
                return Instruction(self.keyword, (value,), f"{self.keyword} {text}", self)
        return self._made(self._values(text, read))

    def bind(self, *values: object, **named: object) -> Instruction:
        """The instruction with these arguments: values of the parameters' types, or texts that are read as them.

        Raises:
            GrammarError: an argument is missing, is one too many, or is not of its parameter's type.
        """
        if len(values) > len(self.parameters):
            self._refuse_extra("", 0)
        given = {parameter.name: value for parameter, value in zip(self.parameters, values, strict=False)}
        for name, value in named.items():
            if name in given:
                raise GrammarError(f'{self.keyword} is given "{name}" twice', expected=self.usage)
            if all(parameter.name != name for parameter in self.parameters):
                self._refuse_name(name, "", 0)
            given[name] = value
        bound = {p.name: p.bind(given[p.name]) for p in self.parameters if p.name in given}
        return self._made(self._complete(bound, ""))

    def _made(self, values: tuple[object, ...]) -> Instruction:
        text = self._format(values)
        check_length(text)
        return Instruction(self.keyword, values, text, self)

    def _format(self, values: tuple[object, ...]) -> str:
        """The canonical text: what has its default value is left out where what follows can be given by name."""
        words = [self.keyword]
        said = [p.required or value != p.default for p, value in zip(self.parameters, values, strict=True)]
        by_position = [i for i, p in enumerate(self.parameters) if said[i] and p.form is Form.POSITION]
        kept = by_position[-1] if by_position else -1
        by_name = False
        for index, (parameter, value) in enumerate(zip(self.parameters, values, strict=True)):
            if not said[index] and index > kept:
                by_name = True
                continue
            text = parameter.type.format(value)
            if by_name or parameter.form is Form.NAME:
                words.append(f"{parameter.name}={text if is_plain(text) else quoted(text)}")
            elif parameter.rest:
                words.append(text if parameter.stands_alone(text, self._names) else quoted(text))
            else:
                label = _NAMED.match(text)
                words.append(quoted(text) if label and label[1] in self._names else quote(text))
        return " ".join(words)

    def _values(self, text: str, read: Reader | None) -> tuple[object, ...]:
        given: dict[str, object] = {}
        free = [parameter for parameter in reversed(self.parameters) if parameter.form is not Form.NAME]
        position = skip_spaces(text, 0)
        while position < len(text):
            while free and free[-1].name in given:
                free.pop()
            start, label = position, _NAMED.match(text, position)
            if label and label[1] in self._names:
                parameter = next(parameter for parameter in self.parameters if parameter.name == label[1])
                if parameter.name in given:
                    message = f'{self.keyword} is given "{parameter.name}" twice'
                    raise GrammarError(message, text=text, column=start + 1, expected=self.usage)
                word, position = next_token(text, start)
                word, start = word[len(label[0]) :], label.end()
            elif free:
                parameter = free.pop()
                takes_rest = parameter.rest and text[start] != '"'
                word, position = parameter.rest_of_line(text, start) if takes_rest else next_token(text, start)
            elif label and self._names:
                self._refuse_name(label[1], text, start)
            else:
                self._refuse_extra(text, start)
            given[parameter.name] = parameter.read(word, text, start, read)
            position = skip_spaces(text, position)
        return self._complete(given, text)

    def _complete(self, given: dict[str, object], text: str) -> tuple[object, ...]:
        values = []
        for parameter in self.parameters:
            if parameter.name not in given and parameter.required:
                message = f"{self.keyword} is missing its <{parameter.name}>"
                raise GrammarError(message, text=text, column=len(text) + 1, expected=self.usage)
            values.append(given.get(parameter.name, parameter.default))
        return tuple(values)

    def _refuse_extra(self, text: str, offset: int) -> NoReturn:
        count = len(self.parameters)
        takes = f"takes {count} argument{'' if count == 1 else 's'}" if count else "takes no argument"
        message = f"{self.keyword} {takes}, and here is one more"
        raise GrammarError(message, text=text, column=offset + 1, expected=self.usage)

    def _refuse_name(self, name: str, text: str, offset: int) -> NoReturn:
        names = [parameter.name for parameter in self.parameters]
        message = f'{self.keyword} has no parameter "{name}"'
        raise GrammarError(message, text=text, column=offset + 1, expected=self.usage, nearest=nearest(name, names))


def check_length(text: str) -> None:
    """Refuses the text of an instruction longer than `MAX_INSTRUCTION` bytes, or not Unicode."""
    if len(text) <= MAX_INSTRUCTION:
        if text.isascii():
            return
        try:
            if len(text.encode()) <= MAX_INSTRUCTION:
                return
        except UnicodeEncodeError as error:
            message = "the instruction holds half of a surrogate pair"
            raise GrammarError(message, text=text, column=error.start + 1) from None
    message = f"the instruction is longer than {MAX_INSTRUCTION} bytes"
    raise GrammarError(message, text=text, column=min(len(text), MAX_INSTRUCTION) + 1)


def check_keyword(keyword: str) -> str:
    """Returns a legal keyword unchanged: `add_user`, or `vm_manager.start` for the action of an actor."""
    if len(keyword) <= MAX_KEYWORD and _KEYWORD.fullmatch(keyword):
        return keyword
    match = _KEYWORD.match(keyword)
    column = min(match.end() if match else 0, MAX_KEYWORD) + 1
    message = f'"{keyword[:40]}" is no instruction' if keyword else "the instruction is missing"
    expected = "a keyword of lower-case letters, digits and '_', such as add_user or vm_manager.start"
    raise GrammarError(message, text=keyword, column=column, expected=expected)


def _resolved(value: object, today: date) -> object:
    return value.resolved(today) if isinstance(value, (DateRange, Instruction)) else value


def _opaque(text: str) -> Instruction:
    keyword, _, rest = text.strip(" ").partition(" ")
    return Instruction.opaque(check_keyword(keyword), rest)


INSTRUCTION: Final = ArgumentType(
    "Instruction",
    Instruction,
    _opaque,
    str,
    lambda value: isinstance(value, Instruction),
    is_instruction=True,
)
"""The type of an argument that is itself an instruction, as `submit` has one."""
