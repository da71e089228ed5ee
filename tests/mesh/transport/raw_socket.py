"""A client that is bound by nothing: speaks TCP to a listener and writes what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from websockets.frames import Close, Frame, Opcode

from mesh.transport.contract import Listener

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
SUBPROTOCOL = b"Sec-WebSocket-Protocol: hopboard.v1\r\n"


@dataclass(frozen=True)
class RawSocket:
    """One TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def say_without_end(self, data: bytes) -> None:
        """Repeats itself until the other side hangs up."""
        with suppress(ConnectionError):
            while not self.writer.is_closing():
                await self.say(data)
                await asyncio.sleep(0)  # `drain` alone does not let the loop see the other side's reset

    async def frame(self, opcode: Opcode, data: bytes = b"", *, fin: bool = True, mask: bool = True) -> None:
        await self.say(Frame(opcode, data, fin).serialize(mask=mask))

    async def upgrade(self) -> bytes:
        """Sends a good upgrade request; returns the head of the answer."""
        await self.say(UPGRADE + SUBPROTOCOL + b"\r\n")
        return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Everything up to the end, which may be a reset."""
        got = bytearray()
        try:
            while part := await self.reader.read(65_536):
                got += part
        except ConnectionError:
            pass
        return bytes(got)

    async def close_frame(self) -> tuple[int, str] | None:
        """Code and reason of the close frame with which the listener ends, None if it ends without one."""
        rest = await self.rest()
        if not rest:
            return None
        assert rest[0] == 0x80 | Opcode.CLOSE, rest
        close = Close.parse(rest[2:])
        return close.code, close.reason


@asynccontextmanager
async def raw(listener: Listener) -> AsyncIterator[RawSocket]:
    """A TCP connection to a listener."""
    host, _, port = listener.address.removeprefix("ws://").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        yield RawSocket(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def get(listener: Listener, request: bytes) -> tuple[int, bytes, bytes]:
    """Sends one whole request; returns status, head and body of the answer."""
    async with raw(listener) as client:
        await client.say(request)
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        return int(head.split()[1]), head, body
