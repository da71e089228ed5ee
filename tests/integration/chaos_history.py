"""What happened in one chaos run, and what is wrong with it. Pure: it knows neither processes nor clocks.

A run is written down by those who lived it: callers note each operation when they ask and when they are answered,
handlers append a line per start (fsynced before anything else), the driver notes what it does to the processes, and at
the end every agent says what it sees. `violations` then asks for the invariants, each sentence beginning with the
number or name of what is broken:

1   an acknowledged job is there, and under one id per key;
2   it is over, at every agent that shows it;
3   a guarded effect happened once at most, and once if anybody saw `complete`; no attempt started twice, and none
    without a death or stop of its agent in between;
4   only the destination started it;
5   the result is one that its handler returned, and the same everywhere;
6   a final state that was told is never revised;
7   nobody was told a failure of what happened, unless it says that the effect is unknown;
8   what one agent shows of a job does not go back, but to before what was durable when it died;
9   all agents that show a job show the same end;
10  a deleted job is alive nowhere;
11  `cancelled` was asked for, and what it says of the start is true; what was cancelled before a start has no effect;
12  `expired` only after its time, and no first start after it;
R   no job is refused or lost by agents that lost nothing.

An operation without an answer is **indeterminate**: it may have happened, at any time from then on, or never.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

SKEW_S: Final = 2.0
"""What the clocks of one machine and the way to a handler may add to an expiry."""
LIVE: Final = ("created", "blocked", "pending", "claimed", "running")
UNKNOWN: Final = "(its effect is not known)"
"""What an agent says of an end that leaves the effect open."""


class Answer(StrEnum):
    """What became of an operation, as its caller knows."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Operation:
    """One wish of a caller. Written down when it is asked; `ended`, `answer` and `job` follow.

    Attributes:
        kind: `put`, `cancel` or `delete`.
        agent: whom it was asked, the origin.
        invoked, ended: Unix seconds.
        key: idempotency key of a put.
        job: the id; of a put only once it is answered.
        path, guarded, life_s: of a put: where to, whether its handler guards its effect, how long it may wait.
    """

    kind: str
    agent: str
    invoked: float
    key: str = ""
    job: str = ""
    path: str = ""
    guarded: bool = True
    life_s: float = 3_600.0
    answer: Answer = Answer.UNKNOWN
    ended: float | None = None


class Start(NamedTuple):
    """A handler was entered, or (`what` is `end`) returned `result`."""

    what: str
    at: float
    agent: str
    job: str
    attempt: int
    result: str = ""


class Seen(NamedTuple):
    """An agent showed a job to somebody, at some time between `asked` and `at`. Views of one `line` (not 0) came in the
    order in which the agent showed them."""

    asked: float
    at: float
    agent: str
    job: str
    state: str
    version: int
    result: str = ""
    error: str = ""
    line: int = 0


class Blow(NamedTuple):
    """What was done to an agent, between `at` and `until`: `kill`, `stop` (a clean one) or `pause`."""

    at: float
    until: float
    agent: str
    what: str


class _Made(NamedTuple):
    """When a job was made: between these times, whichever of its puts it was that made it."""

    earliest: float
    latest: float


@dataclass(slots=True)
class History:
    """One run.

    Attributes:
        effects: how often the effect of a job is in the books of its handlers, by (agent, job).
        final: by agent, what it shows at the end, all being up and quiet.
        finished: when the run began to settle.
    """

    operations: list[Operation] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: list[Seen] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    final: dict[str, dict[str, Seen]] = field(default_factory=dict)
    finished: float = 0.0

    def tally(self) -> Mapping[str, int]:
        """How much happened, for the closing line."""
        kinds = Counter(blow.what for blow in self.blows)
        jobs = {one.job for one in self.operations if one.kind == "put" and one.job}
        return {"kills": kinds["kill"], "stops": kinds["pause"], "restarts": kinds["stop"], "jobs": len(jobs)}


def violations(history: History) -> list[str]:
    """Everything that should not be, as sentences; empty when all is well."""
    return list(_Check(history).sentences())


def story(history: History, job: str) -> list[str]:
    """Everything that is known of one job, in the order of time, for people who look for the cause."""
    lines: list[tuple[float, str]] = []
    path = ""
    for one in history.operations:
        if one.job == job:
            path = path or one.path
            lines.append((one.invoked, f"{one.agent} is asked to {one.kind} it: {one.answer} at {one.ended}"))
    lines += [
        (one.at, f"{one.agent}: {one.what} of attempt {one.attempt} {one.result}")
        for one in history.starts
        if one.job == job
    ]
    shown = [*history.seen, *(views[job] for views in history.final.values() if job in views)]
    lines += [
        (
            one.at,
            f"{one.agent} shows {one.state} {one.version} {one.result}{one.error}, asked {one.asked}, line {one.line}",
        )
        for one in shown
        if one.job == job
    ]
    names = path.split(".")
    lines += [(one.at, f"{one.agent}: {one.what} until {one.until}") for one in history.blows if one.agent in names]
    return [f"{job} on {path}", *(f"  {at:.3f} {line}" for at, line in sorted(lines))]


