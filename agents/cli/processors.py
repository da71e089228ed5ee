"""Which processors agents run on, for a verb that measures several of them on one machine.

The threads of an agent take turns: it seldom keeps more than one processor busy. Where two busy agents share two, the
scheduler moves their threads about and lets one agent's push the other's away, which costs a tenth of what they do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def own_processors() -> frozenset[int]:
    """The processors that this process may use; none where the system does not say (it does on Linux)."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def one_of_each_core(processors: Iterable[int], topology: Path = Path("/sys/devices/system/cpu")) -> list[int]:
    """Of processors, the first one of each core: two on one core do little more than one.

    Args:
        processors: numbers of processors.
        topology: where Linux tells which belong together. One of which it tells nothing counts as a core.
    """
    found: dict[str, int] = {}
    for number in sorted(processors):
        siblings = topology / f"cpu{number}" / "topology" / "thread_siblings_list"
        try:
            core = siblings.read_text().strip()
        except OSError:
            core = f"cpu{number}"
        found.setdefault(core, number)
    return list(found.values())


def keep_on(process: int, processors: Iterable[int]) -> None:
    """Have all threads of a process of ours, and those that they start, run on these processors alone.

    Args:
        process: its number. One that has ended is left alone.
        processors: on which; none where the system does not say, and nothing is done then.
    """
    allowed = frozenset(processors)
    if not allowed:
        return
    # It may have ended, or the thread.
    with suppress(OSError):
        for thread in list(Path(f"/proc/{process}/task").iterdir()):
            with suppress(OSError):
                os.sched_setaffinity(int(thread.name), allowed)
