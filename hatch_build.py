"""Builds a wheel whose engine is compiled to C by mypyc: the same sources, in about two thirds of the time.

Off unless asked for, since it needs a C compiler and a minute:

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 pip install .

Everything that it makes lies in a temporary folder and in the wheel, never beside the sources: whoever works on them
runs what they read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup

level, *paths = sys.argv.pop().split(",")
setup(name="hopboard", packages=[], ext_modules=mypycify(paths, opt_level=level, debug_level="0"))
"""


class CompiledEngine(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the extension modules of the files that `modules` of its table in pyproject.toml names.

    Options of the table: `modules`, patterns of files below the root; `but`, names of files to leave out; `level`, what
    the C compiler is told of optimising. `COMPILED_LEVEL` in the environment takes the place of that, for a build that
    is soon there and only tried.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is filled.

        Raises:
            subprocess.CalledProcessError: mypyc or the C compiler failed; both have said why.
        """
        self._folder = Path(mkdtemp())
        root = Path(self.root)
        left_out = set(self.config["but"])
        found = sorted(path for pattern in self.config["modules"] for path in root.glob(pattern))
        modules = [str(path.relative_to(root)) for path in found if path.name not in left_out]
        # Only the sources: setuptools would take a pyproject.toml beside them for its own.
        for package in self.build_config.builder.config.packages:
            shutil.copytree(root / package, self._folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        (self._folder / "setup.py").write_text(SETUP, encoding="utf-8")
        built = self._folder / "built"
        level = os.environ.get("COMPILED_LEVEL", self.config["level"])
        asked = ",".join((level, f"--config-file={root / 'pyproject.toml'}", *modules))
        command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(built), asked]
        subprocess.run(command, cwd=self._folder, check=True)  # noqa: S603 - our own words, no shell
        for path in built.rglob("*.so"):
            build_data["force_include"][str(path)] = str(path.relative_to(built))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._folder)