class _Check:
    def __init__(self, history: History) -> None:
        self._history = history
        puts = [one for one in history.operations if one.kind == "put"]
        self._puts = {one.job: one for one in puts if one.job}
        wishes: dict[str, list[Operation]] = defaultdict(list)
        for one in puts:
            wishes[one.key].append(one)
        self._made = {
            job: _Made(
                min(one.invoked for one in wishes[put.key]),
                min(one.ended for one in wishes[put.key] if one.ended is not None and one.job),
            )
            for job, put in self._puts.items()
        }
        self._effects: Counter[str] = Counter()
        for (_, job), count in history.effects.items():
            self._effects[job] += count
        self._deletes = _by_job(history.operations, "delete")
        self._cancels = _by_job(history.operations, "cancel")
        self._starts: dict[str, list[Start]] = defaultdict(list)
        for start in sorted(history.starts, key=lambda one: one.at):
            self._starts[start.job].append(start)
        self._deaths: dict[str, list[Blow]] = defaultdict(list)
        for blow in history.blows:
            if blow.what in ("kill", "stop"):
                self._deaths[blow.agent].append(blow)
        self._answered: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for one in history.operations:
            if one.answer is Answer.OK and one.ended is not None:
                self._answered[one.agent].append((one.invoked, one.ended))
        self._seen: dict[str, list[Seen]] = defaultdict(list)
        ends = [view for views in history.final.values() for view in views.values()]
        for view in sorted([*history.seen, *ends], key=lambda one: one.at):
            self._seen[view.job].append(view)

    def sentences(self) -> Iterator[str]:
        yield from self._keys()
        for job, put in self._puts.items():
            yield from self._job(job, put)
        for job, starts in self._starts.items():
            if job not in self._puts and not self._may_be_unanswered(starts[0]):
                yield f"4: {starts[0].agent} started {job}, which nobody put"

    def _may_be_unanswered(self, start: Start) -> bool:
        return any(
            one.kind == "put" and not one.job and one.answer is Answer.UNKNOWN and one.invoked <= start.at + SKEW_S
            for one in self._history.operations
        )

    def _keys(self) -> Iterator[str]:
        ids: dict[str, set[str]] = defaultdict(set)
        for one in self._history.operations:
            if one.kind == "put" and one.job:
                ids[one.key].add(one.job)
        for key, found in ids.items():
            if len(found) > 1:
                yield f'1: the key "{key}" has {len(found)} jobs'

    def _job(self, job: str, put: Operation) -> Iterator[str]:
        views = {agent: shown[job] for agent, shown in self._history.final.items() if job in shown}
        mine = views.get(put.agent)
        deletes = self._deletes.get(job, ())
        deleted = any(one.answer is Answer.OK for one in deletes)
        if mine is None and not deletes:
            yield f"1: {job} was acknowledged and is not at its origin {put.agent}"
        if deleted:
            yield from (
                f"10: the deleted {job} is {view.state} at {agent}" for agent, view in views.items() if _live(view)
            )
        else:
            yield from (f"2: {job} is still {view.state} at {agent}" for agent, view in views.items() if _live(view))
        ends = {(view.state, view.version, view.result) for view in views.values() if not _live(view)}
        if len(ends) > 1:
            yield f"9: {job} ended differently: {sorted(ends)}"
        yield from self._work(job, put)
        yield from self._told(job, put)
        yield from self._order(job)

    # -- what its handlers did ----------------------------------------------------------------------------------

    def _work(self, job: str, put: Operation) -> Iterator[str]:
        destination = put.path.rpartition(".")[2]
        lines = self._starts.get(job, [])
        starts = [one for one in lines if one.what == "start"]
        for one in starts:
            if one.agent != destination:
                yield f"4: {job} for {destination} was started at {one.agent}"
        effects = self._effects[job]
        if effects > 1:
            yield f"3: the effect of {job} happened {effects} times"
        if len({one.attempt for one in starts}) < len(starts):
            yield f"3: an attempt of {job} started twice"
        if not put.guarded and len(starts) > 1:
            yield f"3: {job} is not idempotent and started {len(starts)} times"
        for before, after in pairwise(starts):
            if not any(before.at <= death.until and death.at <= after.at for death in self._deaths[before.agent]):
                yield f"3: {job} started again although {before.agent} had not died"
        # An attempt may be durable, and its agent die before the handler is entered: only the first one tells.
        late = starts[0].at - self._made[job].latest - put.life_s if starts else 0.0
        if late > SKEW_S and starts[0].attempt == 1:
            yield f"12: {job} was first started {late:.1f} s after its time"
        completes = [view for view in self._seen[job] if view.state == "complete"]
        if completes and not effects:
            yield f"3: {job} was shown as complete and had no effect"
        returned = {one.result for one in lines if one.what == "end"}
        for result in {view.result for view in completes} - returned:
            yield f"5: the result of {job} is {result!r}, and its handler returned {sorted(returned)}"

    # -- what callers were told ---------------------------------------------------------------------------------

    def _told(self, job: str, put: Operation) -> Iterator[str]:
        effects = self._effects[job]
        started = any(one.what == "start" for one in self._starts.get(job, ()))
        finals = [view for view in self._seen[job] if not _live(view)]
        for agent in sorted({view.agent for view in finals}):
            told = {view.state for view in finals if view.agent == agent} - {"deleted"}
            if len(told) > 1:
                yield f"6: callers at {agent} were told of {job} that it is {', '.join(sorted(told))}"
        for state, error in sorted({(view.state, view.error) for view in finals}):
            open_effect = UNKNOWN in error
            if state == "deleted":
                if job not in self._deletes:
                    yield f"10: {job} is deleted, and nobody asked for it"
                continue
            if state != "complete" and effects and not open_effect:
                yield f"7: {job} was shown as {state} ({error}), and its effect happened"
            if state == "cancelled":
                if job not in self._cancels:
                    yield f"11: {job} is cancelled, and nobody asked for it"
                if started and not open_effect:
                    yield f"11: {job} was cancelled ({error}), and had been started"
            if state == "expired":
                first = min(view.at for view in finals if view.state == state)
                early = self._made[job].earliest + put.life_s - first
                if early > 0:
                    yield f"12: {job} expired {early:.1f} s early"
                if started:
                    yield f"12: {job} expired, and had been started"
            if state == "rejected" or (state == "error" and error.startswith("lost")):
                yield f"R: {job} is {state}: {error}"

    # -- what agents showed, in order ---------------------------------------------------------------------------

    def _order(self, job: str) -> Iterator[str]:
        by_agent: dict[str, list[Seen]] = defaultdict(list)
        for view in self._seen[job]:
            by_agent[view.agent].append(view)
        for agent, views in by_agent.items():
            for n, view in enumerate(views):
                for before in views[:n]:
                    if _precedes(before, view) and _back(before, view) and not self._may_be_forgotten(before, view):
                        yield (
                            f"8: {agent} showed {job} as {before.state} {before.version}, "
                            f"then as {view.state} {view.version}"
                        )
                        break

    def _may_be_forgotten(self, before: Seen, after: Seen) -> bool:
        """Whether the agent died after it had shown `before`, and perhaps before that was durable.

        An agent commits in order: once it has answered an operation that was asked for after it had shown something,
        that is durable too. But an end that a hop passed ahead is durable at its destination, and maybe only there."""
        deaths = [one.at for one in self._deaths[before.agent] if before.asked <= one.until and one.at <= after.at]
        put = self._puts[before.job]
        if deaths and not _live(before) and before.agent == put.agent and put.path.count(".") > 1:
            return True
        return bool(deaths) and not any(
            before.at < invoked and ended < min(deaths) for invoked, ended in self._answered[before.agent]
        )


def _precedes(before: Seen, after: Seen) -> bool:
    """Whether `before` was shown first for sure: answers overtake each other on their way."""
    return before.at < after.asked or (before.line != 0 and before.line == after.line)


def _live(view: Seen) -> bool:
    return view.state in LIVE


def _back(before: Seen, after: Seen) -> bool:
    if not _live(before):
        return (after.state, after.version) != (before.state, before.version) and after.state != "deleted"
    if not _live(after):
        return after.version < before.version
    if after.version != before.version:
        return after.version < before.version
    steps = LIVE[:-1]
    if before.state in steps and after.state in steps:
        return steps.index(after.state) < steps.index(before.state)
    return before.state == "running" and after.state in steps[:-1]


def _by_job(operations: Iterable[Operation], kind: str) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        if one.kind == kind and one.answer is not Answer.FAIL:
            found[one.job].append(one)
    return found
