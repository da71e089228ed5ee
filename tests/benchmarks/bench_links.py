"""The rate over one link while others idle: what a job costs does not depend on how many links there are.

Rows of agents take turns, each with another number of idle links at its origin. The agents at the other ends of those
run in one process per row, and do nothing but answer a ping every ten seconds.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from agents.program import run_loop
from tests.benchmarks.driven import driven_row, idling, make_crowd, prepare_row
from tests.benchmarks.report import Report, markdown_table
from tests.benchmarks.rounds import Spread, ratios

PATH = "origin.agent1"
# All of a crowd come from one address at once, which is what these limits are there to slow down.
LIMITS = "handshakes_per_s = 1000\nhandshakes_burst = 1000\nhalf_open = 1000\nhalf_open_per_source = 1000"
WARM_UP = 2_000


def test_links(report: Report, tmp_path: Path) -> None:
    rates = run_loop(_measure(report, tmp_path))
    fewest, most = min(rates), max(rates)
    lines = []
    for count, found in rates.items():
        ratio = ratios(found, rates[fewest])
        assert ratio is not None
        lines.append((str(count), Spread(tuple(found)).text(), ratio.text(2)))
    heads = ("idle links", "jobs/s, 1,000 outstanding", "by the rate with fewest")
    report.section("links", "With idle links", markdown_table(heads, lines))
    last = ratios(rates[most], rates[fewest])
    assert last is not None
    report.target("links", last.median, f"{most} by {fewest}")


async def _measure(report: Report, folder: Path) -> dict[int, list[float]]:
    sizes = report.sizes
    rates: dict[int, list[float]] = {count: [] for count in sizes.idle_links}
    async with AsyncExitStack() as running:
        rows = {}
        for count in sizes.idle_links:
            prepare_row(folder / f"{count}", 1, limits=LIMITS)
            homes = make_crowd(folder / f"{count}", count)
            rows[count] = await running.enter_async_context(driven_row(folder / f"{count}", 1))
            await running.enter_async_context(idling(homes))
        for number in range(sizes.close_rounds):
            turn = sizes.idle_links[number % len(rows) :] + sizes.idle_links[: number % len(rows)]
            for count in turn:
                await rows[count].rate(PATH, min(sizes.flat_jobs, WARM_UP))
                rates[count].append(await rows[count].rate(PATH, sizes.flat_jobs))
    return rates
