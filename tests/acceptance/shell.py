"""The command line as a user has it: real processes of `mesh`, in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MESH = Path(sys.executable).parent / "mesh"
PATIENCE_S = 30

HANDLERS = """
import asyncio
from pathlib import Path

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent("cluster", kind="instance")
HERE = Path(__file__).parent


@agent.handler
async def add_user(user: UserIdentifier) -> str:
    return "account created"


@agent.handler
async def remove_user(user: UserIdentifier) -> str:
    if user.project == "admin":
        raise agent.Refused(f'You are not allowed to remove the account for "{user.username}"')
    return "account removed"


@agent.handler
async def echo(text: str) -> str:
    return text


@agent.handler
async def hold(name: str, context: Context) -> str:
    await context.progress(0.5, "holding")
    # A file is all that a test in another process can open this with.
    while not (HERE / f"release.{name}").exists():
        await asyncio.sleep(0.02)
    return name
"""


@dataclass(frozen=True)
class Done:
    """What a call of `mesh` left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def record(self) -> dict[str, Any]:
        (only,) = self.records
        return only


class Shell:
    """A folder in which commands are typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}

    def start(self, *words: str, **settings: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [MESH, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=settings.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **settings,
        )

    def mesh(self, *words: str, given: str | bytes | None = None) -> Done:
        """Type a command and wait for its end. Whatever it does, it shows nobody a traceback."""
        data = given.encode() if isinstance(given, str) else given
        done = subprocess.run(
            [MESH, *words],
            cwd=self.folder,
            env=self.environment,
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in out + err, err
        return Done(done.returncode, out, err)

    def pair(self) -> None:
        """A portal and its cluster, joined while both are down."""
        assert self.mesh("init", "portal", "--kind", "portal").code == 0
        assert self.mesh("init", "cluster", "--kind", "instance").code == 0
        (self.folder / "cluster" / "handlers.py").write_text(HANDLERS)
        assert self.mesh("-C", "portal", "invite", "cluster").code == 0
        assert self.mesh("-C", "cluster", "join", "cluster.invite.toml").code == 0

    @contextmanager
    def running(self, *names: str) -> Iterator[dict[str, Running]]:
        """Agents that run, and are stopped at the end."""
        found: dict[str, Running] = {}
        try:
            for name in names:
                found[name] = Running(self, name)
            yield found
        finally:
            for one in found.values():
                one.stop()


class Running:
    """A `mesh run` that has said that it is ready."""

    def __init__(self, shell: Shell, name: str) -> None:
        self.name = name
        self.process = shell.start("-C", name, "run")
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        if "ready" not in self.ready:
            self.process.kill()
            raise AssertionError(f"{name} did not start: {self.process.communicate()[1]}")
        # Read to its end, so that an agent never waits for us to read its log.
        self.log: list[str] = []
        assert self.process.stderr is not None
        self._reading = threading.Thread(target=self.log.extend, args=(self.process.stderr,), daemon=True)
        self._reading.start()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(10)
        self._reading.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code
