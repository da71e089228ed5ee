"""How an annotation of Python becomes an argument of an instruction, and back.

One `ArgumentType` for each type that a parameter may have. It reads a value from the text of one argument, writes it,
and checks a value that a program hands over. An annotation outside this closed set is refused when the instruction is
declared, not when the first job arrives.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from enum import Enum
from functools import partial
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from grammar.dates import parse_date
from grammar.documents import Document, check_depth, read_model
from grammar.errors import GrammarError
from grammar.identifiers import Identifier
from grammar.names import nearest
from grammar.values import Value

_MAX_ITEMS: Final = 1_024
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class ArgumentType:
    """One type of argument.

    `name` is what people read ("UserIdentifier", "list[int]"). `parse` takes the text of one argument and
    raises nothing but GrammarError. `format` gives the text that `parse` reads back. `accepts` says whether a
    value is of the type already. `is_json` says that the text is JSON, which may stand unquoted at the end of
    an instruction. `separators` are the characters between the parts of an identifier whose number of parts is fixed.
    """

    name: str
    annotation: Any
    parse: Callable[[str], Any] = field(compare=False)
    format: Callable[[Any], str] = field(compare=False)
    accepts: Callable[[object], bool] = field(compare=False)
    is_json: bool = False
    is_identifier: bool = False
    is_optional: bool = False
    is_instruction: bool = False
    is_value: bool = False
    separators: str | None = None


def argument_type(annotation: Any) -> ArgumentType:
    """The argument type of an annotation.

    Taken: str, int, float, bool, date, an Enum, a Literal of texts, a type with `parse`, a pydantic model,
    `list[X]` and `tuple[X, ...]` of those, `X | None`, and Annotated around any of them.

    Raises:
        GrammarError: the annotation is of another kind; the message names it.
    """
    if get_origin(annotation) is Annotated:
        return argument_type(get_args(annotation)[0])
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        return _optional(annotation)
    if origin is Literal:
        return _choices(annotation, {str(choice): choice for choice in get_args(annotation)})
    if origin in {list, tuple}:
        return _sequence(annotation)
    if isinstance(annotation, type) and origin is None:
        if (simple := _simple(annotation)) is not None:
            return simple
        if issubclass(annotation, BaseModel):
            return _model(annotation)
        if issubclass(annotation, Enum):
            return _choices(annotation, {str(member.value): member for member in annotation})
        if callable(getattr(annotation, "parse", None)):
            return _value(annotation)
    shown = getattr(annotation, "__name__", None) or str(annotation)
    raise GrammarError(
        f"{shown} cannot be an argument of an instruction",
        expected="str, int, float, bool, date, an Enum, a grammar type, a model, a list of those, or X | None",
    )


def type_name(annotation: Any) -> str:
    """What people call a type: `list[UserMapping]`, `dict[Volume, Quota]`, `None`."""
    if annotation is None or annotation is type(None):
        return "None"
    if get_origin(annotation) is Annotated:
        return type_name(get_args(annotation)[0])
    arguments = get_args(annotation)
    if get_origin(annotation) in {Union, types.UnionType}:
        return " | ".join(type_name(argument) for argument in arguments)
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, arguments))
    if arguments:
        inner = ", ".join("..." if argument is ... else type_name(argument) for argument in arguments)
        return f"{get_origin(annotation).__name__}[{inner}]"
    return str(getattr(annotation, "__name__", annotation))


def _simple(annotation: type) -> ArgumentType | None:
    if annotation is str:
        return ArgumentType("str", str, _text, str, lambda value: isinstance(value, str))
    if annotation is int:
        return ArgumentType("int", int, _integer, str, _is_integer)
    if annotation is float:
        return ArgumentType("float", float, _number, repr, _is_number)
    if annotation is bool:
        parse = _chooser("bool", {"true": True, "false": False})
        return ArgumentType("bool", bool, parse, _truth, lambda value: isinstance(value, bool))
    if annotation is date:
        return ArgumentType("date", date, parse_date, str, lambda value: type(value) is date)
    return None


def _value(annotation: type) -> ArgumentType:
    parse: Callable[[str], Any] = annotation.parse  # type: ignore[attr-defined]
    return ArgumentType(
        annotation.__name__,
        annotation,
        parse if issubclass(annotation, Value) else _guarded(annotation.__name__, parse),
        str,
        lambda value: isinstance(value, annotation),
        is_identifier=hasattr(annotation, "portal"),
        is_value=issubclass(annotation, Value),
        separators=_separators(annotation) if issubclass(annotation, Identifier) else None,
    )


def _separators(identifier: type[Identifier]) -> str:
    """The colons of a mapping, the dots of another identifier: what its last part stands behind."""
    example = identifier.EXAMPLE
    return ":" * example.count(":") or "." * example.count(".")


def _guarded(name: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Somebody else's `parse`, held to the promise that a text raises nothing but GrammarError."""

    def guarded(text: str) -> Any:
        try:
            return parse(text)
        except GrammarError:
            raise
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise GrammarError(f"this is no {name}: {error}", text=text, expected=name) from error

    return guarded


