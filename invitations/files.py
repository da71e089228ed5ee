"""Small private text files on disk: written whole or not at all, read within a size limit.

Everything an agent keeps beside its store (identity, configuration, invitations) goes through these two
functions.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from invitations.errors import FileError

MAX_FILE_BYTES: Final = 256 * 1024
"""No document of ours comes near this; a larger file is something else, given by mistake."""

PRIVATE_MODE: Final = 0o600


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write `text` (UTF-8) to `path` with mode 0600, so that a crash leaves the old content or the new,
    never a part.

    The text goes to a new file beside `path` (O_EXCL, never a name an attacker prepared), which is synced,
    put in place in one step, and made durable by syncing the folder.

    Args:
        path: the file; its folder must exist.
        text: the whole content.
        replace: False refuses to overwrite. Two writers cannot both win then.

    Raises:
        FileError: the folder is missing, the file exists and `replace` is False, or the disk refuses. The
            earlier content still stands and no temporary file is left, unless even removing it fails.
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), PRIVATE_MODE)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            # Unlike rename, link fails if the name is taken: no window between a look and the write.
            path.hardlink_to(temporary)
            temporary.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise _trouble(path, error, "write") from error


def read_private(path: Path, *, exposed: bool = True) -> str:
    """Read the whole of `path` as UTF-8.

    Args:
        path: the file.
        exposed: False refuses a file that group or others can read or write: a secret in it is no secret
            any more.

    Raises:
        FileError: missing (with `missing` set), unreadable, not a regular file, too large, not text, or
            exposed.
    """
    try:
        # O_NONBLOCK: a pipe given by mistake must not hang the command before it is seen to be one.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # The open file is judged, not its name: nobody can swap it between the check and the read.
            _check_status(path, os.fstat(descriptor), exposed)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(MAX_FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _trouble(path, error, "read") from error
    if len(content) > MAX_FILE_BYTES:
        raise FileError(f"{path} is larger than {MAX_FILE_BYTES} bytes", path=path, fix="check the file name")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not a text file", path=path, fix="check the file name") from error


def _check_status(path: Path, status: os.stat_result, exposed: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path} is not a regular file", path=path, fix="name the file itself")
    if not exposed and status.st_mode & 0o077:
        raise FileError(
            f"{path} can be read or written by others (mode {stat.S_IMODE(status.st_mode):04o})",
            path=path,
            fix=f"chmod 600 {path}",
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _trouble(path: Path, error: OSError, verb: str) -> FileError:
    cause = error.strerror or type(error).__name__
    match error:
        case FileNotFoundError() if verb == "write":
            fix = f"make its folder first: mkdir -p {path.parent}"
        case FileNotFoundError():
            return FileError(f"{path} does not exist", path=path, missing=True, fix="check the file name")
        case FileExistsError():
            return FileError(f"{path} exists already", path=path, fix="choose another name, or remove it first")
        case PermissionError():
            fix = f"check who owns it: ls -ld {path.parent} {path}"
        case _:
            fix = "check the disk and the file name"
    return FileError(f"cannot {verb} {path}: {cause}", path=path, fix=fix)
