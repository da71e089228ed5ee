"""Jobs of which nothing was said upstream yet: who takes long to start or to end says so, who is quick does not."""

from __future__ import annotations

from collections import deque

from mesh.facts import PROGRESS
from mesh.job import Job
from mesh.ledger import Ledger


class Unreported:
    """The claimed jobs of one agent that may have to be reported on.

    Args:
        ledger: of the agent.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: deque[tuple[int, bytes]] = deque()

    def expect(self, job_id: bytes, at_ms: int) -> None:
        """Have a job looked at at `at_ms`, behind those that were given before."""
        self._waiting.append((at_ms, job_id))

    def next_deadline_ms(self) -> int | None:
        """When `due` has something to give. Most jobs are over before that, and nobody has to wake up for them."""
        waiting = self._waiting
        while waiting:
            at_ms, job_id = waiting[0]
            job = self._ledger.find(job_id)
            if job is None or (job.live and job.facts[PROGRESS] is None):
                return at_ms
            waiting.popleft()
        return None

    def due(self, now_ms: int) -> list[Job]:
        """The jobs that are still alive by now, without a report; each is given once."""
        found = []
        while (at_ms := self.next_deadline_ms()) is not None and at_ms <= now_ms:
            job = self._ledger.find(self._waiting.popleft()[1])
            # One that left memory has long waited, and nothing happened to it.
            if job is not None:
                found.append(job)
        return found
