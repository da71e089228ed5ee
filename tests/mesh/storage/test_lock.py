"""One process per store, however that process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.errors import StoreError, StoreLocked
from mesh.storage.lock import StoreLock

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys
from pathlib import Path
from mesh.storage.lock import StoreLock
lock = StoreLock(Path(sys.argv[1]))
lock.take()
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db.lock"


def test_a_lock_is_taken_once(path: Path) -> None:
    first, second = StoreLock(path), StoreLock(path)
    first.take()
    with pytest.raises(StoreLocked, match=f"this process has {path.parent / 'store.db'} open"):
        second.take()
    first.release()
    second.take()
    second.release()
    assert path.stat().st_mode & 0o777 == 0o600


def test_releasing_what_is_not_held_does_nothing(path: Path) -> None:
    StoreLock(path).release()
    assert not path.exists()


def test_another_process_is_named_and_its_death_gives_the_lock_back(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"taken\n"
    lock = StoreLock(path)
    with pytest.raises(StoreLocked, match=f"process {process.pid} has ") as raised:
        lock.take()
    assert f"kill {process.pid}" in raised.value.fix
    process.kill()
    process.communicate()
    lock.take()
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_holder_that_does_not_say_who_it_is(path: Path) -> None:
    first = StoreLock(path)
    first.take()
    path.write_text("")
    with pytest.raises(StoreLocked, match="another process") as raised:
        StoreLock(path).take()
    assert str(path) in raised.value.fix
    first.release()


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot make"):
        StoreLock(tmp_path / "missing" / "store.db.lock").take()


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="cannot make"):
        StoreLock(path).take()
    assert (tmp_path / "precious").read_text() == "precious"
