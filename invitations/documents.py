"""TOML documents: read one into a pydantic model, or say in one sentence why it cannot be.

Used for each file that people see (identity, card, invitation, configuration). Errors name the file and the
key, the nearest known key or value, the line and column of a syntax error, and never repeat a value, which
may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from grammar.errors import MeshError
from grammar.names import nearest
from invitations.errors import DocumentError, FileError
from invitations.files import read_private

_SYNTAX_PLACE: Final = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)")


class Document(BaseModel):
    """The shape of a TOML document or of a table in it: frozen, exact types, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


DocumentModel = TypeVar("DocumentModel", bound=Document)


def to_base64(data: bytes) -> str:
    """URL-safe base64 without padding: one word to a double click, nothing to escape in TOML or a shell."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64(text: object) -> bytes:
    """The inverse of `to_base64`; exact, so that each value has one text.

    Raises:
        ValueError: not a text, or not what `to_base64` would have written.
    """
    if isinstance(text, str):
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if data and to_base64(data) == text:
            return data
    raise ValueError("expected URL-safe base64 without padding")


Base64Bytes = Annotated[bytes, BeforeValidator(from_base64)]
Key = Annotated[Base64Bytes, Field(min_length=32, max_length=32)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
"""A TOML array of strings; pydantic's strict mode would insist on a Python tuple."""


def read_document(
    path: Path,
    model: type[DocumentModel],
    *,
    what: str,
    error: type[DocumentError],
    marker: str | None,
    missing: str,
    exposed: bool = True,
) -> DocumentModel:
    """Read the file `path` into `model`.

    Args:
        path: the file.
        model: its shape.
        what: the noun with its article, for messages ("an invitation").
        error: raised for all trouble.
        marker: what the key `hopboard` must say, or None for a document without that key.
        missing: the fix to offer when the file does not exist.
        exposed: False refuses a file that others can read.

    Raises:
        DocumentError: of the class `error`, with one cause and one fix.
    """
    try:
        text = read_private(path, exposed=exposed)
    except FileError as trouble:
        fix = missing if trouble.missing else trouble.fix
        raise error(trouble.message, path=path, fix=fix) from trouble
    return parse_document(text, model, what=what, error=error, marker=marker, path=path)


def parse_document(
    text: str,
    model: type[DocumentModel],
    *,
    what: str,
    error: type[DocumentError],
    marker: str | None,
    path: Path | None = None,
) -> DocumentModel:
    """`read_document` for a text at hand; `path` is only for the messages."""
    place = "the text" if path is None else str(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as trouble:
        line, column = _syntax_place(text, str(trouble))
        cause = _SYNTAX_PLACE.sub("", str(trouble)).strip()
        raise error(
            f"{place} is not {what}: line {line}, column {column} is not TOML ({cause})",
            path=path,
            line=line,
            column=column,
            fix="correct that line, or get the file again",
        ) from None
    except RecursionError:
        raise error(f"{place} is not {what}: it is nested too deeply", path=path, fix="check the file") from None
    if marker is not None and data.get("hopboard") != marker:
        raise error(
            f'{place} is not {what}: it does not say hopboard = "{marker}"',
            path=path,
            key="hopboard",
            fix="check the file name",
        )
    try:
        return model.model_validate(data)
    except ValidationError as trouble:
        # `from None`: pydantic's own text may repeat the input, and the input may be a secret.
        raise _explain(_worst(trouble.errors(include_url=False)), model, place, path, error) from None


def _syntax_place(text: str, message: str) -> tuple[int, int]:
    found = _SYNTAX_PLACE.search(message)
    if found is not None and found[1] is not None:
        return int(found[1]), int(found[2])
    lines = text.split("\n")
    return len(lines), len(lines[-1]) + 1


def _worst(problems: list[ErrorDetails]) -> ErrorDetails:
    """A mistyped key makes two problems, one unknown and one missing: the unknown one shows what to correct."""
    return next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])


def _explain(
    problem: ErrorDetails, model: type[Document], place: str, path: Path | None, error: type[DocumentError]
) -> DocumentError:
    where = problem["loc"]
    key = _dotted(where)
    match problem["type"]:
        case "extra_forbidden":
            known = _known_keys(model, where[:-1])
            close = nearest(str(where[-1]), known)
            fix = f'did you mean "{close}"?' if close else f"known here: {', '.join(known)}"
            return error(f'{place}: unknown key "{key}"', path=path, key=key, nearest=close, fix=fix)
        case "missing":
            return error(f'{place}: the key "{key}" is missing', path=path, key=key, fix=f"add {key}")
        case "literal_error":
            choices = tuple(str(choice) for choice in _choices(model, where))
            close = nearest(str(problem["input"]), choices)
            fix = f'did you mean "{close}"?' if close else f"it may be: {', '.join(choices)}"
            return error(f'{place}: unknown value for "{key}"', path=path, key=key, nearest=close, fix=fix)
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, MeshError):
        expected = getattr(cause, "expected", "")
        message, fix = cause.message, cause.fix or (f"expected {expected}" if expected else "")
    else:
        message = problem["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        fix = f"correct {key}"
    return error(
        f'{place}: bad value for "{key}": {message}',
        path=path,
        key=key,
        nearest=getattr(cause, "nearest", None),
        fix=fix or f"correct {key}",
    )


def _dotted(where: Sequence[str | int]) -> str:
    """`("access", "allow", 0, "origin")` as `access.allow[0].origin`."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _known_keys(model: type[BaseModel], where: Sequence[str | int]) -> tuple[str, ...]:
    table = _table(model, where)
    return () if table is None else tuple(table.model_fields)


def _choices(model: type[BaseModel], where: Sequence[str | int]) -> tuple[Any, ...]:
    table = _table(model, where[:-1])
    field = None if table is None else table.model_fields.get(str(where[-1]))
    if field is None:
        return ()
    return tuple(_literals(field.annotation))


def _table(model: type[BaseModel], where: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of the table at `where`, or None if that is a free table."""
    table: type[BaseModel] | None = model
    for step in where:
        if table is None or isinstance(step, int):
            continue  # an index stays in the table that its array is made of
        field = table.model_fields.get(step)
        table = None if field is None else next(_models(field.annotation), None)
    return table


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _literals(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
        return
    for part in get_args(annotation):
        yield from _literals(part)
