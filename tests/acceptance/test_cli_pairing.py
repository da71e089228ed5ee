"""`init`, `invite`, `join`, `run`, `peers`: from nothing to a link, and what goes wrong on the way."""

from __future__ import annotations

import re
import signal
import stat
from pathlib import Path

import pytest

from tests.acceptance.shell import Shell


def put(shell: Shell) -> int:
    return shell.mesh("-C", "portal", "put", "portal.cluster add_user fred.proj.org", "--timeout", "20").code


def test_the_first_minute(shell: Shell) -> None:
    assert shell.mesh("init", "portal").code == 0
    invited = shell.mesh("-C", "portal", "invite", "cluster")
    assert invited.code == 0
    assert "cluster.invite.toml" in invited.out
    assert stat.S_IMODE((shell.folder / "cluster.invite.toml").stat().st_mode) == 0o600
    assert shell.mesh("init", "cluster", "--example").code == 0
    with shell.running("portal"):
        joined = shell.mesh("-C", "cluster", "join", "cluster.invite.toml")
        assert joined.code == 0
        assert "mesh -C cluster run" in joined.err
        with shell.running("cluster") as agents:
            assert re.search(r"cluster ready: no port, 2 instructions", agents["cluster"].ready)
            assert put(shell) == 0


def test_invite_and_join_while_both_run_take_effect_at_once(shell: Shell) -> None:
    shell.mesh("init", "portal")
    shell.mesh("init", "cluster", "--example")
    with shell.running("portal", "cluster") as agents:
        assert "no port" in agents["portal"].ready
        assert shell.mesh("-C", "portal", "invite", "cluster", "--output", "file.toml").code == 0
        joined = shell.mesh("-C", "cluster", "join", "file.toml", "--json")
        assert joined.code == 0
        assert joined.record["up"] is True
        assert put(shell) == 0
        (peer,) = shell.mesh("-C", "portal", "peers", "--json").records
        assert (peer["name"], peer["state"]) == ("cluster", "up")
        again = shell.mesh("-C", "cluster", "join", "file.toml")
        assert again.code == 0
        assert "the link stands" in again.out


def test_a_used_invitation_is_worthless(shell: Shell) -> None:
    shell.pair()
    with shell.running("portal", "cluster") as agents:
        assert put(shell) == 0
        shell.mesh("-C", "thief", "init", "cluster")
        thief = shell.mesh("-C", "thief", "join", "cluster.invite.toml")
        assert thief.code == 0, "it is down, and cannot know"
        with shell.running("thief"):
            refused = shell.mesh("-C", "thief", "join", "cluster.invite.toml")
            assert refused.code == 4
            assert refused.err.startswith("error MESH-E")
            assert "fix: " in refused.err
            (peer,) = shell.mesh("-C", "thief", "peers", "--json").records
            assert peer["trouble"]
        assert put(shell) == 0
        assert any("cluster" in line and "warning" in line for line in agents["portal"].log)


def test_join_without_an_answer_says_so(shell: Shell) -> None:
    shell.mesh("init", "portal")
    shell.mesh("-C", "portal", "invite", "cluster")
    shell.mesh("init", "cluster")
    with shell.running("cluster"):
        joined = shell.mesh("-C", "cluster", "join", "cluster.invite.toml")
        assert joined.code == 0
        assert "does not stand yet" in joined.out


@pytest.mark.parametrize("running", [True, False])
def test_files_that_are_no_invitation(shell: Shell, running: bool) -> None:
    shell.mesh("init", "portal")
    shell.mesh("init", "cluster")
    shell.mesh("-C", "portal", "invite", "other")
    text = (shell.folder / "other.invite.toml").read_text()
    (shell.folder / "changed.toml").write_text(text.replace('name = "other"', 'name = "cluster"'))
    (shell.folder / "noise.toml").write_bytes(bytes(range(256)))
    names = ["cluster"] if running else []
    with shell.running(*names):
        for file in (*("missing.toml", "cluster/mesh.toml", "noise.toml", "other.invite.toml", "changed.toml"),):
            done = shell.mesh("-C", "cluster", "join", file)
            assert done.code == 2, (file, done)
            assert re.match(r"error MESH-E\d{3}: ", done.err), file
            assert "fix: " in done.err, file
        assert shell.mesh("-C", "cluster", "peers", "--json").out == ""


@pytest.mark.parametrize("running", [True, False])
def test_invitations_that_cannot_be(shell: Shell, running: bool) -> None:
    shell.pair()
    (shell.folder / "taken.toml").write_text("mine")
    names = ["portal"] if running else []
    with shell.running(*names):
        for words in (
            ("NO NAME",),
            ("third", "--kind", "nonsense"),
            ("third", "--url", "http://example.org"),
            ("third", "--output", "taken.toml"),
            ("third", "--output", "no/such/folder/file"),
        ):
            done = shell.mesh("-C", "portal", "invite", *words)
            assert done.code == 2, (words, done)
            assert re.match(r"error MESH-E\d{3}: ", done.err), words
        assert (shell.folder / "taken.toml").read_text() == "mine"
        assert [peer["name"] for peer in shell.mesh("-C", "portal", "peers", "--json").records] == ["cluster"]