def _model(annotation: type[BaseModel]) -> ArgumentType:
    def write(value: BaseModel) -> str:
        # What was not set stays unsaid, so that a default is that of the agent that does the work.
        return str(value) if isinstance(value, Document) else value.model_dump_json(exclude_unset=True, by_alias=True)

    return ArgumentType(
        annotation.__name__,
        annotation,
        _guarded(annotation.__name__, partial(read_model, annotation)),
        write,
        lambda value: isinstance(value, annotation),
        is_json=True,
    )


def _choices(annotation: Any, known: dict[str, Any]) -> ArgumentType:
    texts = {value: text for text, value in known.items()}
    name = type_name(annotation)

    def accepts(value: object) -> bool:
        return isinstance(value, annotation) if isinstance(annotation, type) else value in texts

    return ArgumentType(
        name,
        annotation,
        _chooser(name, known),
        texts.__getitem__,
        accepts,
    )


def _chooser(name: str, known: dict[str, Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text in known:
            return known[text]
        if text.lower() in known:
            return known[text.lower()]
        message = f'"{text[:40]}" is no {name}'
        raise GrammarError(message, text=text, expected=" or ".join(known), nearest=nearest(text, known))

    return parse


def _optional(annotation: Any) -> ArgumentType:
    members = [member for member in get_args(annotation) if member is not type(None)]
    if len(members) != 1 or len(members) == len(get_args(annotation)):
        message = f"{type_name(annotation)} cannot be an argument: only a type and None may be joined"
        raise GrammarError(message, expected="X | None")
    inner = argument_type(members[0])
    return replace(inner, name=f"{inner.name} | None", annotation=annotation, is_optional=True)


def _sequence(annotation: Any) -> ArgumentType:
    """A list: a JSON array of the texts of its items, or of the items where they are JSON; `a,b,c` is read too."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple and (len(arguments) != 2 or arguments[1] is not ...):
        message = f"{type_name(annotation)} cannot be an argument"
        raise GrammarError(message, expected="list[X] or tuple[X, ...]")
    inner = argument_type(arguments[0])

    def parse(text: str) -> Any:
        items = _items(text)
        try:
            return tuple(inner.parse(item) for item in items)
        except GrammarError as error:
            raise GrammarError(error.message, text=text, expected=error.expected, nearest=error.nearest) from None

    def write(value: Any) -> str:
        texts = [inner.format(item) for item in value]
        if inner.is_json:
            return f"[{','.join(texts)}]"
        return json.dumps(texts, ensure_ascii=False, separators=(",", ":"))

    def accepts(value: object) -> bool:
        return isinstance(value, tuple) and all(map(inner.accepts, value))

    return ArgumentType(type_name(annotation), annotation, parse, write, accepts, is_json=True)


def _items(text: str) -> list[str]:
    """The texts of the items, not too many of them."""
    if not text.lstrip().startswith("["):
        items = text.split(",") if text.strip() else []
        _check_count(items, text)
        return [item.strip() for item in items]
    check_depth(text)
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        column = getattr(error, "pos", 0) + 1
        raise GrammarError("this is not a JSON list", text=text, column=column, expected='["a","b"] or a,b') from None
    _check_count(items, text)
    return [item if isinstance(item, str) else json.dumps(item) for item in items]


def _check_count(items: list[Any], text: str) -> None:
    if len(items) > _MAX_ITEMS:
        raise GrammarError(f"a list has at most {_MAX_ITEMS} items", text=text)


def _text(text: str) -> str:
    return text


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise GrammarError(f'"{text[:40]}" is not a whole number', text=text, expected="a whole number")
    return int(text)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(text: str) -> float:
    if not _FLOAT.fullmatch(text) or not math.isfinite(number := float(text)):
        raise GrammarError(f'"{text[:40]}" is not a number', text=text, expected="a finite number")
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _truth(value: bool) -> str:
    return "true" if value else "false"
