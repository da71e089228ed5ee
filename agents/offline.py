"""What can be done with an agent that is down, straight on its folder.

Reading opens the store read-only, without its lock, so it also works beside an agent that is just starting; but after
one that was killed the lock is taken for a moment, to bring its last commits where they can be read. `invite` and
`join` take the lock and commit what the running agent would have committed. Everything answers with the records of
`agents.records`, as the running agent does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.blobs import READ, key_of, lost
from agents.lookup import DEAD, PAGE, dead_rows
from agents.pairing import Wish, accept, card_of, keep_address
from agents.pairing import invite as make_invitation
from agents.peering import peer_record
from agents.records import Record, damaged_record, job_record
from agents.settings import Settings, load_settings
from agents.trusted import trust_records
from agents.views import JobView, result_text_of, view_of
from grammar.openportal import VOCABULARY
from invitations.fingerprint import fingerprint_text, fingerprint_words
from invitations.peers import PeerBook
from mesh.access import Access
from mesh.board import Board
from mesh.effects import ById, Bytes
from mesh.engine import Engine
from mesh.errors import CorruptRow, NoSuchJob
from mesh.facts import ID_BYTES, Kind, id_text
from mesh.job import Job
from mesh.lifecycle import State
from mesh.routing import Place, place_of
from mesh.row import Row
from mesh.storage.reader import SqliteReader
from mesh.storage.sqlite import SqliteStore

DOWN: Final = "agent is down"
"""State of every link of an agent that does not run."""


# -- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Looking:
    """A folder whose store is open for reading."""

    settings: Settings
    store: SqliteReader
    boards: tuple[Board, ...]

    def job(self, row: Row) -> Job:
        """A stored job."""
        name = self.settings.name

        def place_on(path: str) -> Place:
            return place_of(path, name) or Place((), 0)

        return Job.from_row(row, place_on)

    def view(self, row: Row) -> JobView | None:
        """A stored job as people see it."""
        limits = self.settings.limits
        return view_of(
            self.job(row),
            {board.id: board.name for board in self.boards},
            self.settings.name,
            now_ms=time.time_ns() // 1_000_000,
            overdue_ms=int(limits.overdue_s * 1000),
        )


@contextmanager
def _reading(home: Path) -> Iterator[_Looking | None]:
    """The folder's store; None for an agent that has never run and has none.

    Raises:
        StoreLocked: an agent that was killed is just starting again.
    """
    settings = load_settings(home)
    if not settings.store_path.exists():
        yield None
        return
    _catch_up(settings)
    with SqliteReader(settings.store_path) as store:
        boards = tuple(Board.from_row(row, settings.limits) for row in store.boards())
        yield _Looking(settings, store, boards)


def _catch_up(settings: Settings) -> None:
    with SqliteReader(settings.store_path) as store:
        if not store.is_behind():
            return
    # Whoever opens a store finishes what a killed process left.
    behind = SqliteStore(settings.store_path, owner=settings.identity.fingerprint)
    try:
        behind.open()
    finally:
        behind.close()


def jobs(home: Path, live: bool | None, states: Sequence[str]) -> Iterator[Record]:
    """Jobs, newest first, as pages of `mesh jobs`; see `JobsRecord`.

    Raises:
        AgentError, StoreError: there is no agent in the folder, or its store cannot be read.
    """
    numbers = tuple(list(State).index(State(state)) for state in states)
    with _reading(home) as looking:
        after = 0
        while looking is not None:
            rows = looking.store.list_jobs(live=live, states=numbers, after=after, limit=PAGE)
            after = rows[-1].seq if len(rows) == PAGE else 0
            yield _page(looking, rows, after, lambda view: view.state != State.DELETED)
            if not after:
                return


def dead(home: Path) -> Iterator[Record]:
    """The dead letters, newest first, as pages of `mesh dead`.

    Raises:
        AgentError, StoreError: as `jobs`.
    """
    with _reading(home) as looking:
        after = 0
        while looking is not None:
            rows, after = dead_rows(looking.store, after=after, limit=PAGE)
            yield _page(looking, rows, after, lambda view: view.state in DEAD)
            if not after:
                return


def _page(looking: _Looking, rows: Sequence[Row], following: int, shown: Callable[[JobView], bool]) -> Record:
    found: list[Record] = []
    damaged: list[Record] = []
    for row in rows:
        try:
            view = looking.view(row)
        except CorruptRow as error:
            damaged.append(damaged_record(row.id, error))
        else:
            found += [job_record(view)] if view is not None and shown(view) else []
    return {"jobs": found, "next": following, "damaged": damaged}


def job(home: Path, text: str) -> Record:
    """The job that `text` names.

    Raises:
        NoSuchJob: none or several; the message lists them.
    """
    with _reading(home) as looking:
        if looking is None:
            return job_record(None)
        rows = _named(looking.store, text)
        if len(rows) > 1:
            listed = ", ".join(id_text(row.id)[12:24] for row in rows)
            raise NoSuchJob(f'several jobs start with "{text}": {listed}', fix="write more characters")
        return job_record(looking.view(rows[0]) if rows else None)


def result(home: Path, text: str) -> bytes:
    """The JSON text of the result of the job that `text` names, however long.

    Raises:
        NoSuchJob, BytesLost: there is no such job, it has no result, or that is not here.
    """
    with _reading(home) as looking:
        rows = [] if looking is None else _named(looking.store, text)
        if looking is None or not rows:
            raise NoSuchJob("this agent has no such job", fix="see `mesh jobs --all`")
        job = looking.job(rows[0])
        found = key_of(job, Kind.OUTCOME)
        if found is None:
            return result_text_of(job)
        key, length = found
        parts: list[bytes] = []
        while sum(map(len, parts)) < length:
            slices = looking.store.read(Bytes(key, 0, sum(map(len, parts)), READ)).slices
            if not slices:
                raise lost(Kind.OUTCOME)
            parts += [part.data for part in slices]
        return b"".join(parts)


def _named(store: SqliteReader, text: str) -> list[Row]:
    word = text.strip().lower()
    try:
        prefix = bytes.fromhex(word[: len(word) // 2 * 2])
        bytes.fromhex(word if len(word) % 2 == 0 else f"{word}0")
    except ValueError:
        raise NoSuchJob(f'"{text}" is no job id', fix="ids are hexadecimal; see `mesh jobs --all`") from None
    if len(prefix) == ID_BYTES:
        return store.read(ById((prefix,))).rows
    return [row for row in store.find_short(prefix, 16) if id_text(row.id)[12:].startswith(word)]


def peers(home: Path) -> list[Record]:
    """Peers and invited agents, as `mesh peers` shows them."""
    with _reading(home) as looking:
        if looking is None:
            return []
        book = PeerBook(looking.store.peers())
        return [peer_record(board, book.named(board.name, board.zone), state=DOWN) for board in looking.boards]


def trust(home: Path) -> list[Record]:
    """Every key that is believed, as `mesh trust` shows them."""
    settings = load_settings(home)
    if not settings.store_path.exists():
        return trust_records((), (), (), settings.portals)
    store = SqliteStore(settings.store_path, owner=settings.identity.fingerprint)
    snapshot = store.open()
    try:
        return trust_records(store.peers(), snapshot.pins, snapshot.portals, settings.portals)
    finally:
        store.close()


# -- pairing ----------------------------------------------------------------------------------------------------


@contextmanager
def _writing(settings: Settings) -> Iterator[tuple[Engine, PeerBook, Callable[[], None]]]:
    """The folder's store with its lock: an engine on it, the peers in it, and what commits the engine's step.

    Raises:
        StoreLocked: another process has it: the agent runs, or begins to.
    """
    store = SqliteStore(
        settings.store_path, keep_jobs=settings.config.store.keep_jobs, owner=settings.identity.fingerprint
    )
    snapshot = store.open()
    try:
        book = PeerBook(store.peers(), store.invitations())
        card = card_of(settings, book, time.time())
        access = Access(settings.name, VOCABULARY, portals=settings.portals)
        engine = Engine(card, settings.identity.sign, os.urandom, settings.limits, access)
        engine.open(snapshot)
        yield engine, book, lambda: store.apply([engine.end_step(time.time_ns() // 1_000_000).batch])
    finally:
        store.close()


def invite(
    home: Path, peer: str, kind: str | None, zone: str | None, urls: tuple[str, ...], ranges: tuple[str, ...]
) -> Record:
    """Make an invitation, as `Agent.invite` does. It is good from the moment the agent runs.

    Raises:
        MeshError: a value is not legal, or there is a peer of that name.
    """
    settings = load_settings(home)
    with _writing(settings) as (engine, book, commit):
        wish = Wish(peer, kind, zone, urls, ranges)
        invitation, row = make_invitation(settings, book, wish, keep_address(settings), time.time())
        engine.expect(row)
        commit()
    return {
        "text": invitation.to_toml(),
        "name": invitation.name,
        "zone": invitation.zone,
        "urls": list(invitation.urls),
        "not_after": invitation.not_after,
        "fingerprint": fingerprint_text(invitation.card.fingerprint),
        "words": fingerprint_words(invitation.card.fingerprint),
    }


def join(home: Path, file: Path) -> Record:
    """Accept an invitation file, as `Agent.join` does. The agent dials once it runs.

    Raises:
        MeshError: it is no invitation, or not for this agent, or not now.
    """
    settings = load_settings(home)
    with _writing(settings) as (engine, book, commit):
        row = accept(settings, book, file, time.time())
        engine.pair(row)
        commit()
    return {
        "name": row.name,
        "zone": row.zone,
        "fingerprint": fingerprint_text(row.fingerprint),
        "words": fingerprint_words(row.fingerprint),
        "up": False,
        "trouble": None,
    }
