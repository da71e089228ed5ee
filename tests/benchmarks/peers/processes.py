"""The processes that a peer needs: its server and its worker, started in a folder and ended with the block."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
STOP_S: Final = 5.0


class PeerFailed(Exception):
    """A server or a worker of a peer ended before it was ready."""


@contextmanager
def child(
    *command: str, log: Path, ready: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program from here to the end of the block.

    Args:
        command: the program and its arguments.
        log: the file that gets what it says if nobody waits for it to be ready; its folder is where it runs.
        ready: what stands in the line it prints when it is ready; None does not wait.
        environment: added to that of this process.

    Raises:
        PeerFailed: it ended before that.
    """
    settings = dict(os.environ) | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | dict(environment or {})
    with log.open("a") as said:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=said if ready is None else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        if ready is not None:
            _wait(process, ready)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        # The session is its own: whatever it had started and left goes with it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait(process: subprocess.Popen[str], ready: str) -> None:
    assert process.stdout is not None
    heard = []
    for line in process.stdout:
        heard.append(line)
        if ready in line:
            return
    raise PeerFailed(f"{process.args!r} ended before it was ready: {''.join(heard[-10:])}")


def worker(module: str, *arguments: str, log: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """A module of ours as the worker; it prints `ready`."""
    return child(sys.executable, "-m", module, *arguments, log=log, ready="ready")


def program(name: str) -> str:
    """Where a server is; some distributions keep them where users do not look.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError(name)
    return found


def free_port() -> int:
    """A port on loopback that nobody listens on in this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def redis_server(folder: Path, *, fsync: bool) -> Iterator[str]:
    """A Redis of our own; its URL. `fsync`: it answers when its log is on the disk (`appendfsync always`)."""
    port = free_port()
    stored = ("--appendonly", "yes", "--appendfsync", "always") if fsync else ("--appendonly", "no")
    with child(
        *(program("redis-server"), "--port", f"{port}", "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""),
        *stored,
        log=folder / "redis.log",
        ready="Ready to accept connections",
    ):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def nats_server(folder: Path, *, store: bool) -> Iterator[str]:
    """A NATS server of our own; its URL. `store`: with JetStream, whose files are in the folder."""
    port = free_port()
    stored = ("-js", "-sd", str(folder)) if store else ()
    with child(
        *(program("nats-server"), "-a", "127.0.0.1", "-p", f"{port}", *stored),
        log=folder / "nats.log",
        ready="Server is ready",
    ):
        yield f"nats://127.0.0.1:{port}"
