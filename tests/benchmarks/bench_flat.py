"""The same rate with a long history and many waiting jobs in the stores as with none.

Two rows of agents take turns. The one is made anew each round. The other has finished many jobs, and holds others that
wait at its first agent for a second one that does not run: they are on disk at origin and hop, within credit.
"""

from __future__ import annotations

from pathlib import Path

from agents.program import run_loop
from tests.benchmarks.driven import PING, Driven, driven_row, prepare_row
from tests.benchmarks.report import Report, markdown_table
from tests.benchmarks.rounds import Spread, ratios

NEAR, FAR = "origin.agent1", "origin.agent1.agent2"
FILL_OUTSTANDING = 2_000
WARM_UP = 10_000
"""A new store leaves its first thousands of rows in the journal, and is quick for as long."""


def test_flat(report: Report, tmp_path: Path) -> None:
    empty, full = run_loop(_measure(report, tmp_path))
    ratio = ratios(full, empty)
    assert ratio is not None
    sizes = report.sizes
    held = f"{sizes.history:,} finished and {sizes.waiting:,} waiting"
    lines = [("none", Spread(tuple(empty)).text(), "1"), (held, Spread(tuple(full)).text(), ratio.text(2))]
    heads = ("jobs in the store", "jobs/s, 1,000 outstanding", "by the rate with none")
    report.section("flat", "With a history", markdown_table(heads, lines))
    report.target("flat", ratio.median, held)


async def _measure(report: Report, folder: Path) -> tuple[list[float], list[float]]:
    sizes = report.sizes
    prepare_row(folder / "full", 2)
    # Once with all three, so that every link has stood; then without the last.
    async with driven_row(folder / "full", 2):
        pass
    empty: list[float] = []
    full: list[float] = []
    async with driven_row(folder / "full", 1) as filled:
        await filled.ask("put", path=FAR, instruction=PING, jobs=sizes.waiting)
        await filled.rate(NEAR, sizes.history, outstanding=FILL_OUTSTANDING)
        for number in range(sizes.close_rounds):
            home = folder / f"empty{number}"
            prepare_row(home, 1)
            async with driven_row(home, 1) as fresh:
                for rates, row in ((empty, fresh), (full, filled)) if number % 2 else ((full, filled), (empty, fresh)):
                    rates.append(await _rate(row, sizes.flat_jobs))
    return empty, full


async def _rate(row: Driven, jobs: int) -> float:
    await row.rate(NEAR, min(jobs, WARM_UP))
    return await row.rate(NEAR, jobs)
