"""Corruptions of stores: a chain lives, one of its stores is damaged, and the chain lives on; what is wrong then.

Damage must be noticed before what it touched is used: the store is refused or the agent stops, with a message that
says what to do; or the row is quarantined and comes back from a neighbour, and every job ends as it does without the
damage. Damage that changes nothing that is read is harmless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from mesh.errors import CorruptRow, StoreError
from mesh.job import Job
from mesh.lifecycle import State
from mesh.routing import place_of
from mesh.row import Row
from tests.disks.crash_images import Plant, scratch
from tests.disks.damage import DAMAGES, WEIGHTS, Case, Files
from tests.disks.recording import Recording
from tests.disks.workload import CHAIN, EMPTY, LIMITS, Chain, Content, Twin, as_kept, content_of, small, store_of
from tests.mesh.pair import Mesh

ACTS: Final = 150
DAMAGED: Final = "damaged"
"""Stands for the state of a job whose row is quarantined and did not come back."""
LATER_MS: Final = 60_000


class Tally(NamedTuple):
    """What became of the damages of one seed.

    Attributes:
        counts: damages by what became of them: refused, stopped, refetched, told (the job's
            user is), rolled_back (as an old copy is: neighbours notice), last_commit
            (the end of the log: taken for a power cut), unread (nothing asked for it), harmless.
        violations: sentences.
    """

    counts: Counter[str]
    violations: tuple[str, ...]


class _Lives(NamedTuple):
    """What a chain left: by agent, the files, those of half way, and what was after each commit."""

    files: dict[str, Files]
    older: dict[str, Files]
    states: dict[str, list[Content]]
    now_ms: int


class Aftermath(Mesh):
    """The chain again, on the stores as they are now."""

    def __init__(self, folder: Path, now_ms: int, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._after_ms = now_ms
        self.stores = {name: store_of(folder / f"{name}.sqlite") for name in CHAIN}
        super().__init__(*pairwise(CHAIN), limits=dict.fromkeys(CHAIN, LIMITS), connected=False)

    def start(self, name: str) -> None:
        self.now_ms = self._after_ms
        self.nodes[name].store = self.stores[name]  # type: ignore[assignment]
        self.nodes[name].random = Random(f"{self._seed} {name}")
        super().start(name)

    def live(self) -> None:
        """Connect, do all there is to do, and let a while pass."""
        for seconds in (0.0, 5.0, 30.0):
            self._dial()
            self.wait(seconds)
            for name in CHAIN:
                self.run_all(name)
        self._dial()

    def _dial(self) -> None:
        # One that finds the same record refused twice closes the link, and goes on with the next one.
        for ends in pairwise(CHAIN):
            if not self.links[frozenset(ends)]:
                self.connect(*ends)
        self.settle()

    def ends(self) -> dict[bytes, State | str]:
        """The state of every job at its origin."""
        found: dict[bytes, State | str] = {}
        for row in self.stores["origin"].list_jobs(live=None, states=(), after=0, limit=10_000):
            try:
                found[row.id] = Job.from_row(row, self.nodes["origin"].engine.ledger.place_on).state
            except CorruptRow:
                found[row.id] = DAMAGED
        return found

    def close(self) -> None:
        for store in self.stores.values():
            store.close()


def first_life(folder: Path, seed: int) -> _Lives:
    """Let a chain live, and take its files as a power cut at its end would leave them, all written."""
    random, recording = Random(seed), Recording()
    twins = {name: Twin(folder / f"{name}.sqlite", recording, random) for name in CHAIN}
    try:
        chain = Chain(twins, random)
        for ends in chain.ways:
            chain.connect(*ends)
        for _ in range(ACTS // 2):
            chain.act()
        older = {name: Files.read(twin.file) for name, twin in twins.items()}
        for _ in range(ACTS // 2):
            chain.act()
        for name in CHAIN:
            chain.release(name)
        files = {name: Files.read(twin.file) for name, twin in twins.items()}
    finally:
        for twin in twins.values():
            twin.close()
    return _Lives(files, older, {name: twin.states for name, twin in twins.items()}, chain.now_ms + LATER_MS)


def damage_much(seed: int, times: int, plant: Plant = nullcontext, *, only: str = "", where: str = "") -> Tally:
    """Damage the stores of a seed's chain in `times` ways, one at a time.

    Args:
        seed: decides the life and the damages.
        times: how many.
        plant: a bug that is at work meanwhile.
        only: a kind of damage; there is no other then, and the first thing that is wrong is the last.
        where: the part that is damaged, in the same way.
    """
    counts: Counter[str] = Counter()
    violations: list[str] = []
    with scratch() as made, small():
        folder = Path(made)
        lives = first_life(folder, seed)
        expected = _ends(folder, lives, seed)
        draw = Random(seed)
        for number in range(times):
            victim = draw.choice(CHAIN)
            case = Case(lives.files[victim], lives.older[victim], lives.files[draw.choice(sorted({*CHAIN} - {victim}))])
            part = where or draw.choices(("database", "log", "journal", "slices"), (6, 2, 2, 2))[0]
            if not getattr(case.files, part):
                part = "database"
            name = only or draw.choices(list(DAMAGES), WEIGHTS)[0]
            foreign_log = name == "file_of_another_agent" and part != "database"
            if name in _WHOLE and part not in _BESIDE and not foreign_log:
                # The mark tells the log of another store, but not an older copy of the same one, nor another database
                # under it: those are found out by owner, seal or indexes, but not if the log holds whole tables of
                # jobs and nothing else.
                case = Case(replace(case.files, log=b""), case.older, case.others)
                part = "database"
            damaged = case.files.replaced(part, DAMAGES[name](getattr(case.files, part), case, part, draw))
            with plant():
                verdict = _Trial(folder, lives, seed, victim, damaged, expected).run(
                    rolled_back=(part == "log" and not foreign_log) or (name in _OLD_COPIES and part != "slices"),
                    part=part,
                )
            counts[verdict.fate] += 1
            label = f"seed {seed}, damage {number} ({name} {part} of {victim})"
            violations += [f"{label}: {one}" for one in verdict.violations]
            if only and violations:
                break
    return Tally(counts, tuple(violations))


def _put_back(folder: Path, lives: _Lives) -> None:
    for name, files in lives.files.items():
        files.write(folder / f"{name}.sqlite")


def _ends(folder: Path, lives: _Lives, seed: int) -> dict[bytes, State | str]:
    """How every job ends when nothing is damaged."""
    _put_back(folder, lives)
    after = Aftermath(folder, lives.now_ms, seed)
    try:
        after.live()
        return after.ends()
    finally:
        after.close()


class Verdict(NamedTuple):
    """What became of one damage, and what is wrong about that."""

    fate: str
    violations: list[str]


class _Trial:
    """One damage, tried out."""

    def __init__(
        self,
        folder: Path,
        lives: _Lives,
        seed: int,
        victim: str,
        damaged: Files,
        expected: dict[bytes, State | str],
    ) -> None:
        self._folder = folder
        self._lives = lives
        self._seed = seed
        self._victim = victim
        self._damaged = damaged
        self._expected = expected
        self._path = folder / f"{victim}.sqlite"
        self._before = {row.id: tuple(State)[row.state] for row in lives.states["origin"][-1].rows}

    def run(self, *, rolled_back: bool, part: str) -> Verdict:
        """Look at the store, then let the chain live on with it.

        Args:
            rolled_back: it may be an older one, and nobody notices before its neighbours do.
            part: what was damaged. Of the journal the last commits may be gone, as a cut leaves it, and nothing else.
        """
        _put_back(self._folder, self._lives)
        self._damaged.write(self._path)
        try:
            content = self._content()
            states = self._lives.states[self._victim]
            last = states[-1]
            held = [state for state in states if as_kept(content, state) == state]
            if last in held:
                return Verdict("harmless", [])
            if held:
                noticed = rolled_back or part in _BESIDE or content == EMPTY
                wrong = [] if noticed else ["the database is as it was before, and nobody says so"]
                return Verdict("rolled_back", wrong + self._go_on(None)[1])
            content = as_kept(content, last)
            if content._replace(boards=()) == last._replace(boards=()) and _each_in(content, states):
                # Boards as they once were: the positions in them are judged as those of a restored store are.
                self._go_on(None)
                return Verdict("rolled_back", [])
            if rolled_back and part != "journal":
                # Damage to the last commit in a log looks as if a cut had torn it, and is believed to be that; what
                # was written back of it already stays. Nothing is refused then, and nothing may break.
                self._go_on(None)
                return Verdict("last_commit", [])
            wrong = list(self._changed(content, states))
            fate, more = self._go_on({row.id for row in content.rows} | set(self._expected))
            return Verdict(fate, wrong + more)
        except StoreError as error:
            return Verdict("refused", [] if error.fix and error.code else ["the refusal does not say what to do"])
        except Exception as error:
            return Verdict("", [f"traceback: {error!r}"])

    def _content(self) -> Content:
        store = store_of(self._path)
        try:
            snapshot = store.open()
            return content_of(snapshot, store.list_jobs(live=None, states=(), after=0, limit=10_000), store)
        finally:
            store.close()
            self._damaged.write(self._path)

    def _changed(self, content: Content, states: list[Content]) -> Iterator[str]:
        """Whatever differs from what was written, and would be believed."""
        last = states[-1]
        if (content.incarnations, content.book) != (last.incarnations, last.book):
            yield "openings, peers or pins are not what was written"
        if not _each_in(content, states):
            yield "a board is not what was written"
        if len(content.boards) != len(last.boards) or len(content.rows) != len(last.rows):
            yield f"{len(content.rows)} jobs and {len(content.boards)} boards are there"
        written = {blob.id: data for state in states for blob, data in state.blobs}
        for blob, data in content.blobs:
            if not written.get(blob.id, b"").startswith(data):
                yield f"bytes are not what was written, and are believed: {blob[:4]}"
        for row in content.rows:
            if row not in last.rows and not _is_corrupt(row, self._victim):
                yield f"a row is not what was written, and is believed: {row[:12]}"

    def _go_on(self, judged: set[bytes] | None) -> tuple[str, list[str]]:
        """Let the chain live on; how it went, and what is wrong at its end."""
        after = Aftermath(self._folder, self._lives.now_ms, self._seed)
        try:
            after.live()
            ends = after.ends()
        except StoreError:
            return "stopped", []
        finally:
            after.close()
        alarms = " ".join(after.nodes[self._victim].alarms)
        wrong, told = [], False
        for job_id in () if judged is None else judged:
            if ends.get(job_id) == self._expected.get(job_id):
                continue
            told = True
            # A job to which nothing happens is found damaged when somebody asks for it.
            unread = ends.get(job_id) == DAMAGED and self._before.get(job_id) == self._expected.get(job_id)
            if not unread and job_id[6:10].hex() not in alarms:
                wrong.append(f"{job_id[6:10].hex()} ends as {ends.get(job_id)} and not as {self._expected.get(job_id)}")
        for sender in CHAIN:
            for receiver in after.neighbours(sender):
                refused = after.refusals(sender, receiver)
                wrong += [f"{receiver} refuses what {sender} sent: {one}" for one in refused if one in _FORGED]
        return "told" if told else "refetched" if "quarantined" in alarms else "unread", wrong


_BESIDE: Final = frozenset({"journal", "slices"})
_WHOLE: Final = frozenset({"file_from_before", "file_of_another_agent"})
_OLD_COPIES: Final = frozenset({"emptied", "file_from_before"})
"""Damages of a whole database that leave what a lost or restored store is: its neighbours notice (R4)."""
_FORGED: Final = frozenset({"malformed", "bad_proof", "bad_path"})


def _each_in(content: Content, states: list[Content]) -> bool:
    """Whether every board is there, as it was after some commit."""
    known = {board for state in states for board in state.boards}
    return set(content.boards) <= known and len(content.boards) == len(states[-1].boards)


def _is_corrupt(row: Row, name: str) -> bool:
    def place_on(path: str) -> object:
        found = place_of(path, name)
        if found is None:
            raise ValueError("not on this path")
        return found

    try:
        Job.from_row(row, place_on)  # type: ignore[arg-type]
    except CorruptRow:
        return True
    return False
