"""The cluster: adds users, removes users, and refuses to remove those of the project `admin`."""

from __future__ import annotations

from agents import Agent
from grammar import UserIdentifier

agent = Agent("cluster", kind="instance", home="cluster")


@agent.handler
async def add_user(user: UserIdentifier) -> str:
    """Add a user to the cluster."""
    print(f"adding {user}: here the account would be made", flush=True)
    return "account created"


@agent.handler
async def remove_user(user: UserIdentifier) -> str:
    """Remove a user from the cluster."""
    if user.project == "admin":
        raise agent.Refused(f'You are not allowed to remove the account for "{user.username}"')
    print(f"removing {user}: here the account would be closed", flush=True)
    return "account removed"


if __name__ == "__main__":
    agent.run()
