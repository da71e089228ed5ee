from __future__ import annotations

import inspect

from grammar.errors import MeshError
from invitations import errors, refusal


def _all() -> list[type[MeshError]]:
    found = [
        value
        for module in (errors, refusal)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, MeshError) and value.__module__ == module.__name__
    ]
    return sorted(found, key=lambda error: error.code)


def test_each_error_has_a_code_of_its_own_in_the_range_of_this_floor() -> None:
    codes = [error.code for error in _all()]
    assert len(set(codes)) == len(codes) == 11
    assert all(code.startswith("MESH-E2") for code in codes)


def test_a_refusal_is_denied_and_the_rest_is_usage() -> None:
    exits = {error.__name__: error.exit_code for error in _all()}
    assert exits.pop("Refused") == 4
    assert set(exits.values()) == {2}


def test_a_document_error_says_where() -> None:
    error = errors.ConfigError("cause", key="agent.zone", nearest="zone", line=3, column=1, fix="do this")
    assert (str(error), error.key, error.nearest) == ("cause", "agent.zone", "zone")
    assert (error.line, error.column, error.fix) == (3, 1, "do this")
