"""Values that are JSON: read with limits, refused with a sentence, written in one canonical way.

`read_model` is the one place where JSON enters the language. `Document` is a value whose text is JSON:
immutable, hashable, equal to its canonical text, with whatever members it does not know kept, since a newer
peer may know them.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from grammar.errors import GrammarError

MAX_DEPTH: Final = 32
"""Brackets that may be open at once in a JSON text; deeper text is refused before it is read."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BEYOND_FLOAT = re.compile(r"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{300}")
_Model = TypeVar("_Model", bound=BaseModel)


def read_model(model: type[_Model], text: str) -> _Model:
    """The model that a JSON text describes; raises GrammarError, and nothing else."""
    check_depth(text)
    try:
        if _BEYOND_FLOAT.search(text):
            json.loads(text, parse_float=_finite, parse_constant=_refuse)
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        message = f"{model.__name__}: {first['msg']}" + (f" (at {place})" if place else "")
    except (ValueError, RecursionError):
        message = f"this is not the JSON of a {model.__name__}"
    raise GrammarError(message, text=text, expected=f"the JSON of a {model.__name__}")


def check_depth(text: str) -> None:
    """Refuses JSON with too many open brackets; one pass, and none of it recursive."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for position, character in enumerate(_STRING.sub(lambda match: " " * len(match.group()), text)):
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                message = f"the JSON is more than {MAX_DEPTH} levels deep"
                raise GrammarError(message, text=text, column=position + 1)
        elif character in "]}":
            depth -= 1


class Document(BaseModel):
    """A value whose text is a JSON object."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the JSON; raises GrammarError."""
        return read_model(cls, text)

    def __str__(self) -> str:
        return self.model_dump_json(exclude_defaults=True)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return str(self) == other
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
