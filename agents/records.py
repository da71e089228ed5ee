"""What crosses the local door, as models: the parameters and the results of every method of `agents.api`.

Parameters are checked against these models; results are made as plain JSON objects, and the models are their published
shape (a test holds the two together).
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.views import JobView
from grammar.errors import GrammarError, MeshError
from mesh.errors import NoSuchJob
from mesh.facts import id_text, short_text

Record = dict[str, Any]

MOST_COMMANDS: Final = 512
"""Commands of one `put_many`."""
MOST_JOBS: Final = 500
"""Jobs of one page of `jobs`."""

StateName = Literal[
    "created", "blocked", "pending", "claimed", "running", "complete", "error", "rejected", "expired", "cancelled"
]
Follow = Literal["no", "end", "changes"]
"""What is sent of a job that was put: nothing, its last view, or a view at each change."""
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Place = Annotated[int, Field(ge=0, lt=2**63)]


class Params(BaseModel):
    """Parameters of a method; given by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class NoParams(Params):
    """A method that takes nothing."""


class PutSettings(Params):
    """How a job is put; see `Agent.put`."""

    zone: str | None = None
    life_s: Seconds | None = None
    circle: str = ""
    context: str = ""
    wait_for_room: bool = False
    follow: Follow = "no"


class PutParams(PutSettings):
    """One command: a text, or its words (path, keyword, arguments), of which each argument is one value."""

    command: str | Annotated[tuple[str, ...], Field(min_length=1)]
    key: str | None = None
    payload: int | None = None
    """What `upload` answered on the same connection."""


class UploadParams(Params):
    """Bytes of a payload, in base64: further ones of `upload`, or the first of a new one."""

    data: str
    upload: int | None = None


class ResultParams(Params):
    """A job, and from which byte of its result's JSON text on."""

    id: str
    offset: Annotated[int, Field(ge=0)] = 0


class PutManyParams(PutSettings):
    """Many commands, each a text, with as many keys or none."""

    commands: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_COMMANDS)]
    keys: tuple[str, ...] = ()
    views: bool = False
    """Answer with whole jobs instead of their ids."""


class PageParams(Params):
    """A part of a list: from this place on, at most so many."""

    after: Place = 0
    limit: Annotated[int, Field(ge=1, le=MOST_JOBS)] = MOST_JOBS


class JobsParams(PageParams):
    """Which jobs: live ones, finished ones (false) or both (null); of these states."""

    live: bool | None = True
    states: tuple[StateName, ...] = ()


class JobParams(Params):
    """One job, by its id or the first characters that people type."""

    id: str


class RetryParams(JobParams):
    """One job, how long the new one may wait, and what is sent of it."""

    life_s: Seconds | None = None
    follow: Follow = "no"


class UnfollowParams(Params):
    """A subscription, as `put`, `put_many` or `watch` named it."""

    subscription: int


class InviteParams(Params):
    """For whom an invitation is; see `Agent.invite`."""

    peer: str
    kind: str | None = None
    zone: str | None = None
    urls: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()


class JoinParams(Params):
    """An invitation file of this machine, and how long to wait for the link."""

    path: str
    wait_s: Annotated[float, Field(ge=0, le=600)] = 0


class BelieveParams(Params):
    """An agent further away, by its route from here, and the key it has; without a key the pinned one is forgotten."""

    route: str
    zone: str | None = None
    fingerprint: str | None = None


class RevokeParams(Params):
    """A peer, by its name, in one zone or in all."""

    peer: str
    zone: str | None = None


class WaitParams(Params):
    """Which peer to wait for: of that name, of that kind, or any."""

    name: str | None = None
    kind: str | None = None
    timeout: Annotated[float, Field(ge=0, le=86_400)] | None = None


class ErrorRecord(BaseModel):
    """Why a job did not complete."""

    kind: str
    message: str
    agent: str
    fix: str


class JobRecord(BaseModel):
    """A job at one moment at this agent; see `agents.views.JobView`."""

    model_config = ConfigDict(extra="forbid")

    id: str
    short: str
    path: list[str]
    instruction: str
    state: str
    version: int
    result: Any
    result_type: str | None
    error: ErrorRecord | None
    created: float
    changed: float
    expires: float
    attempt: int
    role: Literal["origin", "hop", "destination"]
    boards: list[str]
    zone: str
    message: str | None
    fraction: float | None
    overdue: bool
    parent: str | None
    result_bytes: int | None
    payload_bytes: int | None


