"""A large result over loopback, and what it does to small jobs on the same link meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agents.cli.loopback import HANDLERS_TEXT
from agents.program import run_loop
from tests.benchmarks.driven import PING, driven_row, prepare_row
from tests.benchmarks.report import Report, markdown_table

PATH = "origin.agent1"
MIB = 4
HANDLERS = (
    HANDLERS_TEXT
    + """

@agent.handler(read_only=True)
async def large(mebibytes: int) -> str:
    # With its quotes it is as long as a blob may be.
    return "x" * ((mebibytes << 20) - 2)
"""
)

Record = dict[str, Any]


def test_bulk(report: Report, tmp_path: Path) -> None:
    alone, large, beside = run_loop(_measure(report, tmp_path / "row"))
    lines = [
        _line("small jobs alone", alone),
        _line(f"results of {MIB} MiB", large),
        _line("small jobs meanwhile", beside),
    ]
    heads = ("one outstanding of each", "jobs", "p50 ms", "p99 ms", "most, ms", "errors")
    text = markdown_table(heads, lines)
    failed = large["first_error"]
    if failed is not None:
        text += f"\nThe large jobs failed: {failed}\n"
    report.section("bulk", f"Results of {MIB} MiB", text)
    why = "" if failed is None else f"error: {failed}"
    report.target("bulk", large["p50_ms"] if failed is None else None, why)
    delay = beside["p99_ms"] - alone["p99_ms"] if failed is None else None
    report.target("bulk-delay", delay, why)


def _line(title: str, found: Record) -> tuple[str, ...]:
    times = ["-" if found[name] is None else f"{found[name]:.2f}" for name in ("p50_ms", "p99_ms", "max_ms")]
    return title, f"{found['jobs']:,}", *times, f"{found['errors']}"


async def _measure(report: Report, folder: Path) -> tuple[Record, Record, Record]:
    prepare_row(folder, 1, handlers=HANDLERS)
    async with driven_row(folder, 1) as row:

        async def small(**ends: Any) -> Record:
            found: Record = await row.ask("measure", path=PATH, instruction=PING, outstanding=1, **ends)
            return found

        await small(jobs=report.sizes.singles)
        alone = await small(seconds=report.sizes.seconds)
        # For as long as each other: small jobs behind the last large one would say nothing.
        beside = asyncio.ensure_future(small(seconds=report.sizes.seconds))
        seconds = {"seconds": report.sizes.seconds}
        large = await row.ask("measure", path=PATH, instruction=f"large {MIB}", outstanding=1, **seconds)
        return alone, large, await beside
