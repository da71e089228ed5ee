"""Measure one contestant, in a process of its own: `python -m tests.benchmarks.peers NAME SINGLES SECONDS`.

Prints one line: a JSON object of the figures.
"""

from __future__ import annotations

import json
import signal
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from tests.benchmarks.peers.contestants import CONTESTANTS
from tests.benchmarks.peers.load import Load


def stop(number: int, frame: FrameType | None) -> None:
    """End, through every `finally`; what is being cleared up then is not disturbed by a second signal."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main(name: str, singles: str, seconds: str) -> None:
    """Measure it in a temporary folder."""
    module, _, function = CONTESTANTS[name].run.partition(":")
    run = getattr(import_module(f"tests.benchmarks.peers.{module}"), function)
    with TemporaryDirectory(prefix="mesh-bench-peer-") as folder:
        measured = run(Path(folder), Load(int(singles), float(seconds)))
    print(json.dumps(measured.to_record()))


for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, stop)
main(*sys.argv[1:])
