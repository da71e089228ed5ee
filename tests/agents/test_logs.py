from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from agents.logs import log_to
from invitations.config import LogSection


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    ours = logging.getLogger("hopboard")
    before = list(ours.handlers), ours.level, ours.propagate
    yield
    ours.handlers[:], level, ours.propagate = before
    ours.setLevel(level)


def test_lines_for_people() -> None:
    stream = io.StringIO()
    log_to(stream, LogSection())
    logging.getLogger("hopboard.peers").warning("no link to %s", "portal", extra={"fix": "start it"})
    logging.getLogger("hopboard").info("ready")
    logging.getLogger("hopboard.peers").debug("not wanted")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" warning peers: no link to portal (fix=start it)")
    assert second.endswith(" info ready")


def test_lines_for_collectors() -> None:
    stream = io.StringIO()
    log_to(stream, LogSection(level="debug", format="json"))
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("hopboard.door").exception("a call failed", extra={"job": "7f3a91c2"})
    record = json.loads(stream.getvalue())
    assert record["time"].endswith("+00:00")
    assert (record["level"], record["logger"], record["message"]) == ("error", "hopboard.door", "a call failed")
    assert record["job"] == "7f3a91c2"
    assert "ValueError: inside" in record["trace"]


def test_a_trace_is_shown_to_people_too() -> None:
    stream = io.StringIO()
    log_to(stream, LogSection())
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("hopboard").exception("oh")
    assert stream.getvalue().splitlines()[-1] == "ValueError: inside"
