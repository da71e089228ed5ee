"""A peer with good keys and bad manners, and one who kept all that he heard: for tests of what they get out of it."""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from agents.agent import Agent
from agents.settings import Settings
from invitations.joining import psk_for
from invitations.peers import PeerRow
from mesh.codec import FramePacker
from mesh.errors import LinkError
from mesh.facts import VERSION, Kind, Outcome, Request, make
from mesh.messages import END, Hello, Identify, Message, Type, encode, encode_fact, messages_of
from mesh.proof import leaf_of, sign_batch
from mesh.session import Dialing, Session
from mesh.transport.contract import Connection
from mesh.transport.errors import ConnectionLost
from mesh.transport.websocket import WebsocketNetwork
from tests.integration.mesh_process import MeshProcess

_MASK_BIT: Final = 0x80


@dataclass
class HostilePeer:
    """A link to an agent in the name of one of its peers, greeted and then used at will.

    Attributes:
        settings: of the peer whose keys these are; its agent must not run.
        row: the agent that is dialled, as that peer knows it.
    """

    settings: Settings
    row: PeerRow
    connection: Connection
    session: Session
    _heard: deque[Message] = field(default_factory=deque)

    async def say(self, *packed: bytes) -> bytes:
        """Send messages in one frame; returns the sealed frame."""
        packer = FramePacker()
        packer.extend(list(packed))
        (plain,) = packer.take()
        return await self.say_bytes(plain)

    async def say_bytes(self, plain: bytes) -> bytes:
        """Send one frame of these bytes, whatever they are."""
        sealed = self.session.seal(plain)
        await self.connection.send(sealed)
        return sealed

    async def hear(self, wanted: type[Message]) -> Message:
        """Wait for a message of a type; those before it are passed over."""
        while True:
            while self._heard:
                message = self._heard.popleft()
                if isinstance(message, wanted):
                    return message
            self._heard.extend(messages_of(self.session.open(await self.connection.receive())))

    async def is_closed(self) -> ConnectionLost:
        """Wait until the agent has closed the link."""
        try:
            while True:
                await self.connection.receive()
        except ConnectionLost as lost:
            return lost

    def request(self, path: str, *, origin: bytes | None = None, number: int = 1) -> bytes:
        """A record with a well-signed Request along `path`."""
        now_ms = int(time.time() * 1000)
        mine = self.settings.identity.fingerprint
        content = Request(
            VERSION,
            os.urandom(16),
            self.settings.zone,
            path,
            origin or mine,
            None,
            "add_user fred.proj.org",
            None,
            "",
            "",
            now_ms,
            now_ms + 60_000,
            None,
            None,
            None,
        )
        return self._record(number, Kind.REQUEST, content)

    def outcome(self, job_id: bytes, *, number: int = 1) -> bytes:
        """A record with a well-signed Outcome of ours for a job, whoever its destination is."""
        now_ms = int(time.time() * 1000)
        mine = self.settings.identity.fingerprint
        content = Outcome(VERSION, job_id, mine, 2, "complete", "str", '"forged"', None, 1, now_ms, now_ms, False)
        return self._record(number, Kind.OUTCOME, content)

    def _record(self, number: int, kind: Kind, content: Request | Outcome) -> bytes:
        fact = make(kind, content)
        (proof,) = sign_batch([leaf_of(kind, fact.body)], self.settings.identity.sign)
        return encode_fact(number, END, kind, fact.body, proof)


async def keys_of(process: MeshProcess) -> tuple[Settings, tuple[PeerRow, ...]]:
    """What a thief finds in the folder of an agent that does not run: its identity, and its rows of its peers."""
    async with Agent.load(process.home) as agent:
        return agent.settings(), tuple(agent.running.book.peers)


@asynccontextmanager
async def hostile(settings: Settings, row: PeerRow) -> AsyncIterator[HostilePeer]:
    """Dial with good keys, and greet."""
    psk, named = psk_for(row)
    dialing = Dialing(settings.identity.link_key, row.link_public, psk, invitation_id=named, ephemeral=os.urandom(32))
    connection = await WebsocketNetwork().connect(row.urls[0], 5.0)
    try:
        await connection.send(dialing.first())
        session = dialing.finish(await connection.receive())
        connection.authenticated()
        peer = HostilePeer(settings, row, connection, session)
        now = time.time()
        await peer.say(encode(Type.IDENTIFY, Identify(settings.card((settings.zone,), now).data, settings.zone)))
        await peer.hear(Hello)
        hello = Hello(1, int(now * 1000), [[os.urandom(8), 1]], 0, None, 0, 0, None)
        await peer.say(encode(Type.HELLO, hello))
        yield peer
    except LinkError as error:
        raise AssertionError(f"the link was not meant to end here: {error.message}") from error
    finally:
        connection.abort()


def websocket_messages(stream: bytes) -> Iterator[bytes]:
    """The binary messages of one direction of a recorded websocket, unmasked (RFC 6455, 5.2); no fragments."""
    rest = stream.partition(b"\r\n\r\n")[2]
    while len(rest) >= 2:
        size, at = rest[1] & 0x7F, 2
        if size == 126:
            size, at = struct.unpack_from(">H", rest, 2)[0], 4
        elif size == 127:
            size, at = struct.unpack_from(">Q", rest, 2)[0], 10
        mask = b""
        if rest[1] & _MASK_BIT:
            mask, at = rest[at : at + 4], at + 4
        body = rest[at : at + size]
        if mask:
            body = bytes(byte ^ mask[n & 3] for n, byte in enumerate(body))
        if rest[0] & 0x0F == 2:
            yield body
        rest = rest[at + size :]
