"""Resident memory of both agents while many jobs go through one link.

Its start is what it is once a job has been along the link, before any load: all that is allocated for the load counts
as growth. `BENCH_MEMORY_JOBS=1000000` is the size of the target; less is measured by default, for the time it takes.
"""

from __future__ import annotations

from pathlib import Path

from agents.program import run_loop
from tests.benchmarks.driven import Memory, driven_row, memory_of, prepare_row
from tests.benchmarks.report import Report, markdown_table

LOOKS = 20


def test_memory(report: Report, tmp_path: Path) -> None:
    looks = run_loop(_measure(report.sizes.memory_jobs, tmp_path / "row"))
    lines = []
    worst = 0.0
    for name, seen in looks.items():
        most = max(one.resident for one in seen)
        worst = max(worst, most - seen[0].resident)
        half = seen[len(seen) // 2].resident
        lines.append(
            (
                name,
                *(f"{one:.1f}" for one in (seen[0].resident, half, seen[-1].resident, most)),
                f"{most - seen[0].resident:.1f}",
                f"{max(one.anonymous for one in seen) - seen[0].anonymous:.1f}",
            )
        )
    jobs = f"{report.sizes.memory_jobs:,} jobs"
    heads = ("agent", "start, MiB", "half way", "end", "most", "growth", "of it without files behind it")
    report.section("memory", f"Resident memory over {jobs}", markdown_table(heads, lines))
    report.target("memory", worst, jobs)


async def _measure(jobs: int, folder: Path) -> dict[str, list[Memory]]:
    prepare_row(folder, 1)
    async with driven_row(folder, 1) as row:
        processes = {"origin": row.origin.pid, "destination": row.others[0].pid}
        looks = {name: [memory_of(pid)] for name, pid in processes.items()}
        for _ in range(LOOKS):
            await row.rate("origin.agent1", max(1, jobs // LOOKS))
            for name, pid in processes.items():
                looks[name].append(memory_of(pid))
    return looks
