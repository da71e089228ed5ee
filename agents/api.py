"""The one table of what a running agent can be asked: `METHODS`.

The local door, and whatever other doors come, offer this table; the command line and `agents.client` are clients of
it. Each method is declared once: name, parameters and result as models, help, and the function that does it.

A method raises `MeshError` for what a person can mend; anything else is a bug.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import TypeAdapter

from agents.blobs import named
from agents.caller import Caller, Method
from agents.contents import result, upload
from agents.errors import AgentError, NotKnownYet
from agents.lookup import Page
from agents.pairing import Wish
from agents.records import (
    AgentRecord,
    BelieveParams,
    Follow,
    InviteParams,
    InviteRecord,
    JobParams,
    JobRecord,
    JobsParams,
    JobsRecord,
    JoinParams,
    JoinRecord,
    NoParams,
    PageParams,
    Params,
    PeerRecord,
    PutManyParams,
    PutManyRecord,
    PutParams,
    PutRecord,
    PutSettings,
    Record,
    ResultParams,
    ResultRecord,
    RetryParams,
    RevokeParams,
    TrustRecord,
    UnfollowParams,
    UploadParams,
    WaitParams,
    damaged_record,
    error_record,
    job_record,
)
from agents.trusted import trust_records
from grammar.destination import Destination
from grammar.errors import GrammarError, MeshError
from grammar.quoting import quote
from invitations.fingerprint import fingerprint_text, fingerprint_words, parse_fingerprint
from mesh.facts import id_text, short_text
from mesh.origin import Put

# -- jobs -------------------------------------------------------------------------------------------------------


async def put(caller: Caller, params: PutParams) -> Record:
    """Put a job. It is durable when this answers; with `follow`, notifications `job` come after the answer."""
    wish = _wish(caller, text_of(params.command), params, params.key)
    if params.payload is not None:
        wish = wish._replace(payload=await named(caller.uploads.take(params.payload)))
    (answer,) = await caller.running.jobs.put_all([wish], wait_for_room=params.wait_for_room)
    if isinstance(answer, MeshError):
        raise answer
    subscription = _follow(caller, [answer], params.follow)
    return {"job": job_record(await caller.running.lookup.view(answer)), "subscription": subscription}


async def put_many(caller: Caller, params: PutManyParams) -> Record:
    """Put many jobs in few commits. Answers in the order of the commands, once all of them are durable or refused."""
    if params.keys and len(params.keys) != len(params.commands):
        raise GrammarError("there are as many keys as commands, or none")
    wishes: list[Put | MeshError] = []
    for n, command in enumerate(params.commands):
        try:
            wishes.append(_wish(caller, command, params, params.keys[n] if params.keys else None))
        except GrammarError as error:
            wishes.append(error)
    jobs, lookup = caller.running.jobs, caller.running.lookup
    asked = [wish for wish in wishes if isinstance(wish, Put)]
    replies = iter(await jobs.put_all(asked, wait_for_room=params.wait_for_room))
    answers = [next(replies) if isinstance(wish, Put) else wish for wish in wishes]
    ids = [answer for answer in answers if isinstance(answer, bytes)]
    subscription = _follow(caller, ids, params.follow)
    found: list[Record] = []
    for answer in answers:
        if isinstance(answer, MeshError):
            found.append({"error": error_record(answer)})
        elif params.views:
            found.append(job_record(lookup.look(answer) or await lookup.view(answer)))
        else:
            found.append({"id": id_text(answer), "short": short_text(answer)})
    return {"jobs": found, "subscription": subscription}


async def jobs(caller: Caller, params: JobsParams) -> Record:
    """List jobs, newest first, a page at a time."""
    return _page(
        await caller.running.lookup.page(live=params.live, states=params.states, after=params.after, limit=params.limit)
    )


async def job(caller: Caller, params: JobParams) -> Record:
    """Show one job."""
    return job_record(await caller.running.lookup.view(await _found(caller, params.id)))


async def watch(caller: Caller, params: JobParams) -> Record:
    """Follow one job: its view now, and a notification `job` at each change until it is over."""
    job_id = await _found(caller, params.id)
    view = await caller.running.lookup.view(job_id)
    return {"job": job_record(view), "subscription": _follow(caller, [job_id], "changes")}


async def unfollow(caller: Caller, params: UnfollowParams) -> bool:
    """End a subscription; says whether there was one."""
    return caller.unfollow(params.subscription)


async def cancel(caller: Caller, params: JobParams) -> Record:
    """Ask for a job to be stopped. Durable when this answers; the job says what came of it."""
    job_id = await _found(caller, params.id)
    await caller.running.jobs.cancel_job(job_id)
    return job_record(await caller.running.lookup.view(job_id))


async def dead(caller: Caller, params: PageParams) -> Record:
    """List the dead letters, newest first, a page at a time: jobs put here that failed and were not put again."""
    return _page(await caller.running.lookup.dead(after=params.after, limit=params.limit))


async def retry(caller: Caller, params: RetryParams) -> Record:
    """Put a job that failed once more. Durable when this answers, with the new one; asking again answers the same."""
    jobs = caller.running.jobs
    handle = await jobs.retry_job(await _found(caller, params.id), params.life_s)
    subscription = _follow(caller, [handle.job_id], params.follow)
    return {"job": job_record(await jobs.view(handle.job_id)), "subscription": subscription}


async def delete(caller: Caller, params: JobParams) -> Record:
    """Stop a job and forget it. Durable when this answers, with the job as it was before."""
    job_id = await _found(caller, params.id)
    view = await caller.running.lookup.view(job_id)
    await caller.running.jobs.delete_job(job_id)
    return job_record(view)


# -- peers ------------------------------------------------------------------------------------------------------


async def peers(caller: Caller, params: NoParams) -> list[Record]:
    """List the peers, and the agents that were invited."""
    return caller.running.peering.listed()


async def trust(caller: Caller, params: NoParams) -> list[Record]:
    """List every key that is believed here, and why."""
    running = caller.running
    known = running.engine.ledger.trust
    return trust_records(
        running.book.peers,
        [(zone, route, key) for (zone, route), key in known.pins.items()],
        [(zone, portal, key) for (zone, portal), key in known.portals.items()],
        running.settings.portals,
    )


async def believe(caller: Caller, params: BelieveParams) -> list[Record]:
    """Settle which key an agent further away has; without one, believe the next that is seen. Answers as `trust`."""
    running = caller.running
    names = Destination.parse(f"{running.settings.name}.{params.route}").agents
    if len(names) == 2:
        raise AgentError(
            f'"{params.route}" is a neighbour, whose key came with an invitation',
            fix=f"if it has a new key: mesh revoke {params.route}, then invite it again",
        )
    key = b"" if params.fingerprint is None else parse_fingerprint(params.fingerprint)
    await running.peering.believe(params.route, params.zone or running.settings.zone, key)
    return await trust(caller, NoParams())


async def revoke(caller: Caller, params: RevokeParams) -> list[Record]:
    """Make a peer a stranger: its key is refused from now on, in every zone. Answers with the peers that are left."""
    await caller.running.peering.revoke(params.peer, params.zone)
    return caller.running.peering.listed()


async def invite(caller: Caller, params: InviteParams) -> Record:
    """Make an invitation, good from now on; opens the agent's port if it has none yet."""
    wish = Wish(params.peer, params.kind, params.zone, params.urls, params.ranges)
    invitation = await caller.running.peering.invite(wish)
    return {
        "text": invitation.to_toml(),
        "name": invitation.name,
        "zone": invitation.zone,
        "urls": list(invitation.urls),
        "not_after": invitation.not_after,
        "fingerprint": fingerprint_text(invitation.card.fingerprint),
        "words": fingerprint_words(invitation.card.fingerprint),
    }


