"""`mesh bench`: throughput, and how long a job takes from its put to its result.

Without a path it measures a mesh of its own on loopback (`agents.cli.loopback`); with one it puts its jobs through the
door of the agent that runs, along that path and, since the default instruction has no effect, to each agent on it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from agents.calls import CallFailed, open_calls
from agents.cli.loopback import HANDLERS_TEXT, BenchFailed, Row, make_row, running_row
from agents.cli.session import Session, json_option, pass_session
from agents.cli.showing import LiveLine, clean, remark, say, say_json
from agents.measuring import PATIENCE_S, Timing, measure
from agents.program import run_loop
from agents.wire import fresh_key
from grammar.errors import MeshError
from mesh.errors import UnknownForPeer

PING: Final = "ping"
TEXT: Final = "sixty bytes of text that go to the handler and come back   |".replace(" ", "_")
PING_FIX: Final = (
    "upgrade it, give its handlers.py a `@agent.handler(read_only=True)` "
    "`async def ping(text: str) -> str: return text`, "
    "or name an instruction that may be run again and again: --instruction"
)
PATH_FIX: Final = "PATH is this agent's name and those of the agents after it, with dots between; see `mesh peers`"

MOST_HOPS: Final = 8
MOST_OUTSTANDING: Final = 20_000
"""What a peer accepts of one branch (`credit_jobs`)."""
MOST_JOBS: Final = 1_000_000
WARM_UP_JOBS: Final = 2_000
WARM_UP_S: Final = 0.5
_SLACK_S: Final = 30.0
"""What a job may live longer than it is waited for."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_HEADS: Final = ("hops", "outstanding", "jobs", "seconds", "jobs/s", "p50 ms", "p95 ms", "p99 ms", "errors")
_LINE: Final = "{:>4}  {:>11}  {:>9}  {:>7}  {:>8}  {:>8}  {:>8}  {:>8}  {:>6}"

PutOne = Callable[[int], Awaitable[object]]


