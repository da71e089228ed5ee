"""The write-ahead log of a store that was not closed, looked at before SQLite takes it up (R10).

SQLite ends a log at the first frame that does not match its checksum. After a power cut that is right: a commit begins
only when the one before it is durable, so what broke off belongs to the last one, which nobody was told of. When whole
commits stand behind the broken place, they were acknowledged once; without them the store would be older than the
positions that it gave out, or partly so, since some of their pages may be in the database already. That is damage.

The last commit of all is the exception: damaged afterwards, it looks like one that was cut short.

The format is SQLite's (https://sqlite.org/walformat.html).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_HEAD: Final = struct.Struct(">IIII8sII")
_FRAME: Final = struct.Struct(">II8sII")
_MAGIC: Final = 0x377F0682
_PAGE: Final = 4096
_MASK: Final = 0xFFFFFFFF
_WHOLE: Final = 2
"""Ends of commits from the broken place on that tell damage from a cut: a cut leaves one at most."""

Sums = tuple[int, int]


class _Frame(NamedTuple):
    """One page in the log: `commit` says that it ends one, `follows` that it matches the frame before it."""

    page: int
    commit: bool
    follows: bool
    content: memoryview


def lost_commits(path: Path) -> bool:
    """Whether SQLite would pass over whole commits in the log of the store at `path`.

    No connection to the store may be open in this process: closing its file drops the locks of all.
    """
    try:
        data = Path(f"{path}-wal").read_bytes()
    except FileNotFoundError:
        return False
    if len(data) < _HEAD.size + _FRAME.size:
        return False
    magic, _, size, _, salts, first, second = _HEAD.unpack_from(data)
    is_whole = magic | 1 == _MAGIC | 1 and _sums(data[:24], (0, 0), magic) == (first, second)
    if is_whole:
        return _broken_off(_frames(data, size, magic, salts, (first, second)))
    # A cut may garble the head when the log begins anew; by then all of it is in the database.
    salts = _FRAME.unpack_from(data, _HEAD.size)[2]
    for order in (_MAGIC, _MAGIC + 1):
        frames = list(_frames(data, _PAGE, order, salts, (0, 0)))
        if _broken_off(iter(frames)):
            return not _is_written_back(path, frames)
    return False


def first_salt(path: Path) -> int | None:
    """The first salt of the log of the store at `path`; None if it has no log, or one without a whole head."""
    try:
        with Path(f"{path}-wal").open("rb") as log:
            data = log.read(_HEAD.size)
    except FileNotFoundError:
        return None
    if len(data) < _HEAD.size:
        return None
    magic, _, _, _, salts, first, second = _HEAD.unpack(data)
    if magic | 1 != _MAGIC | 1 or _sums(data[:24], (0, 0), magic) != (first, second):
        return None
    return int.from_bytes(salts[:4], "big")


def _frames(data: bytes, size: int, magic: int, salts: bytes, sums: Sums) -> Iterator[_Frame]:
    """The frames of the present turn of the log, which share its salts; those of an earlier turn end it."""
    view = memoryview(data)
    step = _FRAME.size + size
    for start in range(_HEAD.size, len(data) - step + 1, step):
        page, pages, salt, first, second = _FRAME.unpack_from(data, start)
        content = view[start + _FRAME.size : start + step]
        follows = _sums(content, _sums(view[start : start + 8], sums, magic), magic) == (first, second)
        if salt != salts and not follows:
            return
        yield _Frame(page, bool(pages), follows and salt == salts, content)
        sums = first, second


def _broken_off(frames: Iterator[_Frame]) -> bool:
    ends = 0
    broken = False
    for frame in frames:
        first = not broken and not frame.follows
        broken = broken or first
        ends += broken and frame.commit and (first or frame.follows)
        if ends == _WHOLE:
            return True
    return False


def _is_written_back(path: Path, frames: list[_Frame]) -> bool:
    """Whether the database holds every page as the last commit in the log left it."""
    last = max(place for place, frame in enumerate(frames) if frame.commit and frame.follows)
    database = memoryview(path.read_bytes())
    pages = {frame.page: frame.content for frame in frames[: last + 1]}
    return all(database[(page - 1) * len(content) : page * len(content)] == content for page, content in pages.items())


def _sums(data: bytes | memoryview, sums: Sums, magic: int) -> Sums:
    one, other = sums
    words = iter(struct.unpack(f"{'>' if magic & 1 else '<'}{len(data) // 4}I", data))
    for word, following in zip(words, words, strict=True):
        one = (one + word + other) & _MASK
        other = (other + following + one) & _MASK
    return one, other
