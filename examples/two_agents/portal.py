"""The portal: puts three jobs to the cluster and says what came of each."""

from __future__ import annotations

import asyncio
from typing import Final

from agents import Agent, JobFailed

INSTRUCTIONS: Final = (
    "add_user fred.proj.org",
    "remove_user fred.proj.org",
    "remove_user jane.admin.org",
)

agent = Agent("portal", kind="portal", home="portal")


async def put_three_jobs(portal: Agent) -> None:
    """Put each job once a cluster is there, and wait for its result before the next."""
    cluster = await portal.wait_for_peer(kind="instance")
    for instruction in INSTRUCTIONS:
        job = await portal.put(f"portal.{cluster} {instruction}")  # durable from here on
        try:
            print(f"{instruction}: {await job.result(timeout=30)}", flush=True)
        except JobFailed as failure:
            print(f"{instruction}: {failure.agent} says: {failure}", flush=True)


async def main() -> None:
    """Run the portal for as long as its three jobs take."""
    async with agent:
        await put_three_jobs(agent)


if __name__ == "__main__":
    asyncio.run(main())
