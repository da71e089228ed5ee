"""A mesh whose stores are files: three engines in a chain, random callers and faults, and what each commit left.

Every store is a pair: the durable one under test, and its twin in memory that was given the same batches. After a
power cut the file has to hold what the twin held after some commit: the last acknowledged one, or one that was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import mesh.ledger
from grammar.errors import MeshError
from mesh.blobs import BlobRow, Key, name_blob
from mesh.effects import Answer, Batch, Bytes, Query
from mesh.ending import Ending
from mesh.lifecycle import State
from mesh.opening import Snapshot
from mesh.origin import Put
from mesh.row import Row
from mesh.staging import stage
from mesh.storage import journal, pending, slots
from mesh.storage.blobs import _sound
from mesh.storage.memory import MemoryStore
from mesh.storage.sqlite import SqliteStore
from tests.disks.recording import Recording
from tests.mesh.blob_mesh import SMALL
from tests.mesh.pair import TEXT, ZONE, Mesh, card_of
from tests.mesh.storage.rows import invitation

CHAIN: Final = ("origin", "hop", "end")
BEGUN: Final = "begun"
ACKNOWLEDGED: Final = "acknowledged"
KEEP: Final = 3
"""Finished jobs that a store keeps past their horizon: few, so that some are collected."""
LIMITS: Final = replace(SMALL, run_s=10.0, collect_s=10.0)
ENDINGS: Final = (
    Ending(State.COMPLETE, "str", '"done"'),
    Ending(State.ERROR, error=("failed", "no such project")),
    Ending(State.COMPLETE, "str", f'"{"large " * 60}"'),
)


class Content(NamedTuple):
    """Everything that a store holds, in an order of its own."""

    rows: tuple[Row, ...]
    boards: tuple[object, ...]
    incarnations: tuple[object, ...]
    book: tuple[object, ...]
    blobs: tuple[tuple[BlobRow, bytes], ...]


def content_of(snapshot: Snapshot, rows: Iterable[Row], store: SqliteStore | MemoryStore) -> Content:
    """What a store holds, of which `snapshot` was just taken."""
    known: list[object] = [*snapshot.cards, *snapshot.pins, *snapshot.portals, *store.peers(), *store.invitations()]
    return Content(
        tuple(sorted(rows)),
        tuple(sorted(snapshot.boards)),
        tuple(map(tuple, snapshot.incarnations)),
        tuple(sorted(known, key=repr)),
        tuple((row, _bytes_of(store, row)) for row in _blobs_in(store)),
    )


def _blobs_in(store: SqliteStore | MemoryStore) -> list[BlobRow]:
    if isinstance(store, MemoryStore):
        return sorted(store.blobs.values())
    return _sound(store._opened().execute(f'SELECT {", ".join(BlobRow._fields)}, "check" FROM blobs ORDER BY id'))


def _bytes_of(store: SqliteStore | MemoryStore, row: BlobRow) -> bytes:
    key = Key(row.job, row.kind, row.hash)
    # (Not as a `Twin` answers: it would ask both.)
    read = MemoryStore.read if isinstance(store, MemoryStore) else type(store).read
    return b"".join(part.data for part in read(store, Bytes(key, row.id, 0, 1_000)).slices)  # type: ignore[arg-type]


def as_kept(content: Content, state: Content) -> Content:
    """`content` without the facts, and the bytes, that are let go of in `state`: a store may keep them for longer."""
    gone = {row.seq: row.id for row in state.rows if row.facts is None}
    if not gone:
        return content
    rows = tuple(row._replace(facts=None) if row.seq in gone and not row.live else row for row in content.rows)
    left = {row.id for row, _ in state.blobs}
    trimmed = frozenset(gone.values())
    return content._replace(
        rows=rows, blobs=tuple(one for one in content.blobs if one[0].id in left or one[0].job not in trimmed)
    )


def store_of(path: Path) -> SqliteStore:
    """The store of the agent that its file is named for."""
    return SqliteStore(path, keep_jobs=KEEP, owner=card_of(path.stem).fingerprint)


EMPTY: Final = Content((), (), (), (), ())


class WrongAnswer(Exception):
    """The durable store answers what the other would not; whoever asked might ask for ever."""


class Twin(MemoryStore):
    """A durable store, and what must be in it.

    Args:
        path: of the durable one.
        recording: is told when a commit begins and when it was acknowledged, with its number.
        random: decides when the log is written back.

    Attributes:
        states: what the store holds after that many commits.
        wrong: sentences about answers of the durable one that the other would not have given.
    """

    def __init__(self, path: Path, recording: Recording, random: Random) -> None:
        super().__init__(keep_jobs=KEEP)
        self.file = path
        self.durable = store_of(path)
        self.states: list[Content] = [EMPTY]
        self._recording = recording
        self._random = random
        self.wrong: list[str] = []
        self._left: list[SqliteStore] = []
        self._committed: list[Batch] = []
        self.opened = False

    def open(self) -> Snapshot:
        """Open it, after a clean end or after the process that had it just died."""
        if self.opened and self._random.random() < 0.5:
            # A process that dies writes nothing back and removes nothing.
            self.durable._lock.release()
            self.durable._is_open = False
            self._left.append(self.durable)
            self.durable = store_of(self.file)
        elif self.opened:
            self.durable.close()
        snapshot = self.durable.open()
        self.opened = True
        connection = self.durable._connection
        assert connection is not None
        for setting in (
            f"wal_autocheckpoint = {self._random.choice((4, 15, 60))}",
            f"journal_size_limit = {self._random.choice((0, 40_000, 4_000_000))}",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
        return snapshot

    def close(self) -> None:
        for store in (*self._left, self.durable):
            store.close()

    def apply(self, batches: Sequence[Batch]) -> None:
        new = [batch for batch in batches if batch and not any(batch is known for known in self._committed)]
        if new:
            self._commit(new)

    def together(self, batches: Sequence[Batch]) -> None:
        """Make several batches one commit, as the writer does under load; `apply` then leaves them out."""
        self.apply(batches)
        self._committed = list(batches)

    def _commit(self, batches: list[Batch]) -> None:
        # As the contract lets it, what a group lets go of is let go of at its end.
        times = [batch.collect_ms for batch in batches if batch.collect_ms is not None]
        trims = [trim for batch in batches for trim in batch.trims]
        super().apply([replace(batch, trims=[], collect_ms=None) for batch in batches])
        super().apply([Batch(trims=trims, collect_ms=times[-1] if times else None)])
        self.states.append(content_of(super().open(), self.rows.values(), self))
        number = len(self.states) - 1
        self._recording.mark(str(self.file), BEGUN, number)
        self.durable.apply(batches)
        self._recording.mark(str(self.file), ACKNOWLEDGED, number)
        if self._random.random() < 0.7:
            self.durable.tidy()

    def read(self, query: Query) -> Answer:
        answer, expected = self.durable.read(query), super().read(query)
        if answer != expected:
            self.wrong.append(f"8: {query} is answered by {answer.rows}, and not by {expected.rows}"[:300])
            raise WrongAnswer
        return answer


class Chain(Mesh):
    """Three agents in a row, with twins for stores."""

    def __init__(self, twins: dict[str, Twin], random: Random) -> None:
        self.draw = random
        self.twins = twins
        self.ways = tuple(pairwise(CHAIN))
        super().__init__(*self.ways, limits=dict.fromkeys(CHAIN, LIMITS), connected=False)

    def start(self, name: str) -> None:
        self.nodes[name].store = self.twins[name]
        super().start(name)

    def release(self, name: str, most: int | None = None) -> None:
        node = self.nodes[name]
        if most is None:
            self.twins[name].together([effects.batch for effects, _ in node.held])
        super().release(name, most)

    # -- one random thing -----------------------------------------------------------------------------------------

    def act(self) -> None:
        """Do something."""
        choices: dict[Callable[[], object], int] = {
            self._put: 6,
            self._deliver: 20,
            self._finish: 6,
            self._link: 3,
            self._wish: 2,
            self._hold: 2,
            self._time: 1,
            self._crash: 1,
            self._invite: 1,
        }
        (act,) = self.draw.choices(list(choices), list(choices.values()))
        with suppress(MeshError):
            act()

    def _put(self) -> None:
        wishes: dict[str, Any] = {"life_s": self.draw.choice((None, 20.0))}
        if self.draw.random() < 0.5:
            wishes["key"] = f"key {self.draw.randrange(6)}"
        if self.draw.random() < 0.3:
            wishes["payload"] = name_blob(self.draw.randbytes(self.draw.randrange(1, 400)))
        wish = Put(ZONE, ".".join(CHAIN[: self.draw.choice((2, 3, 3))]), TEXT, **wishes)
        self.ask("origin", lambda engine, token, now_ms: engine.put(token, wish, now_ms))

    def _deliver(self) -> None:
        busy = [way for way, packed in self.wire.items() if packed]
        if self.draw.random() < 0.2:
            self.settle()
        elif busy:
            self.deliver(*self.draw.choice(busy), self.draw.randint(1, 8))

    def _finish(self) -> None:
        node = self.nodes[self.draw.choice(CHAIN)]
        if node.starts:
            job_id = node.starts.pop(self.draw.randrange(len(node.starts))).job_id
            if self.draw.random() < 0.3:
                node.engine.progress(job_id, "half way", 0.5, self.clock(node.name))
                self.step(node.name)
            ending = self.draw.choice(ENDINGS)
            if isinstance(ending.result, str) and len(ending.result) > LIMITS.result_bytes and self.draw.random() < 0.5:
                blob = name_blob(ending.result.encode())
                stage(
                    node.engine.ledger, job_id, blob.name, 0, blob.data[: 2 * LIMITS.slice_bytes], self.clock(node.name)
                )
                self.step(node.name)
            self.finish(node.name, job_id, ending)

    def _link(self) -> None:
        ends = self.draw.choice(self.ways)
        if not self.links[frozenset(ends)]:
            self.connect(*ends)
            self.settle()
        elif self.draw.random() < 0.2:
            self.cut(*ends)

    def _wish(self) -> None:
        jobs = [reply for reply in self.nodes["origin"].replies.values() if isinstance(reply, bytes)]
        if jobs:
            (self.cancel if self.draw.random() < 0.6 else self.delete)("origin", self.draw.choice(jobs))

    def _hold(self) -> None:
        name = self.draw.choice(CHAIN)
        if self.nodes[name].holding:
            self.release(name)
        elif self.draw.random() < 0.4:
            self.hold(name)

    def _time(self) -> None:
        self.tick(self.draw.choice((1.0, 1.0, 15.0, 400.0, 4_000.0)))

    def _crash(self) -> None:
        self.crash(self.draw.choice(CHAIN))

    def _invite(self) -> None:
        node = self.nodes[self.draw.choice(CHAIN)]
        node.engine.expect(invitation(self.draw.randrange(4)))
        node.engine.trust("lab", f"{node.name}.far", self.draw.randbytes(20))
        self.step(node.name)


@contextmanager
def small() -> Iterator[None]:
    """Everything that happens after thousands of jobs happens after a few."""
    with (
        patch.object(mesh.ledger, "TRIM", 4),
        patch.object(pending, "ROWS", 4),
        patch.object(pending, "FOLD", 2),
        patch.object(journal, "LENGTH", 4_096),
        patch.object(journal, "_CHUNK", 2_048),
        patch.object(slots, "SLOT", 64),
    ):
        yield


def live(folder: Path, recording: Recording, seed: int, acts: int) -> dict[str, Twin]:
    """Let a chain live in `folder` for a number of random acts; its twins, closed."""
    random = Random(seed)
    with small():
        twins = {name: Twin(folder / f"{name}.sqlite", recording, random) for name in CHAIN}
        try:
            chain = Chain(twins, random)
            with suppress(WrongAnswer):
                for ends in chain.ways:
                    chain.connect(*ends)
                for _ in range(acts):
                    chain.act()
                for name in CHAIN:
                    chain.release(name)
        finally:
            for twin in twins.values():
                twin.close()
    return twins
