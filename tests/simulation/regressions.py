"""Schedules that once found a bug, frozen: they do not change when the generator of schedules does.

`regressions.json` holds for each the bug it found and everything that the seed had decided before the first event.
`python -m tests.simulation.regressions --seed N --why "what was wrong"` adds the schedule of a seed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

from mesh.limits import Limits
from mesh.simulation import Faults, Habits
from tests.simulation.schedules import Schedule, draw_schedule

PATH = Path(__file__).with_name("regressions.json")


class Regression(NamedTuple):
    """A frozen schedule, and what was wrong."""

    why: str
    schedule: Schedule


def frozen(schedule: Schedule) -> dict[str, Any]:
    """The schedule as JSON, without what is as always."""
    plain = asdict(schedule)
    for name, usual in (("limits", Limits()), ("faults", Faults()), ("habits", Habits())):
        always = asdict(usual)
        plain[name] = {key: value for key, value in plain[name].items() if value != always[key]}
    return plain


def thawed(plain: dict[str, Any]) -> Schedule:
    """The schedule that was frozen."""
    given = dict(plain)
    given["limits"], given["faults"] = Limits(**given["limits"]), Faults(**given["faults"])
    given["habits"] = Habits(**given["habits"])
    for name in ("links", "strangers"):
        given[name] = tuple(tuple(one) for one in given[name])
    given["smugglers"] = tuple(given["smugglers"])
    assert given.keys() == {field.name for field in fields(Schedule)}
    return Schedule(**given)


def regressions() -> list[Regression]:
    """All that are checked in."""
    return [Regression(one["why"], thawed(one["schedule"])) for one in json.loads(PATH.read_text())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--losses", choices=("yes", "no"), help="lose stores or not, where chance would decide")
    parser.add_argument("--why", required=True)
    given = parser.parse_args()
    schedule = draw_schedule(given.seed, losses=None if given.losses is None else given.losses == "yes")
    known = json.loads(PATH.read_text()) if PATH.exists() else []
    known.append({"why": given.why, "schedule": frozen(schedule)})
    PATH.write_text("[\n" + ",\n".join(json.dumps(one) for one in known) + "\n]\n")


if __name__ == "__main__":
    main()
