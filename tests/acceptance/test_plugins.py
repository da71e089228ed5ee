"""A package of instructions, really installed: no agent, verb or program was told of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.plugins import GROUP
from tests.acceptance.documents import ROOT, blocks
from tests.acceptance.documents import Shell as Typing
from tests.acceptance.shell import Shell
from tests.acceptance.test_examples import typed_in

EXAMPLE = ROOT / "examples" / "custom_instruction"

pytestmark = pytest.mark.slow

OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""What is needed is here already; `no-build-isolation` is one of the options whose variable says the opposite."""


def with_packages_in(folder: Path, shell: Shell | Typing) -> None:
    """Lets pip install into `folder`, which everything that is typed then imports from."""
    shell.environment |= OFFLINE | {"PIP_TARGET": str(folder), "PYTHONPATH": f"{folder}:{ROOT}"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the plug-in of the example is installed."""
    folder = tmp_path_factory.mktemp("packages")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", EXAMPLE / "plugin"],
        env=os.environ | OFFLINE | {"PIP_TARGET": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "vm_instructions" / "py.typed").is_file()
    return folder


@pytest.fixture
def shell(packages: Path, tmp_path: Path) -> Shell:
    typing = Shell(tmp_path)
    with_packages_in(packages, typing)
    return typing


def broken(folder: Path, name: str, source: str) -> None:
    """Leaves a package on the path as pip would; its module is `source`."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}:OFFER\n")


def test_the_readme_of_the_example(tmp_path: Path) -> None:
    """What it says is typed word by word, the installation included."""
    with typed_in("custom_instruction", tmp_path) as typing:
        with_packages_in(tmp_path / "packages", typing)
        commands = [
            command
            for block in blocks(EXAMPLE / "README.md", heading="As a package of its own", language="console")
            for command in block.commands
        ]
        assert [command.split()[0] for command, _ in commands] == ["pip", "mesh", "mesh", "python"]
        for command, printed in commands:
            said = typing.run(command, printed)
            if printed:
                assert said.splitlines() == printed


def test_it_is_in_the_table_the_schema_and_the_manual(shell: Shell) -> None:
    table = shell.mesh("grammar")
    assert (table.code, table.err, len(table.lines)) == (0, "", 68)
    assert any(line.startswith("vm_manager.start id=<id> [name=<name>]") for line in table.lines)
    schema = shell.mesh("grammar", "--json").record
    assert schema["$defs"]["vm_manager.start"]["x-right"] == "admin"
    assert {"$ref": "#/$defs/vm_manager.start"} in schema["oneOf"]
    assert schema["$defs"]["vm_manager.machines"]["x-read-only"] is True
    one = shell.mesh("grammar", "vm_manager.start", "--json").record
    assert (one["result"], one["right"], one["example"]) == ("Machine", "admin", "vm_manager.start id=10")
    assert "Starts a machine" in shell.mesh("grammar", "vm_manager.start").out
    wrong = shell.mesh("grammar", "vm_manager.strat")
    assert (wrong.code, 'did you mean "vm_manager.start"?' in wrong.err) == (2, True)


def test_it_is_understood(shell: Shell) -> None:
    meant = shell.mesh("parse", "--kind", "instruction", "--json", "vm_manager.start  id=10")
    assert meant.record == {
        "ok": True,
        "canonical": "vm_manager.start id=10",
        "value": {"keyword": "vm_manager.start", "arguments": ["10", "unnamed"]},
    }
    wrong = shell.mesh("parse", "--kind", "instruction", "--json", "vm_manager.start id=ten")
    assert (wrong.code, wrong.record["column"]) == (2, 21)
    lines = shell.mesh("parse", "--json", "-", given="a.b vm_manager.stop id=1\na.b vm_manager.stop\n")
    assert [one["ok"] for one in lines.records] == [True, False]


def test_without_it_the_keyword_is_not_known(tmp_path: Path) -> None:
    wrong = Shell(tmp_path).mesh("parse", "--kind", "instruction", "--json", "vm_manager.start id=10")
    assert (wrong.code, wrong.record["column"]) == (2, 1)


def test_an_agent_of_its_own_process_runs_it_and_says_what_is_broken(packages: Path, tmp_path: Path) -> None:
    """The portal puts the job knowing its type; of a broken neighbour the log tells, and nothing else changes."""
    shell = Shell(tmp_path)
    others = tmp_path / "others"
    others.mkdir()
    broken(others, "a_broken_one", "import nowhere_to_be_found\n")
    broken(
        others,
        "z_late_one",
        "from grammar import Declaration\n\nOFFER = Declaration('vm_manager.start')\n",
    )
    shell.environment["PYTHONPATH"] = f"{packages}:{others}:{ROOT}"
    shell.pair()
    (tmp_path / "cluster" / "handlers.py").write_text(
        "from vm_instructions import Machine, State\n\nfrom agents import Agent\n\nagent = Agent()\n\n\n"
        '@agent.handler(keyword="vm_manager.start")\n'
        "async def start(*, id: int, name: str) -> Machine:\n"
        "    return Machine(id=id, name=name, state=State.RUNNING)\n"
    )
    with shell.running("portal", "cluster") as agents:
        put = shell.mesh("-C", "portal", "put", "--json", "portal.cluster", "vm_manager.start", "id=10")
        assert put.code == 0, put.err
        assert put.record["result"] == {"id": 10, "name": "unnamed", "state": "running"}
        assert put.record["result_type"] == "Machine"
        wrong = shell.mesh("-C", "portal", "put", "portal.cluster", "vm_manager.start", "id=ten")
        assert (wrong.code, '"ten" is not a whole number' in wrong.err) == (2, True)
    for agent in agents.values():
        told = [line for line in agent.log if "MESH-E509" in line]
        assert [
            "a_broken_one" in line and "No module named 'nowhere_to_be_found'" in line and "pip uninstall" in line
            for line in told
        ] == [True, False]
        assert "vm-instructions 1.0 already" in told[1]

    shown = shell.mesh("grammar", "--json")
    assert shown.code == 0
    assert "vm_manager.start" in json.loads(shown.out)["$defs"]
    assert [line.partition(":")[0] for line in shown.err.splitlines()] == ["error MESH-E509", "fix"] * 2
    meant = shell.mesh("parse", "--kind", "instruction", "vm_manager.start id=10")
    assert (meant.code, meant.err.count("MESH-E509")) == (0, 2)
