"""The vocabulary described for people and for programs."""

from __future__ import annotations

import json
from typing import Annotated, Any

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, create_model

from grammar.instruction import Declaration, Instruction
from grammar.openportal import VOCABULARY
from grammar.schema import describe, json_schema, manual, rows
from grammar.signatures import declare
from grammar.vocabulary import Vocabulary


def test_rows() -> None:
    table = rows(VOCABULARY)
    assert len(table) == 64
    assert ("add_user <user>", "UserMapping", "write", "Adds a user.") in table


def test_describe() -> None:
    def start(id: int, *, force: bool = False) -> str:
        """Starts it."""
        return ""

    described = describe(declare(start, keyword="vm.start", example="vm.start 1"))
    assert described["usage"] == "vm.start <id> [force=<force>]"
    assert [parameter["name"] for parameter in described["parameters"]] == ["id", "force"]
    assert described["parameters"][1]["default"] == "false"
    assert json.loads(json.dumps(described)) == described


def test_manual() -> None:
    def stop(id: Annotated[int, "which one"], *, force: bool = False, note: str | None = None): ...  # type: ignore[no-untyped-def]

    assert manual(declare(stop, keyword="vm.stop", idempotent=False)).splitlines() == [
        "vm.stop <id> [force=<force>] [note=<note>]",
        "",
        "(no help)",
        "",
        "  id           int, which one",
        "  force        bool, default false",
        "  note         str | None",
        "  gives        None",
        "  right        write, never repeated after a crash",
    ]
    shown = manual(VOCABULARY.get("get_awards"))  # type: ignore[arg-type]
    assert "PortalIdentifier, for example org" in shown
    assert "read, changes nothing" in shown
    assert "also called  list_awards" in shown
    assert shown.endswith("  get_awards org")


def test_every_reference_of_the_schema_is_in_it() -> None:
    schema = json_schema(VOCABULARY)
    assert json.loads(json.dumps(schema)) == schema
    references: list[str] = []

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                references.append(node["$ref"])
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(schema)
    assert references
    for reference in references:
        place: Any = schema
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    assert set(VOCABULARY.keywords) - set(schema["$defs"]) == {"create_award", "update_award", "list_awards"}


def test_the_schema_is_one_and_takes_every_example() -> None:
    schema = json_schema(VOCABULARY)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for declaration in VOCABULARY:
        instruction = VOCABULARY.parse(declaration.example)
        arguments = {
            parameter.name: str(value)
            if isinstance(value, Instruction)
            else TypeAdapter(parameter.type.annotation).dump_python(value, mode="json", exclude_unset=True)
            for parameter, value in zip(declaration.parameters, instruction.arguments, strict=True)
        }
        validator.validate({"keyword": declaration.keyword, "arguments": arguments})
        assert not validator.is_valid({"keyword": declaration.keyword, "arguments": {**arguments, "more": "x"}})
        if arguments:
            assert not validator.is_valid({"keyword": declaration.keyword, "arguments": {}})


def test_two_models_of_one_name_are_two_definitions() -> None:
    def of(kind: str) -> Declaration:
        part = create_model("Part", **{kind: (int, ...)})  # type: ignore[call-overload]
        return declare(lambda: None, keyword=f"make_{kind}", result=create_model("Whole", part=(part, ...)))

    definitions = json_schema(Vocabulary([of("nut"), of("bolt")]))["$defs"]
    assert set(definitions) == {"make_nut", "make_bolt"}
    for kind in ("nut", "bolt"):
        inner = definitions[f"make_{kind}"]
        assert inner["x-result"]["properties"]["part"] == {"$ref": f"#/$defs/make_{kind}/$defs/result.Part"}
        assert list(inner["$defs"]["result.Part"]["properties"]) == [kind]


def test_one_definition() -> None:
    definition = json_schema(VOCABULARY)["$defs"]["get_usage_report"]
    arguments = definition["properties"]["arguments"]
    assert arguments["required"] == ["project"]
    assert arguments["properties"]["range"]["default"] == "this_week"
    assert arguments["properties"]["project"]["title"] == "ProjectIdentifier"
    assert definition["x-result"]["title"] == "ProjectUsageReport"
    assert definition["x-read-only"] is True


def test_a_result_without_schema_keeps_its_name() -> None:
    class Odd:
        pass

    def odd() -> Odd:
        return Odd()

    definition = json_schema(Vocabulary([declare(odd, names=locals())]))["$defs"]["odd"]
    assert definition["x-result"] == {"type": "string", "title": "Odd"}
