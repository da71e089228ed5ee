"""Rows as the engine makes them, with only what a test names set to something."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from invitations.peers import InvitationRow, PeerRow
from mesh.board import Board, BoardRow
from mesh.effects import Batch
from mesh.lifecycle import State
from mesh.limits import Limits
from mesh.row import Row
from mesh.storage.columns import DELETED, HOP
from mesh.storage.contract import Store
from mesh.storage.reader import SqliteReader
from mesh.storage.sqlite import SqliteStore

PENDING = tuple(State).index(State.PENDING)
COMPLETE = tuple(State).index(State.COMPLETE)
ERROR = tuple(State).index(State.ERROR)
TOMBSTONE = DELETED
PINS = [("lab", "a.b", b"f" * 20)]
"""In a batch, has it made by a transaction of SQLite."""
START_MS = 1_700_000_000_000


def job_id(seq: int) -> bytes:
    return (START_MS + seq).to_bytes(6, "big") + hashlib.blake2b(seq.to_bytes(8, "big"), digest_size=20).digest()


def row(seq: int, **columns: Any) -> Row:
    """A live job of a hop, from board 1 to board 2, with no number yet."""
    live = columns.get("live", 1)
    values: dict[str, Any] = {
        "seq": seq,
        "id": job_id(seq),
        "role": HOP,
        "state": PENDING if live else COMPLETE,
        "live": 1,
        "up_board": 1,
        "up_number": 0,
        "down_board": 2,
        "down_number": 0,
        "up_branch": "0:" if live else None,
        "down_branch": "0:far" if live else None,
        "waiting": 0,
        "due_ms": None,
        "key": None,
        "record": b"record %d" % seq,
        "facts": b"facts %d" % seq,
        "check": 0xC0DE_C0DE,
    }
    return Row(**(values | columns))


def large_row(seq: int, **columns: Any) -> Row:
    """A row of a realistic size, 700 bytes, that does not compress."""
    noise = hashlib.shake_256(seq.to_bytes(8, "big")).digest(670)
    return row(seq, **({"record": noise[:250], "facts": noise[250:]} | columns))


def board(number: int, *, home: int = 0, last: int = 1_000_000) -> BoardRow:
    made = Board(number, "default", f"peer-{number}", bytes([number]) * 20, Limits())
    made.outbox.last, made.outbox.home = last, home
    return made.row()


def peer(number: int, *, state: str = "pinned") -> PeerRow:
    return PeerRow(
        fingerprint=bytes([number]) * 20,
        zone="default",
        name=f"peer-{number}",
        kind="instance",
        card=b"card",
        link_public=bytes([number]) * 32,
        pair_key=b"k" * 32,
        invitation_id=None,
        secret=None,
        urls=("ws://127.0.0.1:1",),
        ranges=(),
        state=state,  # type: ignore[arg-type]
    )


def invitation(number: int, *, failures: int = 0) -> InvitationRow:
    return InvitationRow(
        id=bytes([number]) * 16,
        secret=b"s" * 32,
        name=f"peer-{number}",
        kind=None,
        zone="default",
        ranges=("10.0.0.0/8",),
        not_before=1,
        not_after=2,
        used_by=None,
        failures=failures,
        state="open",
    )


def put(store: Store, *rows: Row, **parts: Any) -> None:
    """Apply one batch."""
    store.apply([Batch(rows=list(rows), **parts)])


def put_down(store: Store, *rows: Row, **parts: Any) -> None:
    """Apply one batch, and have it in the tables."""
    put(store, *rows, **parts)
    store.settle()


def die(store: SqliteStore) -> None:
    """Leave a store as its process leaves it that dies: nothing is brought to an end."""
    store._lock.release()
    store._is_open = False
    store.close()


def seqs(rows: list[Row]) -> list[int]:
    return [found.seq for found in rows]


def listed(store: Store) -> list[Row]:
    """Every job, in the order they came."""
    return store.list_jobs(live=None, states=(), after=0, limit=1_000)[::-1]


def in_tables(path: Path) -> list[int]:
    """The jobs that a reader sees beside the store, or without one, newest first."""
    with SqliteReader(path) as reader:
        return seqs(reader.list_jobs(live=None, states=(), after=0, limit=1_000))


def journal_of(path: Path) -> Path:
    return Path(f"{path}.journal")
