"""Room for the blobs of peers: which of them share it, and how much of it is taken (rule R14).

The payload of a job stays until the job is over, and that may wait for a child whose payload comes the same way, from
hops further on or as a child's child. Were there one room for all, parents that fill it would wait for ever for what it
keeps out. So each depth of children has a room of its own, as it has a credit of its own (R13). Results wait for no
work, only for links, and have one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

DEEPEST: Final = 15
"""Depth from which on all children share one room: a peer may claim any."""


class Quota(NamedTuple):
    """The room for one board's blobs of a kind and depth; the depth of a result is 0."""

    board: int
    kind: int
    depth: int


class Quotas:
    """How much is taken of the rooms of one agent.

    Attributes:
        taken: bytes in each quota. May be too high: the store is asked before it is believed.
        asking: quotas that the store is asked about.
        freed: boards in whose quotas this step made room.
    """

    def __init__(self) -> None:
        self.taken: dict[Quota, int] = {}
        self.asking: set[Quota] = set()
        self.freed: set[int] = set()

    def add(self, quota: Quota, length: int) -> None:
        """So many bytes more are in a quota."""
        self.taken[quota] = self.taken.get(quota, 0) + length

    def discount(self, quota: Quota, length: int) -> None:
        """So many bytes less are in a quota; what was made here, by no board, is in none."""
        if quota.board:
            self.taken[quota] = max(0, self.taken.get(quota, 0) - length)
            self.freed.add(quota.board)

    def ask(self, quota: Quota) -> bool:
        """Whether the store has to be asked about a quota that looks full, and was not yet."""
        new = quota not in self.asking
        self.asking.add(quota)
        return new

    def told(self, quota: Quota, size: int) -> bool:
        """The store says how much is taken; returns whether there is more room than was thought."""
        self.asking.discard(quota)
        thought = self.taken.get(quota, 0)
        self.taken[quota] = size
        return size < thought
