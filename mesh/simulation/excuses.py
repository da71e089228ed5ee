"""What a fault excuses: each of these is the exact condition under which an invariant may give way, and nothing more.

A store that lost something excuses what nobody can know any more; a damaged row what was in that row; a revoked key
what only its owner could have ended. Whatever is not named here is broken for good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final

from mesh.facts import Kind, short_text
from mesh.job import Job
from mesh.simulation.history import History, Loss, Told

TWO: Final = "two outcomes"
LOST: Final = "lost what the other side had committed"
UNKNOWN: Final = frozenset({"lost", "forgotten"})
"""Reasons of a Reject which say that the effect is unknown."""


class Excuses:
    """The excuses that one run gives."""

    def __init__(self, history: History) -> None:
        self._history = history

    def lost(self, name: str, since_ms: int = 0) -> bool:
        """The store of an agent lost something after that time, or ran twice."""
        return bool(self._history.lost_at([name], since_ms)) or name in self._history.clones

    def damaged(self, name: str, job_id: bytes) -> bool:
        """The row of a job was damaged at an agent."""
        return (name, job_id) in self._history.damages

    def nowhere(self, job_id: bytes, names: Sequence[str], told: Told) -> bool:
        """Whoever had the end of a job lost its store, or that row of it: it is run as if it never had been."""
        return all(self.lost(name, told.put_ms) or self.damaged(name, job_id) for name in names)

    def forgotten(self, job_id: bytes, names: Sequence[str], told: Told) -> bool:
        """The destination lost what its neighbour had not heard of, or what that has lost as well before it could say
        so, so that nobody can notice (14), or what everybody above it has lost as well; or it ran twice."""
        if names[-1] in self._history.clones:
            return True
        above = all(self.lost(name, told.put_ms) for name in names[:-1])
        return any(
            not self.noticed(loss, names[-2]) or above or self.too_late(loss, job_id, names[-2], told)
            for loss in self._since(names[-1], told)
        )

    def too_late(self, loss: Loss, job_id: bytes, peer: str, told: Told) -> bool:
        """What an agent lost shows only on a board that it shares with a peer in another zone than that of the job,
        and its copy holds the job. It takes that up once the links of its path are up (2), and nothing that the peer
        says there tells of the loss; they may meet in the other zone long after, or never. (Of a job that the copy
        does not hold the peer knows better: it compares what it has from all zones before it sends the Request.)"""
        return job_id in loss.changed and (peer, told.zone) not in loss.shown

    def noticed(self, loss: Loss, peer: str) -> bool:
        """A peer remembered what an agent lost, until that knew of it."""
        again = [later.lost_ms for later in self._history.losses if later.name == peer and later.lost_ms > loss.lost_ms]
        return peer in loss.noticed_by and (
            not again
            or any(
                alarm.name == loss.name and loss.lost_ms <= alarm.at_ms <= min(again) and told_of_loss(alarm.text, peer)
                for alarm in self._history.alarms
            )
        )

    def overridden(self, job_id: bytes, names: Sequence[str], told: Told) -> bool:
        """A hop said that the job did not go on, and it had: its row was damaged; it ran twice; or it lost its store,
        and so did the next agent, or the agent above has nothing by which to tell. (That one sends the Request as if
        for the first time, and it ends before the next agent, who may be away for long, is met.)"""
        return any(self.damaged(name, job_id) or name in self._history.clones for name in names[:-1]) or any(
            self.lost(below, told.put_ms) or not self.noticed(loss, above)
            for above, name, below in zip(names, names[1:], names[2:], strict=False)
            for loss in self._since(name, told)
        )

    def _since(self, name: str, told: Told) -> list[Loss]:
        return [loss for loss in self._history.losses if loss.name == name and loss.lost_ms >= told.put_ms]

    def unknown(self, job: Job) -> bool:
        """The answer says that the effect of the job is unknown."""
        if job.outcome is not None:
            return job.outcome.unknown_effect
        return job.reject is not None and job.reject.reason in UNKNOWN

    def rejected_twice(self, name: str, facts: Collection[int]) -> bool:
        """An agent ran twice, and what one of the two rejected the other one had passed on: the origin has that word,
        and goes by what it heard of the job from further down."""
        return name in self._history.clones and Kind.REJECT in facts and Kind.OUTCOME not in facts

    def flagged(self, job_id: bytes) -> bool:
        """An alarm told people that a job has two outcomes."""
        return any(TWO in alarm.text and short_text(job_id) in alarm.text for alarm in self._history.alarms)

    def parted(self, one: str, other: str) -> bool:
        """One of two neighbours revoked the other one."""
        return any({one, other} == {revoked.by, revoked.whom} for revoked in self._history.revoked)

    def crosses(self, names: Sequence[str]) -> bool:
        """The path of a job leads over a link that was revoked."""
        return any(self.parted(one, other) for one, other in pairwise(names))

    def stuck(self, held: Mapping[str, Mapping[bytes, Job]]) -> set[bytes]:
        """Jobs that nobody can end since a key was revoked: those whose path leads over that link, those that wait
        where such a one keeps the credit of their branch, or whose payload waits where its payload keeps the room of
        its depth; and whoever waits for these.

        Args:
            held: the jobs that each agent holds.
        """
        if not self._history.revoked:
            return set()
        live = [(name, job) for name, jobs in held.items() for job in jobs.values() if job.live]
        found, before = {job.id for _, job in live if self.crosses(job.place.names)}, -1
        while len(found) > before:
            before = len(found)
            lanes = [(name, job, job.down) for name, job in live if job.down is not None]
            keeping = [(name, lane.board, job) for name, job, lane in lanes if job.id in found]
            credit = {(name, board, job.branch) for name, board, job in keeping}
            room = {(name, board, job.depth) for name, board, job in keeping if job.request.payload is not None}
            for name, job, lane in lanes:
                behind = lane.waiting and (name, lane.board, job.branch) in credit
                unsent = not lane.offered and job.holding >> Kind.REQUEST & 1
                if behind or (unsent and (name, lane.board, job.depth) in room):
                    found.add(job.id)
        return found


def told_of_loss(text: str, peer: str) -> bool:
    """Whether an alarm says that a store lost something, as the talk with `peer` showed."""
    return LOST in text and text.endswith(f'with "{peer}"')


def is_damage(text: str) -> bool:
    """Whether an alarm says that a stored row is damaged."""
    return "quarantined" in text