def test_folders(shell: Shell) -> None:
    assert shell.mesh("-C", "here", "init", "portal").code == 0
    assert (shell.folder / "here" / "mesh.toml").exists()
    shell.environment["MESH_HOME"] = str(shell.folder / "there")
    assert shell.mesh("init", "cluster").code == 0
    assert (shell.folder / "there" / "mesh.toml").exists()
    assert shell.mesh("peers").code == 0
    assert shell.mesh("init", "cluster").code == 2
    for words in (
        ("init", "NO"),
        ("init", "x", "--kind", "y"),
        ("init", "x", "--zone", "Z"),
        ("init", "x", "--listen", "y"),
    ):
        done = shell.mesh("-C", "new", *words)
        assert done.code == 2, done
        assert re.match(r"error MESH-E\d{3}: ", done.err)
    assert not (shell.folder / "new" / "mesh.toml").exists()


def test_run_stops_cleanly_while_a_handler_runs(shell: Shell) -> None:
    shell.pair()
    with shell.running("portal", "cluster") as agents:
        shell.mesh("-C", "portal", "submit", "portal.cluster", "hold", "it", "--key", "k")
        while not shell.mesh("-C", "cluster", "jobs", "--state", "running", "--json").out:
            pass
        assert agents["cluster"].stop(signal.SIGTERM) == 0
        assert agents["portal"].stop(signal.SIGINT) == 0
        assert not (shell.folder / "portal" / "mesh.sock").exists()
    assert not any("Traceback" in line for agent in agents.values() for line in agent.log)
    with shell.running("portal", "cluster"):
        (shell.folder / "cluster" / "release.it").touch()
        assert shell.mesh("-C", "portal", "put", "portal.cluster", "hold", "it", "--key", "k").code == 0


def test_one_process_per_agent(shell: Shell) -> None:
    shell.pair()
    with shell.running("portal"):
        second = shell.mesh("-C", "portal", "run")
        assert second.code == 2
        assert "runs already" in second.err
        assert shell.mesh("-C", "portal", "peers").code == 0


HANDLERS = (
    ("x = 1", "no object called"),
    ("agent = 5", "is a int"),
    ("def broken(:\n", "line 1"),
    ("import no_such_module_at_all", "no_such_module_at_all"),
    ("from agents import Agent\nagent = Agent('other')", "other"),
    ("from agents import Agent\nagent = Agent()\n@agent.handler\ndef f(): ...", "line 3"),
    ("raise SystemExit(0)", "SystemExit"),
)


@pytest.mark.parametrize(("text", "said"), HANDLERS)
def test_handlers_that_cannot_be_used(shell: Shell, text: str, said: str) -> None:
    shell.mesh("init", "cluster")
    (shell.folder / "cluster" / "handlers.py").write_text(text)
    process = shell.start("-C", "cluster", "run")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 2, err
    assert "ready" not in out
    assert re.search(r"^error MESH-E\d{3}: ", err, re.MULTILINE), err
    assert said in err
    assert "importlib" not in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\n[agent]\nname = 'cluster'\nkynd = 'x'\n", "kynd"),
        ("version = 1\n[agent]\nname = 'cluster'\n[limits]\nhandler = 3\n", "handlers"),
        ("version = 1\n[agent\n", "line"),
        ("", "version"),
    ],
)
def test_a_configuration_that_cannot_be(shell: Shell, text: str, said: str) -> None:
    shell.mesh("init", "cluster")
    path = shell.folder / "cluster" / "mesh.toml"
    path.write_text(text)
    for words in (("run",), ("jobs",)):
        done = shell.mesh("-C", "cluster", *words)
        assert done.code == 2, (words, done)
        assert said in done.err
        assert re.match(r"error MESH-E\d{3}: ", done.err)


def test_a_damaged_store_is_told(shell: Shell) -> None:
    shell.pair()
    store = shell.folder / "portal" / "store.sqlite"
    store.write_bytes(b"this is no database at all" * 1000)
    for path in shell.folder.glob("portal/store.sqlite-*"):
        path.unlink()
    for words in (("run",), ("peers",), ("jobs",), ("invite", "x")):
        done = shell.mesh("-C", "portal", *words)
        assert done.code == 2, (words, done)
        assert re.match(r"error MESH-E\d{3}: ", done.err), done.err


def test_an_agent_in_a_deep_folder(shell: Shell) -> None:
    deep = Path(*["d" * 60] * 3)
    assert shell.mesh("-C", str(deep / "portal"), "init", "portal").code == 0
    with shell.running(str(deep / "portal")):
        assert shell.mesh("-C", str(deep / "portal"), "invite", "x", "--output", "x.toml").code == 0
        assert shell.mesh("-C", str(deep / "portal"), "submit", "portal.x add_user a.b.c").code == 0
