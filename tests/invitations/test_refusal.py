from __future__ import annotations

from invitations.peers import InvitationRow, PeerRow
from invitations.refusal import Refused, told, unexplained, unseen

ROW = InvitationRow(b"i", b"CANARY", "cluster", None, "lab", (), 1, 2, None, 0, "open")


def peer(pair_key: bytes | None) -> PeerRow:
    return PeerRow(b"f", "lab", "portal", "portal", b"", b"l", pair_key, b"i", b"CANARY", ("ws://h",), (), "pinned")


def test_what_is_told_and_what_is_not() -> None:
    secret = unseen("unknown_key", "cause", invitation=ROW, alarm=True)
    assert (secret.tell, secret.reason, secret.message) == (False, "unknown_key", "link refused: cause")
    assert (secret.invitation, secret.alarm) == (ROW, True)
    open_ = told("wrong_zone", "cause", fix="do this")
    assert (open_.tell, open_.fix, open_.invitation, open_.alarm) == (True, "do this", None, False)
    assert secret.exit_code == open_.exit_code == 4
    assert "CANARY" not in f"{secret!r} {secret} {secret.fix}"


def test_the_dialler_is_told_the_possible_causes_and_the_fix() -> None:
    first, later = unexplained(peer(None)), unexplained(peer(b"k"))
    assert isinstance(first, Refused)
    assert "expired, revoked or used" in first.message
    assert "unknown there or revoked" in later.message
    for refusal in (first, later):
        assert '"portal"' in refusal.message
        assert "outside its range" in refusal.message
        assert "mesh join" in refusal.fix
