"""Where an agent's local door is: a Unix socket in its folder, however deep that folder lies.

The address of a Unix socket has room for 107 bytes. A longer path is reached through an open descriptor of its folder
(`/proc/self/fd/N/mesh.sock`), so that the socket is always in the folder and nowhere else.

Standard library only: whoever just wants to knock loads nothing else.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CONFIG: Final = "mesh.toml"
"""Name of the configuration in an agent's folder: a folder without one holds no agent."""

SOCKET: Final = "mesh.sock"
"""Name of the socket in an agent's folder."""

MAX_LINE: Final = 1_048_576
"""Bytes of one line that the door takes, the line end included."""

_ADDRESS_BYTES: Final = 107


def knock(home: Path) -> socket.socket:
    """Connect to the door of the agent in `home`.

    Raises:
        OSError: nobody opens: there is no socket, or nothing listens on it.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(home / SOCKET) as address:
            client.connect(address)
        client.setblocking(False)
    except BaseException:
        client.close()
        raise
    return client


def bind(path: Path) -> socket.socket:
    """A listening socket at `path` that only this user can connect to, in place of one that a killed agent left.

    Whoever calls it holds the lock of the agent's store: a socket that is there is nobody's.

    Raises:
        OSError: the folder does not take a socket, or something else has its name.
    """
    if path.exists() and not stat.S_ISSOCK(path.lstat().st_mode):
        raise FileExistsError(17, "something that is no socket has its name", str(path))
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        fresh.unlink(missing_ok=True)
        with _address(fresh) as address:
            server.bind(address)
        # Nobody can connect before `listen`, so there is no moment in which others could.
        fresh.chmod(0o600)
        server.listen(128)
        server.setblocking(False)
        fresh.replace(path)
    except BaseException:
        server.close()
        fresh.unlink(missing_ok=True)
        raise
    return server


@contextmanager
def _address(path: Path) -> Iterator[str]:
    absolute = os.path.abspath(path)  # noqa: PTH100 - `resolve` would follow links, which is not needed
    if len(os.fsencode(absolute)) <= _ADDRESS_BYTES:
        yield absolute
        return
    folder = os.open(os.path.dirname(absolute), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
