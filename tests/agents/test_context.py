"""What a handler is given, and the four verbs it has."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from agents.context import Context
from agents.errors import JobFailed
from grammar.identifiers import UserIdentifier
from tests.agents.doors import in_loop
from tests.agents.memory_mesh import memory_mesh


class Desk:
    def __init__(self) -> None:
        self.reports: list[tuple[str | None, float | None]] = []

    def report(self, job_id: bytes, message: str | None, fraction: float | None) -> None:
        self.reports.append((message, fraction))


def context_at(desk: Desk) -> Context:
    return Context(bytes(26), "", 1, ("portal", "cluster"), None, bytes(20), "", "", "", 0.0, desk)  # type: ignore[arg-type]


@in_loop
async def test_progress_is_kept_within_bounds() -> None:
    desk = Desk()
    context = context_at(desk)
    for fraction in (-1, 0.5, 2, float("nan"), None):
        await context.progress(fraction)
    await context.progress(message="x" * 2000)
    assert desk.reports == [(None, 0.0), (None, 0.5), (None, 1.0), (None, 0.0), (None, None), ("x" * 1024, None)]


def test_a_context_cannot_be_changed_and_does_not_show_the_agent() -> None:
    desk = Desk()
    context = context_at(desk)
    with pytest.raises(FrozenInstanceError):
        context.attempt = 2  # type: ignore[misc]
    assert "Desk" not in repr(context)


@in_loop
async def test_onward_gives_the_typed_result_of_a_neighbour_or_its_failure(tmp_path: Path) -> None:
    async with memory_mesh(tmp_path) as mesh:
        portal, cluster, node = mesh.agent("portal"), mesh.agent("cluster"), mesh.agent("node")
        seen: list[Context] = []

        @cluster.handler
        async def add_user(user: UserIdentifier, context: Context) -> str:
            seen.append(context)
            found = await context.onward("node")
            return f"{found} there"

        @cluster.handler
        async def remove_user(user: UserIdentifier, context: Context) -> None:
            await context.onward("node", instruction=f"add_user {user}")
            with pytest.raises(JobFailed, match="not here"):
                await context.onward("node")

        @node.handler(keyword="add_user")
        async def really_add(user: UserIdentifier) -> str:
            return f"{user}"

        @node.handler(keyword="remove_user")
        async def really_remove(user: UserIdentifier) -> None:
            raise node.Refused("not here")

        for agent in (portal, cluster, node):
            await agent.start()
        await mesh.join(portal, cluster)
        await mesh.join(cluster, node)
        job = await portal.put("portal.cluster add_user fred.proj.org", circle="", life_s=60)
        assert await job.result(5) == "fred.proj.org there"
        (context,) = seen
        assert (context.id, context.attempt, context.path) == (job.id, 1, ("portal", "cluster"))
        assert (context.zone, context.origin) == ("default", portal.settings().identity.fingerprint)
        await (await portal.put("portal.cluster remove_user fred.proj.org")).result(5)
