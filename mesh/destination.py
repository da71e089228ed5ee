"""The destination's part: claim, start, report, end (rules R5, R6, R8, R9).

Only here does a handler run and only here is an Outcome made. A claim is durable before it is acknowledged, an attempt
before its handler starts. After a crash, jobs that were running are taken up again in groups that shrink by four for
each time that happened to them, so that a job which kills the agent ends up alone and is found out.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from grammar.errors import GrammarError
from grammar.instruction import Instruction
from mesh.access import Denial
from mesh.effects import ById, Start
from mesh.ending import ERROR_BYTES, LOST, MESSAGE_BYTES, Ending, cut, ended_with
from mesh.facts import CANCEL, OUTCOME, PROGRESS, REQUEST, VERSION, Outcome, Progress, make
from mesh.job import Job
from mesh.ledger import Ledger
from mesh.lifecycle import Event, State, advance
from mesh.lineage import Speaker, speaker_of
from mesh.staging import keep
from mesh.unreported import Unreported

POISONED_AFTER: Final = 2
"""Deaths of the agent while a job ran alone."""


class Destination:
    """The jobs that end at this agent.

    Attributes:
        running: ids of jobs whose handler runs, with the board they came by.
        ready: by board, ids of claimed jobs that wait for a slot, in the order they came.
        suspects: ids of jobs that were running when the agent died, oldest first.
        draining: no job is started any more.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        # A job whose handler runs stays in memory: its children and reports need it.
        self.running = ledger.pinned
        self.ready: dict[int, deque[bytes]] = {}
        self.suspects: deque[bytes] = deque()
        self.draining = False
        self._retaken: set[bytes] = set()
        self._alone: bytes | None = None
        self._idle: dict[bytes, int] = {}
        self._per_board: dict[int, int] = {}
        self._unreported = Unreported(ledger)
        self._fetching: set[bytes] = set()

    # -- coming in ----------------------------------------------------------------------------------------------

    def claim(self, job: Job, now_ms: int, *, known_lost: bool, damaged: bool = False) -> None:
        """A Request for this agent, seen for the first time. `known_lost`: it was acknowledged before and this store
        does not know it, so it may have run already (R5). `damaged`: what it had was a damaged row, so the
        job may have been running when the agent died (R8)."""
        expired = now_ms > job.request.expires_ms
        job.doubtful, job.crashes = known_lost, int(damaged)
        if known_lost and (expired or not self._is_idempotent(job)):
            self._end(job, LOST, now_ms)
            return
        if expired:
            self._end(job, Ending(State.EXPIRED), now_ms)
            return
        if job.request.payload is not None and not job.holding >> REQUEST & 1:
            message = "the payload of the job was lost on its way: put it again"
            self._end(job, Ending(State.ERROR, error=("failed", message), unknown_effect=known_lost), now_ms)
            return
        job.move(State.CLAIMED, now_ms)
        self._enqueue(job, now_ms)
        self._ledger.changed(job)

    def recover(self, job: Job, now_ms: int, *, own_loss: bool) -> None:
        """A live job found in the store after its board proved itself (R5, R8). `own_loss`: the store is an old copy,
        in whose lost future the job may have run."""
        if job.id in self.running or not job.live:
            return
        if job.state is State.PENDING:
            job.move(State.CLAIMED, now_ms)
        if own_loss and not job.doubtful:
            job.doubtful = True
            self._ledger.changed(job)
        if job.facts[CANCEL] is not None:
            self._end(job, Ending(State.CANCELLED, unknown_effect=job.attempt > 0), now_ms)
            return
        if own_loss and (now_ms > job.request.expires_ms or not self._is_idempotent(job)):
            self._end(job, LOST, now_ms)
            return
        if job.state is State.RUNNING:
            job.crashes += 1
            job.move(State.CLAIMED, now_ms)
            self._ledger.changed(job)
        elif not job.crashes:
            self._enqueue(job, now_ms)
            return
        if job.alone >= POISONED_AFTER:
            message = f"the agent died {job.alone} times while this job alone was running"
            self._end(job, Ending(State.ERROR, error=("poisoned", message), unknown_effect=True), now_ms)
        elif not self._is_idempotent(job):
            message = "the agent died while the job was running, and its instruction is not idempotent"
            self._end(job, Ending(State.ERROR, error=("interrupted", message), unknown_effect=True), now_ms)
        else:
            self._enqueue(job, now_ms)

    def _enqueue(self, job: Job, now_ms: int) -> None:
        assert job.up is not None
        queue = self.suspects if job.crashes else self.ready.setdefault(job.up.board, deque())
        queue.append(job.id)
        wait_s = 0.0 if job.crashes else self._ledger.limits.report_after_s
        self._unreported.expect(job.id, now_ms + int(wait_s * 1000))

    def _is_idempotent(self, job: Job) -> bool:
        instruction = self._ledger.access.read(job.request.instruction)
        if isinstance(instruction, Denial) or instruction.declaration is None:
            return True
        return instruction.declaration.idempotent

    # -- starting -----------------------------------------------------------------------------------------------

    def fill(self, now_ms: int) -> None:
        """Start what slots allow: suspects in their groups, the others in turn over the boards."""
        if self.draining:
            return
        self._fill_suspects(now_ms)
        if self._alone is not None or (self.suspects and self._group() == 1):
            return
        limits = self._ledger.limits
        for board_id in list(self.ready):
            queue = self.ready[board_id]
            while queue and len(self.running) - len(self._idle) < limits.handlers:
                if self._per_board.get(board_id, 0) >= limits.handlers_per_peer:
                    break
                job = self._resident(queue[0])
                if job is None:
                    break
                queue.popleft()
                self._start(job, now_ms)
            if not queue:
                del self.ready[board_id]

    def _group(self) -> int:
        job = self._ledger.find(self.suspects[0])
        return max(1, self._ledger.limits.handlers >> (2 * (job.crashes if job is not None else 1)))

    def _fill_suspects(self, now_ms: int) -> None:
        while self.suspects and self._alone is None:
            job = self._resident(self.suspects[0])
            if job is None:
                return
            group = self._group()
            # One that waits for a child does nothing meanwhile: it can neither kill the agent nor be left to wait.
            busy = sum(1 for one in (self._retaken if group > 1 else self.running) if one not in self._idle)
            if busy >= group or (group == 1 and busy):
                return
            self.suspects.popleft()
            if group == 1:
                job.alone += 1
            if self._start(job, now_ms):
                self._retaken.add(job.id)
                if group == 1:
                    self._alone = job.id

    def _resident(self, job_id: bytes) -> Job | None:
        job = self._ledger.find(job_id)
        if job is None and job_id not in self._fetching:
            self._fetching.add(job_id)
            self._ledger.effects.queries.append(ById((job_id,)))
        return job

    def fetched(self, job_id: bytes) -> None:
        """The store answered about a job that waits for a slot; one that it does not have any more waits no longer."""
        if job_id not in self._fetching:
            return
        self._fetching.discard(job_id)
        if self._ledger.find(job_id) is None:
            for queue in (self.suspects, *self.ready.values()):
                if queue and queue[0] == job_id:
                    queue.popleft()

    def _start(self, job: Job, now_ms: int) -> bool:
        state = advance(job.role, job.state, Event.START)
        if state is None:
            return False
        lost = job.doubtful and not self._is_idempotent(job)
        if lost or (not job.attempt and now_ms > job.request.expires_ms):
            self._end(job, LOST if lost else Ending(State.EXPIRED), now_ms)
            return False
        instruction = self._ledger.access.read(job.request.instruction)
        denial = instruction if isinstance(instruction, Denial) else self._may_run(job, instruction)
        if denial is not None:
            # One that ran before the agent died may have had its effect by then.
            error = denial.kind, denial.message
            self._end(job, Ending(State.ERROR, error=error, unknown_effect=job.attempt > 0), now_ms)
            return False
        assert not isinstance(instruction, Denial)
        assert job.up is not None
        job.attempt += 1
        job.started_ms = now_ms
        job.move(state, now_ms)
        self.running[job.id] = job.up.board
        self._per_board[job.up.board] = self._per_board.get(job.up.board, 0) + 1
        self._ledger.effects.start.append(Start(job.id, job.attempt, instruction))
        if job.facts[PROGRESS] is not None:
            self._report(job, None, None, now_ms)
        self._ledger.changed(job)
        return True

    def _may_run(self, job: Job, instruction: Instruction) -> Denial | None:
        ledger = self._ledger
        request, access = job.request, ledger.access
        if request.origin in ledger.revoked:
            return Denial("denied", f'agent "{access.agent}" has revoked the key of "{job.place.names[0]}"')
        refused = access.by_rules(instruction.keyword, request.zone, job.place.names[0], request.origin)
        portals = instruction.portals
        if refused is not None or not portals:
            return refused
        speaker = speaker_of(request, ledger.trust.verifier, ledger.limits, job.started_ms or job.changed_ms)
        if speaker is None:
            return Denial("denied", f'agent "{access.agent}" does not believe the lineage of the job')
        if speaker.instruction is not None and not self._names(speaker.instruction, portals):
            speaker = Speaker(request.origin, None)
        for portal in portals:
            refused = self._may_speak(request.zone, portal, speaker.fingerprint)
            if refused is not None:
                return refused
        for portal in portals:
            self._pin_portal(request.zone, portal, speaker.fingerprint)
        return None

    def _names(self, instruction: str, portals: tuple[str, ...]) -> bool:
        """Whether the instruction of a lineage's root names all of `portals`: it speaks for no other."""
        try:
            named = self._ledger.access.vocabulary.read(instruction).portals
        except GrammarError:
            return False
        return set(portals).issubset(named)

    def _may_speak(self, zone: str, portal: str, speaker: bytes) -> Denial | None:
        neighbour = self._ledger.by_name.get((zone, portal))
        known = neighbour.fingerprint if neighbour is not None and neighbour.kind == "portal" else None
        first = self._ledger.trust.portals.get((zone, portal))
        return self._ledger.access.claims(portal, speaker, first, known)

    def _pin_portal(self, zone: str, portal: str, speaker: bytes) -> None:
        """The first origin that used a portal here speaks for it from now on, unless others say who does."""
        pins = self._ledger.trust.portals
        if (zone, portal) not in pins and portal not in self._ledger.access.portals:
            pins[zone, portal] = speaker
            self._ledger.effects.batch.portals.append((zone, portal, speaker))

    # -- while it runs ------------------------------------------------------------------------------------------

    def progress(self, job: Job, message: str | None, fraction: float | None, now_ms: int) -> None:
        """A handler reports; said upstream at once."""
        if job.id in self.running and job.live:
            self._report(job, message, fraction, now_ms)

    def _report(self, job: Job, message: str | None, fraction: float | None, now_ms: int) -> None:
        job.version += 1
        content = Progress(
            VERSION,
            job.id,
            self._ledger.fingerprint,
            job.version,
            str(job.state),
            job.attempt,
            None if message is None else cut(message, MESSAGE_BYTES),
            fraction,
            now_ms,
        )
        fact = make(PROGRESS, content, self._ledger.pack)
        self._ledger.unsigned(fact)
        job.hold(fact)
        self._ledger.changed(job)

    def yielded(self, job_id: bytes) -> None:
        """The handler awaits a child and holds no slot meanwhile (R13)."""
        board_id = self.running.get(job_id)
        if board_id is None:
            return
        if job_id not in self._idle:
            self._per_board[board_id] -= 1
        self._idle[job_id] = self._idle.get(job_id, 0) + 1
        if self._alone == job_id:
            self._is_not_alone()

    def resumed(self, job_id: bytes) -> None:
        """The handler goes on; for a moment there may be more handlers than slots."""
        waits = self._idle.get(job_id, 0) - 1
        if waits > 0:
            self._idle[job_id] = waits
        elif self._idle.pop(job_id, None) is not None:
            self._per_board[self.running[job_id]] += 1
            self._is_not_alone()

    def _is_not_alone(self) -> None:
        """Others run beside the job that was to run alone: a death of the agent would say nothing about it."""
        job = None if self._alone is None else self._ledger.find(self._alone)
        self._alone = None
        if job is not None:
            job.alone = max(0, job.alone - 1)
            self._ledger.changed(job)

    # -- ending -------------------------------------------------------------------------------------------------

    def finished(self, job: Job, ending: Ending, now_ms: int) -> None:
        """The handler of `job` ended."""
        self._free(job.id)
        if ending.state is State.ERROR and job.attempt > 1:
            # The attempt that a crash ended may have had its effect.
            ending = ending._replace(unknown_effect=True)
        if job.live:
            self._end(job, ending, now_ms)

    def requeued(self, job: Job, now_ms: int) -> None:
        """The handler was stopped by a clean stop of the agent: the job will run again, and this does not count as a
        crash (R8)."""
        self._free(job.id)
        state = advance(job.role, job.state, Event.REQUEUE)
        if state is not None and job.facts[CANCEL] is not None:
            self._end(job, Ending(State.CANCELLED), now_ms)
        elif state is not None and not self._is_idempotent(job):
            message = "the agent was stopped while the job was running, and its instruction is not idempotent"
            self._end(job, Ending(State.ERROR, error=("interrupted", message), unknown_effect=True), now_ms)
        elif state is not None:
            job.move(state, now_ms)
            job.alone = max(0, job.alone - 1)
            self._ledger.changed(job)

    def cancel(self, job: Job, now_ms: int, *, known_lost: bool = False) -> None:
        """A Cancel arrived: it wins if the job has not started, else the handler is asked to stop (R9)."""
        if job.id in self.running:
            self._ledger.effects.stop.append(job.id)
        elif job.live:
            # Between a crash and the next start, the effect of the attempt that died is not known.
            self._end(job, Ending(State.CANCELLED, unknown_effect=known_lost or job.attempt > 0), now_ms)

    def deleted(self, job: Job) -> None:
        """A Delete arrived: nothing is reported any more (R9)."""
        if job.id in self.running:
            self._ledger.effects.stop.append(job.id)

    def disown(self, job: Job, peer: str, now_ms: int) -> None:
        """The peer that brought the job was revoked: it does not start any more; a handler that runs goes on."""
        if job.id not in self.running:
            message = f'agent "{self._ledger.name}" has revoked "{peer}", which brought the job'
            self._end(job, Ending(State.ERROR, error=("denied", message), unknown_effect=job.attempt > 0), now_ms)

    def expire(self, job: Job, now_ms: int) -> None:
        """Time is up for a job that never started (R6)."""
        if not job.attempt and job.id not in self.running:
            self._end(job, Ending(State.EXPIRED), now_ms)

    def _free(self, job_id: bytes) -> None:
        board_id = self.running.pop(job_id, None)
        if board_id is None:
            return
        if self._idle.pop(job_id, None) is None:
            self._per_board[board_id] -= 1
        self._retaken.discard(job_id)
        if self._alone == job_id:
            self._alone = None

    def _end(self, job: Job, ending: Ending, now_ms: int) -> None:
        ending, result, blob = ended_with(ending, self._ledger.limits)
        if job.doubtful and ending.state is State.EXPIRED:
            ending = LOST
        error = None if ending.error is None else [ending.error[0], cut(ending.error[1], ERROR_BYTES)]
        started = ending.state is State.CANCELLED and job.attempt > 0
        content = Outcome(
            VERSION,
            job.id,
            self._ledger.fingerprint,
            job.version + 1,
            str(ending.state),
            ending.result_type,
            result if blob is None else list(blob.name),
            error,
            job.attempt,
            job.started_ms if job.attempt else 0,
            now_ms,
            ending.unknown_effect or started or (job.doubtful and ending.state is not State.COMPLETE),
        )
        fact = self._ledger.make(job, OUTCOME, content, now_ms)
        if blob is not None:
            keep(self._ledger, job, fact, blob, now_ms)

    # -- time ---------------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """When `report` has something to look at."""
        return self._unreported.next_deadline_ms()

    def report(self, now_ms: int) -> None:
        """Say upstream what became of jobs that are still alive a while after their claim."""
        for job in self._unreported.due(now_ms):
            self._report(job, None, None, now_ms)
