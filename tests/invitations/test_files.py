from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from invitations.errors import FileError
from invitations.files import MAX_FILE_BYTES, read_private, write_private


def test_writes_with_mode_0600_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    earlier = os.umask(0)
    try:
        write_private(path, "größe\n")
    finally:
        os.umask(earlier)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private(path, exposed=False) == "größe\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_replaces_an_exposed_file_by_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert read_private(path, exposed=False) == "new"


def test_does_not_overwrite_when_told_not_to(tmp_path: Path) -> None:
    path = tmp_path / "once"
    write_private(path, "first", replace=False)
    with pytest.raises(FileError, match="exists already") as caught:
        write_private(path, "second", replace=False)
    assert caught.value.fix
    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["once"]


def test_does_not_follow_a_link_that_was_put_in_its_place(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("keep")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_private(link, "mine")
    assert target.read_text() == "keep"
    assert not link.is_symlink()


def test_a_failed_sync_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    write_private(path, "old")

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(FileError, match="No space left"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_missing_folder_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        write_private(tmp_path / "none" / "file", "x")
    assert caught.value.fix.endswith(f"mkdir -p {tmp_path / 'none'}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_refuses_a_file_that_others_can_touch(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(mode)
    with pytest.raises(FileError, match="by others") as caught:
        read_private(path, exposed=False)
    assert caught.value.fix == f"chmod 600 {path}"
    assert read_private(path) == "x"


def test_says_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist") as caught:
        read_private(tmp_path / "none")
    assert caught.value.missing
    with pytest.raises(FileError, match="regular file"):
        read_private(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="regular file"):
        read_private(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="not a text file"):
        read_private(tmp_path / "binary")
    (tmp_path / "large").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(FileError, match="larger than"):
        read_private(tmp_path / "large")


def test_an_unreadable_file_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileError, match="Permission denied") as caught:
        read_private(tmp_path / "theirs")
    assert "ls -ld" in caught.value.fix
