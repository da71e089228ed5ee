"""A Request that an agent sees for the first time: whether it may be here at all (PROTOCOL.md 9, the reasons)."""

from __future__ import annotations

from mesh.board import Board
from mesh.facts import Request
from mesh.ledger import Ledger
from mesh.lifecycle import Role
from mesh.refusals import Refusal
from mesh.routing import Place


def misplaced(
    ledger: Ledger, board: Board, request: Request, place: Place | None, size: int, now_ms: int
) -> Refusal | None:
    """Why a Request of `size` bytes that came by `board` is not taken; `place` is this agent's on its path."""
    limits = ledger.limits
    me = ledger.name
    if request.zone != board.zone:
        return Refusal("wrong_zone", f'the job is of zone "{request.zone}", the link of "{board.zone}"')
    if place is None or board.name not in (place.before, place.after):
        return Refusal("bad_path", f'the path "{request.path}" does not lead from "{board.name}" to "{me}"')
    if len(place.names) > limits.path_hops:
        return Refusal("bad_path", f'agent "{me}" takes paths of at most {limits.path_hops} agents')
    if place.role is Role.DESTINATION and request.destination not in (None, ledger.fingerprint):
        ledger.alarm(f'"{board.name}" brought a job for this agent\'s name under another key than its own')
        return Refusal("identity_changed", f'the job is for a "{me}" with another key: mesh trust says which')
    text = request.instruction
    if size > limits.request_bytes or (
        len(text) * 4 > limits.instruction_bytes and len(text.encode()) > limits.instruction_bytes
    ):
        return Refusal("malformed", f'agent "{me}" takes requests of at most {limits.request_bytes} bytes')
    if request.created_ms > now_ms + int(limits.future_s * 1000):
        ahead = (request.created_ms - now_ms) / 1000
        return Refusal("clock", f'the job was made {ahead:.0f} s ahead of the clock of "{me}": set the clocks right')
    if request.expires_ms - request.created_ms > int(limits.life_max_s * 1000):
        return Refusal("life", f'agent "{me}" takes jobs that wait at most {limits.life_max_s:.0f} s')
    if now_ms > request.expires_ms + int(limits.horizon_s * 1000):
        return Refusal("forgotten", f'agent "{me}" may have known this job and has forgotten it: effect unknown')
    return None
