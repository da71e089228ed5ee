"""A command whose output is wanted, and which clears up behind itself when it is asked to end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

CLEARED_S: Final = 20.0
"""How long a command may take to stop what it has started."""


class CommandFailed(Exception):
    """It ended with another status than 0, or took too long; the end of what it said."""


def run_command(words: Sequence[str], *, timeout: float, cwd: Path, environment: Mapping[str, str]) -> str:
    """Run it and return its standard output. It has ended, and has had the time to clear up, when this returns.

    `subprocess.run` kills at Ctrl-C, which would leave the servers of a command behind.

    Raises:
        CommandFailed: see there.
    """
    process = subprocess.Popen(
        words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said, remarks = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"not over after {timeout:g} s") from None
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.communicate(timeout=CLEARED_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
    if process.returncode:
        lines = (remarks.strip() or said.strip()).splitlines()
        raise CommandFailed(lines[-1][:300] if lines else f"it ended with status {process.returncode}")
    return said
