"""Looking jobs up at one running agent: one by its id, by the characters that people type, or lists of them.

What is in memory is newer than the store and is shown instead; only an end that this agent alone knows of waits for
its commit, since a crash before that would take it back. Lists and searches are read beside the writer, so they hold up
no commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from agents.settings import Settings
from agents.stepping import Stepping
from agents.views import JobView, view_of
from mesh.effects import ById, ByKey
from mesh.engine import Engine
from mesh.errors import CorruptRow, NoSuchJob
from mesh.facts import ID_BYTES, id_text
from mesh.job import Job
from mesh.lifecycle import Role, State
from mesh.origin import retry_key
from mesh.row import Row
from mesh.storage.beside import Beside
from mesh.storage.columns import ORIGIN
from mesh.storage.contract import Reads

PAGE: Final = 500
LISTED: Final = 16
"""Jobs that an ambiguous id is answered with."""
DEAD: Final = (State.ERROR, State.REJECTED, State.EXPIRED)
"""States of a dead letter: a job that did not do what its origin wanted, and not because the origin stopped it."""

_STATES: Final = tuple(State)


class Page(NamedTuple):
    """A part of a list of jobs.

    Attributes:
        views: the jobs.
        following: what to ask the next page with; 0 after the last one.
        damaged: jobs that belong there and whose rows are damaged: id and error of each (R10).
    """

    views: list[JobView]
    following: int
    damaged: list[tuple[bytes, CorruptRow]]


class Lookup:
    """The jobs of one running agent, to be looked at.

    Args:
        settings, engine, stepping: of the agent.
        beside: reads its store.
    """

    def __init__(self, settings: Settings, engine: Engine, stepping: Stepping, beside: Beside) -> None:
        self._settings = settings
        self._engine = engine
        self._stepping = stepping
        self._beside = beside

    def look(self, job_id: bytes) -> JobView | None:
        """A resident job as it is now, None if it is not in memory. An Outcome that was told already counts."""
        job = self._engine.ledger.find(job_id)
        return None if job is None else self._view(job)

    def is_durable(self, job_id: bytes) -> bool:
        """Whether what is shown of a job is committed, here or, if it was told ahead, at its destination."""
        ledger = self._engine.ledger
        job = ledger.find(job_id)
        if job is None or (job.live and job.ahead is not None):
            return True
        return job_id not in ledger.dirty and job.step <= ledger.durable_step

    def _view(self, job: Job) -> JobView | None:
        boards = {board.id: board.name for board in self._engine.ledger.boards.values()}
        overdue_ms = int(self._settings.limits.overdue_s * 1000)
        # Whoever asks is told what the first one was, who may have gone.
        told = job.ahead if job.live and job.role is Role.ORIGIN else None
        now_ms = self._stepping.now_ms()
        return view_of(job, boards, self._settings.name, now_ms=now_ms, overdue_ms=overdue_ms, told=told)

    def _view_row(self, row: Row) -> JobView | None:
        # A stored job as it was committed; a resident one as it is.
        job = self._engine.ledger.find(row.id)
        try:
            return self._view(job if job is not None else Job.from_row(row, self._engine.ledger.place_on))
        except CorruptRow:
            # Nobody else may ask for it in a long time: it is fetched from the neighbours from now on.
            if type(row.id) is bytes:
                self._engine.fetch(row.id)
                self._stepping.poke()
            raise

    async def _paged(self, rows: Iterable[Row], following: int, shown: Callable[[JobView], bool]) -> Page:
        views: list[JobView] = []
        damaged: list[tuple[bytes, CorruptRow]] = []
        for row in rows:
            try:
                view = self._view_row(row)
            except CorruptRow as error:
                damaged.append((row.id, error))
            else:
                views += [view] if view is not None and shown(view) else []
        if not all(view.live or self.is_durable(bytes.fromhex(view.id)) for view in views):
            await self._stepping.settled()
        return Page(views, following, damaged)

    async def view(self, job_id: bytes) -> JobView:
        """A job as it is now.

        Raises:
            NoSuchJob: it is not known here, or only its id is kept.
        """
        found = self.look(job_id)
        if found is not None and not found.live and not self.is_durable(job_id):
            await self._stepping.settled()
        if found is None:
            answer = await self._beside.read(ById((job_id,)))
            found = self._view_row(answer.rows[0]) if answer.rows else None
        if found is None:
            raise NoSuchJob("this agent has no such job, or only remembers that it is over")
        return found

    async def find(self, text: str) -> bytes:
        """The id that a person means: the whole id, or the first characters of its hash part.

        Raises:
            NoSuchJob: none or several; the message lists them.
        """
        word = text.strip().lower()
        try:
            raw = bytes.fromhex(word if len(word) % 2 == 0 else word + "0")
        except ValueError:
            raise NoSuchJob(f'"{text}" is no job id', fix="ids are hexadecimal; see `mesh jobs --all`") from None
        if len(raw) == ID_BYTES:
            return raw
        # A store looks for whole bytes: an odd digit stands for the sixteen bytes that begin with it.
        ends = [""] if len(word) % 2 == 0 else list("0123456789abcdef")
        prefixes = [bytes.fromhex(word + end) for end in ends]
        matches = await self._beside.call(partial(_short_ids, prefixes=prefixes))
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise NoSuchJob(f'no job starts with "{text}"', fix="see `mesh jobs --all`")
        listed = ", ".join(id_text(one)[12:24] for one in matches)
        raise NoSuchJob(f'several jobs start with "{text}": {listed}', fix="write more characters")

    async def listed(
        self, *, live: bool | None = True, states: Sequence[str] = (), limit: int | None = None
    ) -> list[JobView]:
        """Jobs for people, newest first.

        Args:
            live: only live ones, only finished ones, or both.
            states: only these states; empty for all.
            limit: at most so many; None for all.

        A job whose row is damaged is left out; the log names it.
        """
        found: list[JobView] = []
        after = 0
        while limit is None or len(found) < limit:
            wanted = PAGE if limit is None else min(PAGE, limit - len(found))
            views, after, _ = await self.page(live=live, states=states, after=after, limit=wanted)
            found += views
            if not after:
                break
        return found

    async def page(
        self, *, live: bool | None = True, states: Sequence[str] = (), after: int = 0, limit: int = PAGE
    ) -> Page:
        """A part of `listed`.

        Args:
            after: 0 for the first page; for a later one what the page before it said.
        """
        numbers = tuple(_STATES.index(State(state)) for state in states)
        rows = await self._beside.call(partial(_page, live=live, states=numbers, after=after, limit=limit))
        following = rows[-1].seq if len(rows) == limit else 0
        return await self._paged(rows, following, lambda view: view.state != State.DELETED)

    async def dead(self, *, after: int = 0, limit: int = PAGE) -> Page:
        """A page of the dead letters: jobs of this agent's own that failed and were not put again since."""
        rows, following = await self._beside.call(partial(dead_rows, after=after, limit=limit))
        return await self._paged(rows, following, lambda view: view.state in DEAD)


def dead_rows(store: Reads, *, after: int, limit: int) -> tuple[list[Row], int]:
    """The dead letters among `limit` stored jobs from `after` on, and where to go on; 0 after the last one."""
    states = tuple(_STATES.index(state) for state in DEAD)
    rows = store.list_jobs(live=False, states=states, after=after, limit=limit)
    # A damaged row may have anything for an id; it is found damaged when it is shown.
    ours = (row for row in rows if row.role == ORIGIN)
    dead = [row for row in ours if type(row.id) is not bytes or not store.read(ByKey(retry_key(row.id))).rows]
    return dead, rows[-1].seq if len(rows) == limit else 0


def _short_ids(store: Reads, *, prefixes: Sequence[bytes]) -> list[bytes]:
    return [row.id for prefix in prefixes for row in store.find_short(prefix, LISTED)][:LISTED]


def _page(store: Reads, *, live: bool | None, states: Sequence[int], after: int, limit: int) -> list[Row]:
    return store.list_jobs(live=live, states=states, after=after, limit=limit)
