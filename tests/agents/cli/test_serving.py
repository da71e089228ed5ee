from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.calls import CallFailed
from agents.cli.serving import agent_of


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("handlers", None)


def test_the_agent_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_handlers.py").write_text("NAME = 'cluster'\n")
    file = tmp_path / "handlers.py"
    file.write_text("from neighbour_of_handlers import NAME\nfrom agents import Agent\nagent = Agent(NAME)\n")
    agent = agent_of(file)
    assert isinstance(agent, Agent)
    assert agent.name == "cluster"
    del sys.modules["neighbour_of_handlers"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "no object called"),
        ("agent = 5", "is a int"),
        ("x = 1\nx.y", "line 2"),
        ("def f(:", "line 1"),
        ("raise SystemExit(1)", "SystemExit"),
        ("from agents import Agent\nagent = Agent()\n@agent.handler\ndef f(): ...", "line 3: handler"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "handlers.py"
    file.write_text(text)
    with pytest.raises(CallFailed) as caught:
        agent_of(file)
    assert said in caught.value.message
    assert str(file) in caught.value.message
    assert "importlib" not in capsys.readouterr().err
