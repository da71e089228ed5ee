"""Processes people run: agents, their handlers, and clients of running agents.

from agents import Agent, Context       to write an agent
from agents import Client               to talk to one that runs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.agent import Agent
    from agents.client import Client
    from agents.context import Context, Envelope
    from agents.errors import JobFailed, NotKnownYet, Refused
    from agents.handle import JobHandle
else:
    from agents.exports import __getattr__  # noqa: F401 - asked by the interpreter

__all__ = ["Agent", "Client", "Context", "Envelope", "JobFailed", "JobHandle", "NotKnownYet", "Refused"]