class _Counts(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them, each within bounds: `1,1000`."""

    name = "N,N"

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        found = []
        for word in str(value).split(","):
            if not word.strip().isdecimal() or not self._least <= int(word) <= self._most:
                self.fail(f'"{word}" is no whole number from {self._least} to {self._most}', param, ctx)
            found.append(int(word))
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How each row is measured."""

    outstanding: tuple[int, ...]
    jobs: int | None
    seconds: float
    as_json: bool


@click.command()
@click.argument("path", required=False)
@click.option("--hops", type=_Counts(1, MOST_HOPS), help="Without PATH: how many links to measure over; default 1,3.")
@click.option(
    "--outstanding",
    type=_Counts(1, MOST_OUTSTANDING),
    default=(1, 1_000),
    show_default="1,1000",
    help="How many jobs are under way at once.",
)
@click.option("--jobs", type=click.IntRange(1, MOST_JOBS), help="End a row after so many jobs, even if there is time.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 600), default=5.0, show_default=True, help="Begin no job of a row after it."
)
@click.option(
    "--instruction",
    metavar="TEXT",
    help="With PATH: what its last agent is asked to do, thousands of times; {n} in it is the job's number. "
    "Default: ping, with 60 bytes of text.",
)
@json_option
@pass_session
def bench(
    session: Session,
    path: str | None,
    hops: tuple[int, ...] | None,
    outstanding: tuple[int, ...],
    jobs: int | None,
    seconds: float,
    instruction: str | None,
    as_json: bool,
) -> int:
    """Measure throughput, and the time from put to result.

    Without PATH: agents of its own, on loopback, in a temporary folder (TMPDIR) of which nothing is left; in under a
    minute. With several jobs outstanding each that is at work has a core of its own where there are as many.

    With PATH: from the agent of this folder, which has to run, to the last agent of PATH and to each on the way. Every
    agent does `ping TEXT`, which has no effect and gives the text back, for whoever may put jobs there; one on the way
    that refuses it is left out. The jobs stay in the agents' lists of finished jobs, like any others.
    """
    if jobs is not None and jobs < max(outstanding):
        raise click.UsageError(f"--jobs {jobs} is less than {max(outstanding)} outstanding; give both")
    if path is None and instruction is not None:
        raise click.UsageError("--instruction goes with a PATH")
    if path is not None and hops is not None:
        raise click.UsageError("--hops goes without a PATH: with one, every part of it is measured")
    wanted = _Wanted(outstanding, jobs, seconds, as_json)
    show = _Show(as_json)
    if path is None:
        return run_loop(_until_signalled(_own_mesh(hops or (1, 3), wanted, show)))
    return run_loop(_until_signalled(_along(session, path, instruction, wanted, show)))


async def _until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """Do `work`; a signal ends it through its `finally`s, so that nothing it has started or made outlives it."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    came: list[int] = []

    def stop(number: int) -> None:
        # Later ones are not heard: what is being cleared away is cleared away.
        if not came:
            came.append(number)
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not came:
            raise
        raise click.exceptions.Exit(128 + came[0]) from None


# -- what is measured -------------------------------------------------------------------------------------------


async def _own_mesh(hops: Sequence[int], wanted: _Wanted, show: _Show) -> int:
    with TemporaryDirectory(prefix="mesh-bench-") as name:
        folder = Path(name)
        show.doing("making agents")
        # Nothing else runs on this event loop yet.
        names = make_row(folder, max(hops), HANDLERS_TEXT)
        durable = on_disk(folder)
        async with running_row(folder, names) as row:
            apart: dict[int, None] = {}
            for over in hops:
                job = _pings(row, row.path(over))
                for many in wanted.outstanding:
                    if many == 1:
                        # Agents work one after the other then, and both threads of each at once.
                        row.gather()
                    elif row.spread(over):
                        apart[over] = None
                    show.measuring(over, many)
                    timing = await row.guard(partial(_measured, job, many, wanted, MeshError))
                    show.row(over, timing, durable=durable)
            show.doing("stopping the agents")
    show.end()
    if not wanted.as_json:
        remark("put to result, timed in the process of the first agent; each other one is a process of its own.")
        if apart:
            links = f"{' and '.join(map(str, apart))} {'hop' if list(apart) == [1] else 'hops'}"
            remark(
                f"With several jobs outstanding over {links} each agent had a core of its own, as where each has a "
                "machine of its own."
            )
        if durable:
            remark("Every job was signed, encrypted, and on disk at each agent before it was passed on or answered.")
        else:
            remark("The temporary folder is in memory: no job was durable. Name a folder on a disk by TMPDIR.")
    return show.status


def _pings(row: Row, path: str) -> PutOne:
    def one(number: int) -> Awaitable[None]:
        return row.ping(path, TEXT)

    return one


async def _along(session: Session, path: str, instruction: str | None, wanted: _Wanted, show: _Show) -> int:
    names = path.split(".")
    durable = on_disk(session.home)
    async with _door(session, wanted) as put:
        numbers = count()

        def job(over: int) -> PutOne:
            words = f"{PING} {TEXT}" if instruction is None else instruction
            where = ".".join(names[: over + 1])
            return lambda _: put(f"{where} {words.replace('{n}', str(next(numbers)))}")

        # An instruction that somebody names is for the last agent alone: who knows what it does at another one.
        last = len(names) - 1
        parts = range(1, last + 1) if instruction is None and last >= 1 else [last]
        show.doing(f"asking along {path}")
        if fault := await _fault(job(last)):
            needs_ping = instruction is None and fault.more.get("unknown")
            raise BenchFailed(f"{path}: {fault.message}", PING_FIX if needs_ping else fault.fix or PATH_FIX)
        for over in parts:
            if over != last and (fault := await _fault(job(over))):
                show.skipped(f"{'.'.join(names[: over + 1])} is left out: {clean(fault.message)}")
                continue
            for many in wanted.outstanding:
                show.measuring(over, many)
                show.row(over, await _measured(job(over), many, wanted, CallFailed), durable=durable)
    show.end()
    if not wanted.as_json:
        remark("put to result, timed outside the agent: its local door is part of it.")
    return show.status


@asynccontextmanager
async def _door(session: Session, wanted: _Wanted) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """What puts a command at the running agent and waits for its result.

    Raises:
        CallFailed: from what is yielded: the job was refused or failed; `more["unknown"]`: for want of such a handler.
    """
    life_s = wanted.seconds + PATIENCE_S + _SLACK_S
    async with await open_calls(session.home) as calls:

        async def put(command: str) -> None:
            try:
                answer = await calls.request("put", command=command, key=fresh_key(), follow="end", life_s=life_s)
            except CallFailed as refused:
                refused.more["unknown"] = refused.code == UnknownForPeer.code
                raise
            job = await calls.subscription(answer["subscription"]).get()
            calls.forget(answer["subscription"])
            error = job["error"]
            if error is not None:
                raise CallFailed(
                    f"{error['kind']}: {error['message']} ({error['agent']})",
                    code="MESH-E600",
                    fix=error["fix"],
                    exit_code=1,
                    more={"unknown": error["kind"] in {"unknown_instruction", "bad_argument"}},
                )

        yield put


async def _fault(job: PutOne) -> CallFailed | None:
    """Why one job of that sort fails, if it does."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await job(0)
    except TimeoutError:
        return CallFailed(f"no result within {PATIENCE_S:g} s", code="MESH-E601", fix="see `mesh peers`", exit_code=5)
    except CallFailed as fault:
        return fault
    return None


async def _measured(job: PutOne, outstanding: int, wanted: _Wanted, failure: type[Exception]) -> Timing:
    """Measure once all that is made at first use has been used."""
    few = max(outstanding, WARM_UP_JOBS)
    await measure(job, outstanding=outstanding, jobs=few, seconds=WARM_UP_S, failures=(failure,))
    return await measure(job, outstanding=outstanding, jobs=wanted.jobs, seconds=wanted.seconds, failures=(failure,))


def on_disk(folder: Path) -> bool:
    """Whether what is written to `folder` outlives the machine's memory, as far as the kernel tells."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # proc(5): the third word is the device; after the lone dash comes the type of the file system.
        words = line.split()
        if words[2] == number:
            return words[words.index("-") + 1] not in {"tmpfs", "ramfs"}
    return True


# -- how it is shown --------------------------------------------------------------------------------------------


class _Show:
    """The rows as they come, on standard output; what is going on, on a terminal's standard error."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._line = LiveLine()
        self._headed = False
        self.status = 0

    def doing(self, what: str) -> None:
        self._line.show(f"{what} ...")

    def measuring(self, hops: int, outstanding: int) -> None:
        self.doing(f"measuring {hops} {'hop' if hops == 1 else 'hops'}, {outstanding:,} outstanding")

    def skipped(self, why: str) -> None:
        self._line.clear()
        remark(why)

    def row(self, hops: int, timing: Timing, *, durable: bool) -> None:
        self._line.clear()
        record = timing.to_record(hops=hops, durable=durable)
        if timing.errors:
            self.status = 1
            remark(f"{timing.errors} jobs failed, the first: {clean(timing.first_error)}")
        if self._as_json:
            say_json(record)
            return
        if not self._headed:
            self._headed = True
            say(_LINE.format(*_HEADS))
        times = ["-" if record[name] is None else f"{record[name]:.2f}" for name in ("p50_ms", "p95_ms", "p99_ms")]
        say(
            _LINE.format(
                hops,
                f"{timing.outstanding:,}",
                f"{timing.jobs:,}",
                f"{timing.seconds:.2f}",
                f"{timing.per_s:,.0f}",
                *times,
                f"{timing.errors:,}",
            )
        )

    def end(self) -> None:
        self._line.clear()