class ResultRecord(BaseModel):
    """A part of the JSON text of a result, in base64, and how long all of it is."""

    data: str
    length: int


class PutRecord(BaseModel):
    """A job that is durable now, and the subscription that follows it."""

    job: JobRecord
    subscription: int | None


class PutManyRecord(BaseModel):
    """For each command in order: `id` and `short`, or a whole job, or `{"error": {...}}`."""

    jobs: list[dict[str, Any]]
    subscription: int | None


class DamagedRecord(BaseModel):
    """A job whose stored row is damaged; `error` has the shape of every error of Hopboard."""

    id: str
    short: str
    error: dict[str, Any]


class JobsRecord(BaseModel):
    """A page of jobs, newest first, without those whose rows are `damaged`; `next` is the `after` of the next page, 0
    after the last one."""

    jobs: list[JobRecord]
    next: int
    damaged: list[DamagedRecord]


class PeerRecord(BaseModel):
    """A peer, or an agent that was invited."""

    model_config = ConfigDict(extra="forbid")

    name: str
    zone: str
    kind: str
    state: str
    since_s: float | None
    dials: Literal["us", "them"]
    urls: list[str]
    fingerprint: str | None
    words: str | None
    waiting: int
    offered: int
    credit: int | None
    credit_reason: str | None
    """Why the peer takes no jobs of ours."""
    refusing: str | None
    """Why this agent takes no jobs of the peer's."""
    skew_s: float | None
    instructions: list[str] | None
    trouble: str | None
    fix: str | None


class TrustRecord(BaseModel):
    """Whom this agent believes: the key of a peer, of an agent further away, or of who speaks for a portal."""

    model_config = ConfigDict(extra="forbid")

    what: Literal["peer", "agent", "portal"]
    name: str
    zone: str | None
    fingerprint: str
    words: str
    because: str


class InviteRecord(BaseModel):
    """An invitation: the text of its file, which holds a secret, and what people compare."""

    text: str
    name: str
    zone: str
    urls: list[str]
    not_after: int
    fingerprint: str
    words: str


class JoinRecord(BaseModel):
    """The agent that was joined, whether the link to it stands, and the last trouble if not."""

    name: str
    zone: str
    fingerprint: str
    words: str
    up: bool
    trouble: dict[str, Any] | None


class AgentRecord(BaseModel):
    """This agent."""

    name: str
    kind: str
    zone: str
    home: str
    address: str | None
    pid: int
    started: float
    fingerprint: str
    words: str
    instructions: list[str]


def error_record(error: MeshError) -> Record:
    """An error as a JSON object: `code`, `message`, `fix`, `exit_code`, and what a text that cannot be read needs."""
    found: Record = {
        "code": error.code,
        "message": error.message,
        "fix": error.fix,
        "exit_code": error.exit_code,
    }
    if isinstance(error, GrammarError):
        found |= {"column": error.column, "expected": error.expected, "nearest": error.nearest}
        if error.text:
            found["pointer"] = error.pointer()
    return found


def damaged_record(job_id: bytes, error: MeshError) -> Record:
    """A job whose row is damaged as a JSON object."""
    # A damaged page may give any column any type, the id too.
    known = type(job_id) is bytes
    return {
        "id": id_text(job_id) if known else "",
        "short": short_text(job_id) if known else "",
        "error": error_record(error),
    }


_JOB_FIELDS: Final = tuple(field.name for field in fields(JobView))


def job_record(view: JobView | None) -> Record:
    """A job as a JSON object: what `JobView.to_json` gives, in a fifth of its time, for thousands at once.

    Raises:
        NoSuchJob: there is none to show.
    """
    if view is None:
        raise NoSuchJob("this agent has no such job, or only remembers that it is over", fix="see `mesh jobs --all`")
    found = {name: getattr(view, name) for name in _JOB_FIELDS}
    found["path"], found["boards"] = list(view.path), list(view.boards)
    if view.error is not None:
        found["error"] = asdict(view.error)
    return found
