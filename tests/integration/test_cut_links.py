"""Links that break in the middle of things: nothing is lost by it, and nothing runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import pytest

from tests.integration.mesh_process import COUNTING, Mesh, in_mesh

JOBS: Final = 2_000
CUT_BYTES: Final = 150_000
"""A link is cut once so much has gone through it: in the middle of a frame, as a rule."""

pytestmark = pytest.mark.slow


class Cable:
    """A port that passes bytes on to another one, and cuts each of its first `cuts` connections after some bytes."""

    def __init__(self, target: str, cuts: int) -> None:
        self._target = urlsplit(target)
        self.cuts_left = cuts
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _carry(self, near: asyncio.StreamReader, near_back: asyncio.StreamWriter) -> None:
        far, far_back = await asyncio.open_connection(self._target.hostname, self._target.port)
        carried = 0

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            nonlocal carried
            while data := await source.read(4_096):
                sink.write(data)
                await sink.drain()
                carried += len(data)
                if self.cuts_left and carried > CUT_BYTES:
                    self.cuts_left -= 1
                    carried = 0
                    break
            # Without a goodbye: what is still on its way is lost.
            near_back.transport.abort()
            far_back.transport.abort()

        await asyncio.gather(carry(near, far_back), carry(far, near_back), return_exceptions=True)


@in_mesh(60)
async def test_jobs_survive_a_cable_that_is_cut_again_and_again(mesh: Mesh) -> None:
    portal = mesh.make("portal", "portal")
    cluster = mesh.make("cluster", "instance", handlers=COUNTING.format(seconds=0.01))
    # The first invitation makes the portal choose its port.
    await mesh.invite(portal, "somebody")
    await portal.start()
    async with await portal.calls() as calls:
        address = (await calls.request("info"))["address"]
    async with Cable(address, cuts=3) as cable:
        await mesh.join(cluster, await mesh.invite(portal, "cluster", cable.url))
        await cluster.start()
        await portal.linked_to("cluster")
        jobs, _ = await portal.put_and_wait([f"portal.cluster add_user user{n}.proj.org" for n in range(JOBS)])
        assert cable.cuts_left == 0
    assert Counter(job["state"] for job in jobs) == {"complete": JOBS}
    runs = Counter(job for what, job, _ in cluster.runs if what == "start")
    assert runs == dict.fromkeys([job["id"] for job in jobs], 1)
