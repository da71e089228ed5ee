"""The beginning of a connection: whom it lets in, what it pins, and what it tells whom it does not let in."""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.handshake import REFUSED, Handshake, PeerRefused, messages_of
from agents.links import Links
from agents.running import Running
from invitations.card import Card, make_card
from invitations.joining import psk_for
from invitations.peers import PeerRow
from mesh.codec import FramePacker, pack
from mesh.errors import CodecError, HandshakeError, MessageError, SessionError
from mesh.messages import Bye, Identify, Message, Ping, Type, encode
from mesh.session import Dialing, Session
from mesh.transport.contract import UNPROVEN, Connection
from mesh.transport.errors import ConnectionLost
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import Mesh, memory_mesh

URL = "ws://portal"


def frame(*messages: tuple[Type, Message]) -> bytes:
    packer = FramePacker()
    packer.extend([encode(code, content) for code, content in messages])
    (found,) = packer.take()
    return found


async def invited(portal: Agent, dialler: Agent, *, kind: str | None = None) -> PeerRow:
    """What `dialler` holds after accepting an invitation of `portal`, which it does not dial yet."""
    assert dialler.name is not None
    home = dialler.settings().home
    invitation = await portal.invite(dialler.name, kind=kind, urls=(URL,))
    invitation.save(home / "invite.toml")
    here = dialler.running
    # Without a URL there is nobody to dial: the test does it by hand.
    row = await here.peering.join(home / "invite.toml") if False else joined(here, home / "invite.toml")
    return row


def joined(here: Running, path: Path) -> PeerRow:
    from agents.pairing import accept

    row = accept(here.settings, here.book, path, here.stepping.now_ms() / 1000)
    here.book.keep(row)
    here.engine.pair(row)
    here.stepping.poke()
    return row
