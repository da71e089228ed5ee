"""Errors of the agents floor: what a person or a handler's author meets. Codes MESH-E5xx and MESH-E6xx."""

from __future__ import annotations

from typing import ClassVar

from grammar.errors import MeshError


class HandlerError(MeshError, TypeError):
    """A function that cannot be a handler; nothing was registered."""

    code: ClassVar[str] = "MESH-E500"


class AgentError(MeshError):
    """An agent cannot be made, opened or used like that; nothing was changed."""

    code: ClassVar[str] = "MESH-E501"


class AlreadyRunning(AgentError):
    """The agent of that folder runs in another process; talk to it through `agents.client`."""

    code: ClassVar[str] = "MESH-E502"


class JobFailed(MeshError):
    """A job that ended otherwise than complete.

    Attributes:
        kind: `failed`, `timeout`, `denied`, ... of an error, else the state (`rejected`, `expired`, `cancelled`).
        agent: who said so.
        job: the job's id as text.
    """

    code: ClassVar[str] = "MESH-E600"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, kind: str, agent: str, job: str, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.kind = kind
        self.agent = agent
        self.job = job


class NotKnownYet(MeshError, TimeoutError):
    """The caller's own patience ended first. It is no state of the job, which goes on."""

    code: ClassVar[str] = "MESH-E601"
    exit_code: ClassVar[int] = 5


class BytesLost(MeshError):
    """A payload, or a large result, that is not here (any more); the job itself is as it says."""

    code: ClassVar[str] = "MESH-E602"
    exit_code: ClassVar[int] = 1


class Refused(Exception):
    """Raised by a handler: the job is not done, and this is why. The message reaches the origin word by word."""
