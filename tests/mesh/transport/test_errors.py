"""Errors of the transport: what a stranger wrote never reaches a log as it was."""

from __future__ import annotations

from grammar.errors import MeshError
from mesh.errors import LinkError
from mesh.transport.errors import ConnectionLost, DialFailed, ListenFailed, printable


def test_a_lost_connection_says_reason_and_code():
    error = ConnectionLost("replaced", 4409)
    assert str(error) == "the connection ended: replaced (4409)"
    assert (error.reason, error.close_code, error.code) == ("replaced", 4409, "MESH-E310")
    assert str(ConnectionLost("", 1006)) == "the connection ended: no reason given (1006)"


def test_reasons_are_made_printable_and_cut():
    assert printable("a\x1b[31m\nb\u202e") == "a?[31m?b?"
    assert len(ConnectionLost("x" * 1_000, 1000).reason) == 123


def test_a_failed_dial_says_where_why_and_what_to_do():
    error = DialFailed("ws://node:1", "nothing listens there", fix="start it")
    assert str(error) == "cannot reach ws://node:1: nothing listens there"
    assert (error.fix, error.code, error.exit_code) == ("start it", "MESH-E311", 3)


def test_they_are_what_their_callers_catch():
    assert issubclass(ConnectionLost, LinkError)
    assert issubclass(DialFailed, LinkError)
    assert issubclass(ListenFailed, MeshError)
    assert ListenFailed.code == "MESH-E312"
