"""The cluster: has eight nodes to give."""

from __future__ import annotations

from datetime import date

from instructions import KNOWN, Reservation

from agents import Agent
from grammar import ProjectIdentifier

NODES = 8

agent = Agent("cluster", kind="instance", home="cluster", vocabulary=KNOWN)


@agent.handler
async def reserve_nodes(project: ProjectIdentifier, nodes: int, last_day: date) -> Reservation:
    """Keep nodes free for a project up to and including a day."""
    if not 1 <= nodes <= NODES:
        raise agent.Refused(f"{nodes} nodes are asked for, and this cluster gives 1 to {NODES}")
    return Reservation(name=f"{project.project}-{last_day:%Y%m%d}", project=project, nodes=nodes, last_day=last_day)


if __name__ == "__main__":
    agent.run()
