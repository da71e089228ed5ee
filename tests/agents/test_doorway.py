from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from agents.doorway import SOCKET, bind, knock


def test_a_caller_reaches_the_door(tmp_path: Path) -> None:
    with bind(tmp_path / SOCKET) as server, knock(tmp_path) as client:
        server.setblocking(True)
        taken, _ = server.accept()
        with taken:
            client.setblocking(True)
            client.sendall(b"hello")
            assert taken.recv(5) == b"hello"


def test_only_its_owner_may_open_it(tmp_path: Path) -> None:
    with bind(tmp_path / SOCKET):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600


def test_a_folder_too_deep_for_an_address_has_a_door_too(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 50] * 5)
    deep.mkdir(parents=True)
    assert len(os.fsencode(deep)) > 107
    with bind(deep / SOCKET) as server, knock(deep):
        server.setblocking(True)
        server.accept()[0].close()
    assert [path.name for path in deep.iterdir()] == [SOCKET]


def test_a_relative_folder_works_from_where_it_is_relative_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "portal").mkdir()
    monkeypatch.chdir(tmp_path)
    with bind(Path("portal") / SOCKET), knock(Path("portal")):
        pass


def test_what_a_killed_agent_left_is_replaced(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / SOCKET))
    dead.close()
    with pytest.raises(ConnectionRefusedError):
        knock(tmp_path)
    with bind(tmp_path / SOCKET), knock(tmp_path):
        pass


def test_nobody_opens_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        knock(tmp_path)
    with pytest.raises(FileNotFoundError):
        knock(tmp_path / "no" / "such" / "folder")


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / SOCKET).write_text("mine")
    with pytest.raises(FileExistsError):
        bind(tmp_path / SOCKET)
    assert (tmp_path / SOCKET).read_text() == "mine"
