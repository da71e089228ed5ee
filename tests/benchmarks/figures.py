"""How a measured figure is shown beside its target, in tables of `make bench`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

HEAD = "\n| what | measured | target | |\n|---|---|---|---|"


def row(what: str, figure: float, most: float, unit: str) -> str:
    """One row: a figure that is to be at most `most`."""
    return f"| {what} | {figure:.3g} {unit} | <= {most:g} {unit} | {'met' if figure <= most else 'not met'} |"


def median_ms(seconds: Sequence[float]) -> float:
    """The median of some times, in milliseconds."""
    return statistics.median(seconds) * 1000
