"""Compute nodes, and what an allocation in one unit is worth in node time.

Usage is counted in seconds of whole nodes. One table of weights serves both directions, so that an allocation
turned into usage and back is the same allocation in every unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from grammar.errors import GrammarError
from grammar.quantities import Allocation, Usage

_HOUR: Final = 3_600


@dataclass(frozen=True, slots=True)
class Node:
    """What one node has: processors, cores of each, GPUs, memory in MB, and billing units an hour."""

    cpus: int = 0
    cores_per_cpu: int = 0
    gpus: int = 0
    memory_mb: int = 0
    billing: int = 0

    @property
    def cores(self) -> int:
        """Cores of all processors."""
        return self.cpus * self.cores_per_cpu

    def weight(self, units: str | None) -> Fraction:
        """Units of an allocation that one hour of this node is worth; 0 when it has none of them.

        Raises:
            GrammarError: the units are none of NHR, GPUHR, CPUHR, COREHR, GBHR and BHR.
        """
        match units:
            case "NHR":
                return Fraction(1)
            case "GPUHR":
                return Fraction(self.gpus)
            case "CPUHR":
                return Fraction(self.cpus)
            case "COREHR":
                return Fraction(self.cores)
            case "GBHR":
                return Fraction(self.memory_mb, 1024)
            case "BHR":
                return Fraction(self.billing)
        message = f'"{units}" are no units of node time' if units else "no allocation has no units"
        raise GrammarError(message, expected="NHR, GPUHR, CPUHR, COREHR, GBHR or BHR")


def usage_of(allocation: Allocation, node: Node) -> Usage:
    """The node time that an allocation is worth, whole seconds, rounded down.

    Raises:
        GrammarError: the node has none of the allocation's units, or they are unknown.
    """
    weight = node.weight(allocation.units)
    if not weight:
        raise GrammarError(f"a node without {allocation.units} cannot serve {allocation}")
    return Usage(int(Fraction(allocation.amount or Decimal(0)) * _HOUR / weight))


def allocation_of(usage: Usage, node: Node, units: str) -> Allocation:
    """The allocation, in some units, that node time is worth; raises GrammarError for unknown units."""
    amount = Fraction(usage.seconds, _HOUR) * node.weight(units)
    return Allocation.parse(f"{Decimal(amount.numerator) / Decimal(amount.denominator):f} {units}")
