"""`mesh put` and `mesh submit`: one job, or one a line of standard input (`agents.cli.streaming`)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from agents.calls import CallFailed, Calls
from agents.chunks import LONGEST, read_payload, too_long, upload
from agents.cli.session import Session, json_option, pass_session, run
from agents.cli.showing import LiveLine, clean, exit_code_of, is_over, job_line, remark, say, say_json
from agents.cli.streaming import Wanted, stream
from agents.wire import fresh_key

F = TypeVar("F", bound=Callable[..., Any])

_SUBMIT_PATIENCE_S: Final = 30.0
"""How long `submit` waits for an agent that went away under it."""


def _settings(function: F) -> F:
    """The options that both verbs have."""
    for option in (
        click.argument("words", nargs=-1, required=True, metavar="PATH KEYWORD ARGUMENT..."),
        click.option("--life", "life_s", type=click.FloatRange(0, min_open=True), help="Seconds it may wait to start."),
        click.option("--key", help="Idempotency key: the same key is the same job."),
        click.option("--payload", metavar="FILE", help="A file that goes with the job, up to 4 MiB; - for the input."),
        click.option("--zone", help="The zone it travels in; by default the agent's own."),
        json_option,
    ):
        function = option(function)
    return function


@click.command()
@_settings
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds to wait; the job goes on after it.")
@pass_session
def put(
    session: Session,
    words: tuple[str, ...],
    life_s: float | None,
    key: str | None,
    zone: str | None,
    payload: str | None,
    as_json: bool,
    timeout: float | None,
) -> int:
    """Put a job and wait for its result; with - instead of a command, one command a line of standard input.

    Each ARGUMENT is one value, quoted for you; the whole command may also be one string. Write -- before arguments
    that begin with a dash. Ctrl-C and --timeout end the waiting, not the job.
    """
    settings = _given(zone=zone, life_s=life_s)
    if words == ("-",):
        _one_only(key, payload)
        return stream(session, Wanted(settings, as_json, follow=True, timeout=timeout))
    waiting = _Waiting(session, as_json, _payload(payload))
    try:
        return run(waiting.work(_words(words), key or fresh_key(), settings, timeout))
    except KeyboardInterrupt:
        return waiting.detached("you left it")


@click.command()
@_settings
@pass_session
def submit(
    session: Session,
    words: tuple[str, ...],
    life_s: float | None,
    key: str | None,
    zone: str | None,
    payload: str | None,
    as_json: bool,
) -> int:
    """Put a job and print its id: it is durable then. With - instead of a command, one command a line of input."""
    settings = _given(zone=zone, life_s=life_s)
    if words == ("-",):
        _one_only(key, payload)
        return stream(session, Wanted(settings, as_json, follow=False, timeout=None))
    own_key = key or fresh_key()
    command = _words(words)
    data = _payload(payload)

    async def ask(calls: Calls) -> dict[str, Any]:
        number = None if data is None else await upload(calls, data)
        answer = await calls.request("put", command=command, key=own_key, payload=number, **settings)
        job: dict[str, Any] = answer["job"]
        return job

    async def work() -> dict[str, Any]:
        wire = session.wire()
        try:
            async with asyncio.timeout(_SUBMIT_PATIENCE_S):
                return await wire.repeat(ask)
        except TimeoutError:
            raise CallFailed(
                "the agent stopped, and whether the job was put is not known",
                code="MESH-E504",
                fix=f"once it runs, repeat the command with --key {own_key}: it is put once",
                exit_code=3,
            ) from None
        finally:
            await wire.close()

    job = run(work())
    if as_json:
        say_json(job)
    else:
        say(job["id"])
        session.hint("watch", job["short"])
    return 0


class _Waiting:
    """One `put` that waits: what is known of its job, for the moment in which somebody stops waiting."""

    def __init__(self, session: Session, as_json: bool, payload: bytes | None) -> None:
        self._session = session
        self._payload = payload
        self._as_json = as_json
        self._line = LiveLine(wanted=not as_json)
        self._job: dict[str, Any] | None = None

    async def work(self, command: list[str], key: str, settings: dict[str, Any], timeout: float | None) -> int:
        async def follow(calls: Calls) -> dict[str, Any]:
            number = None if self._payload is None else await upload(calls, self._payload)
            answer = await calls.request("put", command=command, key=key, payload=number, follow="changes", **settings)
            job = self._show(answer["job"])
            news = calls.subscription(answer["subscription"])
            while not is_over(job):
                job = self._show(await news.get())
            return job

        wire = self._session.wire()
        try:
            async with asyncio.timeout(timeout):
                return self._ended(await wire.repeat(follow))
        except TimeoutError:
            return self.detached(f"not over after {timeout:g} s")
        finally:
            await wire.close()

    def _show(self, job: dict[str, Any]) -> dict[str, Any]:
        self._job = job
        self._line.show(job_line(job))
        return job

    def _ended(self, job: dict[str, Any]) -> int:
        self._line.clear()
        if self._as_json:
            say_json(job)
            return exit_code_of(job)
        say(job_line(job))
        if job["error"] is not None and job["error"]["fix"]:
            remark(f"fix: {clean(job['error']['fix'])}")
        self._session.hint("job", job["short"], *(() if job["result_bytes"] is None else ("--output", "FILE")))
        return exit_code_of(job)

    def detached(self, why: str) -> int:
        """Stop waiting. Says what is known, and how to go on watching."""
        self._line.clear()
        job = self._job
        if job is None:
            raise CallFailed(
                f"{why}, and the agent has not said whether the job was put",
                code="MESH-E601",
                fix="see `mesh jobs`; give a --key to put it once however often you ask",
                exit_code=5,
            )
        if self._as_json:
            say_json(job)
            return 5
        say(job_line(job))
        remark(f"error MESH-E601: job {job['short']} is not known to be over ({why})")
        remark(f"fix: it goes on: {self._session.command('watch', job['short'])}")
        return 5


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _words(words: tuple[str, ...]) -> list[str]:
    for place, word in enumerate(words, 1):
        # What the shell gave that is no UTF-8 comes as halves of characters, which no text can hold.
        if not word.isascii() and any("\ud800" <= one <= "\udfff" for one in word):
            raise CallFailed(
                f"word {place} of the command is not UTF-8 text", code="MESH-E100", fix="write it in UTF-8"
            )
    return list(words)


def _payload(file: str | None) -> bytes | None:
    """The bytes of `--payload`, read once: standard input cannot be read again."""
    if file is None:
        return None
    if file != "-":
        return read_payload(file)
    data = sys.stdin.buffer.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise too_long("on standard input")
    return data


def _one_only(key: str | None, payload: str | None) -> None:
    if payload is not None:
        raise click.UsageError("one --payload cannot go with many commands")
    if key is not None:
        raise click.UsageError("one --key cannot be the key of many commands; each line is given a key of its own")
