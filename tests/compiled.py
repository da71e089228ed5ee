"""The build whose engine is compiled to C, in build/compiled: made once, and again when its sources have changed.

`make compiled` calls it, the tests that need that build, and the benchmarks: `python -m tests.compiled` makes the one
for use, whose C is optimised. Whoever puts the folder first on PYTHONPATH runs it; nothing lies beside the sources.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from hashlib import blake2b
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "build" / "compiled"
LEVELS: Final = ("0", "3")
"""How much the C is optimised: for tests, in half the time, and for use."""
_STAMP: Final = ".built-from"
_UNDER: Final = ("grammar", "invitations", "mesh")
"""The floors that the compiled files are compiled with. The one above is only copied."""
_ABOVE: Final = "agents"
_GENERATED: Final = shutil.ignore_patterns("__pycache__")


class CannotCompile(Exception):
    """Something is missing on this machine; the text says what, and what to do."""


def compiled_modules() -> list[str]:
    """The names of the modules that are compiled, as pyproject.toml tells them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    told = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    found = (path for pattern in told["modules"] for path in ROOT.glob(pattern) if path.name not in told["but"])
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found)


def check_compiler() -> None:
    """Look for what a C extension needs.

    Raises:
        CannotCompile: it is not here.
    """
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise CannotCompile(f"no C compiler ({compiler}): the engine is not compiled; Debian: apt-get install gcc")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise CannotCompile("no Python.h: the engine is not compiled; Debian: apt-get install python3-dev")


def build(level: str = LEVELS[0]) -> Path:
    """Make the build, unless it is there already, as much optimised at least.

    Returns:
        The folder to put first on PYTHONPATH.

    Raises:
        CannotCompile: a compiler is missing.
        subprocess.CalledProcessError: a tool failed; it has said why.
    """
    stamp = FOLDER / _STAMP
    digest = _digest()
    if not stamp.exists() or stamp.read_text() not in [f"{made} {digest}" for made in LEVELS if made >= level]:
        check_compiler()
        shutil.rmtree(FOLDER, ignore_errors=True)
        wheels = FOLDER / "wheel"
        environment = {**os.environ, "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "1", "COMPILED_LEVEL": level}
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
        # With the tools of this environment: no package index is asked.
        made = (*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
        subprocess.run(made, env=environment, check=True)
        (wheel,) = wheels.iterdir()
        subprocess.run((*pip, "install", "--no-deps", "--target", str(FOLDER), str(wheel)), check=True)
        shutil.rmtree(wheels)
        stamp.write_text(f"{level} {digest}")
    # Nothing that is compiled imports it.
    shutil.rmtree(FOLDER / _ABOVE)
    shutil.copytree(ROOT / _ABOVE, FOLDER / _ABOVE, ignore=_GENERATED)
    return FOLDER


def environment(folder: Path) -> dict[str, str]:
    """That of this process, for one that runs the build in `folder`."""
    return {**os.environ, "PYTHONPATH": str(folder)}


def _digest() -> str:
    """A hash over the sources, what compiles them, and the machine they are compiled for."""
    found = blake2b(f"{sys.version} {platform.machine()}".encode(), digest_size=16)
    paths = [path for floor in _UNDER for path in (ROOT / floor).rglob("*") if path.is_file()]
    for path in sorted(path for path in paths if "__pycache__" not in path.parts):
        found.update(f"{path.relative_to(ROOT)} ".encode() + path.read_bytes())
    found.update((ROOT / "hatch_build.py").read_bytes() + (ROOT / "pyproject.toml").read_bytes())
    return found.hexdigest()


def main() -> None:
    """Make the build for use, and say where it is."""
    try:
        folder = build(LEVELS[-1])
    except CannotCompile as error:
        sys.exit(str(error))
    print(f"{folder.relative_to(ROOT)}: put it first on PYTHONPATH")


if __name__ == "__main__":
    main()
