"""Throughput and latency over one hop and three: `mesh bench`, several times, in processes of its own each time.

What is timed is put to result, in the process of the origin. Each other agent is a process too; every job is signed,
encrypted, and on disk at each agent before it is passed on or answered. The sources take turns with the build whose
engine is compiled to C, where there is a compiler; the targets are for that one then.
"""

from __future__ import annotations

from tests.benchmarks.hopboard import Row, builds, mesh_bench
from tests.benchmarks.report import Report, markdown_table
from tests.benchmarks.rounds import Spread

HOPS = (1, 3)


def test_hops(report: Report) -> None:
    folders, skipped = builds()
    rounds = [
        {name: mesh_bench(HOPS, seconds=report.sizes.seconds, folder=folder) for name, folder in folders.items()}
        for _ in range(report.sizes.rounds)
    ]

    def spread(engine: str, hops: int, outstanding: int, name: str) -> Spread:
        return Spread(tuple(row[name] for rows in rounds for row in rows[engine] if _is(row, hops, outstanding)))

    lines = []
    for hops in HOPS:
        for engine in folders:
            alone = [spread(engine, hops, 1, name).text(2) for name in ("p50_ms", "p95_ms", "p99_ms")]
            many = spread(engine, hops, 1_000, "per_s").text(), spread(engine, hops, 1_000, "p50_ms").text(1)
            lines.append((str(hops), engine, *alone, *many))
    heads = ("hops", "engine", "p50 ms", "p95 ms", "p99 ms", "jobs/s, 1,000 outstanding", "p50 ms of these")
    report.section("hops", "One hop and three", f"{markdown_table(heads, lines)}\n{skipped}")
    judged = list(folders)[-1]
    for key, hops in (("one-hop", 1), ("three-hops", 3)):
        report.target(f"{key}-rate", spread(judged, hops, 1_000, "per_s").median, judged)
        report.target(f"{key}-p50", spread(judged, hops, 1, "p50_ms").median, judged)
    report.target("one-hop-p99", spread(judged, 1, 1, "p99_ms").median, judged)


def _is(row: Row, hops: int, outstanding: int) -> bool:
    return bool(row["hops"] == hops and row["outstanding"] == outstanding)
