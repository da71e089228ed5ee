"""A vocabulary, described: what `mesh grammar` shows, as rows for people and as JSON schema for programs."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from grammar.instruction import Declaration
from grammar.parameters import Form, Parameter
from grammar.vocabulary import Vocabulary

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
"""The version of JSON schema that is written."""


def rows(vocabulary: Vocabulary) -> list[tuple[str, str, str, str]]:
    """The table of a vocabulary: usage, result, right and the first line of help of each instruction."""
    return [
        (declaration.usage, declaration.result_name, declaration.right, declaration.help.partition("\n")[0])
        for declaration in vocabulary
    ]


def manual(declaration: Declaration) -> str:
    """One instruction for people, in lines: what `mesh grammar KEYWORD` prints."""
    flags: list[str] = [declaration.right]
    flags += ["changes nothing"] if declaration.read_only else []
    flags += [] if declaration.idempotent else ["never repeated after a crash"]
    lines = [declaration.usage, "", declaration.help or "(no help)", ""]
    for parameter in declaration.parameters:
        example = getattr(parameter.type.annotation, "EXAMPLE", "")
        words = [parameter.type.name, parameter.help, f"for example {example}" if example else ""]
        if not parameter.required and parameter.default is not None:
            words.append(f"default {parameter.type.format(parameter.default)}")
        lines.append(f"  {parameter.name:<12} {', '.join(filter(None, words))}")
    lines.append(f"  {'gives':<12} {declaration.result_name}")
    lines.append(f"  {'right':<12} {', '.join(flags)}")
    if declaration.aliases:
        lines.append(f"  {'also called':<12} {', '.join(declaration.aliases)}")
    if declaration.example:
        lines += ["", f"  {declaration.example}"]
    return "\n".join(lines)


def describe(declaration: Declaration) -> dict[str, Any]:
    """One instruction as plain JSON: what `mesh grammar KEYWORD --json` prints."""
    return {
        "keyword": declaration.keyword,
        "aliases": list(declaration.aliases),
        "usage": declaration.usage,
        "help": declaration.help,
        "example": declaration.example,
        "right": declaration.right,
        "read_only": declaration.read_only,
        "idempotent": declaration.idempotent,
        "parameters": [_describe(parameter) for parameter in declaration.parameters],
        "result": declaration.result_name,
    }


def json_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """The vocabulary as one JSON schema: an instruction is an object with `keyword` and `arguments`.

    Each definition carries, besides what a schema has, `x-usage`, `x-right`, `x-read-only`, `x-idempotent`
    and `x-result`, the schema of what the instruction gives back.
    """
    definitions = {declaration.keyword: _definition(declaration) for declaration in vocabulary}
    return {
        "$schema": DIALECT,
        "title": "Instructions",
        "oneOf": [{"$ref": f"#/$defs/{declaration.keyword}"} for declaration in vocabulary],
        "$defs": dict(sorted(definitions.items())),
    }


def _describe(parameter: Parameter) -> dict[str, Any]:
    described = {
        "name": parameter.name,
        "type": parameter.type.name,
        "required": parameter.required,
        "help": parameter.help,
        "given": parameter.form.value,
        "takes_rest_of_line": parameter.rest,
    }
    if not parameter.required:
        default = parameter.default
        described["default"] = None if default is None else parameter.type.format(default)
    return described


def _definition(declaration: Declaration) -> dict[str, Any]:
    properties = {}
    # Models within models stand under the instruction that names them: two packages may have types of one name.
    inner: dict[str, Any] = {}
    for parameter in declaration.parameters:
        schema = _schema_of(parameter.type.annotation, "validation", f"{declaration.keyword}/$defs/", inner)
        described = schema | {"description": parameter.help} if parameter.help else schema
        if parameter.default is not None and not parameter.required:
            described = described | {"default": parameter.type.format(parameter.default)}
        properties[parameter.name] = described
    keywords = [declaration.keyword, *declaration.aliases]
    result = _schema_of(declaration.result, "serialization", f"{declaration.keyword}/$defs/result.", inner)
    return {
        "type": "object",
        "description": declaration.help,
        "properties": {
            "keyword": {"enum": keywords},
            "arguments": {
                "type": "object",
                "properties": properties,
                "required": [parameter.name for parameter in declaration.parameters if parameter.required],
                "additionalProperties": False,
            },
        },
        "required": ["keyword", "arguments"],
        "examples": [declaration.example] if declaration.example else [],
        "x-usage": declaration.usage,
        "x-by-name": [p.name for p in declaration.parameters if p.form is not Form.POSITION],
        "x-right": declaration.right,
        "x-read-only": declaration.read_only,
        "x-idempotent": declaration.idempotent,
        "x-result": result,
        **({"$defs": inner} if inner else {}),
    }


def _schema_of(
    annotation: Any, mode: Literal["validation", "serialization"], place: str, inner: dict[str, Any]
) -> dict[str, Any]:
    """The JSON schema of a type; of one that pydantic does not know, that it is written as text, and its name.

    Definitions that it needs are moved to `inner`, which is at `#/$defs/<place>` up to the last slash.
    """
    if annotation is None:
        return {"type": "null"}
    try:
        schema = TypeAdapter(annotation).json_schema(mode=mode, ref_template=f"#/$defs/{place}{{model}}")
    except (PydanticSchemaGenerationError, PydanticUserError):
        return {"type": "string", "title": getattr(annotation, "__name__", str(annotation))}
    prefix = place.rpartition("/")[2]
    inner.update({prefix + name: definition for name, definition in schema.pop("$defs", {}).items()})
    return schema
