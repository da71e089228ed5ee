"""Virtual machines, as a group of instructions: `vm_manager.start id=10`.

The package has no behaviour. It says what may be asked and what comes back; the agent that has machines brings
handlers.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict

from grammar import declare


class State(Enum):
    """What a machine is doing."""

    RUNNING = "running"
    STOPPED = "stopped"


class Machine(BaseModel):
    """One virtual machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    name: str
    state: State


Id = Annotated[int, "the number of the machine"]


async def start(*, id: Id, name: Annotated[str, "what people call it"] = "unnamed") -> Machine:
    """Starts a machine, which is made if there is none of that number."""
    raise NotImplementedError("a declaration: the agent that has machines brings its own")


async def stop(*, id: Id) -> Machine:
    """Stops a machine."""
    raise NotImplementedError("a declaration: the agent that has machines brings its own")


async def machines(*, state: State | None = None) -> list[Machine]:
    """The machines there are, all or those in one state."""
    raise NotImplementedError("a declaration: the agent that has machines brings its own")


INSTRUCTIONS: Final = (
    declare(start, keyword="vm_manager.start", right="admin", example="vm_manager.start id=10"),
    declare(stop, keyword="vm_manager.stop", right="admin", example="vm_manager.stop id=10"),
    declare(machines, keyword="vm_manager.machines", read_only=True, example="vm_manager.machines state=running"),
)
"""What the entry point offers."""
