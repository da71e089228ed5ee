"""An allocation turned into node time and back is the same allocation, in every unit."""

from __future__ import annotations

import pytest

from grammar.errors import GrammarError
from grammar.nodes import Node, allocation_of, usage_of
from grammar.quantities import Allocation, Usage

NODE = Node(cpus=2, cores_per_cpu=64, gpus=4, memory_mb=512 * 1024, billing=10)


@pytest.mark.parametrize(
    ("units", "hours"), [("NHR", 1024), ("GPUHR", 256), ("CPUHR", 512), ("COREHR", 8), ("GBHR", 2), ("BHR", 102.4)]
)
def test_both_ways(units: str, hours: float) -> None:
    allocation = Allocation.parse(f"1024 {units}")
    usage = usage_of(allocation, NODE)
    assert usage.hours() == hours
    assert allocation_of(usage, NODE, units) == allocation


def test_refused() -> None:
    for allocation in (Allocation.parse("1 tape mounts"), Allocation()):
        with pytest.raises(GrammarError):
            usage_of(allocation, NODE)
    with pytest.raises(GrammarError):
        usage_of(Allocation.parse("1 GPUHR"), Node(cpus=1))
    assert allocation_of(Usage(60), Node(), "GPUHR") == "0 GPUHR"
