"""The new verb in use: typed on the way there, typed on the way back, refused where it is wrong."""

from __future__ import annotations

import asyncio
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster import agent as cluster
from instructions import KNOWN, Reservation

from agents import Agent, JobFailed
from agents.settings import make_home
from grammar import GrammarError

portal = Agent("portal", kind="portal", home="portal", vocabulary=KNOWN)


async def reserve(nodes: str) -> None:
    """Ask for nodes; each of the three ways this can go is a type of its own."""
    try:
        job = await portal.put(f"portal.cluster reserve_nodes proj.org {nodes} 2026-12-31")
        reservation: Reservation = await job.result(timeout=30)
    except GrammarError as mistake:
        print(f"not put: {mistake.message}")
    except JobFailed as failure:
        print(f"refused by {failure.agent}: {failure}")
    else:
        print(f"{type(reservation).__name__} {reservation.name}: {reservation.nodes} nodes for {reservation.project}")


async def main() -> None:
    """Introduce the two agents, then ask three times."""
    make_home(Path("portal"), "portal", kind="portal")
    make_home(Path("cluster"), "cluster", kind="instance")
    async with portal, cluster:
        (await portal.invite("cluster", kind="instance")).save(Path("cluster.invite.toml"))
        await cluster.join("cluster.invite.toml")
        await portal.wait_for_peer("cluster")
        for nodes in ("4", "400", "four"):
            await reserve(nodes)


if __name__ == "__main__":
    with TemporaryDirectory() as folder, chdir(folder):
        asyncio.run(main())
