"""What an instruction gives back: a typed value whose type travels with it.

    encode(UserMapping.parse("fred.proj.org:fred:proj"))   ->  ("UserMapping", "fred.proj.org:fred:proj")
    decode("UserMapping", "fred.proj.org:fred:proj")       ->  the UserMapping

The type is a name, never code: whoever receives a name that it does not know gets the plain JSON data.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from grammar.awards import AwardDetails, ProjectTemplate
from grammar.dates import DateRange, parse_date
from grammar.destination import Destination, Destinations
from grammar.documents import MAX_DEPTH
from grammar.domains import DomainPattern
from grammar.errors import GrammarError
from grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
)
from grammar.instruction import Instruction
from grammar.notifications import Notification
from grammar.quantities import Allocation, StorageSize, Usage
from grammar.quotas import Quota, QuotaLimit, Volume
from grammar.storage_reports import ProjectStorageReport, StorageReport, StorageSnapshot
from grammar.usage_reports import DailyUsageReport, ProjectUsageReport, UsageReport
from grammar.values import Value
from grammar.vocabulary import Vocabulary

TYPES: Final[Mapping[str, type]] = types.MappingProxyType(
    {
        known.__name__: known
        for known in (
            Allocation,
            AwardDetails,
            DailyUsageReport,
            DateRange,
            Destination,
            Destinations,
            DomainPattern,
            Notification,
            PortalIdentifier,
            ProjectIdentifier,
            ProjectMapping,
            ProjectStorageReport,
            ProjectTemplate,
            ProjectUsageReport,
            Quota,
            QuotaLimit,
            StorageReport,
            StorageSize,
            StorageSnapshot,
            Usage,
            UsageReport,
            UserIdentifier,
            UserMapping,
            Volume,
        )
    }
)
"""The types of this package that a result may have, by name."""

_PLAIN: Final = frozenset({"str", "int", "float", "bool", "None", "list", "dict", "object"})


def encode(value: object) -> tuple[str, Any]:
    """The name of a value's type, and the value as JSON data.

    Taken: None, str, int, float, bool, date, an Enum, the types of this package and any other with `parse`,
    pydantic models, and lists, tuples and dictionaries of those. Items of one list have one type, unless all
    are plain JSON.

    Raises:
        GrammarError: the value cannot be written as JSON; the message names its type.
    """
    return _encode(value, 0)


def decode(type_name: str, data: Any, known: Mapping[str, type] | Vocabulary = TYPES) -> Any:
    """The value that `encode` was given.

    Args:
        type_name: as `encode` gave it.
        data: JSON data.
        known: types by name, besides those of this package; or the vocabulary whose results they are.

    Returns:
        The typed value; `data` as it is when the type is not known here.

    Raises:
        GrammarError: the type is known, and the data is not of it.
    """
    return _decode(type_name.strip(), data, known.types if isinstance(known, Vocabulary) else known, 0)


def _encode(value: object, depth: int) -> tuple[str, Any]:
    if depth > MAX_DEPTH:
        raise GrammarError(f"a result is more than {MAX_DEPTH} levels deep")
    if value is None:
        return "None", None
    kind = type(value)
    if isinstance(value, (Value, Instruction)):
        return kind.__name__, str(value)
    if isinstance(value, BaseModel):
        return kind.__name__, value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Enum):
        return kind.__name__, _encode(value.value, depth + 1)[1]
    if isinstance(value, float) and not math.isfinite(value):
        raise GrammarError(f"the float {value} cannot be a result: JSON has no such number")
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain.__name__, plain(value)
    if kind is date:
        return "date", str(value)
    if isinstance(value, (list, tuple)):
        return _encode_list(value, depth)
    if isinstance(value, dict):
        return _encode_dict(value, depth)
    if callable(getattr(kind, "parse", None)):
        return kind.__name__, str(value)
    raise GrammarError(
        f"a {kind.__name__} cannot be a result",
        fix="return text, a number, a grammar type, a pydantic model, or a list or dictionary of those",
    )


def _encode_list(value: list[Any] | tuple[Any, ...], depth: int) -> tuple[str, Any]:
    pairs = [_encode(item, depth + 1) for item in value]
    names = {name for name, _ in pairs}
    return _joined("list", names), [data for _, data in pairs]


def _encode_dict(value: dict[Any, Any], depth: int) -> tuple[str, Any]:
    keys = [_encode(key, depth + 1) for key in value]
    if any(not isinstance(data, str) for _, data in keys):
        raise GrammarError("a dict whose keys are not written as text cannot be a result", fix="use text as keys")
    pairs = [_encode(item, depth + 1) for item in value.values()]
    data = {key: item for (_, key), (_, item) in zip(keys, pairs, strict=True)}
    key_names, names = {name for name, _ in keys}, {name for name, _ in pairs}
    if not pairs:
        return "dict", data
    if len(key_names) == 1 and len(names) == 1:
        return f"dict[{key_names.pop()}, {names.pop()}]", data
    return _joined("dict", key_names | names), data


def _joined(kind: str, names: set[str]) -> str:
    if len(names) == 1:
        return f"{kind}[{names.pop()}]"
    if all(name.partition("[")[0] in _PLAIN and _is_plain(name) for name in names):
        return kind
    raise GrammarError(f"a {kind} of {' and '.join(sorted(names))} cannot be a result", fix="return one type of item")


def _is_plain(name: str) -> bool:
    words = name.replace("[", " ").replace("]", " ").replace(",", " ").split()
    return _PLAIN.issuperset(words)


def _decode(name: str, data: Any, known: Mapping[str, type], depth: int) -> Any:
    if depth > MAX_DEPTH or name in _PLAIN:
        return data
    if name.startswith("list[") and name.endswith("]"):
        inner = name[5:-1]
        return [_decode(inner, item, known, depth + 1) for item in data] if isinstance(data, list) else data
    if name.startswith("dict[") and name.endswith("]"):
        key, _, item = name[5:-1].partition(",")
        if not isinstance(data, dict):
            return data
        item = item.strip()
        return {_decode(key, k, known, depth + 1): _decode(item, value, known, depth + 1) for k, value in data.items()}
    kind = known.get(name) or TYPES.get(name)
    if name == "date":
        return _read(parse_date, name, data)
    if kind is None:
        return data
    if issubclass(kind, BaseModel):
        try:
            return kind.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise GrammarError(f"the result is no {name}: {first['msg']} (at {place})") from None
    if issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError:
            raise GrammarError(f"the result is no {name}") from None
    parse: Callable[[str], Any] | None = getattr(kind, "parse", None)
    return data if parse is None else _read(parse, name, data)


def _read(parse: Callable[[str], Any], name: str, data: Any) -> Any:
    if not isinstance(data, str):
        raise GrammarError(f"the result is no {name}: it is not written as text")
    return parse(data)
