"""An agent that runs: everything of it that is alive, wired in one place.

    store -> writer thread -> stepping (the loop) -> engine
                                  |-> peering, links (peers)     |-> executor (handlers)
                                  |-> jobs, watches (callers)    |-> log (alarms)

`Agent` is the public face; the local door and the command line use the same verbs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from functools import partial

from agents.blobs import BlobReader, Source, store_result
from agents.children import ChildHandle
from agents.context import Context
from agents.executor import Executor
from agents.handlers import Handlers
from agents.jobs import Jobs
from agents.lookup import Lookup
from agents.metrics import CONTENT_TYPE, Handled, exposition, families
from agents.pairing import card_of
from agents.peering import Peering
from agents.settings import Settings
from agents.stepping import Stepping
from agents.watching import Watch, Watching
from grammar.errors import MeshError
from invitations.card import Card
from invitations.peers import PeerBook
from mesh.access import Access
from mesh.effects import Early, Effects, Start
from mesh.ending import Ending
from mesh.engine import Engine
from mesh.facts import Kind, Request, id_text
from mesh.opening import Snapshot
from mesh.room import Room
from mesh.storage.beside import Beside
from mesh.storage.contract import Store
from mesh.storage.writer import Writer
from mesh.transport.contract import Network

log = logging.getLogger("hopboard")


class Running:
    """One running agent. Made by `open_agent`.

    Args:
        settings: its folder.
        handlers: what it does.
        writer: its store, open.
        beside: reads that store, for people.
        snapshot: what the store told at its opening.
        book: its peers and invitations.
        network: how it reaches others.
    """

    def __init__(
        self,
        settings: Settings,
        handlers: Handlers,
        writer: Writer,
        beside: Beside,
        snapshot: Snapshot,
        book: PeerBook,
        network: Network,
    ) -> None:
        self.settings = settings
        self.handlers = handlers
        self.identity = settings.identity
        self.book = book
        self.started_ms = clock_ms()
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._writer = writer
        self._beside = beside
        access = Access(
            settings.name,
            handlers.vocabulary,
            handlers.keywords,
            handlers.built_in,
            told=handlers.told,
            portals=settings.portals,
            allow=settings.allow,
            block=settings.block,
        )
        self.engine = Engine(self.card(), self.identity.sign, os.urandom, settings.limits, access)
        self.engine.open(snapshot)
        self.engine.ledger.revoked.update(peer.fingerprint for peer in book.peers if peer.state == "revoked")
        self.stepping = Stepping(self.engine, writer, self, clock_ms)
        writer.watch_room(self._room_changed)
        self.watching = Watching()
        self.blobs = BlobReader(self.engine, beside)
        self.lookup = Lookup(settings, self.engine, self.stepping, beside)
        self.jobs = Jobs(
            settings, handlers, self.engine, self.stepping, self.lookup, self.blobs, self.watching, clock_ms
        )
        self.executor = Executor(
            handlers, settings.limits, self._ended, partial(store_result, self.engine, self.stepping)
        )
        self.handled = Handled()
        pages = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        self.peering = Peering(settings, self, network, pages)

    async def start(self) -> None:
        """Commit the opening, listen and dial."""
        await self.stepping.settled()
        await self.peering.start()

    async def stop(self) -> None:
        """Stop cleanly: no new starts, handlers taken away and noted, links and store closed."""
        self.engine.destination.draining = True
        await self.executor.close()
        if not self.failure.done():
            await self.stepping.settled()
        await self.peering.stop()
        if not self.failure.done():
            await self.stepping.close()
        self.jobs.stopped()
        self.watching.stopped()
        await self._beside.close()
        await self._writer.close()

    def random(self, size: int) -> bytes:
        """`size` unpredictable bytes."""
        return os.urandom(size)

    def card(self) -> Card:
        """Our card, for every zone we have peers or invitations in."""
        return card_of(self.settings, self.book, clock_ms() / 1000)

    def _healthz(self) -> tuple[int, str, str]:
        return 200, "application/json", '{"status":"ok"}'

    def _readyz(self) -> tuple[int, str, str]:
        if self.failure.done():
            return 503, "application/json", '{"status":"failed"}'
        if self.engine.ledger.room is not Room.ENOUGH:
            return 503, "application/json", f'{{"status":"{self.engine.ledger.room}"}}'
        return 200, "application/json", '{"status":"ready"}'

    def _metrics(self) -> tuple[int, str, str]:
        links = self.peering.links
        found = families(
            self.engine.boards,
            links.traffic,
            self.handled,
            queued=links.queued,
            blocked=links.blocked,
            steps=self.stepping.steps,
            started_s=self.started_ms / 1000,
        )
        return 200, CONTENT_TYPE, exposition(found)

    # -- effects (see `stepping.Outlet`) ------------------------------------------------------------------------

    def at_once(self, early: Early) -> None:
        """Outcomes, which are durable at their destination."""
        links = self.peering.links
        for board_id, packed in early.ahead.items():
            links.pass_ahead(board_id, packed)
        links.flush()
        for told in early.told:
            watch = self.watching.find(told.job_id)
            if watch is not None:
                watch.told(told.fact)

    def after_commit(self, effects: Effects) -> None:
        """What is true now that it is durable."""
        for start in effects.start:
            self._start(start)
        links = self.peering.links
        links.send(effects.send)
        # The next agent has something to do meanwhile.
        links.flush()
        for board_id, packed in effects.slices.items():
            links.send_slices(board_id, packed)
        for job_id in effects.stop:
            self.executor.stop(job_id)
        self.jobs.replied(effects.replies)
        for job_id in effects.changed:
            watch = self.watching.find(job_id)
            if watch is not None:
                self._tell(watch)
        for lost in effects.lost:
            watch = self.watching.find(lost.job_id)
            if watch is not None:
                watch.gone(lost.error)
        for board_id, reason in effects.close:
            links.close(board_id, reason)
        for alarm in effects.alarms:
            log.error("ALARM: %s", alarm)
        if effects.changed:
            self.jobs.made_room()

    def flush(self) -> None:
        """What steps have for peers goes out."""
        self.peering.links.flush()

    def _tell(self, watch: Watch) -> None:
        job = self.engine.ledger.find(watch.job_id)
        if job is None or not (watch.wants_views or (watch.outcome is None and not job.live)):
            return
        view = self.lookup.look(watch.job_id)
        if view is not None:
            watch.changed(view)

    def _room_changed(self, room: Room) -> None:
        """The store has no room for more jobs, or has it again; the engine raises the alarm."""
        if room is Room.ENOUGH:
            log.warning("there is room again: new jobs are taken")
        self.stepping.feed(partial(self.engine.room, room))
        self.jobs.made_room()

    def failed(self, error: BaseException) -> None:
        """Nothing may be acknowledged any more (R10)."""
        bug = None if isinstance(error, MeshError) else error
        log.critical("the agent stops: %s", error, exc_info=bug)
        if not self.failure.done():
            self.failure.set_result(error)
        self.jobs.stopped()
        self.watching.stopped()

    # -- handlers -----------------------------------------------------------------------------------------------

    def _start(self, start: Start) -> None:
        job = self.engine.ledger.find(start.job_id)
        assert job is not None, "a job whose handler runs is kept in memory"
        self.handled.started += 1
        self.executor.start(
            start.job_id, start.instruction, partial(self._context, start, job.place.names, job.request)
        )

    def _context(self, start: Start, path: tuple[str, ...], request: Request) -> Context:
        return Context(
            job_id=start.job_id,
            id=id_text(start.job_id),
            attempt=start.attempt,
            path=path,
            instruction=start.instruction,
            origin=request.origin,
            zone=request.zone,
            circle=request.circle,
            context=request.context,
            expires=request.expires_ms / 1000,
            _desk=self,
        )

    def _ended(self, job_id: bytes, ending: Ending | None) -> None:
        self.handled.end("requeued" if ending is None else str(ending.state))
        if ending is None:
            self.stepping.feed(partial(self.engine.requeued, job_id))
        else:
            self.stepping.feed(partial(self.engine.finished, job_id, ending))

    def report(self, job_id: bytes, message: str | None, fraction: float | None) -> None:
        """A handler reports; see `Context.progress`."""
        self.stepping.feed(partial(self.engine.progress, job_id, message, fraction))

    async def payload_of(self, job_id: bytes) -> bytes | None:
        """A handler reads its payload; see `Context.payload`."""
        return await self.blobs.bytes_of(job_id, Kind.REQUEST)

    async def put_child(
        self, parent: bytes, command: str, *, life_s: float | None, key: str | None, payload: Source | None
    ) -> ChildHandle:
        """A handler puts a job; see `Context.put`."""
        zone = self.engine.zone_of(parent)
        own_key = f"{id_text(parent)[12:]}/{key or command}"[:128]
        handle = await self.jobs.put(command, zone=zone, life_s=life_s, key=own_key, parent=parent, payload=payload)
        return ChildHandle(handle, parent, self.engine, self.stepping)


def clock_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


async def open_agent(settings: Settings, handlers: Handlers, store: Store, network: Network) -> Running:
    """Open the store and start an agent on what it holds.

    Raises:
        StoreLocked, StoreError: the store cannot be opened.
        ListenFailed: the port cannot be opened. Everything is closed again then.
    """
    writer = Writer(store)
    snapshot = await writer.open()
    beside = Beside(writer, store.path)
    try:
        book = PeerBook(
            await writer.call(lambda opened: opened.peers()), await writer.call(lambda opened: opened.invitations())
        )
        running = Running(settings, handlers, writer, beside, snapshot, book, network)
        try:
            await running.start()
        except BaseException:
            running.stepping.abandon()
            raise
    except BaseException:
        await beside.close()
        await writer.close()
        raise
    return running
