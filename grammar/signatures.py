"""From a typed function, or a class with typed fields, to the declaration of an instruction.

    def set_note(user: UserIdentifier, note: str, *, urgent: bool = False) -> str:
        "Writes a note for a user."

declares `set_note <user> <note> [urgent=<urgent>]`: names, types, defaults, help and result come from the
signature. Parameters before a `/` are given by position only, those after a `*` by name only, as in a call of
the function.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, get_args, get_origin

from grammar.arguments import ArgumentType, argument_type
from grammar.errors import GrammarError
from grammar.instruction import INSTRUCTION, Declaration, Instruction, Right
from grammar.parameters import REQUIRED, Form, Parameter

_FORMS: Final[Mapping[Any, Form]] = MappingProxyType(
    {
        inspect.Parameter.POSITIONAL_ONLY: Form.POSITION,
        inspect.Parameter.POSITIONAL_OR_KEYWORD: Form.EITHER,
        inspect.Parameter.KEYWORD_ONLY: Form.NAME,
    }
)


def declare(
    subject: Callable[..., Any] | type,
    *,
    keyword: str | None = None,
    right: Right = "write",
    read_only: bool = False,
    idempotent: bool = True,
    skip: Collection[str] | Callable[[Any], bool] = (),
    rest: bool | None = None,
    example: str = "",
    help: str | None = None,
    result: Any = REQUIRED,
    aliases: tuple[str, ...] = (),
    names: Mapping[str, Any] | None = None,
) -> Declaration:
    """The declaration that a signature stands for.

    Args:
        subject: a function, plain or async, or a class whose annotated constructor parameters are the
            parameters.
        keyword: the instruction's name; the function's own by default.
        right: what a caller must be allowed to do; "read" when `read_only` is given and this is not.
        skip: names of parameters, or a predicate on their annotations, that are no arguments of the
            instruction (a handler's context).
        rest: whether the last parameter takes the rest of the line; by default one that is JSON, an instruction, or a
            value of this package (`10 hours`).
        example: a whole instruction, for help and tests.
        help: what it does; the docstring by default.
        result: the annotation of the result; that of the signature by default.
        aliases: other keywords for the same instruction.
        names: what the annotations may name besides the globals of the module, for a function written inside another.

    Raises:
        GrammarError: an annotation is missing, unknown, or not one an argument can have.
    """
    name = keyword or str(getattr(subject, "__name__", ""))
    hints = _hints(subject, name, dict(names or {}))
    signature = inspect.signature(subject)
    parameters = [
        _parameter(parameter, hints, name)
        for parameter in signature.parameters.values()
        if not _skipped(parameter, hints, skip)
    ]
    if parameters and (rest if rest is not None else _takes_rest(parameters[-1])):
        last = parameters[-1]
        parameters[-1] = Parameter(last.name, last.type, last.default, last.help, True, last.form)
    found = hints.get("return") if result is REQUIRED else result
    if isinstance(subject, type) and result is REQUIRED:
        found = getattr(subject, "result", None)
    return Declaration(
        keyword=name,
        parameters=tuple(parameters),
        result=found,
        help=(inspect.getdoc(subject) or "") if help is None else help,
        example=example,
        right="read" if read_only and right == "write" else right,
        read_only=read_only,
        idempotent=idempotent,
        aliases=aliases,
    )


def declarations_of(offered: object) -> tuple[Declaration, ...]:
    """The declarations that a package offers: one, several in a list or a vocabulary, or functions to declare.

    Raises:
        GrammarError: it offers something else.
    """
    if isinstance(offered, Declaration):
        return (offered,)
    if isinstance(offered, Iterable) and not isinstance(offered, (str, bytes)):
        return tuple(declaration for item in offered for declaration in declarations_of(item))
    if callable(offered):
        return (declare(offered),)
    message = f"an object of type {type(offered).__name__} declares no instruction"
    raise GrammarError(message, expected="a Declaration, a typed function, or a list of those")


def _hints(subject: Callable[..., Any] | type, name: str, names: dict[str, Any]) -> dict[str, Any]:
    """The annotations as types; names in string annotations are looked up where the function was written."""
    try:
        hints = typing.get_type_hints(subject, localns=names, include_extras=True)
        constructor = inspect.getattr_static(subject, "__init__") if isinstance(subject, type) else None
        if inspect.isfunction(constructor):
            hints |= typing.get_type_hints(constructor, localns=names, include_extras=True)
        return hints
    except (NameError, TypeError, AttributeError) as error:
        message = f"{name}: an annotation cannot be read ({error})"
        raise GrammarError(message, fix="import the type where the function is written") from error


def _skipped(
    parameter: inspect.Parameter, hints: dict[str, Any], skip: Collection[str] | Callable[[Any], bool]
) -> bool:
    if callable(skip):
        return skip(hints.get(parameter.name))
    return parameter.name in skip


def _parameter(parameter: inspect.Parameter, hints: dict[str, Any], keyword: str) -> Parameter:
    form = _FORMS.get(parameter.kind)
    if form is None:
        raise GrammarError(f"{keyword}: *{parameter.name} cannot be an argument", fix="take a list")
    if parameter.name not in hints:
        message = f'{keyword}: the parameter "{parameter.name}" has no annotation'
        raise GrammarError(message, fix=f'write its type, for example "{parameter.name}: str"')
    annotation = hints[parameter.name]
    try:
        kind = _type_of(annotation)
    except GrammarError as error:
        message = f'{keyword}: the parameter "{parameter.name}": {error.message}'
        raise GrammarError(message, expected=error.expected) from None
    default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
    if kind.is_optional and default is not None:
        message = f'{keyword}: the parameter "{parameter.name}" may be None, so its default must be None'
        raise GrammarError(message, fix=f'write "{parameter.name}: {kind.name} = None"')
    if default is not REQUIRED and default is not None and not kind.accepts(default):
        message = f'{keyword}: the default of "{parameter.name}" is not a {kind.name}'
        raise GrammarError(message, expected=kind.name)
    return Parameter(parameter.name, kind, default, _help_of(annotation), False, form)


def _type_of(annotation: Any) -> ArgumentType:
    return INSTRUCTION if annotation is Instruction else argument_type(annotation)


def _help_of(annotation: Any) -> str:
    """The text in `Annotated[str, "what it is"]`."""
    notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((note for note in notes if isinstance(note, str)), "")


def _takes_rest(parameter: Parameter) -> bool:
    """Whether the canonical text of the type has spaces in it, as that of `10 hours` has."""
    kind = parameter.type
    return parameter.form is not Form.NAME and (kind.is_json or kind.is_instruction or kind.is_value)
