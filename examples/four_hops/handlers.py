"""What the last agent of the path does. Five seconds of work leave time to look at the boards."""

from __future__ import annotations

import asyncio

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent("shared", kind="instance")


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    """Add a user to the shared notebooks."""
    await context.progress(0.5, "creating home")
    await asyncio.sleep(5)
    return f"{user.username} can log in to {context.path[-1]}"
