"""Documents as programs: the fenced blocks of a Markdown file, and a shell to run their commands in.

A `console` block is read as people read it: lines that begin with `$ ` are typed, the lines after one are what it
prints. In those, ids, ports, keys and times are taken for examples of their kind.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 40.0

_KINDS_OF_WORDS: Final = (
    (r"\b[0-9a-f]{8}\b", r"[0-9a-f]{8}"),  # a short id
    (r":\d{4,5}\b", r":\\d+"),  # a port
    (r"\b\d+(\.\d+)? (ms|s)\b", r"\\d+(\\.\\d+)? (ms|s)"),  # a time
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: the heading it stands under, its language, its text."""

    heading: str
    language: str
    text: str

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """The commands of a console block, each with the lines that it is said to print."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
        return found


def blocks(document: Path, *, heading: str | None = None, language: str | None = None) -> list[Block]:
    """The fenced blocks of a document, all or those of one heading or language."""
    found, title = [], ""
    lines = iter(document.read_text().splitlines())
    for line in lines:
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("```"):
            text = []
            while (inner := next(lines)) != "```":
                text.append(inner)
            found.append(Block(title, line[3:], "\n".join(text)))
    return [one for one in found if heading in {None, one.heading} and language in {None, one.language}]


def pattern(line: str) -> re.Pattern[str]:
    """What a printed line of a document stands for."""
    text = re.escape(line).replace(r"\ ", " ")
    for kind, any_of_it in _KINDS_OF_WORDS:
        text = re.sub(kind, any_of_it, text)
    return re.compile(text)


class Shell:
    """A folder to type commands in, as somebody would who has installed Hopboard. Leaving it ends what still runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._background: list[subprocess.Popen[str]] = []
        # Outside of the folder: what people see there is theirs.
        programs = folder.parent / f"{folder.name}-programs"
        programs.mkdir()
        for name, start in (
            ("mesh", '-c "from agents.cli import main; main()"'),
            ("pip", "-m pip"),
            ("python", ""),
        ):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {start} "$@"\n')
            program.chmod(0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        self.environment = kept | {
            "PATH": f"{programs}:{kept['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._background:
            process.kill()
            process.communicate()

    def run(self, command: str, printed: list[str] | None = None, *, status: int = 0) -> str:
        """Type a command, wait for its end, and return what it printed.

        Args:
            command: as typed.
            printed: lines of which each must have been printed, in kind.
            status: the exit code that is right.
        """
        done = subprocess.run(
            shlex.split(command),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
        check_printed(command, done.stdout.splitlines(), printed or [])
        return done.stdout

    def start(self, command: str, printed: list[str] | None = None) -> subprocess.Popen[str]:
        """Type a command that goes on, and wait until it has printed these lines, in kind."""
        process = subprocess.Popen(
            shlex.split(command.removesuffix("&")),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._background.append(process)
        assert process.stdout is not None
        for line in printed or []:
            wanted = pattern(line)
            seen: list[str] = []
            while not seen or not wanted.fullmatch(seen[-1].rstrip()):
                seen.append(process.stdout.readline())
                assert seen[-1], f"{command} ended and did not print\n{line}\nbut\n{''.join(seen)}"
        return process


def check_printed(command: str, printed: list[str], expected: list[str]) -> None:
    """Each expected line was printed, in kind and in this order."""
    rest = iter(printed)
    for line in expected:
        wanted = pattern(line)
        assert any(wanted.fullmatch(one.rstrip()) for one in rest), f"{command} did not print\n{line}\nbut\n{printed}"
