"""A cluster with virtual machines, and a portal; both know the instructions because the plug-in is installed."""

from __future__ import annotations

import asyncio
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from vm_instructions import Machine, State

from agents import Agent, JobFailed
from agents.settings import make_home
from grammar import GrammarError

portal = Agent("portal", kind="portal", home="portal")
cluster = Agent("cluster", kind="instance", home="cluster")
room: dict[int, Machine] = {}


@cluster.handler(keyword="vm_manager.start")
async def start(*, id: int, name: str = "unnamed") -> Machine:
    """Help, example, right and result are those of the plug-in; this only does it."""
    room[id] = Machine(id=id, name=room[id].name if id in room else name, state=State.RUNNING)
    return room[id]


@cluster.handler(keyword="vm_manager.stop")
async def stop(*, id: int) -> Machine:
    if id not in room:
        raise cluster.Refused(f"there is no machine {id}")
    room[id] = room[id].model_copy(update={"state": State.STOPPED})
    return room[id]


@cluster.handler(keyword="vm_manager.machines")
async def machines(*, state: State | None = None) -> list[Machine]:
    return [machine for machine in room.values() if state in {None, machine.state}]


async def ask(instruction: str) -> None:
    """Ask for one thing, and show the typed answer."""
    try:
        answer = await portal.call(f"portal.cluster {instruction}", timeout=30)
    except GrammarError as mistake:
        print(f"not put: {mistake.message}")
    except JobFailed as failure:
        print(f"refused by {failure.agent}: {failure}")
    else:
        for machine in answer if isinstance(answer, list) else [answer]:
            print(f"{type(machine).__name__} {machine.id}: {machine.name}, {machine.state.name}")


async def main() -> None:
    """Introduce the two agents, then ask."""
    make_home(Path("portal"), "portal", kind="portal")
    make_home(Path("cluster"), "cluster", kind="instance")
    async with portal, cluster:
        (await portal.invite("cluster", kind="instance")).save(Path("cluster.invite.toml"))
        await cluster.join("cluster.invite.toml")
        await portal.wait_for_peer("cluster")
        for instruction in (
            'vm_manager.start id=10 name="web server"',
            "vm_manager.stop id=10",
            "vm_manager.machines state=stopped",
            "vm_manager.stop id=11",
            "vm_manager.start id=ten",
        ):
            await ask(instruction)


if __name__ == "__main__":
    with TemporaryDirectory() as folder, chdir(folder):
        asyncio.run(main())
