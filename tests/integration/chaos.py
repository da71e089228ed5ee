"""Agents that are killed, paused and restarted at random while many callers put, cancel, delete and look.

`Chaos` is the driver: callers with a pen (`chaos_history.History`), and a hand that strikes at processes. Everything it
chooses comes from the seed; when processes answer does not, so a seed repeats the same plan and not the same run.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from agents.calls import CallFailed, CallLost, Calls
from tests.integration.chaos_history import Answer, Blow, History, Operation, Seen, Start
from tests.integration.mesh_process import Mesh, MeshProcess

HANDLERS: Final = '''
from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent()
HERE = Path(__file__).parent
lines = os.open(HERE / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
books = sqlite3.connect(HERE / "books.sqlite", isolation_level=None)
books.execute("PRAGMA journal_mode = WAL")
books.execute("PRAGMA synchronous = FULL")
books.execute("CREATE TABLE IF NOT EXISTS guard (job TEXT PRIMARY KEY)")
books.execute("CREATE TABLE IF NOT EXISTS effect (job TEXT, attempt INTEGER)")


def note(what: str, context: Context, result: str = "-") -> None:
    line = f"{what} {time.time()!r} {context.id} {context.attempt} {result}\\n"
    os.write(lines, line.encode())
    os.fsync(lines)


def book(context: Context, *, guarded: bool) -> None:
    """The effect, in one transaction with its guard."""
    books.execute("BEGIN IMMEDIATE")
    fresh = not guarded or books.execute("INSERT OR IGNORE INTO guard VALUES (?)", (context.id,)).rowcount
    if fresh:
        books.execute("INSERT INTO effect VALUES (?, ?)", (context.id, context.attempt))
    books.execute("COMMIT")


async def work(user: UserIdentifier, context: Context, *, guarded: bool) -> str:
    note("start", context)
    await asyncio.sleep(context.job_id[-1] / 255 * SLOWEST)
    book(context, guarded=guarded)
    result = f"{context.path[-1]}-{user}"
    note("end", context, result)
    return result


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    return await work(user, context, guarded=True)


@agent.handler(idempotent=False)
async def remove_user(user: UserIdentifier, context: Context) -> str:
    return await work(user, context, guarded=False)
'''
SLOWEST_S: Final = 0.15
LIMITS: Final = """ping_s = 0.3
dead_s = 1.0
redial_s = 0.05
redial_max_s = 0.2
handshakes_per_s = 1000
handshakes_burst = 1000
half_open_per_source = 60"""
DEAD_S: Final = 1.0
BETWEEN: Final = 200
"""At most so many answers between two blows."""
SETTLE_S: Final = 60.0
"""How long after the last blow, all links being up, every job must be over (invariant 2)."""
CHAIN: Final = (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))
TREE: Final = (("root", "left"), ("root", "right"), ("left", "one"), ("left", "two"))
JOURNEYS: Final[Mapping[str, Sequence[str]]] = {
    "chain": ("a.b.c.d.e", "e.d.c.b", "c.d", "a.b", "b.c.d"),
    "tree": ("root.left.one", "one.left.root.right", "two.left.one", "right.root.left.two", "left.root"),
}
LINKS: Final = {"chain": CHAIN, "tree": TREE}
MANY: Final = (1, 1, 1, 1, 2, 3, 5)
"""How many agents are struck at once."""
REFUSALS: Final = ("MESH-E410", "MESH-E411")
"""Codes of the answers that say: nothing was done."""


class Node:
    """One agent, and whether it can be asked."""

    def __init__(self, process: MeshProcess) -> None:
        self.process = process
        self.name = process.name
        self.up = asyncio.Event()
        self.struck = False


class Chaos:
    """One run.

    Args:
        mesh: where the agents are made.
        shape: `chain` or `tree`.
        seed: decides what is done when.
        kills: SIGKILLs until it is enough, counted by process.
        callers: how many ask at a time.
        pause_s: the longest time between two operations of a caller.
    """

    def __init__(
        self, mesh: Mesh, shape: str, *, seed: int, kills: int, callers: int = 4, pause_s: float = 0.03
    ) -> None:
        self._mesh = mesh
        self._links = LINKS[shape]
        self._journeys = JOURNEYS[shape]
        self._seed = seed
        self._kills_left = kills
        self._callers = callers
        self._pause_s = pause_s
        self._over = False
        self._freed = asyncio.Event()
        self._answers = 0
        self._news = asyncio.Event()
        self._lines = 0
        self.history = History()
        self.nodes: dict[str, Node] = {}
        self._jobs: dict[str, list[str]] = {}
        self._unanswered: deque[Operation] = deque(maxlen=20)

    async def run(self) -> History:
        """Everything, from making the agents to asking each what it sees; leaves them running."""
        handlers = HANDLERS.replace("SLOWEST", str(SLOWEST_S))
        for name in dict.fromkeys(name for ends in self._links for name in ends):
            process = self._mesh.make(name, "custom", handlers=handlers, limits=LIMITS)
            self.nodes[name] = Node(process)
        for up, down in self._links:
            processes = self.nodes[up].process, self.nodes[down].process
            await self._mesh.join(processes[1], await self._mesh.invite(processes[0], down))
        await asyncio.gather(*(self._start(node) for node in self.nodes.values()))
        await self._linked()
        async with asyncio.TaskGroup() as callers:
            for number in range(self._callers):
                callers.create_task(self._caller(number))
            await self._strike()
            self._over = True
        await self._settle()
        self._read_books()
        return self.history

    async def _start(self, node: Node) -> None:
        await node.process.start()
        node.up.set()

    async def _linked(self) -> None:
        await asyncio.gather(
            *(self.nodes[one].process.linked_to(other) for one, other in self._links),
            *(self.nodes[other].process.linked_to(one) for one, other in self._links),
        )

    # -- the hand that strikes ----------------------------------------------------------------------------------

    async def _strike(self) -> None:
        chance = random.Random(f"{self._seed} strikes")
        async with asyncio.TaskGroup() as blows:
            while self._kills_left > 0:
                # Counted in answers and not in time: on a slow machine there is as much to lose as on a fast one.
                await self._answered(chance.randrange(1, BETWEEN))
                free = [node for node in self.nodes.values() if not node.struck]
                what = chance.choices(("kill", "pause", "long pause", "stop"), (7, 2, 1, 1))[0]
                for node in chance.sample(free, min(len(free), chance.choice(MANY))):
                    node.struck = True
                    blows.create_task(self._blow(node, what, chance.random()))
                while all(node.struck for node in self.nodes.values()):
                    self._freed.clear()
                    await self._freed.wait()

    async def _answered(self, more: int) -> None:
        """Wait until callers have been answered so many times more."""
        wanted = self._answers + more
        while self._answers < wanted:
            self._news.clear()
            await self._news.wait()

    async def _blow(self, node: Node, what: str, share: float) -> None:
        process, began = node.process, time.time()
        if what in ("kill", "stop"):
            node.up.clear()
            if what == "kill":
                self._kills_left -= 1
                await process.kill()
            else:
                await process.stop()
            self.history.blows.append(Blow(began, time.time(), node.name, what))
            await asyncio.sleep(share * 0.2)
            await self._start(node)
        else:
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(share * 0.3 + (DEAD_S if what == "long pause" else 0.0))
            process.send_signal(signal.SIGCONT)
            self.history.blows.append(Blow(began, time.time(), node.name, "pause"))
        node.struck = False
        self._freed.set()

    # -- callers ------------------------------------------------------------------------------------------------

    async def _caller(self, number: int) -> None:
        chance = random.Random(f"{self._seed} caller {number}")
        while not self._over:
            node = self.nodes[chance.choice(list(self.nodes))]
            await node.up.wait()
            with suppress(CallFailed, OSError):
                async with self._conversation(node) as calls:
                    for _ in range(chance.randrange(4, 30)):
                        if self._over:
                            break
                        await self._ask(node, calls, chance)
                        await asyncio.sleep(chance.uniform(0.0, self._pause_s))

    @asynccontextmanager
    async def _conversation(self, node: Node) -> AsyncIterator[Calls]:
        """A line to an agent; what follows jobs on it ends with it."""
        calls = await node.process.calls()
        try:
            yield calls
        finally:
            await calls.close()

    async def _ask(self, node: Node, calls: Calls, chance: random.Random) -> None:
        mine = self._jobs.setdefault(node.name, [])
        match chance.choices(("put", "again", "cancel", "delete", "look", "list"), (10, 1, 2, 1, 4, 1))[0]:
            case "put":
                await self._put(node, calls, chance)
            case "again" if self._unanswered:
                lost = self._unanswered.popleft()
                if lost.agent == node.name:
                    again = Operation(
                        "put",
                        node.name,
                        time.time(),
                        key=lost.key,
                        path=lost.path,
                        guarded=lost.guarded,
                        life_s=lost.life_s,
                    )
                    await self._send_put(calls, again, _command(again))
                else:
                    self._unanswered.append(lost)
            case ("cancel" | "delete") as kind if mine:
                operation = Operation(kind, node.name, time.time(), job=chance.choice(mine[-12:]))
                await self._send(calls, operation, id=operation.job)
            case "look" if mine:
                asked = time.time()
                self._see(node.name, await calls.request("job", id=chance.choice(mine[-40:])), asked)
            case "list":
                asked = time.time()
                page = await calls.request("jobs", live=None, limit=60)
                for record in page["jobs"]:
                    self._see(node.name, record, asked)
            case _:
                pass

    async def _put(self, node: Node, calls: Calls, chance: random.Random) -> None:
        journeys = [path for path in self._journeys if path.startswith(f"{node.name}.")]
        if not journeys:
            return
        operation = Operation(
            "put",
            node.name,
            time.time(),
            key=f"{node.name}-{len(self.history.operations)}",
            path=chance.choice(journeys),
            guarded=chance.random() < 0.8,
            life_s=chance.choice((0.5, 3_600.0, 3_600.0, 3_600.0)),
        )
        await self._send_put(calls, operation, _command(operation))

    async def _send_put(self, calls: Calls, operation: Operation, command: str) -> None:
        asked = time.time()
        found = await self._send(
            calls, operation, command=command, key=operation.key, life_s=operation.life_s, follow="changes"
        )
        operation.job = found["job"]["id"]
        self._jobs.setdefault(operation.agent, []).append(operation.job)
        self._see(operation.agent, found["job"], asked)
        if found["subscription"] is not None:
            self._lines += 1
            self._follow(calls, found["subscription"], operation.agent, asked, self._lines)

    def _follow(self, calls: Calls, number: int, agent: str, asked: float, line: int) -> None:
        # Written down as they come: nobody has to wait for them.
        subscription = calls.subscription(number)
        put = subscription.put

        def hear(record: dict[str, Any] | None) -> None:
            if record is not None:
                self._see(agent, record, asked, line)
            put(record)

        subscription.put = hear  # type: ignore[method-assign]

    async def _send(self, calls: Calls, operation: Operation, **params: object) -> Any:
        """Ask, and write down what became of it; what is not answered stays unknown."""
        self.history.operations.append(operation)
        try:
            found = await calls.request(operation.kind, **params)
        except CallLost:
            if operation.kind == "put":
                self._unanswered.append(operation)
            raise
        except CallFailed as error:
            if error.code in REFUSALS:
                operation.answer, operation.ended = Answer.FAIL, time.time()
            raise
        operation.answer, operation.ended = Answer.OK, time.time()
        return found

    def _see(self, agent: str, record: Mapping[str, Any], asked: float, line: int = 0) -> None:
        self.history.seen.append(_seen(agent, record, asked, line))
        self._answers += 1
        self._news.set()

    # -- the end ------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        await self._linked()
        self.history.finished = time.time()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while True:
                    left = [job for node in self.nodes.values() for job in await self._wait_for_all(node)]
                    if not left:
                        break
        for name, node in self.nodes.items():
            asked = time.time()
            views = [_seen(name, record, asked) for record in await node.process.jobs()]
            self.history.final[name] = {view.job: view for view in views}

    async def _wait_for_all(self, node: Node) -> list[str]:
        """Wait for every job that is live here; returns which were."""
        live = [job["id"] for job in await node.process.jobs(live=True)]
        for job in live:
            # One that was deleted while we looked is over too.
            with suppress(CallFailed):
                await node.process.finished([job])
        return live

    def _read_books(self) -> None:
        for name, node in self.nodes.items():
            runs = node.process.home / "runs"
            for line in runs.read_text().splitlines():
                what, at, job, attempt, result = line.split(" ", 4)
                self.history.starts.append(Start(what, float(at), name, job, int(attempt), result))
            books = sqlite3.connect(node.process.home / "books.sqlite")
            for job, count in books.execute("SELECT job, count(*) FROM effect GROUP BY job"):
                self.history.effects[name, job] = count
            books.close()


def _command(put: Operation) -> str:
    keyword = "add_user" if put.guarded else "remove_user"
    return f"{put.path} {keyword} {put.key}.proj.{put.agent}"


def _seen(agent: str, record: Mapping[str, Any], asked: float, line: int = 0) -> Seen:
    error = record["error"]
    return Seen(
        asked,
        time.time(),
        agent,
        record["id"],
        record["state"],
        record["version"],
        record["result"] or "",
        f"{error['kind']}: {error['message']}" if error else "",
        line,
    )
