"""A wire with faults: a port that passes bytes on to another one, and does to them what bad networks do.

    async with FaultProxy("ws://127.0.0.1:7000") as wire:
        invitation = await portal.invite("cluster", urls=[wire.url])
        wire.silence(UP)       # from now on nothing that the dialler sends arrives, and nobody is told
        wire.heal()

Faults of the wire hold for connections that stand and for those to come; `vanish` and `reset` are done to those that
stand. `UP` is what the dialler says, `DOWN` what it hears. Pauses here are the fault itself: nothing waits for them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

UP: Final = "up"
DOWN: Final = "down"
BOTH: Final = (UP, DOWN)
CHUNK: Final = 16_384
RECEIVE_BYTES: Final = 65_536
"""Kernel buffer for what is not read: small, so that a sender soon feels it."""


@dataclass
class Way:
    """One direction of the wire.

    Attributes:
        delay_s: how much later a piece arrives than it was sent.
        bytes_per_s: how much passes in a second; 0 for as much as comes.
        silent: what comes is read and thrown away.
        blocked: nothing is read any more.
        carried: how many bytes were passed on.
        recorded: the bytes themselves, once the wire has been told to record.
    """

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    silent: bool = False
    blocked: bool = False
    carried: int = 0
    recorded: bytearray | None = None


@dataclass(eq=False)
class _Carried:
    """One connection through the wire: both its sockets, and the shadow that hears the dialler too, if there is one."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    shadow: asyncio.StreamWriter | None = None
    gone: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def abort(self, *, rst: bool) -> None:
        for writer in (self.near, self.far, self.shadow):
            if writer is None:
                continue
            if rst:
                _linger_none(writer)
            writer.transport.abort()


class FaultProxy:
    """A wire to `target`, a URL. Open while in `async with`.

    Attributes:
        ways: `UP` and `DOWN`, to be changed at will.
        mute: who dials is accepted, and nothing more happens.
        refusing: who dials is reset at once.
        doubled: each connection is made twice: a second one to the target gets a copy of all that the dialler says.
        accepted: connections so far.
        shadows_ended: second connections that the target has closed.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.ways = {UP: Way(), DOWN: Way()}
        self.mute = False
        self.refusing = False
        self.doubled = False
        self.accepted = 0
        self.shadows_ended = 0
        self._carried: list[_Carried] = []
        self._muted: list[asyncio.StreamWriter] = []
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=CHUNK)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [task for carried in self._carried for task in carried.tasks]
        for carried in self._carried:
            carried.abort(rst=False)
        for writer in self._muted:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    # -- faults -------------------------------------------------------------------------------------------------

    def slow(self, *, delay_s: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Let everything take its time, both ways."""
        for way in self.ways.values():
            way.delay_s, way.bytes_per_s = delay_s, bytes_per_s

    def silence(self, *ways: str) -> None:
        """What is said in these directions is lost; both ends go on believing that it was sent."""
        for name in ways:
            self.ways[name].silent = True

    def block(self, *ways: str) -> None:
        """Nothing of these directions is read any more: the sender's kernel fills up, then the sender waits."""
        for name in ways:
            self.ways[name].blocked = True

    def record(self) -> None:
        """Keep all that goes through from now on."""
        for way in self.ways.values():
            way.recorded = bytearray()

    def reset(self) -> None:
        """Every connection that stands ends with RST, at both ends."""
        for carried in self._taken():
            carried.abort(rst=True)

    def vanish(self) -> None:
        """The hosts of the connections that stand are gone without a word: no FIN, no RST, nothing carried."""
        for carried in self._taken():
            carried.gone = True
        self._wake()

    def cut(self) -> None:
        """End what stands and refuse what comes, until `heal`."""
        self.refusing = True
        self.reset()

    def heal(self) -> None:
        """All is well from now on; connections that were blocked or muted go on, or find that they are dead."""
        self.mute = self.refusing = self.doubled = False
        for way in self.ways.values():
            way.delay_s = way.bytes_per_s = 0.0
            way.silent = way.blocked = False
        for writer in self._muted:
            writer.transport.abort()
        self._muted.clear()
        self._wake()

    def _taken(self) -> list[_Carried]:
        return [carried for carried in self._carried if not carried.gone]

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # -- carrying -----------------------------------------------------------------------------------------------

    async def _accept(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refusing:
            _linger_none(near)
            near.transport.abort()
            return
        if self.mute:
            self._muted.append(near)
            return
        try:
            far_in, far = await self._dial()
            carried = _Carried(near, far)
            if self.doubled:
                shadow_in, carried.shadow = await self._dial()
        except OSError:
            near.transport.abort()
            return
        self._carried.append(carried)
        loop = asyncio.get_running_loop()
        carried.tasks = [
            loop.create_task(self._carry(carried, near_in, far, self.ways[UP])),
            loop.create_task(self._carry(carried, far_in, near, self.ways[DOWN])),
        ]
        if carried.shadow is not None:
            carried.tasks.append(loop.create_task(self._listen_to_shadow(shadow_in)))

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._target.hostname, self._target.port, limit=CHUNK)

    async def _carry(
        self, carried: _Carried, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way
    ) -> None:
        with suppress(ConnectionError):
            while True:
                while way.blocked or carried.gone:
                    await self._changed.wait()
                rate = way.bytes_per_s
                data = await source.read(max(1, min(CHUNK, int(rate * 0.05))) if rate else CHUNK)
                if not data:
                    break
                if rate or way.delay_s:
                    await asyncio.sleep(way.delay_s + (len(data) / rate if rate else 0.0))
                if way.silent or carried.gone:
                    continue
                way.carried += len(data)
                if way.recorded is not None:
                    way.recorded += data
                sink.write(data)
                if carried.shadow is not None and way is self.ways[UP]:
                    carried.shadow.write(data)
                await sink.drain()
        if not carried.gone:
            carried.abort(rst=False)

    async def _listen_to_shadow(self, source: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while await source.read(CHUNK):
                pass
        self.shadows_ended += 1


def _linger_none(writer: asyncio.StreamWriter) -> None:
    connected = writer.get_extra_info("socket")
    if connected is not None:
        # With no time to linger, closing sends RST instead of FIN.
        with suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
