"""What SQLite really does to its files, written down: each write, truncation, sync, creation and removal, in order.

SQLite reaches the disk through a table of functions, its VFS. For as long as `recorded` lasts, the default VFS of the
very library that Python's `sqlite3` uses is one whose functions note the call and then do what the old ones do. The
code under test knows nothing of it. Memory of the shared index (`-shm`) is not noted: a power cut takes it away.

SQLite's own crash tests work alike (src/test6.c in its repository).

The journal and the slots are written without SQLite: what they ask of the system is noted on the way.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from unittest.mock import patch

from mesh.storage import plainfile

_OK: Final = 0
_FILE: Final = c_void_p
_DELETE_ON_CLOSE: Final = 0x8
_JOURNALS: Final = 0x800 | 0x80000
"""SQLITE_OPEN_MAIN_JOURNAL and SQLITE_OPEN_WAL: SQLite syncs the folder with the first sync of a new one."""

_Close = CFUNCTYPE(c_int, _FILE)
_Write = CFUNCTYPE(c_int, _FILE, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, _FILE, c_int64)
_Sync = CFUNCTYPE(c_int, _FILE, c_int)
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, _FILE, c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)


class _Methods(Structure):
    """`sqlite3_io_methods`: what can be done with an open file."""

    _fields_: ClassVar[Any] = [
        ("version", c_int),
        ("close", _Close),
        ("read", c_void_p),
        ("write", _Write),
        ("truncate", _Truncate),
        ("sync", _Sync),
        *((name, c_void_p) for name in ("size", "lock", "unlock", "reserved", "control", "sector", "traits")),
        *((name, c_void_p) for name in ("shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch")),
    ]


class _File(Structure):
    _fields_: ClassVar[Any] = [("methods", POINTER(_Methods))]


class _Vfs(Structure):
    """`sqlite3_vfs`: what can be done with names."""

    _fields_: ClassVar[Any] = [
        ("version", c_int),
        ("file_size", c_int),
        ("path_size", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _Open),
        ("delete", _Delete),
        *((name, c_void_p) for name in ("access", "full", "dl_open", "dl_error", "dl_sym", "dl_close")),
        *((name, c_void_p) for name in ("randomness", "sleep", "time", "error", "time64", "set", "get", "following")),
    ]


@dataclass(frozen=True, slots=True)
class Write:
    """`data` was written to `path` at `offset`."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """`path` was cut to `size` bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """`path` was made durable; with `folder`, the names in its folder too."""

    path: str
    folder: bool


@dataclass(frozen=True, slots=True)
class SyncWrite:
    """That write, the last one, was made durable with the length of its file, and nothing else of it."""

    path: str
    write: Write


@dataclass(frozen=True, slots=True)
class SyncNames:
    """The names in the folder of `path` were made durable, and nothing else."""

    path: str


@dataclass(frozen=True, slots=True)
class Create:
    """A file began to be."""

    path: str


@dataclass(frozen=True, slots=True)
class Delete:
    """A file was removed; with `folder`, for good."""

    path: str
    folder: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that the program under test said of `path`, at that moment."""

    path: str
    name: str
    value: int


Event = Write | Truncate | Sync | SyncWrite | SyncNames | Create | Delete | Mark


class Recording:
    """A growing list of events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._known: set[str] = set()

    def mark(self, path: str, name: str, value: int) -> None:
        """Note what the program says of `path` now."""
        self.events.append(Mark(path, name, value))

    def opened(self, path: str) -> None:
        """A file was opened; the first time, it was made."""
        if path not in self._known:
            self._known.add(path)
            self.events.append(Create(path))

    def removed(self, path: str, folder: bool) -> None:
        """A file was removed."""
        if path in self._known:
            self._known.remove(path)
            self.events.append(Delete(path, folder))


