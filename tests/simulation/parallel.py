"""Work spread over the processors: a list of tasks, a function of one task, results in the order of the tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(work: Callable[[Task], Answer], tasks: Sequence[Task]) -> Iterator[Answer]:
    """Run `work` on every task, in fresh processes; it and its tasks have to be importable and picklable."""
    with ProcessPoolExecutor(processors(), mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, tasks)
