"""Which processors agents are kept on while they are measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.cli.processors import keep_on, one_of_each_core, own_processors

ALL = own_processors()


def test_one_processor_of_each_core(tmp_path: Path) -> None:
    for number, siblings in enumerate(("0,4", "1", "2-3", "2-3", "0,4")):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert one_of_each_core(range(5), tmp_path) == [0, 1, 2]
    assert one_of_each_core({4, 3, 2}, tmp_path) == [2, 4], "0 is not among those that may be used"


def test_what_the_system_tells_nothing_of_is_a_core(tmp_path: Path) -> None:
    assert one_of_each_core({7, 3}, tmp_path) == [3, 7]
    assert one_of_each_core((), tmp_path) == []


@pytest.mark.skipif(not ALL, reason="the system does not say which processors there are")
def test_a_process_is_kept_and_let_go_with_all_its_threads() -> None:
    code = """
import os, threading
held = threading.Event()
threading.Thread(target=held.wait, daemon=True).start()
print("ready", flush=True)
input()
started = []
threading.Thread(target=lambda: started.append(os.sched_getaffinity(0))).start()
print([sorted(os.sched_getaffinity(int(one))) for one in os.listdir("/proc/self/task")] + list(map(sorted, started)))
"""
    with subprocess.Popen((sys.executable, "-c", code), stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        core = one_of_each_core(ALL)[-1]
        keep_on(process.pid, (core,))
        told, _ = process.communicate("\n")
    assert set(map(tuple, eval(told))) == {(core,)}
    assert os.sched_getaffinity(0) == ALL


def test_nothing_is_done_to_a_process_that_has_ended_nor_with_no_processors() -> None:
    with subprocess.Popen((sys.executable, "-c", "")) as process:
        process.wait()
    keep_on(process.pid, ALL)
    keep_on(os.getpid(), ())
    assert own_processors() == ALL
