"""README.md does what it says: its commands are typed, its programs are run, its links lead somewhere."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from agents.cli.program import VERBS
from tests.acceptance.documents import PATIENCE_S, ROOT, Shell, blocks

README = ROOT / "README.md"

EACH_DOCUMENT = pytest.mark.parametrize(
    "document",
    [README, *sorted((ROOT / "examples").glob("*/README.md"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)

pytestmark = pytest.mark.slow


def test_the_first_minute_word_for_word(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with Shell(tmp_path / "work") as shell:
        agents = []
        for block in blocks(README, heading="The first minute", language="console"):
            for command, printed in block.commands:
                if command.removesuffix("&").split()[-1] == "run":
                    agents.append(shell.start(command, printed))
                else:
                    failed = any("  error  " in line for line in printed)
                    shell.run(command, printed, status=1 if failed else 0)
        for agent in agents:
            agent.send_signal(signal.SIGINT)
            assert agent.wait(PATIENCE_S) == 0


def test_the_handler_and_the_program_of_the_readme_work_together(tmp_path: Path) -> None:
    (handlers,) = blocks(README, heading="A handler", language="python")
    (program,) = blocks(README, heading="From Python", language="python")
    (tmp_path / "work").mkdir()
    with Shell(tmp_path / "work") as shell:
        shell.run("mesh init portal --kind portal")
        shell.run("mesh init cluster --kind instance")
        shell.run("mesh -C portal invite cluster")
        shell.run("mesh -C cluster join cluster.invite.toml")
        (shell.folder / "cluster" / "handlers.py").write_text(handlers.text + "\n")
        (shell.folder / "program.py").write_text(program.text + "\n")
        shell.start("mesh -C cluster run", ["cluster ready: no port, 2 instructions, kind instance"])
        printed = ["account created", 'cluster: You are not allowed to remove the account for "jane"']
        shell.run("python program.py", printed)

        # "agents.Client has the same verbs": the same program beside an agent that runs.
        client = program.text.replace("Agent.load(", "Client(").replace("import Agent", "import Client")
        (shell.folder / "client.py").write_text(client + "\n")
        shell.start("mesh -C portal run", ["portal ready: ws://127.0.0.1:40123, 0 instructions, kind portal"])
        shell.run("python client.py", printed)


def test_the_handler_of_the_readme_is_the_one_that_init_writes(tmp_path: Path) -> None:
    (handlers,) = blocks(README, heading="A handler", language="python")
    (tmp_path / "work").mkdir()
    with Shell(tmp_path / "work") as shell:
        shell.run("mesh init cluster --kind instance --example")
        written = (shell.folder / "cluster" / "handlers.py").read_text()

    def functions(text: str) -> str:
        return re.sub(r"  #.*", "", text[text.index("@agent.handler") :]).strip()

    assert functions(handlers.text) == functions(written)


@EACH_DOCUMENT
def test_every_verb_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"(?:`|\$ )mesh (?:-C \S+ )?([a-z]+)", document.read_text())
    assert set(named) <= set(VERBS)


@EACH_DOCUMENT
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    assert [one for one in targets if "://" not in one and not (document.parent / one).exists()] == []