class _Shim:
    """A VFS that notes and passes on. Keeps every function and table alive for as long as SQLite may call them."""

    def __init__(self, recording: Recording) -> None:
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._library.sqlite3_vfs_register.argtypes = [POINTER(_Vfs), c_int]
        self._library.sqlite3_vfs_unregister.argtypes = [POINTER(_Vfs)]
        self._real = self._library.sqlite3_vfs_find(None)
        self._recording = recording
        self._tables: dict[int, _Methods] = {}
        self._files: dict[int, tuple[str, bool]] = {}
        self._vfs = _Vfs()
        ctypes.pointer(self._vfs)[0] = self._real.contents
        self._vfs.name = b"recording"
        self._vfs.open = _Open(self._open)
        self._vfs.delete = _Delete(self._delete)

    def install(self) -> None:
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)

    def remove(self) -> None:
        self._library.sqlite3_vfs_register(self._real, 1)
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    def _open(self, _: int, name: int | None, file: int, flags: int, told: Any) -> int:
        # The name goes on as the address that it came by: the real VFS keeps it, and what SQLite wrote behind it.
        code: int = self._real.contents.open(ctypes.cast(self._real, c_void_p), name, file, flags, told)
        if code == _OK and name is not None and not flags & _DELETE_ON_CLOSE:
            path = os.fsdecode(ctypes.string_at(name))
            self._files[file] = (path, bool(flags & _JOURNALS))
            self._recording.opened(path)
            opened = _File.from_address(file)
            opened.methods = ctypes.pointer(self._table(opened.methods))
        return code

    def _delete(self, _: int, name: bytes, folder: int) -> int:
        code: int = self._real.contents.delete(ctypes.cast(self._real, c_void_p), name, folder)
        if code == _OK:
            self._recording.removed(os.fsdecode(name), bool(folder))
        return code

    def _table(self, methods: Any) -> _Methods:
        address = ctypes.addressof(methods.contents)
        if address not in self._tables:
            self._tables[address] = self._noting(methods.contents)
        return self._tables[address]

    def _noting(self, real: _Methods) -> _Methods:
        files, events = self._files, self._recording.events

        def done(code: int, event: Callable[[], Event]) -> int:
            if code == _OK:
                events.append(event())
            return code

        def write(file: int, data: int, size: int, offset: int) -> int:
            content = ctypes.string_at(data, size)
            return done(real.write(file, data, size, offset), lambda: Write(files[file][0], offset, content))

        def truncate(file: int, size: int) -> int:
            return done(real.truncate(file, size), lambda: Truncate(files[file][0], size))

        def sync(file: int, flags: int) -> int:
            path, folder = files[file]
            files[file] = (path, False)
            return done(real.sync(file, flags), lambda: Sync(path, folder))

        def close(file: int) -> int:
            files.pop(file, None)
            code: int = real.close(file)
            return code

        table = _Methods()
        ctypes.pointer(table)[0] = real
        table.write, table.truncate, table.sync, table.close = (
            _Write(write),
            _Truncate(truncate),
            _Sync(sync),
            _Close(close),
        )
        return table


class _System:
    """`os` for the files beside the database: notes and passes on."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._files: dict[int, str] = {}
        self._made = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        descriptor = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            self._files[descriptor] = self._made = os.fspath(path)
            self._recording.opened(os.fspath(path))
        return descriptor

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        written = os.pwrite(descriptor, data, offset)
        self._recording.events.append(Write(self._files[descriptor], offset, bytes(data[:written])))
        return written

    def pwritev(self, descriptor: int, parts: Sequence[bytes], offset: int, flags: int) -> int:
        assert flags == os.RWF_DSYNC, "the flag whose meaning is played"
        written = os.pwritev(descriptor, parts, offset, flags)
        path = self._files[descriptor]
        # The power may go while it is on its way.
        write = Write(path, offset, b"".join(parts)[:written])
        self._recording.events += (write, SyncWrite(path, write))
        return written

    def fdatasync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)
        self._recording.events.append(Sync(self._files[descriptor], False))

    def ftruncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)
        self._recording.events.append(Truncate(self._files[descriptor], size))

    def fsync(self, descriptor: int) -> None:
        """Of the folder, right after the file was made in it."""
        os.fsync(descriptor)
        self._recording.events.append(SyncNames(self._made))

    def unlink(self, path: str | os.PathLike[str]) -> None:
        os.unlink(path)  # noqa: PTH108
        self._recording.removed(os.fspath(path), False)


@contextmanager
def recorded() -> Iterator[Recording]:
    """Note everything that SQLite and the store do in this process, for as long as this lasts; all files are closed
    before its end, and none was open before it."""
    recording = Recording()
    shim = _Shim(recording)
    shim.install()
    try:
        with patch.object(plainfile, "os", _System(recording)):
            yield recording
    finally:
        shim.remove()
