"""Agents as processes, for tests: made, started, killed, started again, and asked through their local doors.

Nothing here polls. A test waits for a line that a process prints or logs, or for an answer of its door. Whatever a
test does, every process it started is killed at its end, and what they said is shown if it failed.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from agents import offline
from agents.calls import Calls, open_calls
from agents.settings import make_home
from invitations.files import write_private

ROOT: Final = Path(__file__).resolve().parents[2]
MESH: Final = (sys.executable, "-c", "from agents.cli import main; main()")
CHUNK: Final = 500
"""Commands put with one call."""
START_S: Final = 60.0

COUNTING: Final = """
from __future__ import annotations

import asyncio
import os
from pathlib import Path

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent()
# Written before anything else happens, and to the kernel at once: a SIGKILL loses none of it.
runs = os.open(Path(__file__).with_name("runs"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(what: str, context: Context) -> None:
    line = f"{{what}} {{context.id}} {{context.attempt}}\\n"
    os.write(runs, line.encode())
    print(line, end="", flush=True)


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    note("start", context)
    await asyncio.sleep({seconds})
    note("end", context)
    return f"{{context.path[-1]}} added {{user}}"
"""
"""A handlers.py that writes down and prints when a job starts and ends; `.format(seconds=...)`: how long one takes."""

QUICK: Final = """
from __future__ import annotations

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent()


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    return f"{context.path[-1]} added {user}"
"""
"""A handlers.py whose one handler is done at once."""

Record = dict[str, Any]


def environment() -> dict[str, str]:
    """That of the tests, with the house to import and no agent of the person who runs them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


async def run_mesh(*words: str | Path, cwd: Path, given: str = "") -> tuple[int, str, str]:
    """Run `mesh` and wait for it; returns exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *(*MESH, *map(str, words)),
        cwd=cwd,
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        answer, remarks = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, answer.decode(), remarks.decode()


@dataclass
class Said:
    """Lines that a process has written to one stream, over all its lives."""

    lines: list[str] = field(default_factory=list)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def pump(self, stream: asyncio.StreamReader) -> None:
        """Take lines until the process has closed the stream."""
        async for line in stream:
            async with self._more:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        """Wait until the lines are such; looked at whenever there is a new one."""
        async with self._more:
            await self._more.wait_for(lambda: holds(self.lines))

    async def matching(self, pattern: str, count: int = 1) -> list[str]:
        """Wait until `count` lines match, and return all that do."""
        await self.until(lambda lines: sum(bool(re.search(pattern, line)) for line in lines) >= count)
        return [line for line in self.lines if re.search(pattern, line)]


class MeshProcess:
    """One agent: its folder, and the process that runs it, if one does."""

    def __init__(self, home: Path, *, program: Sequence[str] = MESH) -> None:
        self.home = home
        self.program = tuple(program)
        self.name = home.name
        self.out = Said()
        self.log = Said()
        self._process: asyncio.subprocess.Process | None = None
        self._pumps: list[asyncio.Task[None]] = []

    async def start(self) -> Self:
        """Run it; returns once it says that it is ready.

        Raises:
            RuntimeError: it ended before that, or took too long.
        """
        before = len(self.out.lines)
        process = self._process = await asyncio.create_subprocess_exec(
            *(*self.program, "-C", str(self.home), "run"),
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self._pumps = [
            asyncio.create_task(self.out.pump(process.stdout)),
            asyncio.create_task(self.log.pump(process.stderr)),
        ]
        try:
            async with asyncio.timeout(START_S):
                await self.out.until(
                    lambda lines: self._pumps[0].done() or any("ready" in line for line in lines[before:])
                )
        except TimeoutError:
            pass
        if not any("ready" in line for line in self.out.lines[before:]):
            status = "it still tries" if process.returncode is None else f"it ended with status {process.returncode}"
            raise RuntimeError(f"{self.name} did not get ready; {status}: {self.log.lines[-3:]}")
        return self

    async def kill(self) -> None:
        """SIGKILL, as a power cut is; returns when the process is gone and all that it said is here."""
        if self._process is not None and self.runs_now:
            self._process.kill()
        await self._gone()

    async def ended(self) -> int:
        """Wait until the process ends by itself; returns its exit status."""
        assert self._process is not None
        status = await self._process.wait()
        await self._gone()
        return status

    async def stop(self) -> float:
        """SIGTERM; returns the seconds it took to stop. The exit code must be 0."""
        assert self._process is not None
        began = time.monotonic()
        self._process.terminate()
        status = await self._process.wait()
        took = time.monotonic() - began
        await self._gone()
        assert status == 0, f"{self.name} ended with status {status}"
        return took

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP, which no process can refuse, or SIGCONT after it."""
        assert self._process is not None
        self._process.send_signal(number)

    async def _gone(self) -> None:
        if self._process is not None:
            await self._process.wait()
        if self._pumps:
            await asyncio.wait(self._pumps)

    @property
    def runs_now(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def runs(self) -> list[tuple[str, str, int]]:
        """What a COUNTING agent wrote down, in order: `start` or `end`, job id, attempt."""
        path = self.home / "runs"
        found = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(what, job, int(attempt)) for what, job, attempt in found]

    def memory_mib(self) -> float:
        """Anonymous resident memory: what the process itself holds, without the mapped pages of its store."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def times_woken(self) -> int:
        """How often a thread of the process went to sleep and was woken by something it had waited for."""
        assert self._process is not None
        found = 0
        for status in Path(f"/proc/{self._process.pid}/task").glob("*/status"):
            woken = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.MULTILINE)
            assert woken is not None
            found += int(woken[1])
        return found

    def cpu_s(self) -> float:
        """Seconds of processor time it has used in this life."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def get(self, page: str) -> tuple[int, str]:
        """What its port answers to a plain GET: status and body."""
        async with await self.calls() as calls:
            address = urlsplit((await calls.request("info"))["address"])
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        return int(head.split()[1]), body

    async def metrics(self) -> dict[str, float]:
        """The samples of `/metrics`, by name and label."""
        status, text = await self.get("/metrics")
        assert status == 200, text
        samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("hopboard_"): float(value) for name, _, value in samples}

    async def calls(self) -> Calls:
        """A connection to its local door."""
        return await open_calls(self.home)

    # -- jobs ---------------------------------------------------------------------------------------------------

    async def put(self, commands: Sequence[str], **settings: Any) -> list[str]:
        """Put jobs and return their ids once all are durable; a refused one fails the test."""
        async with await self.calls() as calls:
            chunks = [commands[start : start + CHUNK] for start in range(0, len(commands), CHUNK)]
            answers = await asyncio.gather(
                *(calls.request("put_many", commands=list(chunk), **settings) for chunk in chunks)
            )
        jobs = [job for answer in answers for job in answer["jobs"]]
        refused = [job["error"] for job in jobs if "error" in job]
        assert not refused, refused[0]
        return [job["id"] for job in jobs]

    async def put_and_wait(self, commands: Sequence[str]) -> tuple[list[Record], float]:
        """Put jobs and wait for their ends; returns them, and the seconds after which all were durable."""
        began = time.monotonic()
        async with await self.calls() as calls:
            chunks = [commands[start : start + CHUNK] for start in range(0, len(commands), CHUNK)]
            answers = await asyncio.gather(
                *(calls.request("put_many", commands=list(chunk), follow="end") for chunk in chunks)
            )
            durable = time.monotonic() - began
            ended: list[Record] = []
            for answer in answers:
                news = calls.subscription(answer["subscription"])
                ended += [await news.get() for _ in answer["jobs"]]
        return ended, durable

    async def finished(self, ids: Iterable[str]) -> list[Record]:
        """Wait until these jobs are over here, and return them."""
        async with await self.calls() as calls:

            async def end(job_id: str) -> Record:
                answer = await calls.request("watch", id=job_id)
                job: Record = answer["job"]
                news = calls.subscription(answer["subscription"])
                while job["state"] in {"created", "blocked", "pending", "claimed", "running"}:
                    job = await news.get()
                calls.forget(answer["subscription"])
                return job

            return await asyncio.gather(*map(end, ids))

    async def jobs(self, *, live: bool | None = None) -> list[Record]:
        """Every job here, newest first."""
        found: list[Record] = []
        async with await self.calls() as calls:
            after = 0
            while True:
                page = await calls.request("jobs", live=live, after=after)
                found += page["jobs"]
                after = page["next"]
                if not after:
                    return found

    async def linked_to(self, *names: str) -> None:
        """Wait until a link to each of these peers stands."""
        async with await self.calls() as calls:
            await asyncio.gather(*(calls.request("wait_for_peer", name=name, timeout=START_S) for name in names))


class Mesh:
    """The agents of one test. Leaving it kills them all; after a failure it shows what they said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.agents: list[MeshProcess] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(agent.kill() for agent in self.agents))
        if error is not None:
            for agent in self.agents:
                print(f"--- {agent.home}", *agent.log.lines[-60:], *agent.out.lines[-10:], sep="\n")

    def make(
        self,
        name: str,
        kind: str,
        *,
        handlers: str | None = None,
        limits: str = "",
        folder: str | None = None,
        listen: str | None = None,
        program: Sequence[str] = MESH,
    ) -> MeshProcess:
        """An agent that does not run yet; `limits` are lines of that table of its configuration, `program` is what is
        started with its folder."""
        home = self.root / (folder or name)
        make_home(home, name, kind=kind, listen=listen)
        if handlers is not None:
            (home / "handlers.py").write_text(handlers)
        if limits:
            with (home / "mesh.toml").open("a") as configuration:
                configuration.write(f"\n[limits]\n{limits}\n")
        agent = MeshProcess(home, program=program)
        self.agents.append(agent)
        return agent

    async def invite(self, inviter: MeshProcess, name: str, *urls: str) -> Path:
        """An invitation file of `inviter`, which runs or not; `urls` are where it is reached, if not where it is."""
        if inviter.runs_now:
            async with await inviter.calls() as calls:
                made = await calls.request("invite", peer=name, urls=urls)
        else:
            made = offline.invite(inviter.home, name, None, None, urls, ())
        path = self.root / f"{inviter.name}-{name}-{len(list(self.root.iterdir()))}.invite.toml"
        write_private(path, made["text"])
        return path

    async def join(self, joiner: MeshProcess, invitation: Path) -> Record:
        """Accept an invitation; if `joiner` runs, this returns when the link stands or was refused."""
        if not joiner.runs_now:
            return offline.join(joiner.home, invitation)
        async with await joiner.calls() as calls:
            joined: Record = await calls.request("join", path=str(invitation), wait_s=10)
            return joined

    async def line(self, *agents: MeshProcess) -> None:
        """Introduce each agent to the next, start all, and wait until every link stands."""
        for upstream, downstream in pairwise(agents):
            await self.join(downstream, await self.invite(upstream, downstream.name))
        await asyncio.gather(*(agent.start() for agent in agents))
        await asyncio.gather(
            *(up.linked_to(down.name) for up, down in pairwise(agents)),
            *(down.linked_to(up.name) for up, down in pairwise(agents)),
        )


def in_mesh(seconds: float) -> Callable[[Callable[[Mesh], Awaitable[None]]], Callable[[Path], None]]:
    """Make a test of an async function that takes a `Mesh`; it may take so many seconds."""

    def decorate(scenario: Callable[[Mesh], Awaitable[None]]) -> Callable[[Path], None]:
        async def run(root: Path) -> None:
            async with Mesh(root) as mesh, asyncio.timeout(seconds):
                await scenario(mesh)

        def test(tmp_path: Path) -> None:
            asyncio.run(run(tmp_path))

        test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
        return test

    return decorate
