"""Refusals: why a link is not accepted, for the log of the refusing side, and how much of it the dialler
may know.

Before the dialler has proved itself every refusal looks the same from outside (`unseen`), so that a
stranger learns nothing of peers and invitations. After that it is told by name (`told`).
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from grammar.errors import MeshError
from invitations.peers import InvitationRow, PeerRow

Reason = Literal[
    # Before authentication: the dialler is not told which.
    "unknown_key",
    "other_pair_key",
    "revoked",
    "invitation_unknown",
    "invitation_expired",
    "invitation_not_yet",
    "invitation_used",
    "invitation_revoked",
    "address",
    # After authentication: told by name.
    "wrong_name",
    "wrong_zone",
    "wrong_kind",
    "card_mismatch",
    "card_expired",
    "name_taken",
    "identity_changed",
    "superseded",
    # The dialler's own word for a refusal of the first sort.
    "unexplained",
]

_INVITE_AGAIN: Final = "make a new invitation: `mesh invite PEER`"


class Refused(MeshError):
    """A link that is not accepted. Nothing has changed; close the connection.

    Args:
        reason: one word, for logs and counters.
        message: one sentence with the cause, for the log of the refusing side.
        fix: what an operator can do.
        tell: True if the other side has proved itself and may be told reason, message and fix. False: close
            without a word, in the one way in which every failure before authentication is closed.
        alarm: True if this looks like a theft or a clone, and an operator should look.
        invitation: an invitation with one more failure counted, to be kept and stored, or None.
    """

    code: ClassVar[str] = "MESH-E210"
    exit_code: ClassVar[int] = 4

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        fix: str,
        tell: bool,
        alarm: bool = False,
        invitation: InvitationRow | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.reason: Reason = reason
        self.tell = tell
        self.alarm = alarm
        self.invitation = invitation


def unseen(
    reason: Reason,
    message: str,
    *,
    fix: str = _INVITE_AGAIN,
    alarm: bool = False,
    invitation: InvitationRow | None = None,
) -> Refused:
    """A refusal before authentication, for the log alone; arguments as for `Refused`."""
    return Refused(reason, f"link refused: {message}", fix=fix, tell=False, alarm=alarm, invitation=invitation)


def told(
    reason: Reason,
    message: str,
    *,
    fix: str = _INVITE_AGAIN,
    alarm: bool = False,
    invitation: InvitationRow | None = None,
) -> Refused:
    """A refusal after authentication, which the other side may read; arguments as for `Refused`."""
    return Refused(reason, f"link refused: {message}", fix=fix, tell=True, alarm=alarm, invitation=invitation)


def unexplained(peer: PeerRow) -> Refused:
    """What the dialling side can say of a connection that `peer` closed before authentication."""
    cause = "this agent's key is unknown there or revoked"
    if peer.pair_key is None:
        cause = "the invitation is expired, revoked or used by another agent"
    return Refused(
        "unexplained",
        f'"{peer.name}" refused the link without a word: {cause}, or this address is outside its range',
        fix=f'read the log of "{peer.name}", which says which; a new invitation and `mesh join` settle most',
        tell=False,
    )