async def join(caller: Caller, params: JoinParams) -> Record:
    """Accept an invitation file and begin to dial; waits so long for the link to stand or to be refused."""
    peering = caller.running.peering
    row = await peering.join(Path(params.path))

    def settled() -> bool:
        trouble = peering.trouble(row.name, row.zone)
        return peering.is_up(row.name, row.zone) or (trouble is not None and trouble.exit_code == 4)

    try:
        async with asyncio.timeout(params.wait_s):
            await peering.until(settled)
    except TimeoutError:
        pass
    trouble = peering.trouble(row.name, row.zone)
    return {
        "name": row.name,
        "zone": row.zone,
        "fingerprint": fingerprint_text(row.fingerprint),
        "words": fingerprint_words(row.fingerprint),
        "up": peering.is_up(row.name, row.zone),
        "trouble": None if trouble is None else error_record(trouble),
    }


async def wait_for_peer(caller: Caller, params: WaitParams) -> str:
    """Wait until a link to a peer stands: of that name, of that kind, or to any. Answers with the peer's name."""
    running = caller.running

    def found() -> str | None:
        for board in running.engine.boards:
            if board.open and params.name in (None, board.name) and params.kind in (None, board.kind):
                return board.name
        return None

    try:
        async with asyncio.timeout(params.timeout):
            await running.peering.until(lambda: found() is not None)
    except TimeoutError:
        wanted = params.name or (f"any {params.kind}" if params.kind else "any peer")
        raise NotKnownYet(f"no link to {wanted} after {params.timeout:g} s", fix="see `mesh peers`") from None
    return found() or ""


