"""What a caller hands over in pieces: bounded, and taken once."""

from __future__ import annotations

from base64 import b64encode

import pytest

from agents.errors import AgentError
from agents.uploads import MOST, Uploads
from mesh.errors import TooLarge


def piece(data: bytes) -> str:
    return b64encode(data).decode()


def test_pieces_are_joined_in_their_order() -> None:
    uploads = Uploads()
    one, two = uploads.add(None, piece(b"a"), 10), uploads.add(None, "", 10)
    assert uploads.add(one, piece(b"bc"), 10) == one
    assert uploads.add(two, piece(b"x"), 10) == two
    assert (uploads.take(one), uploads.take(two)) == (b"abc", b"x")


def test_what_was_taken_is_gone() -> None:
    uploads = Uploads()
    number = uploads.add(None, piece(b"a"), 10)
    uploads.take(number)
    with pytest.raises(AgentError, match="no payload 1 was handed over"):
        uploads.take(number)
    with pytest.raises(AgentError, match="no payload 1"):
        uploads.add(number, piece(b"b"), 10)


def test_one_that_is_too_long_is_forgotten() -> None:
    uploads = Uploads()
    number = uploads.add(None, piece(b"12345"), 8)
    with pytest.raises(TooLarge, match="at most 8 bytes"):
        uploads.add(number, piece(b"6789"), 8)
    with pytest.raises(AgentError):
        uploads.take(number)


def test_a_caller_has_few_at_a_time() -> None:
    uploads = Uploads()
    for _ in range(MOST):
        uploads.add(None, "", 8)
    with pytest.raises(AgentError, match="handed over and not put"):
        uploads.add(None, "", 8)
    uploads.take(1)
    assert uploads.add(None, "", 8) == MOST + 1


@pytest.mark.parametrize("data", ["a", "%%%%", "\u2603"])
def test_what_is_no_base64_is_refused(data: str) -> None:
    with pytest.raises(AgentError, match="not base64"):
        Uploads().add(None, data, 8)
