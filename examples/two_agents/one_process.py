"""Both agents in one process, introduced to each other by a real invitation file, over a real encrypted link."""

from __future__ import annotations

import asyncio
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster import agent as cluster
from portal import agent as portal
from portal import put_three_jobs

from agents.settings import make_home


async def main() -> None:
    """Make two folders, run the agents on them, and let them meet."""
    make_home(Path("portal"), "portal", kind="portal")
    make_home(Path("cluster"), "cluster", kind="instance")
    async with portal, cluster:
        invitation = await portal.invite("cluster", kind="instance")
        invitation.save(Path("cluster.invite.toml"))
        await cluster.join("cluster.invite.toml")
        await put_three_jobs(portal)


if __name__ == "__main__":
    with TemporaryDirectory() as folder, chdir(folder):
        asyncio.run(main())
