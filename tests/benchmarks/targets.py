"""What this project holds itself to, on a machine with two cores: each figure, and whether it was met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Target:
    """Attributes:
    part: the part of the measurements that gives its figure.
    words: what is measured.
    limit, unit: what it must reach.
    least: whether the figure must be at least the limit; else at most.
    digits: of the figure that are shown.
    """

    part: str
    words: str
    limit: float
    unit: str
    least: bool = False
    digits: int = 2

    def is_met(self, figure: float) -> bool:
        return figure >= self.limit if self.least else figure <= self.limit

    def wanted(self) -> str:
        """`at most 4 ms`."""
        return f"{'at least' if self.least else 'at most'} {self.limit:,g} {self.unit}"


TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        "one-hop-rate": Target("hops", "one hop, 1,000 outstanding", 15_000, "jobs/s", least=True, digits=0),
        "one-hop-p50": Target("hops", "one hop, one outstanding, p50", 1.5, "ms"),
        "one-hop-p99": Target("hops", "one hop, one outstanding, p99", 4, "ms"),
        "three-hops-rate": Target("hops", "three hops, 1,000 outstanding", 6_000, "jobs/s", least=True, digits=0),
        "three-hops-p50": Target("hops", "three hops, one outstanding, p50", 4, "ms"),
        "flat": Target("flat", "rate with many finished and waiting jobs, by the rate with none", 0.9, "", least=True),
        "memory": Target("memory", "growth of resident memory, the agent that grew most", 64, "MiB", digits=1),
        "links": Target("links", "rate with most idle links, by the rate with fewest", 0.9, "", least=True),
        "start": Target("resume", "start with 100,000 jobs in the store", 2, "s"),
        "resume": Target("resume", "reconnect and resume with 10,000 unfinished", 1, "s"),
        "stalled": Target("stalled", "p50 beside a peer that never reads, by the p50 without one", 1.1, ""),
        "idle-wakes": Target("idle", "wake-ups of a linked agent with nothing to do", 1, "a second"),
        "idle-processor": Target("idle", "processor with 1,000 jobs behind a handler of 100 ms", 5, "%", digits=1),
        "door": Target("idle", "a job through the local door and back, p50", 50, "ms", digits=1),
        "bulk": Target("bulk", "a result of 4 MiB over loopback, median", 100, "ms", digits=1),
        "bulk-delay": Target("bulk", "what it adds to a small job on the same link, p99", 10, "ms", digits=1),
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out for one target: a figure, or why there is none; `how` says what is particular about it."""

    target: Target
    figure: float | None
    how: str = ""

    @property
    def met(self) -> bool:
        return self.figure is not None and self.target.is_met(self.figure)

    def cells(self) -> tuple[str, str, str, str]:
        """What, how much was wanted, the figure, and the verdict."""
        unit = f" {self.target.unit}" if self.target.unit else ""
        figure = "none" if self.figure is None else f"{self.figure:,.{self.target.digits}f}{unit}"
        figure += f" ({self.how})" if self.how else ""
        return self.target.words, self.target.wanted().strip(), figure, "met" if self.met else "not met"
