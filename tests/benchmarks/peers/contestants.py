"""All that are measured side by side: what each is called, what it promises, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Final

from tests.benchmarks.peers.processes import program


@dataclass(frozen=True, slots=True)
class Contestant:
    """Attributes:
    title: how the table calls it.
    run: `module:function` that measures it, in this folder.
    stored: what of a job is stored before it counts as put, and what is synced to a disk.
    packages: distributions of the Python client.
    server: the program that has to be there, if any.
    """

    title: str
    run: str
    stored: str
    packages: tuple[str, ...]
    server: str | None = None

    def missing(self) -> str | None:
        """Why it cannot be measured here, with what to do about it; None if it can."""
        for name in self.packages:
            try:
                version(name)
            except PackageNotFoundError:
                return f"not installed: {name} (make bench installs it; by hand: pip install {name})"
        if self.server is not None:
            try:
                program(self.server)
            except FileNotFoundError:
                return f"not installed: {self.server} (as root: make bench SERVERS=install)"
        return None

    def versions(self) -> str:
        """Of the client, for the table."""
        return ", ".join(f"{name} {version(name)}" for name in self.packages)


_NOTHING: Final = "nothing"
_MEMORY: Final = "in memory"

CONTESTANTS: Final[Mapping[str, Contestant]] = MappingProxyType(
    {
        "echo": Contestant("raw websockets echo", "echo:run", _NOTHING, ("websockets",)),
        "nats": Contestant("NATS request/reply", "nats:run", _NOTHING, ("nats-py",), "nats-server"),
        "jetstream": Contestant(
            "JetStream job, plain reply", "jetstream:run", "job in a file, no fsync", ("nats-py",), "nats-server"
        ),
        "jetstream-both": Contestant(
            "JetStream job and result",
            "jetstream:run_both_stored",
            "job and result in files, no fsync",
            ("nats-py",),
            "nats-server",
        ),
        "taskiq": Contestant("taskiq + Redis", "taskiq:run", _MEMORY, ("taskiq", "taskiq-redis"), "redis-server"),
        "taskiq-fsync": Contestant(
            "taskiq + Redis, AOF always", "taskiq:run_fsync", "fsync", ("taskiq", "taskiq-redis"), "redis-server"
        ),
        "dramatiq": Contestant("Dramatiq + Redis", "dramatiq:run", _MEMORY, ("dramatiq", "redis"), "redis-server"),
        "dramatiq-fsync": Contestant(
            "Dramatiq + Redis, AOF always", "dramatiq:run_fsync", "fsync", ("dramatiq", "redis"), "redis-server"
        ),
        "celery": Contestant("Celery + Redis", "celery:run", _MEMORY, ("celery", "redis"), "redis-server"),
        "celery-fsync": Contestant(
            "Celery + Redis, AOF always", "celery:run_fsync", "fsync", ("celery", "redis"), "redis-server"
        ),
    }
)
