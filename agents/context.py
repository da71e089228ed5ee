"""What a handler is given: the job it does, and a few verbs (report, read the payload, put a child, put onward).

The context offers these and no more; it is not the agent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.blobs import Source
from agents.views import JobView
from grammar.instruction import Instruction


class Child(Protocol):
    """A job put from within a handler."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    async def wait(self, timeout: float | None = None) -> JobView:
        """Wait until it is over; the handler holds no slot meanwhile."""
        ...

    async def result(self, timeout: float | None = None) -> Any:
        """Wait for its result; raises JobFailed when it ended otherwise."""
        ...


class Desk(Protocol):
    """What a context needs of the agent around it."""

    def report(self, job_id: bytes, message: str | None, fraction: float | None) -> None: ...

    async def put_child(
        self, parent: bytes, command: str, *, life_s: float | None, key: str | None, payload: Source | None
    ) -> Child: ...

    async def payload_of(self, job_id: bytes) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """One run of one job.

    Attributes:
        job_id: the job's id; also the idempotency key of whatever the handler does outside.
        id: the same as text.
        attempt: 1 for the first run; a crash of the agent leads to another.
        path: the names from the origin to this agent.
        instruction: what to do, parsed.
        origin: the origin's fingerprint (20 bytes).
        zone, circle, context: where it acts.
        expires: Unix seconds; a job that has started may go on past it.
    """

    job_id: bytes
    id: str
    attempt: int
    path: tuple[str, ...]
    instruction: Instruction
    origin: bytes
    zone: str
    circle: str
    context: str
    expires: float
    _desk: Desk = field(repr=False)

    async def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Say how far it is; seen live by whoever watches the job, at every agent it passed.

        Args:
            fraction: 0 to 1, None where it is not known.
            message: one line for people, at most 1,024 characters of it are kept.
        """
        if fraction is not None:
            fraction = min(1.0, max(0.0, float(fraction)))
        text = None if message is None else message[:1024].encode(errors="backslashreplace").decode()
        self._desk.report(self.job_id, text, fraction)

    async def payload(self) -> bytes | None:
        """The bytes that were put with the job, None if there were none. They are here before the job starts.

        Raises:
            BytesLost: the store of this agent is damaged, and they are gone.
        """
        return await self._desk.payload_of(self.job_id)

    async def put(
        self, command: str, *, life_s: float | None = None, key: str | None = None, payload: Source | None = None
    ) -> Child:
        """Put a child job, which speaks for the same portal as this one; durable when this returns.

        Args:
            command: path and instruction; the path starts with this agent's name.
            life_s: how long it may wait for its start, in seconds.
            key: idempotency key within this job; by default the command itself, so that another attempt of this
                job finds the child again instead of putting a second one.
            payload: bytes, or a file, that go with it.

        Raises:
            PutRefused, GrammarError: as `Agent.put`.
        """
        return await self._desk.put_child(self.job_id, command, life_s=life_s, key=key, payload=payload)

    async def onward(self, agent: str, *, instruction: str | None = None, timeout: float | None = None) -> Any:
        """Put this job's instruction to a neighbour of this agent and wait for its result.

        Args:
            agent: the neighbour's name, or a dotted path that starts with it.
            instruction: another instruction, where it is not the same.
            timeout: seconds.

        Returns:
            The typed result.

        Raises:
            JobFailed: it failed there.
        """
        child = await self.put(f"{self.path[-1]}.{agent} {instruction or self.instruction}")
        return await child.result(timeout)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a generic handler ended a job: `completed` with a value, or `errored` with a message."""

    value: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class EnvelopeJob:
    """The job in an envelope; `instruction` is parsed."""

    id: str
    path: tuple[str, ...]
    instruction: Instruction
    attempt: int

    def completed(self, value: Any = None) -> Ended:
        """The job is done; `value` is its result."""
        return Ended(value=value)

    def errored(self, message: str) -> Ended:
        """The job is not done; `message` reaches the origin word by word."""
        return Ended(error=message)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a generic handler takes: the job, who passed it on, and who it is for.

    Attributes:
        job: the job.
        sender: the neighbour it came from.
        recipient: this agent.
        context: progress and children, as a typed handler has them.
    """

    job: EnvelopeJob
    sender: str
    recipient: str
    context: Context


GenericHandler = Callable[[Envelope], Awaitable[Ended]]
