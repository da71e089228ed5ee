"""What happens to files on a bad disk, or under clumsy hands: the files of one store, and the ways to damage them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Final

PAGE: Final = 4_096
FRAME: Final = 24 + PAGE
HEAD: Final = 32
"""A write-ahead log: a head, then frames of a page each."""
SECTOR: Final = 512
SLOT: Final = 64
"""Bytes of a slot in these stores."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one store: the database, its write-ahead log, the mark of that, the journal and the slots, b"" for
    none."""

    database: bytes
    log: bytes
    mark: bytes = b""
    journal: bytes = b""
    slices: bytes = b""

    @classmethod
    def read(cls, path: Path) -> Files:
        """The files at `path` as a process that dies leaves them."""
        others = (Path(f"{path}{ending}") for ending in ("-wal", ".mark", ".journal", ".slices"))
        return cls(path.read_bytes(), *(file.read_bytes() if file.exists() else b"" for file in others))

    def write(self, path: Path) -> None:
        """Put them at `path`, in place of any others."""
        for file, content in (
            (path, self.database),
            (Path(f"{path}-wal"), self.log),
            (Path(f"{path}.mark"), self.mark),
            (Path(f"{path}.journal"), self.journal),
            (Path(f"{path}.slices"), self.slices),
        ):
            file.unlink(missing_ok=True)
            if content or file == path:
                file.write_bytes(content)
                file.chmod(0o600)
        Path(f"{path}-shm").unlink(missing_ok=True)

    def replaced(self, part: str, content: bytes) -> Files:
        """With another database, log or journal, or other slots."""
        return replace(self, **{part: content})


@dataclass(frozen=True, slots=True)
class Case:
    """What a damage may draw from.

    Attributes:
        files: of the store that is damaged.
        older: the same store's, at some earlier time.
        others: those of another agent.
    """

    files: Files
    older: Files
    others: Files


Damage = Callable[[bytes, Case, str, Random], bytes]
"""Gives the damaged content of one part ("database", "log", "journal" or "slices") of a case."""


def _patched(content: bytes, start: int, data: bytes) -> bytes:
    return content[:start] + data + content[start + len(data) :]


def bit_flipped(content: bytes, case: Case, part: str, random: Random) -> bytes:
    place = random.randrange(len(content))
    return _patched(content, place, bytes([content[place] ^ 1 << random.randrange(8)]))


def row_flipped(content: bytes, case: Case, part: str, random: Random) -> bytes:
    """One bit near text that only jobs hold: the rows themselves, not the pages around them."""
    places = [place for place in range(0, len(content), 64) if b"add_user" in content[place : place + 64]]
    place = min(len(content) - 1, max(0, random.choice(places or [0]) + random.randrange(-200, 300)))
    return _patched(content, place, bytes([content[place] ^ 1 << random.randrange(8)]))


def name_flipped(content: bytes, case: Case, part: str, random: Random) -> bytes:
    """One bit near a name that only pins and invitations hold."""
    places = [place for place in range(0, len(content), 16) if content[place : place + 20].find(b".far") >= 0]
    place = min(len(content) - 1, max(0, random.choice(places or [0]) + random.randrange(-20, 40)))
    return _patched(content, place, bytes([content[place] ^ 1 << random.randrange(8)]))


def sector_zeroed(content: bytes, case: Case, part: str, random: Random) -> bytes:
    return _patched(content, random.randrange(0, len(content), SECTOR), bytes(SECTOR))[: len(content)]


def sector_garbled(content: bytes, case: Case, part: str, random: Random) -> bytes:
    return _patched(content, random.randrange(0, len(content), SECTOR), random.randbytes(SECTOR))[: len(content)]


def cut_off(content: bytes, case: Case, part: str, random: Random) -> bytes:
    size = random.randrange(len(content))
    return content[: size // PAGE * PAGE if random.random() < 0.5 else size]


def emptied(content: bytes, case: Case, part: str, random: Random) -> bytes:
    return b""


def pages_swapped(content: bytes, case: Case, part: str, random: Random) -> bytes:
    head, size = {"database": (0, PAGE), "log": (HEAD, FRAME), "journal": (0, SECTOR), "slices": (0, SLOT)}[part]
    one, other = sorted(head + random.randrange(max(1, (len(content) - head) // size)) * size for _ in range(2))
    swapped = _patched(content, one, content[other : other + size])
    return _patched(swapped, other, content[one : one + size])


def page_from_before(content: bytes, case: Case, part: str, random: Random) -> bytes:
    old = getattr(case.older, part)
    changed = [
        place
        for place in range(0, min(len(old), len(content)), PAGE)
        if old[place : place + PAGE] != content[place : place + PAGE]
    ]
    place = random.choice(changed or [0])
    return _patched(content, place, old[place : place + PAGE])


def file_from_before(content: bytes, case: Case, part: str, random: Random) -> bytes:
    return bytes(getattr(case.older, part))


def file_of_another_agent(content: bytes, case: Case, part: str, random: Random) -> bytes:
    return bytes(getattr(case.others, part))


def file_of_another_program(content: bytes, case: Case, part: str, random: Random) -> bytes:
    with closing(sqlite3.connect(":memory:")) as other:
        other.executescript("CREATE TABLE notes (text); INSERT INTO notes VALUES ('milk');")
        database = other.serialize()
    return random.choice((b"dear diary\n" * 300, random.randbytes(8_192), database))


DAMAGES = MappingProxyType(
    {
        damage.__name__: damage
        for damage in (
            bit_flipped,
            row_flipped,
            name_flipped,
            sector_zeroed,
            sector_garbled,
            cut_off,
            emptied,
            pages_swapped,
            page_from_before,
            file_from_before,
            file_of_another_agent,
            file_of_another_program,
        )
    }
)
WEIGHTS: Final = (8, 8, 4, 4, 4, 3, 1, 3, 4, 1, 1, 1)
