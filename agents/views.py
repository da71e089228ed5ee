"""What people and programs see of a job: one flat record, the same in Python, in JSON and on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agents.errors import BytesLost, JobFailed
from grammar.results import decode
from grammar.vocabulary import Vocabulary
from mesh.facts import Fact, Kind, Outcome, blob_of, id_text, short_text
from mesh.job import Job
from mesh.lifecycle import LIVE, State


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job did not complete: the kind of error, a sentence, and the agent that said so."""

    kind: str
    message: str
    agent: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job at one moment at one agent. Times are Unix seconds; `boards` names the peers that share it here;
    `overdue` says that the destination should have said something by now; `parent` is the job on whose behalf this one
    is, or which it repeats. A result too large for a view is not in it: `result` is None then, and `result_bytes` says
    how long its JSON is. `payload_bytes` is the length of a payload."""

    id: str
    short: str
    path: tuple[str, ...]
    instruction: str
    state: str
    version: int
    result: Any
    result_type: str | None
    error: Failure | None
    created: float
    changed: float
    expires: float
    attempt: int
    role: str
    boards: tuple[str, ...]
    zone: str
    message: str | None
    fraction: float | None
    overdue: bool
    parent: str | None = None
    result_bytes: int | None = None
    payload_bytes: int | None = None

    @property
    def live(self) -> bool:
        return self.state in LIVE

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        found = asdict(self)
        found["path"], found["boards"] = list(self.path), list(self.boards)
        return found

    def value(self, known: Vocabulary, text: bytes | None = None) -> Any:
        """The result as a typed value; `text` is its JSON where it is too large for a view.

        Raises:
            JobFailed: the job ended otherwise than complete, or has not ended.
        """
        if self.error is not None:
            raise JobFailed(
                self.error.message, kind=self.error.kind, agent=self.error.agent, job=self.id, fix=self.error.fix
            )
        if self.state != State.COMPLETE:
            raise JobFailed(f"job {self.short} is {self.state}", kind=self.state, agent=self.path[-1], job=self.id)
        return decode(self.result_type or "None", self.result if text is None else json.loads(text), known)


def view_of(
    job: Job, boards: Mapping[int, str], me: str, *, now_ms: int, overdue_ms: int, told: Fact | None = None
) -> JobView | None:
    """Look at a job.

    Args:
        job: with or without its facts.
        boards: board number -> name of the peer.
        me: the name of the agent that looks.
        told: an Outcome that is known ahead of the job's commit.
        now_ms, overdue_ms: a job that is offered and silent this long after its expiry is overdue.

    Returns:
        The view; None for a job whose Request is not kept any more.
    """
    if job.facts[Kind.REQUEST] is None:
        return None
    request = job.request
    outcome = job.facts[Kind.OUTCOME] or told
    progress = job.progress
    content = None if outcome is None else outcome.content
    assert content is None or isinstance(content, Outcome)
    payload = blob_of(request)
    large = None if content is None else blob_of(content)
    text = content.result if content is not None and content.state == State.COMPLETE and large is None else None
    return JobView(
        id=id_text(job.id),
        short=short_text(job.id),
        path=job.place.names,
        instruction=request.instruction,
        state=content.state if content is not None and job.live else str(job.state),
        version=content.number if content is not None else job.version,
        result=json.loads(text) if isinstance(text, str) else None,
        result_type=content.result_type if content is not None else None,
        error=_failure(job, content, me),
        created=request.created_ms / 1000,
        changed=(content.ended_ms if told is not None and content is not None else job.changed_ms) / 1000,
        expires=request.expires_ms / 1000,
        attempt=content.attempt if content is not None else max(job.attempt, progress.attempt if progress else 0),
        role=str(job.role),
        boards=tuple(boards[lane.board] for lane in job.lanes if lane.board in boards),
        zone=request.zone,
        message=progress.message if progress is not None else None,
        fraction=progress.fraction if progress is not None else None,
        overdue=job.live and content is None and now_ms > request.expires_ms + overdue_ms,
        parent=None if request.parent is None else id_text(request.parent),
        result_bytes=None if large is None else large.length,
        payload_bytes=None if payload is None else payload.length,
    )


def _failure(job: Job, outcome: Outcome | None, me: str) -> Failure | None:
    if outcome is not None:
        return None if outcome.state == State.COMPLETE else failure_of(outcome, job.place.names[-1])
    if job.state in LIVE:
        return None
    reject = job.reject
    if reject is not None:
        return Failure(reject.reason, reject.message, reject.agent, reject.fix)
    return Failure(str(job.state), f"the job is {job.state}", me)


def failure_of(outcome: Outcome, agent: str) -> Failure:
    """Why an Outcome is not a result; `agent` is the destination's name."""
    if outcome.error is not None:
        kind, message = outcome.error
    elif outcome.state == State.CANCELLED:
        kind, message = "cancelled", "cancelled while it ran" if outcome.started_ms else "cancelled before it started"
    else:
        kind, message = outcome.state, "the job expired before it started"
    unknown = " (its effect is not known)" if outcome.unknown_effect else ""
    return Failure(kind, message + unknown, agent)


def result_text_of(job: Job) -> bytes:
    """The JSON text of a result that its Outcome holds itself.

    Raises:
        BytesLost: the job is not complete.
    """
    outcome = job.outcome
    if outcome is None or outcome.state != State.COMPLETE:
        raise BytesLost(f"job {short_text(job.id)} is {job.state}: it has no result", fix="see `mesh job ID`")
    return outcome.result.encode() if isinstance(outcome.result, str) else b"null"