# -- the agent --------------------------------------------------------------------------------------------------


async def info(caller: Caller, params: NoParams) -> Record:
    """Say which agent this is."""
    running = caller.running
    settings = running.settings
    return {
        "name": settings.name,
        "kind": settings.kind,
        "zone": settings.zone,
        "home": str(settings.home.absolute()),
        "address": running.peering.address,
        "pid": os.getpid(),
        "started": running.started_ms / 1000,
        "fingerprint": fingerprint_text(settings.identity.fingerprint),
        "words": fingerprint_words(settings.identity.fingerprint),
        "instructions": list(running.handlers.told),
    }


async def discover(caller: Caller, params: NoParams) -> Record:
    """Describe every method, as an OpenRPC document."""
    return {
        "openrpc": "1.3.2",
        "info": {"title": f'Hopboard agent "{caller.running.settings.name}"', "version": "1"},
        "methods": [
            {
                "name": method.name,
                "summary": method.help,
                "paramStructure": "by-name",
                "params": _parameters(method.params),
                "result": {"name": "result", "schema": TypeAdapter(method.result).json_schema()},
            }
            for method in METHODS.values()
        ],
    }


def _parameters(params: type[Params]) -> list[Record]:
    schema = params.model_json_schema()
    required = schema.get("required", ())
    return [
        {"name": name, "required": name in required, "schema": shape}
        for name, shape in schema.get("properties", {}).items()
    ]


# -- steps of several methods -----------------------------------------------------------------------------------


def text_of(command: str | Sequence[str]) -> str:
    """A command as one text: path and keyword as they are, each further word quoted where it needs it."""
    if isinstance(command, str):
        return command
    return " ".join([*command[:2], *map(quote, command[2:])])


def _wish(caller: Caller, command: str, settings: PutSettings, key: str | None) -> Put:
    return caller.running.jobs.wish(
        command,
        zone=settings.zone,
        life_s=settings.life_s,
        key=key,
        circle=settings.circle,
        context=settings.context,
    )


def _follow(caller: Caller, ids: Sequence[bytes], follow: Follow) -> int | None:
    return None if follow == "no" or not ids else caller.follow(ids, changes=follow == "changes")


def _page(page: Page) -> Record:
    return {
        "jobs": list(map(job_record, page.views)),
        "next": page.following,
        "damaged": [damaged_record(job_id, error) for job_id, error in page.damaged],
    }


async def _found(caller: Caller, text: str) -> bytes:
    return await caller.running.lookup.find(text)


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("put", PutParams, PutRecord, put),
            Method("put_many", PutManyParams, PutManyRecord, put_many),
            Method("upload", UploadParams, int, upload),
            Method("result", ResultParams, ResultRecord, result),
            Method("jobs", JobsParams, JobsRecord, jobs),
            Method("job", JobParams, JobRecord, job),
            Method("watch", JobParams, PutRecord, watch),
            Method("unfollow", UnfollowParams, bool, unfollow),
            Method("cancel", JobParams, JobRecord, cancel),
            Method("delete", JobParams, JobRecord, delete),
            Method("dead", PageParams, JobsRecord, dead),
            Method("retry", RetryParams, PutRecord, retry),
            Method("peers", NoParams, list[PeerRecord], peers),
            Method("trust", NoParams, list[TrustRecord], trust),
            Method("believe", BelieveParams, list[TrustRecord], believe),
            Method("revoke", RevokeParams, list[PeerRecord], revoke),
            Method("invite", InviteParams, InviteRecord, invite),
            Method("join", JoinParams, JoinRecord, join),
            Method("wait_for_peer", WaitParams, str, wait_for_peer),
            Method("info", NoParams, AgentRecord, info),
            Method("rpc.discover", NoParams, dict[str, Any], discover),
        )
    }
)
