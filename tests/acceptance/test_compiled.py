"""The build whose engine is compiled to C does what the sources do, to the last message.

What is run here runs in a process of its own that has seen that the compiled modules are the ones in use. Tests that
replace a part of the engine say so by their mark `interpreted`, and are left out. Without a C compiler all is skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiled import ROOT, CannotCompile, build, compiled_modules, environment

pytestmark = pytest.mark.slow

SCHEDULES = 80
"""Of which a few are smugglers': these see the engine's dictionaries through a subclass, which compiled code does not
ask."""
ENGINE_TESTS = ("tests/mesh", "--ignore=tests/mesh/transport", "--ignore=tests/mesh/storage/test_writer.py")

FILES = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).__file__ for name in json.loads(sys.argv[1])}))
"""
TESTS = """
import sys, mesh.engine, mesh.facts, pytest
assert all(one.__file__.endswith(".so") for one in (mesh.engine, mesh.facts)), mesh.engine.__file__
sys.exit(pytest.main(sys.argv[1:]))
"""
TRACES = """
import json, sys, mesh.engine
from tests.simulation.schedules import draw_schedule, play
seeds = [seed for seed in range(int(sys.argv[1])) if not draw_schedule(seed).smugglers]
print(json.dumps([mesh.engine.__file__, [[seed, play(seed).trace] for seed in seeds]]))
"""


@pytest.fixture(scope="module")
def compiled() -> Path:
    try:
        return build()
    except CannotCompile as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tests in it, and not the sources: who runs there finds the packages on the path."""
    folder = tmp_path_factory.mktemp("beside")
    for name in ("tests", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return folder


def run(program: str, *arguments: str, cwd: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with the packages of `path`."""
    return subprocess.run(
        (sys.executable, "-c", program, *arguments),
        cwd=cwd,
        env=environment(path),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_modules_that_are_told_are_compiled_and_no_other(compiled: Path, beside: Path) -> None:
    names = compiled_modules()
    assert {"mesh.engine", "mesh.facts", "mesh.job", "mesh.storage.sqlite"} <= set(names)
    others = ["mesh", "mesh.noise", "mesh.transport.connection", "agents.cli.program", "grammar.instruction"]
    done = run(FILES, json.dumps(names + others), cwd=beside, path=compiled)
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(compiled) for file in files.values())
    assert {name for name, file in files.items() if file.endswith(".so")} == set(names)
    assert not list(ROOT.glob("mesh/**/*.so")), "nothing lies beside the sources"


def test_the_command_tells_which_engine_it_has(compiled: Path, beside: Path) -> None:
    program = "from agents.cli import main; main()"
    told = [run(program, "--version", cwd=beside, path=path).stdout for path in (ROOT, compiled)]
    assert told[1] == told[0].replace("\n", " (compiled engine)\n")


def test_the_tests_of_the_engine_hold_for_the_compiled_one(compiled: Path, beside: Path) -> None:
    words = (*ENGINE_TESTS, "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not interpreted")
    done = run(TESTS, *words, cwd=beside, path=compiled)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    assert " deselected" in done.stdout


def test_both_builds_do_the_same_to_the_last_message(compiled: Path, beside: Path) -> None:
    told = [run(TRACES, str(SCHEDULES), cwd=beside, path=path) for path in (ROOT, compiled)]
    for done in told:
        assert done.returncode == 0, done.stderr
    (source, expected), (library, found) = (json.loads(done.stdout) for done in told)
    assert (Path(source).suffix, Path(library).suffix) == (".py", ".so")
    assert len(expected) > SCHEDULES // 2
    assert found == expected
