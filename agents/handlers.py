"""Handlers: the async functions that do instructions, told apart by their signatures.

    @agent.handler
    async def add_user(user: UserIdentifier, context: Context) -> str: ...

The name is the keyword; parameters, types, help and result come from the signature. A parameter annotated `Context`
gets the context and is no argument of the instruction. A function with one parameter annotated `Envelope` is the
generic handler: it takes every instruction that has no handler of its own.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from agents.context import Context, Ended, Envelope
from agents.errors import HandlerError
from grammar.errors import GrammarError
from grammar.instruction import Declaration, Instruction, Right
from grammar.parameters import Form
from grammar.signatures import declare
from grammar.vocabulary import Vocabulary

Function = Callable[..., Awaitable[Any]]

_UNKNOWN: Final = Declaration("unknown")
"""Right and flags of an instruction that is declared by its handler alone."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler.

    Attributes:
        declaration: of its instruction.
        function: what does it.
        context: the name of the parameter that gets the context, if one does.
        in_order: the function takes just the arguments of the declaration, all by place and in that order.
    """

    declaration: Declaration
    function: Function
    context: str | None
    in_order: bool = False

    def call(self, instruction: Instruction, context: Callable[[], Context]) -> Awaitable[Any]:
        """Begin it on the arguments of `instruction`; what is returned raises whatever the function raises."""
        if self.in_order and instruction.declaration is self.declaration:
            return self.function(*instruction.arguments)
        named = instruction.named
        by_place = [
            named.pop(parameter.name) for parameter in self.declaration.parameters if parameter.form is Form.POSITION
        ]
        if self.context is not None:
            named[self.context] = context()
        return self.function(*by_place, **named)


async def ping(text: str) -> str:
    """Gives back the text: the agent runs, and takes jobs. Every agent does this unless a handler is called so."""
    return text


_BUILT_IN: Final[Mapping[str, Handler]] = MappingProxyType(
    {"ping": Handler(declare(ping, right="read", read_only=True), ping, None, in_order=True)}
)


class Handlers:
    """The handlers of one agent.

    Args:
        vocabulary: what the agent can parse besides what its handlers declare.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._by_keyword: dict[str, Handler] = {}
        self.generic: Callable[[Envelope], Awaitable[Ended]] | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """Everything this agent can parse; a handler's own declaration goes before a known one of that name."""
        own = [handler.declaration for handler in self._by_keyword.values()]
        kept = [known for known in self._vocabulary if known.keyword not in self._by_keyword]
        return Vocabulary([*kept, *own])

    @property
    def built_in(self) -> Vocabulary:
        """What is done without a handler of this agent's own (`mesh.access.BUILT_IN`)."""
        return Vocabulary([row.declaration for keyword, row in _BUILT_IN.items() if self.find(keyword) is row])

    @property
    def keywords(self) -> frozenset[str] | None:
        """What this agent runs; None when a generic handler takes anything of the vocabulary."""
        return None if self.generic is not None else frozenset(self._by_keyword)

    @property
    def told(self) -> tuple[str, ...]:
        """The keywords that peers are told."""
        own = set(self._by_keyword)
        if self.generic is not None:
            own.update(self._vocabulary.keywords)
        return tuple(sorted(own))

    def find(self, keyword: str) -> Handler | None:
        """The handler of `keyword` itself, if there is one: a built-in one where nothing else is known of that name."""
        found = self._by_keyword.get(keyword)
        return _BUILT_IN.get(keyword) if found is None and keyword not in self._vocabulary else found

    def add(
        self,
        function: Function,
        *,
        keyword: str | None,
        right: Right | None = None,
        read_only: bool | None = None,
        idempotent: bool | None = None,
    ) -> None:
        """Register a function; what is None is as a known instruction of that name declares it.

        Raises:
            HandlerError: it is no async function, its signature cannot be an instruction's, or the keyword is
                taken; nothing was registered.
        """
        name = keyword or str(getattr(function, "__name__", "?"))
        if not inspect.iscoroutinefunction(function):
            raise HandlerError(f'handler "{name}" is not an async function', fix=f"write `async def {name}(...)`")
        try:
            hints = typing.get_type_hints(function)
        except (NameError, TypeError) as error:
            raise HandlerError(f'an annotation of handler "{name}" cannot be read: {error}') from error
        taken = inspect.signature(function).parameters
        if [hints.get(parameter) for parameter in taken] == [Envelope]:
            if self.generic is not None:
                raise HandlerError("there is a generic handler already", fix="one function can take an Envelope")
            self.generic = function
            return
        if name in self._by_keyword:
            raise HandlerError(f'there is a handler for "{name}" already', fix="give one of them another keyword")
        contexts = [parameter for parameter, hint in hints.items() if hint is Context and parameter != "return"]
        known = self._vocabulary.get(name)
        flags = known or _UNKNOWN
        try:
            declaration = declare(
                function,
                keyword=keyword,
                right=flags.right if right is None else right,
                read_only=flags.read_only if read_only is None else read_only,
                idempotent=flags.idempotent if idempotent is None else idempotent,
                skip=contexts,
            )
            if known is not None:
                # Origin and destination have to read the same text alike.
                declaration = declaration.shaped_as(known)
        except GrammarError as error:
            raise HandlerError(f'handler "{name}": {error.message}', fix=error.fix) from error
        in_order = not any(one.kind is one.KEYWORD_ONLY for one in taken.values()) and list(taken) == [
            parameter.name for parameter in declaration.parameters
        ]
        context = contexts[0] if contexts else None
        self._by_keyword[declaration.keyword] = Handler(declaration, function, context, in_order)
