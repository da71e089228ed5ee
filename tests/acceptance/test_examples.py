"""Every example runs, and prints what its README says."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.acceptance.documents import PATIENCE_S, ROOT, Shell, blocks, check_printed

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.slow


def typed_in(example: str, tmp_path: Path) -> Shell:
    """A shell in a copy of an example's folder."""
    folder = tmp_path / example
    shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return Shell(folder)


def test_each_example_has_a_readme_and_a_test() -> None:
    text = Path(__file__).read_text()
    for folder in EXAMPLES.iterdir():
        if folder.is_dir():
            assert (folder / "README.md").is_file(), folder
            assert f'"{folder.name}"' in text, folder


@pytest.mark.parametrize("example", ["two_agents", "custom_instruction"])
def test_both_agents_in_one_process(example: str, tmp_path: Path) -> None:
    console = blocks(EXAMPLES / example / "README.md", language="console")[0]
    ((command, printed),) = console.commands
    with typed_in(example, tmp_path) as shell:
        assert shell.run(command, printed).splitlines() == printed
        assert not (shell.folder / "portal").exists(), "an example cleans up after itself"


def test_two_agents_in_two_processes_by_hand(tmp_path: Path) -> None:
    document = EXAMPLES / "two_agents" / "README.md"
    portal_types, cluster_types = blocks(document, heading="In two processes", language="console")
    *before, (program, _) = portal_types.commands
    with typed_in("two_agents", tmp_path) as shell:
        for command, printed in before:
            shell.run(command, printed)
        portal = shell.start(program)
        *before, (program, _) = cluster_types.commands
        for command, printed in before:
            shell.run(command, printed)
        cluster = shell.start(program)

        ((_, said),) = blocks(document, heading="In one process", language="console")[0].commands
        answers = [line for line in said if line.startswith(("add_user", "remove_user"))]
        assert portal.stdout is not None
        check_printed("portal.py", portal.stdout.read().splitlines(), answers)
        assert portal.wait(PATIENCE_S) == 0

        # Again, without an invitation: they know each other now.
        shell.run("python portal.py", answers)
        cluster.send_signal(signal.SIGINT)
        assert cluster.wait(PATIENCE_S) == 0


def test_four_hops_shows_one_job_on_six_boards(tmp_path: Path) -> None:
    with typed_in("four_hops", tmp_path) as shell:
        printed = shell.run("python four_hops.py")
    shared = re.findall(r"^ +(\w+) shares it with (\w+) +([0-9a-f]{52})  running  as its (\w+)$", printed, re.MULTILINE)
    (said,) = blocks(EXAMPLES / "four_hops" / "README.md", language="text")[-1:]
    expected = re.findall(r"^ +(\w+) shares it with (\w+) +[0-9a-f.]+  running  as its (\w+)$", said.text, re.MULTILINE)
    assert [(agent, peer, role) for agent, peer, _, role in shared] == expected
    assert len(expected) == 6
    assert len({job for _, _, job, _ in shared}) == 1
    assert printed.rstrip().endswith("waldur: version 3  complete  fred can log in to shared")
    assert said.text.endswith("waldur: version 3  complete  fred can log in to shared")
