"""The same rate with a long history and many waiting jobs in the stores as with none.

Two rows of agents take turns. The one is made anew each round. The other has finished many jobs, and holds others that
wait at its first agent for a second one that does not run: they are on disk at origin and hop, within credit. The
target is for the build whose engine is compiled to C, where there is a compiler, as over one hop and three.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agents.program import run_loop
from tests.benchmarks.driven import PING, Driven, driven_row, prepare_row
from tests.benchmarks.hopboard import builds
from tests.benchmarks.report import Report, markdown_table
from tests.benchmarks.rounds import Spread, ratios

NEAR, FAR = "origin.agent1", "origin.agent1.agent2"
FILL_OUTSTANDING = 2_000
WARM_UP = 10_000
"""A new store leaves its first thousands of rows in the journal, and is quick for as long."""


def test_flat(report: Report, tmp_path: Path) -> None:
    sizes = report.sizes
    held = f"{sizes.history:,} finished and {sizes.waiting:,} waiting"
    folders, skipped = builds()
    lines = []
    for engine, packages in folders.items():
        empty, full = run_loop(_measure(report, tmp_path / engine, packages))
        ratio = ratios(full, empty)
        assert ratio is not None
        lines += [
            (engine, "none", Spread(tuple(empty)).text(), "1"),
            (engine, held, Spread(tuple(full)).text(), ratio.text(2)),
        ]
    heads = ("engine", "jobs in the store", "jobs/s, 1,000 outstanding", "by the rate with none")
    report.section("flat", "With a history", f"{markdown_table(heads, lines)}\n{skipped}")
    report.target("flat", ratio.median, f"{held}; {engine}")


async def _measure(report: Report, folder: Path, packages: Path) -> tuple[list[float], list[float]]:
    sizes = report.sizes
    run = partial(driven_row, packages=packages)
    prepare_row(folder / "full", 2)
    # Once with all three, so that every link has stood; then without the last.
    async with run(folder / "full", 2):
        pass
    empty: list[float] = []
    full: list[float] = []
    async with run(folder / "full", 1) as filled:
        await filled.ask("put", path=FAR, instruction=PING, jobs=sizes.waiting)
        await filled.rate(NEAR, sizes.history, outstanding=FILL_OUTSTANDING)
        for number in range(sizes.close_rounds):
            home = folder / f"empty{number}"
            prepare_row(home, 1)
            async with run(home, 1) as fresh:
                for rates, row in ((empty, fresh), (full, filled)) if number % 2 else ((full, filled), (empty, fresh)):
                    rates.append(await _rate(row, sizes.flat_jobs))
    return empty, full


async def _rate(row: Driven, jobs: int) -> float:
    await row.rate(NEAR, min(jobs, WARM_UP))
    return await row.rate(NEAR, jobs)
