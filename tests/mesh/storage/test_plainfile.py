"""A file that is written without SQLite: private, durable by name and content, and plain about failures."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.storage.plainfile import PlainFile


@pytest.fixture
def file(tmp_path: Path) -> PlainFile:
    return PlainFile(tmp_path / "file")


def test_it_is_made_once_and_for_its_owner_alone(file: PlainFile) -> None:
    assert not file.path.exists()
    file.make()
    file.make()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.write(b"here", 6)
    file.close()
    file.make()
    file.write(b"more", 2)
    assert file.path.read_bytes() == b"\0\0morehere"
    file.close()
    file.close()


def test_its_name_is_synced_with_the_folder(file: PlainFile, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    file.make()
    assert synced == [str(file.path.parent)]
    file.close()


def test_a_name_that_could_not_be_synced_says_that_nothing_is_certain(
    file: PlainFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told as a full disk, it would be tried again, and not synced any more."""

    def fails(_descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "no room")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="fsync: no room") as failed:
        file.make()
    assert failed.value.errno == errno.EIO
    file.close()


def test_a_short_write_goes_on(file: PlainFile, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, start: real(descriptor, data[:3], start))
    file.make()
    file.write(b"0123456789", 0)
    assert file.path.read_bytes() == b"0123456789"
    file.close()


def test_a_failed_sync_says_that_nothing_is_certain(file: PlainFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    file.make()
    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(OSError, match="fdatasync: no room") as failed:
        file.sync()
    assert failed.value.errno == errno.EIO
    file.close()


def refusing(number: int, asked: list[str] | None = None) -> Callable[..., int]:
    """A call of the system that fails."""

    def call(*_: object) -> int:
        if asked is not None:
            asked.append("asked")
        raise OSError(number, os.strerror(number))

    return call


def test_a_durable_write_is_one_call_where_there_is_one(file: PlainFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.make()
    monkeypatch.setattr(os, "pwrite", refusing(errno.EIO))
    monkeypatch.setattr(os, "fdatasync", refusing(errno.EIO))
    file.write_durably((b"01", b"23"), 4)
    assert file.path.read_bytes() == b"\0\0\0\0" + b"0123"
    file.close()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_where_there_is_none_it_is_written_and_synced(
    file: PlainFile, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked: list[str] = []
    synced: list[int] = []
    file.make()
    monkeypatch.setattr(os, "pwritev", refusing(number, asked))
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file.write_durably((b"one",), 0)
    file.write_durably((b"two",), 3)
    assert file.path.read_bytes() == b"onetwo"
    assert (len(synced), len(asked)) == (2, 1), "asked for once"
    file.close()


def test_a_short_durable_write_is_finished(file: PlainFile, monkeypatch: pytest.MonkeyPatch) -> None:
    real, synced = os.pwritev, []
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, start, flags: real(fd, [parts[0][:3]], start, flags))
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file.make()
    file.write_durably((b"01234", b"", b"56789"), 2)
    assert file.path.read_bytes() == b"\0\0" + b"0123456789"
    assert len(synced) == 1
    file.close()


def test_a_durable_write_that_fails_says_that_nothing_is_certain(
    file: PlainFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.make()
    monkeypatch.setattr(os, "pwritev", refusing(errno.EROFS))
    with pytest.raises(OSError, match="pwritev: Read-only") as failed:
        file.write_durably((b"one",), 0)
    assert failed.value.errno == errno.EIO
    file.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_without_room_the_two_calls_tell_what_is_certain(
    file: PlainFile, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    file.make()
    monkeypatch.setattr(os, "pwritev", refusing(number))
    file.write_durably((b"there was",), 0)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", refusing(number))
        with pytest.raises(OSError, match=os.strerror(number)) as failed:
            file.write_durably((b"there is none",), 9)
        assert failed.value.errno == number, "nothing was kept"
    monkeypatch.setattr(os, "fdatasync", refusing(number))
    with pytest.raises(OSError, match="fdatasync") as failed:
        file.write_durably((b"it was lost",), 9)
    assert failed.value.errno == errno.EIO
    file.close()


def test_it_is_cut_and_removed(file: PlainFile) -> None:
    file.make()
    file.write(b"0123456789", 0)
    file.cut(4)
    assert file.path.read_bytes() == b"0123"
    file.close()
    file.remove()
    file.remove()
    assert not file.path.exists()


def test_it_follows_no_link(file: PlainFile, tmp_path: Path) -> None:
    file.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        file.make()
