from __future__ import annotations

import re

from agents.calls import CallFailed
from tests.agents.cli.typed import type_now


def test_every_code_once_and_explained() -> None:
    records = type_now("errors", "--json").records
    codes = [record["code"] for record in records]
    assert codes == sorted(set(codes))
    assert {"MESH-E100", "MESH-E206", "MESH-E401", "MESH-E503", "MESH-E600"} <= {*codes}
    assert all(re.fullmatch(r"MESH-E\d{3}", code) for code in codes)
    assert all(record["message"] for record in records)


def test_one_code() -> None:
    assert type_now("errors", "e401").out == type_now("errors", "MESH-E401").out != ""
    error = type_now("errors", "E402x").error
    assert isinstance(error, CallFailed)
    assert "E402" in error.fix
