"""How long a text takes: the commonest command read and written, and the slowest texts of 4 KiB.

Run it by `make bench`. It prints each figure with its target and whether that was met, and asserts nothing, since these
machines are shared: a figure is the best of several runs, which is what the code costs when nobody else is at work.
"""

from __future__ import annotations

import time
import timeit

from grammar import VOCABULARY, Command, parse_kind
from grammar.kinds import KINDS
from tests.grammar.test_fuzz import VOCABULARY_PLUS, long_texts

COMMON = "portal.cluster add_user fred.proj.org"
RUNS, CALLS = 20, 5_000


def row(what: str, figure: float, target: float, unit: str, *, strict: bool = False) -> str:
    """One row of the table; `strict` when the target itself would be too long."""
    met = figure < target if strict else figure <= target
    sign = "<" if strict else "<="
    return f"| {what} | {figure:.2f} {unit} | {sign} {target:g} {unit} | {'met' if met else 'not met'} |"


def there_and_back() -> None:
    """Read the command and write it, as an agent does that puts it."""
    assert str(Command.parse(COMMON, VOCABULARY)) == COMMON


def worst() -> tuple[float, str, str]:
    """Milliseconds of the slowest text of 4 KiB, its kind, and how it begins."""
    found = (0.0, "", "")
    for kind in KINDS:
        for text in long_texts():
            times = []
            for _ in range(5):
                before = time.perf_counter()
                parse_kind(kind, text, vocabulary=VOCABULARY_PLUS)
                times.append(time.perf_counter() - before)
            found = max(found, (min(times) * 1000, kind, text[:40]))
    return found


def test_grammar() -> None:
    microseconds = min(timeit.repeat(there_and_back, repeat=RUNS, number=CALLS)) / CALLS * 1e6
    milliseconds, kind, beginning = worst()
    print("\n| language | measured | target | |\n|---|---|---|---|")
    print(row(f"parse + format of `{COMMON}`", microseconds, 10, "microseconds"))
    print(row("worst parse of a text of 4 KiB", milliseconds, 5, "ms", strict=True))
    print(f"\nThe worst text is of kind {kind} and begins with {beginning!r}.")
