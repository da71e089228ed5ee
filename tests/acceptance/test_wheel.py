"""What users install: the built wheel, in an empty environment, away from the source tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("grammar", "invitations", "mesh", "agents")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# What pip says when it reached no package index, as opposed to an index that lacks something.
UNREACHABLE = re.compile(
    r"NameResolutionError|NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError"
    r"|Connection refused|Temporary failure in name resolution|Network is unreachable"
)

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of this environment's Python in its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "MESH_"))}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def pip(*arguments: str | Path, cwd: Path) -> None:
    """Run pip; skip the test if it can reach no package index, fail if it says anything else."""
    done = run(sys.executable, "-m", "pip", "--retries", "1", "--timeout", "30", *arguments, cwd=cwd)
    if done.returncode != 0:
        if UNREACHABLE.search(done.stdout + done.stderr):
            pytest.skip("no package index can be reached, and the wheel is built and installed with packages from it")
        pytest.fail(f"pip {arguments[0]}:\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment that holds the wheel and what it asks for: not even pip."""
    folder = tmp_path_factory.mktemp("installed")
    made = run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    assert made.returncode == 0, made.stderr
    pip("--python", folder / "venv" / "bin" / "python", "install", wheel, cwd=folder)
    return folder


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    metadata = f"{PROJECT['name']}-{PROJECT['version']}.dist-info"
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, metadata}

    # Each file of the packages is there, whatever its type: schemas and documents are read at run time.
    source = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if not name.startswith(metadata)} == source
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {f"{metadata}/licenses/LICENSE", f"{metadata}/entry_points.txt"} <= names


def test_the_installed_command_tells_its_version(environment: Path) -> None:
    told = run(environment / "venv" / "bin" / "mesh", "--version", cwd=environment)
    assert (told.returncode, told.stderr) == (0, "")
    assert PROJECT["version"] in told.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_an_installed_package_can_be_imported(environment: Path, package: str) -> None:
    """From the environment, not from the source tree, and without a warning."""
    program = f"import {package}; print({package}.__file__)"
    done = run(environment / "venv" / "bin" / "python", "-W", "error", "-c", program, cwd=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).is_relative_to(environment)
