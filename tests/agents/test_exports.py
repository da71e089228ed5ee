from __future__ import annotations

import subprocess
import sys

import pytest

import agents
from agents.exports import NAMES, engine_is_compiled, load


def test_every_public_name_is_there() -> None:
    assert sorted(NAMES) == sorted(agents.__all__)
    for name, module in NAMES.items():
        assert getattr(agents, name) is load(f"{module}:{name}")
        assert getattr(agents, name).__module__ == module


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="Nobody"):
        _ = agents.Nobody  # type: ignore[attr-defined]


def test_asking_for_help_loads_little() -> None:
    program = "import sys, agents.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "grammar", "mesh", "nacl", "websockets", "sqlite3"} & set(loaded)


def test_this_engine_is_not_compiled() -> None:
    assert not engine_is_compiled()
