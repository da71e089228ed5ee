"""Blobs on their way out: what is owed to which peer, and when a fact may have its number (rules R1, R14).

A fact that names a blob gets no number before the peer holds the bytes; what it need not wait for goes on without it.
Few blobs are on their way at a time, few bytes of them unacknowledged, and all of them behind whatever else waits for
the link. See `blobs` for the whole life of a blob.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.blobs import Arriving, BlobRow, Delivery, Homed, Key, Name, Owing, Slice
from mesh.board import Board
from mesh.effects import ById, Bytes
from mesh.facts import OUTCOME, REJECT, REQUEST, Fact, Kind, blob_of, depth_of
from mesh.job import Job
from mesh.lane import HAS, NEVER, Lane
from mesh.ledger import Ledger
from mesh.messages import BlobMessage, Held, SliceMessage, Type, encode
from mesh.quotas import Quota
from mesh.refetching import refetch
from mesh.replication import STRAY
from mesh.staging import OURS

READ: Final = 8
"""Slices that are read at a time."""
_ENDS: Final = (OUTCOME, REJECT)
_NOTHING: Final[tuple[Kind, ...]] = ()


# -- what waits for a blob --------------------------------------------------------------------------------------------


def _carried(job: Job, lane: Lane) -> Kind:
    """The kind of fact whose blob travels along a lane: payloads go down, results up."""
    return REQUEST if lane is job.down else OUTCOME


def _travelling(job: Job, lane: Lane) -> Name | None:
    """The blob that has to be at the peer of a lane before its fact has a number there."""
    kind = _carried(job, lane)
    fact = job.facts[kind]
    name = None if fact is None else blob_of(fact.content)
    if name is None or not name.length or not job.holding >> kind & 1:
        return None
    return name if job.live or kind is OUTCOME else None


def goes_without(job: Job, lane: Lane, fact: Fact) -> bool:
    """Whether a fact names bytes that the peer is not to wait for: nobody needs them there, or they are not here."""
    name = blob_of(fact.content)
    if name is None or not name.length:
        return False
    return fact.kind is not _carried(job, lane) or _travelling(job, lane) is None


def held_back(ledger: Ledger, job: Job, lane: Lane) -> tuple[Kind, ...] | None:
    """What of a lane must not be numbered in this step, since its blob is not at the peer yet: some kinds of facts, or
    None for all of them. The blob is owed from now on."""
    if not ledger.blobs.used:
        return _NOTHING
    kind = _carried(job, lane)
    name = _travelling(job, lane) if lane.sent[kind] == NEVER else None
    if name is None:
        return _NOTHING
    board = ledger.boards[lane.board]
    key = Key(job.id, kind, name.hash)
    deliveries = ledger.blobs.to.get(board.id)
    if deliveries is not None and key in deliveries.on(board.link).held:
        return _NOTHING
    if deliveries is None or key not in deliveries.due:
        depth = depth_of(job.request) if kind is REQUEST else 0
        ledger.blobs.owe(board.id, Delivery(key, name.length, depth))
        ledger.effects.batch.owing.append(Owing(key, board.id))
        ledger.pumped[board.id] = board
    elif key not in ledger.blobs.missing and deliveries.again(key):
        # The row of its job was damaged meanwhile, and a neighbour gave it back.
        ledger.pumped[board.id] = board
    if kind is REQUEST:
        return None
    _hold_home(ledger, job, ledger.blobs.to[board.id].due[key])
    others = any(lane.sent[other] == NEVER for other in Kind if other not in _ENDS)
    return _ENDS if others else None


def _hold_home(ledger: Ledger, job: Job, delivery: Delivery) -> None:
    """The Outcome came from downstream under a number that is not home before the blob has gone on (R7)."""
    if job.arrived and job.down is not None:
        delivery.arrived = _later(ledger, (job.down.board, job.arrived), delivery.arrived)
        job.arrived = 0


def _later(ledger: Ledger, arrived: tuple[int, int], other: tuple[int, int] | None) -> tuple[int, int]:
    """Under two numbers the end of a job came by one board: the later one stands for both. (That is not always the one
    that was found last: one from before this store was opened is told again when the board above begins anew.)"""
    if other is None:
        return arrived
    earlier, later = sorted((arrived, other))
    board = ledger.boards[earlier[0]]
    board.inbox.came_home(earlier[1])
    ledger.acks[board.id] = board
    return later


def _let_home(ledger: Ledger, delivery: Delivery) -> None:
    if delivery.arrived is not None:
        board = ledger.boards[delivery.arrived[0]]
        board.inbox.came_home(delivery.arrived[1])
        ledger.acks[board.id] = board
        delivery.arrived = None


def came_again(ledger: Ledger, job: Job) -> None:
    """The end of a job came once more, under another number: the later one stands for both."""
    for board_id in ledger.blobs.owing.get(job.id, ()):
        for delivery in ledger.blobs.to[board_id].due.values():
            if delivery.key.job == job.id and delivery.arrived is not None and not job.arrived:
                # If that was a Reject, too: the Outcome that waits beside it is held under the later number.
                job.arrived = delivery.arrived[1] or STRAY
                delivery.arrived = None


def numbered(ledger: Ledger, job: Job, lane: Lane, number: int) -> None:
    """The facts of a lane got their number: a blob that one of them names is not owed any more."""
    if job.id not in ledger.blobs.owing or lane.sent[_carried(job, lane)] != number:
        return
    if lane is job.up:
        source = OURS if job.down is None else job.down.board
        for delivery in _owed(ledger, job, lane.board):
            found = ledger.blobs.results.setdefault(lane.board, {})
            found[number] = (job.id, source, delivery.length)
    for delivery in _owed(ledger, job, lane.board):
        arrived, delivery.arrived = delivery.arrived, None
        if delivery.key in ledger.blobs.to[lane.board].held:
            _settle(ledger, lane.board, delivery)
        else:
            # It goes without the bytes.
            _withdraw(ledger, lane.board, delivery)
        if arrived is None:
            continue
        relayed = ledger.boards[lane.board].outbox.relayed
        relayed[number] = _later(ledger, arrived, relayed.get(number))


def came_home(ledger: Ledger, board: Board) -> None:
    """Results that went up to a board are at their origin: their bytes are not needed here any more."""
    results = ledger.blobs.results.get(board.id, {})
    for number in [number for number in results if number <= board.outbox.home]:
        job_id, source, length = results.pop(number)
        homed = Homed(board.id, source, length)
        job = ledger.find(job_id)
        if job is None:
            ledger.blobs.homed[job_id] = homed
            ledger.effects.queries.append(ById((job_id,)))
        else:
            _let_go(ledger, job, homed)


def _let_go(ledger: Ledger, job: Job | None, homed: Homed) -> None:
    board, lane = ledger.boards[homed.board], None if job is None else job.lane_of(homed.board)
    number = HAS if lane is None else lane.sent[OUTCOME] and max(lane.sent[OUTCOME], lane.sent[REJECT])
    if number == NEVER:
        # It was refused under the number that is home now, and goes up once more.
        return
    if job is not None and number > board.outbox.home:
        ledger.blobs.results.setdefault(board.id, {})[number] = (job.id, homed.source, homed.length)
        return
    ledger.blobs.quotas.discount(Quota(homed.source, OUTCOME, 0), homed.length)
    if job is None:
        return
    # In one commit: who restarts between the two would owe, for ever, what it takes itself to hold.
    kept = job.facts[REQUEST] is not None and job.holding >> OUTCOME & 1
    if kept and job.id not in ledger.blobs.owing:
        job.holding &= ~(1 << OUTCOME)
        ledger.effects.batch.unneeded.append((job.id, OUTCOME))
        ledger.touch(job)


def reconsider(ledger: Ledger) -> None:
    """Let go of what is owed for facts that need not travel any more."""
    owing = ledger.blobs.owing
    for job in [job for job in ledger.dirty.values() if job.id in owing]:
        for board_id in list(owing.get(job.id, ())):
            lane = job.lane_of(board_id)
            name = None if lane is None else _travelling(job, lane)
            for delivery in _owed(ledger, job, board_id):
                kind = delivery.key.kind
                waits = lane is not None and lane.sent[kind] == NEVER and kind == _carried(job, lane)
                if not waits or name is None or name.hash != delivery.key.hash:
                    _withdraw(ledger, board_id, delivery)


def _withdraw(ledger: Ledger, board_id: int, delivery: Delivery) -> None:
    """Nobody waits for a blob any more: let go of it, and say so to the peer if it heard of it on this link."""
    _take_back(ledger, board_id, delivery.key)
    _let_home(ledger, _settle(ledger, board_id, delivery))


def _take_back(ledger: Ledger, board_id: int, key: Key) -> None:
    """Tell the peer, if it heard of a blob on this link, that it does not come, or not now."""
    deliveries, board = ledger.blobs.to[board_id], ledger.boards[board_id]
    if deliveries.link == board.link and board.open and (key in deliveries.open or key in deliveries.held):
        packed = encode(Type.BLOB, BlobMessage(*key, 0))
        ledger.effects.send.setdefault(board.id, []).append(packed)
    deliveries.open.pop(key, None)
    deliveries.held.discard(key)


def forget_board(ledger: Ledger, board: Board) -> None:
    """The peer of a board was revoked: nothing is owed to it, what it had not named goes, and it gives nothing back."""
    for job_id in sorted(board.wanted & {key.job for key in ledger.blobs.missing}):
        _fetch(ledger, job_id)
    deliveries = ledger.blobs.to.get(board.id)
    for delivery in [] if deliveries is None else list(deliveries.due.values()):
        _let_home(ledger, _settle(ledger, board.id, delivery))
    for place, arriving in list(ledger.blobs.arriving.items()):
        if arriving.board == board.id:
            del ledger.blobs.arriving[place]
            ledger.effects.batch.dropped.append(arriving.id)


def _owed(ledger: Ledger, job: Job, board_id: int) -> list[Delivery]:
    deliveries = ledger.blobs.to.get(board_id)
    return [] if deliveries is None else [one for one in deliveries.due.values() if one.key.job == job.id]


def _settle(ledger: Ledger, board_id: int, delivery: Delivery) -> Delivery:
    ledger.blobs.settle(board_id, delivery.key)
    ledger.effects.batch.owing.append(Owing(delivery.key, None))
    ledger.pumped[board_id] = ledger.boards[board_id]
    return delivery


# -- on a link --------------------------------------------------------------------------------------------------------


def pump_blobs(ledger: Ledger, board: Board) -> None:
    """Offer the next blobs, and read what the window has room for."""
    deliveries = ledger.blobs.to.get(board.id)
    # Not while records wait to be paged: the peer keeps few bytes that no fact names.
    if deliveries is None or not board.open or board.outbox.behind:
        return
    deliveries.on(board.link)
    while (key := deliveries.next()) is not None:
        delivery = deliveries.due.get(key)
        if delivery is None or key in deliveries.open or key in deliveries.held:
            continue
        if key in ledger.blobs.missing or key.job in ledger.quarantined:
            # It is offered again once a neighbour has given it, or its job, back.
            continue
        deliveries.open[key] = delivery
        packed = encode(Type.BLOB, BlobMessage(*key, delivery.length, delivery.depth))
        ledger.effects.send.setdefault(board.id, []).append(packed)
    room = ledger.limits.blob_window_bytes - deliveries.flight
    for key, delivery in list(deliveries.open.items()):
        if room <= 0:
            return
        if delivery.held is None or delivery.reading or delivery.sent == delivery.length:
            continue
        slices = max(1, min(READ, room // ledger.limits.slice_bytes))
        delivery.reading = slices * ledger.limits.slice_bytes
        room -= delivery.reading
        # The next turn is another one's.
        deliveries.open[key] = deliveries.open.pop(key)
        ledger.effects.queries.append(Bytes(key, 0, delivery.sent, slices, board.id, board.link))


def bytes_read(ledger: Ledger, query: Bytes, slices: Iterable[Slice]) -> None:
    """The store gave slices to be sent; none at all when they are gone or damaged."""
    board = ledger.boards[query.board]
    deliveries = ledger.blobs.to.get(board.id)
    delivery = None if deliveries is None else deliveries.on(board.link).open.get(query.key)
    if delivery is None or not board.open or query.link != board.link:
        return
    key = delivery.key
    delivery.reading = 0
    out = ledger.effects.slices.setdefault(board.id, [])
    sent = delivery.sent
    for part in slices:
        message = SliceMessage(key.job, key.kind, key.hash, part.offset, part.data)
        out.append(encode(Type.SLICE, message))
        delivery.sent += len(part.data)
    ledger.pumped[board.id] = board
    if delivery.sent == sent:
        _gone(ledger, board, delivery)


def _gone(ledger: Ledger, board: Board, delivery: Delivery) -> None:
    """The bytes that a fact names are not here after all: they are fetched again, or it will go without them."""
    job = ledger.find(delivery.key.job)
    _take_back(ledger, board.id, delivery.key)
    if job is None:
        _fetch(ledger, delivery.key.job)
    else:
        refetch(ledger, job, delivery.key)


def peer_holds(ledger: Ledger, board: Board, message: Held) -> bool:
    """The peer says how much of a blob it has committed.

    Returns:
        Whether that makes sense; if not, the link is to be closed.
    """
    key = Key(message.job_id, message.kind, message.hash)
    deliveries = ledger.blobs.to.get(board.id)
    delivery = None if deliveries is None else deliveries.on(board.link).open.get(key)
    if deliveries is None or delivery is None:
        # Of a delivery that is not needed any more.
        return True
    held = message.held
    if held > delivery.length or (delivery.held is not None and not delivery.held <= held <= delivery.sent):
        return held == delivery.length
    ledger.pumped[board.id] = board
    if delivery.held is None:
        delivery.sent = held
    delivery.held = held
    if held == delivery.length:
        del deliveries.open[key]
        deliveries.held.add(key)
        job = ledger.find(key.job)
        if job is None:
            _fetch(ledger, key.job)
        else:
            ledger.touch(job)
    return True


def _fetch(ledger: Ledger, job_id: bytes) -> None:
    if job_id not in ledger.blobs.settled:
        ledger.blobs.settled.add(job_id)
        ledger.effects.queries.append(ById((job_id,)))


def fetched(ledger: Ledger, job_id: bytes) -> None:
    """The store answered about a job whose blob a peer has, or nobody has, or whose result is home."""
    homed = ledger.blobs.homed.pop(job_id, None)
    if homed is not None:
        _let_go(ledger, ledger.find(job_id), homed)
    if job_id not in ledger.blobs.settled:
        return
    ledger.blobs.settled.discard(job_id)
    job = ledger.find(job_id)
    for board_id in list(ledger.blobs.owing.get(job_id, ())):
        deliveries = ledger.blobs.to[board_id]
        for delivery in [one for one in deliveries.due.values() if one.key.job == job_id]:
            if job_id in ledger.quarantined:
                # The row is damaged: it stays owed until a neighbour gives the job back.
                _take_back(ledger, board_id, delivery.key)
            elif job is None or job.facts[REQUEST] is None:
                _withdraw(ledger, board_id, delivery)
            elif delivery.key in deliveries.held:
                ledger.touch(job)
            elif delivery.key not in deliveries.open and not deliveries.waits(delivery.key):
                refetch(ledger, job, delivery.key)


def never_comes_back(ledger: Ledger, job_id: bytes) -> None:
    """Nobody has a job whose row is damaged: its bytes, that are owed still, make room for those of others."""
    for board_id in list(ledger.blobs.owing.get(job_id, ())):
        for delivery in [one for one in ledger.blobs.to[board_id].due.values() if one.key.job == job_id]:
            _withdraw(ledger, board_id, delivery)
            ledger.effects.batch.unneeded.append((job_id, delivery.key.kind))
    ledger.blobs.quotas.freed.update(board_id for board_id, _ in ledger.blobs.arriving)


# -- at the opening ---------------------------------------------------------------------------------------------------


def take_up_blobs(
    ledger: Ledger, rows: Iterable[BlobRow], last: int, counted: Iterable[tuple[int, int, int, int]]
) -> None:
    """Go on with what a store says is arriving or owed.

    Args:
        ledger: its boards are there already.
        rows: blobs that no fact names, and blobs that are owed.
        last: the highest number in use.
        counted: (board, kind, depth, bytes in that quota).
    """
    blobs = ledger.blobs
    blobs.next_id = last + 1
    blobs.used = last > 0
    blobs.quotas.taken = {Quota(*quota): size for *quota, size in counted}
    for row in rows:
        key = Key(row.job, row.kind, row.hash)
        if not row.named and row.board == OURS:
            # The agent died before a fact named it; the handler that made it runs again.
            ledger.effects.batch.dropped.append(row.id)
        elif not row.named and row.board in ledger.boards:
            arriving = Arriving(row.id, key, row.length, row.depth, row.board, row.at_ms, held=row.held)
            blobs.arriving[row.board, key] = arriving
        if row.owed is None or row.owed not in ledger.boards:
            continue
        arrived = None
        if row.kind == OUTCOME and row.board != OURS:
            # Its number downstream is not known any more: `home` stands still there until it has gone on (R7).
            arrived = (row.board, 0)
            ledger.boards[row.board].inbox.strays += 1
        blobs.owe(row.owed, Delivery(key, row.length, row.depth, arrived))
