"""The report: verdicts on the targets, and a RESULTS.md of which only what was measured again changes."""

from __future__ import annotations

import pytest

from tests.benchmarks.report import ORDER, Report, in_order
from tests.benchmarks.sizes import QUICK, Sizes, sizes_of
from tests.benchmarks.targets import TARGETS, Verdict


@pytest.mark.parametrize(
    ("key", "figure", "met"),
    [
        ("one-hop-rate", 15_000, True),
        ("one-hop-rate", 14_999.9, False),
        ("one-hop-p99", 4.0, True),
        ("one-hop-p99", 4.01, False),
        ("flat", 0.9, True),
        ("flat", 0.89, False),
        ("bulk", None, False),
    ],
)
def test_a_target_is_met_or_not(key: str, figure: float | None, met: bool) -> None:
    verdict = Verdict(TARGETS[key], figure)
    assert verdict.met is met
    assert verdict.cells()[3] == ("met" if met else "not met")


def test_a_verdict_in_words() -> None:
    assert Verdict(TARGETS["one-hop-rate"], 16_200.4).cells() == (
        "one hop, 1,000 outstanding",
        "at least 15,000 jobs/s",
        "16,200 jobs/s",
        "met",
    )
    assert Verdict(TARGETS["bulk"], None, "error: too large").cells()[2:] == ("none (error: too large)", "not met")
    assert Verdict(TARGETS["flat"], 0.934, "100,000 finished").cells()[1:3] == (
        "at least 0.9",
        "0.93 (100,000 finished)",
    )


def test_every_target_belongs_to_a_part() -> None:
    assert {target.part for target in TARGETS.values()} <= set(ORDER)


def report(**sections: str) -> Report:
    made = Report(Sizes(), "make bench ONLY=some")
    for part, text in sections.items():
        made.section(part, f"Title of {part}", text, ["peer 1.0"])
    return made


def test_a_part_measured_again_replaces_its_own_section_only() -> None:
    first = report(flat="flat 1", hops="hops 1", extra="extra 1")
    first.target("one-hop-p50", 1.2)
    text = first.merge_into("")
    assert text.startswith("# Results\n")
    assert [text.index(f"{part} 1") for part in ("hops", "flat", "extra")] == sorted(
        text.index(f"{part} 1") for part in ("hops", "flat", "extra")
    )
    assert "peer 1.0. Command: `make bench ONLY=some`" in text
    assert "| one hop, one outstanding, p50 | at most 1.5 ms | 1.20 ms | met |" in text

    again = report(flat="flat 2").merge_into(text)
    assert "flat 2" in again
    assert "flat 1" not in again
    assert "hops 1" in again
    assert "extra 1" in again
    assert again.count("<!-- part: ") == again.count("<!-- end of ") == 3
    assert report(flat="flat 1").merge_into(again).count("# Results\n") == 1


def test_parts_that_nobody_placed_come_last() -> None:
    assert in_order(["zebra", "bulk", "ape", "hops"]) == ["hops", "bulk", "ape", "zebra"]


def test_sizes() -> None:
    assert sizes_of({}) == Sizes()
    assert sizes_of({"BENCH_QUICK": "0"}) == Sizes()
    assert sizes_of({"BENCH_QUICK": "1"}) == QUICK
    assert QUICK.quick
    both = sizes_of({"BENCH_ROUNDS": "7", "BENCH_MEMORY_JOBS": "1000000"})
    assert (both.rounds, both.memory_jobs, both.quick) == (7, 1_000_000, False)


def test_every_target_has_a_verdict_and_what_was_not_measured_is_not_met() -> None:
    made = report(hops="hops 1")
    made.target("one-hop-p50", 1.2)
    assert [verdict.target for verdict in made.verdicts] == list(TARGETS.values())
    assert [verdict.met for verdict in made.verdicts].count(True) == 1
    assert "| three hops, 1,000 outstanding | at least 6,000 jobs/s | none (not measured) | not met |" in made.written(
        "hops"
    )
