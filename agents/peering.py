"""Who this agent talks to while it runs: its port, the peers it dials, invitations written and accepted.

An agent without a port opens none until its first invitation, which picks a free one on loopback and keeps it in
`mesh.toml`. The invited side dials, always (R11).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agents.handshake import Local
from agents.links import Links
from agents.pairing import Wish, accept, card_of, invite, keep_address
from agents.settings import Settings
from grammar.errors import MeshError
from invitations.addresses import parse_listen
from invitations.fingerprint import fingerprint_text, fingerprint_words
from invitations.invitation import Invitation
from invitations.peers import PeerRow
from mesh.board import Board
from mesh.transport.contract import Listener, Network, Page
from mesh.transport.dialer import Dialer, DialerLimits, DialerState, Dialing, Up, Waiting

log = logging.getLogger("hopboard.peers")


class Peering:
    """The peers of one running agent.

    Args:
        settings: its folder.
        local: the agent, as links see it.
        network: how it reaches others.
        pages: what its port answers to a plain GET.
    """

    def __init__(self, settings: Settings, local: Local, network: Network, pages: Mapping[str, Page]) -> None:
        self._settings = settings
        self._local = local
        self._network = network
        self._pages = pages
        self.links = Links(local, network, self._link_changed)
        self._dialers: dict[tuple[bytes, str], tuple[Dialer, asyncio.Task[None]]] = {}
        self._listener: Listener | None = None
        self._listens_at: str | None = None
        self._dialled: dict[tuple[bytes, str], tuple[tuple[str, ...], bytes | None]] = {}
        self._leaving: list[asyncio.Task[None]] = []
        # Two first invitations at once open one port.
        self._opening = asyncio.Lock()
        self._waiters: list[asyncio.Future[None]] = []
        self._troubles: dict[tuple[str, str], MeshError] = {}

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the port, if there is one, and dial.

        Raises:
            ListenFailed: the port is taken or not ours.
        """
        listen = self._settings.config.agent.listen
        if listen is not None:
            await self._listen(listen)
        for peer in self._local.book.peers:
            self._dial(peer)

    async def stop(self) -> None:
        """Close everything that was opened."""
        await self.links.close_all()
        for _, task in self._dialers.values():
            task.cancel()
        if self._listener is not None:
            await self._listener.close()
        tasks = [*self._leaving, *(task for _, task in self._dialers.values())]
        if tasks:
            await asyncio.wait(tasks)

    async def _listen(self, address: str) -> None:
        host, port = parse_listen(address)
        self._listener = await self._network.listen(host, port, self.links.accept, pages=self._pages)
        self._listens_at = address

    @property
    def address(self) -> str | None:
        """Where it listens, as a URL for this machine."""
        return None if self._listener is None else self._listener.address

    # -- dialling -----------------------------------------------------------------------------------------------

    def _dial(self, peer: PeerRow) -> None:
        if not peer.urls or peer.state != "pinned":
            return
        earlier = self._dialers.get(peer.key)
        if earlier is not None and self._dialled.get(peer.key) == (peer.urls, peer.invitation_id):
            return
        self._dialled[peer.key] = peer.urls, peer.invitation_id
        if earlier is not None:
            # A later invitation: another secret, and perhaps another address.
            earlier[1].cancel()
            self._leaving.append(earlier[1])
        limits = self._settings.limits
        dialer = Dialer(
            peer.urls,
            partial(self.links.dial, peer),
            partial(self._dialer_says, peer),
            random=random.random,
            limits=DialerLimits(base_s=limits.redial_s, cap_s=limits.redial_max_s),
        )
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(dialer.run(), name=f"dial {peer.name}")
        self._dialers[peer.key] = dialer, task

    def _dialer_says(self, peer: PeerRow, state: DialerState) -> None:
        event = self.links.event(peer.name, peer.zone)
        match state:
            case Dialing():
                event.state = "dialling"
            case Up():
                event.state = "up"
                self._troubles.pop((peer.name, peer.zone), None)
            case Waiting(seconds=seconds, error=error):
                event.state = "waiting"
                if error is not None:
                    self._troubles[peer.name, peer.zone] = error
                if error is not None and (error.message, error.fix) != (event.trouble, event.fix):
                    event.trouble, event.fix = error.message, error.fix
                    log.warning("no link to %s: %s", peer.name, error.message, extra={"fix": error.fix})
                log.debug("dialling %s again in %.1f s", peer.name, seconds)
        event.since_ms = self._local.stepping.now_ms()
        self._wake()

    def _link_changed(self, board: Board) -> None:
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()` is true; looked at whenever a link came up, went down or failed to."""
        while not holds():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    # -- pairing ------------------------------------------------------------------------------------------------

    async def invite(self, wish: Wish) -> Invitation:
        """Make an invitation that is good from now on; opens the port if there is none yet.

        Raises:
            MeshError: see `pairing.invite`; nothing was changed but, perhaps, the port opened.
        """
        local = self._local
        # Not asked twice: the settings are those of the start, which a port picked since then is not in.
        async with self._opening:
            listen = self._listens_at or keep_address(self._settings)
            if self._listener is None:
                await self._listen(listen)
        now = local.stepping.now_ms() / 1000
        invitation, row = invite(self._settings, local.book, wish, listen, now)
        local.book.keep_invitation(row)
        local.engine.show(card_of(self._settings, local.book, now))
        local.engine.expect(row)
        await local.stepping.settled()
        return invitation

    async def join(self, path: Path) -> PeerRow:
        """Accept an invitation file and begin to dial.

        Raises:
            MeshError: see `pairing.accept`; nothing was changed.
        """
        local = self._local
        now = local.stepping.now_ms() / 1000
        row = accept(self._settings, local.book, path, now)
        local.book.keep(row)
        local.engine.pair(row)
        await local.stepping.settled()
        self._dial(row)
        return row

    async def revoke(self, name: str, zone: str | None = None) -> tuple[PeerRow, ...]:
        """Make a peer a stranger: its key is refused from now on, in every zone, and its links close.

        Raises:
            PeerError: there is no such peer.
        """
        local = self._local
        found = local.book.find(name, zone)
        rows = tuple(row for peer in found for row in local.book.revoked(peer.fingerprint))
        for row in rows:
            local.book.keep(row)
            dialler = self._dialers.pop(row.key, None)
            if dialler is not None:
                dialler[1].cancel()
                self._leaving.append(dialler[1])
        local.engine.revoke(rows)
        await local.stepping.settled()
        return rows

    async def believe(self, route: str, zone: str, fingerprint: bytes) -> None:
        """Pin another key for an agent further away, or forget the one that is pinned (no bytes)."""
        self._local.engine.trust(zone, route, fingerprint)
        self._local.stepping.poke()
        await self._local.stepping.settled()

    def is_up(self, name: str, zone: str) -> bool:
        """Whether a link to that peer stands, both sides having greeted."""
        board = self._local.engine.board(zone, name)
        return board is not None and board.open

    def trouble(self, name: str, zone: str) -> MeshError | None:
        """Why the last attempt to dial that peer failed; None before the first one, and once the link stands."""
        return self._troubles.get((name, zone))

    def listed(self) -> list[dict[str, Any]]:
        """Every peer, and every agent that was invited, as JSON objects."""
        now_ms = self._local.stepping.now_ms()
        found = []
        for board in self._local.engine.boards:
            event = self.links.event(board.name, board.zone)
            record = peer_record(
                board,
                self._local.book.named(board.name, board.zone),
                state=self._state(board),
                trouble=event.trouble,
                fix=event.fix,
                since_s=max(0.0, (now_ms - event.since_ms) / 1000) if event.since_ms else None,
            )
            found.append(record)
        return found

    def _is_invited(self, board: Board) -> bool:
        invitations = self._local.book.invitations
        return any(
            (one.name, one.zone, one.state) == (board.name, board.zone, "open") for one in invitations
        ) or not any((row.name, row.zone) == (board.name, board.zone) for row in self._local.book.peers)

    def _state(self, board: Board) -> str:
        if board.open:
            return "up"
        if board.fingerprint is None:
            return "invited" if self._is_invited(board) else "revoked"
        state = self.links.event(board.name, board.zone).state
        return state if state != "up" else "down"


def peer_record(
    board: Board, row: PeerRow | None, *, state: str, trouble: str = "", fix: str = "", since_s: float | None = None
) -> dict[str, Any]:
    """What `mesh peers` shows of one peer."""
    return {
        "name": board.name,
        "zone": board.zone,
        "kind": board.kind,
        "state": state if row is None or row.state == "pinned" else "revoked",
        "since_s": since_s,
        "dials": "us" if row is None or not row.urls else "them",
        "urls": [] if row is None else list(row.urls),
        "fingerprint": None if board.fingerprint is None else fingerprint_text(board.fingerprint),
        "words": None if board.fingerprint is None else fingerprint_words(board.fingerprint),
        "waiting": sum(board.waiting.values()),
        "offered": sum(board.offered.values()),
        "credit": board.credit,
        "credit_reason": board.credit_reason or None,
        "refusing": board.refusing or None,
        "skew_s": board.skew_ms / 1000 if board.open else None,
        "instructions": None if board.keywords is None else sorted(board.keywords),
        "trouble": trouble or board.last_refusal or None,
        "fix": fix or None,
    }
