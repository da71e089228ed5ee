"""Crash images: a seed's recording, a power cut at each of its moments, and what is wrong with the store after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from grammar.errors import MeshError
from mesh.access import Access
from mesh.engine import Engine
from mesh.errors import CorruptRow
from mesh.job import Job
from tests.disks.images import Disk
from tests.disks.recording import Event, Mark, recorded
from tests.disks.workload import ACKNOWLEDGED, BEGUN, LIMITS, Content, Twin, as_kept, content_of, live, small, store_of
from tests.mesh.pair import START_MS, VOCABULARY, card_of, identity_of

ACTS: Final = 60
"""Random acts of one recording."""
MEMORY: Final = Path("/dev/shm")
"""Images are written here where there is such a place: they are small, many, and need not last."""

IMAGE: Final = "image"
"""The folder in which images are opened."""

Plant = Callable[[], AbstractContextManager[None]]


class Result(NamedTuple):
    """What became of the images of some seeds.

    Attributes:
        images: how many were opened.
        commits: commits that their recordings made.
        short: images in which a commit that was begun and not acknowledged is missing.
        violations: sentences, each with its seed and the number of the event after which power was cut.
    """

    images: int
    commits: int
    short: int
    violations: tuple[str, ...]


def scratch() -> TemporaryDirectory[str]:
    """A folder for files that need not last."""
    return TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix="hopboard-")


def cut_everywhere(seed: int, plant: Plant = nullcontext, *, first: bool = False) -> Result:
    """Record the life of a seed, cut the power after each of its events, and look at the store of that moment.

    Args:
        seed: decides the life, and what of each write got through.
        plant: a bug that is at work all the time.
        first: stop at the first thing that is wrong.
    """
    with scratch() as made, small(), plant():
        folder = Path(made)
        with recorded() as recording:
            twins = live(folder, recording, seed, ACTS)
        by_path = {str(twin.file): (name, twin) for name, twin in twins.items()}
        images = short = 0
        violations: list[str] = []
        for number, name, counts, image in _cuts(recording.events, by_path, seed, folder):
            images += 1
            found, missing = look(image, name, twins[name], *counts)
            short += missing
            found += twins[name].wrong
            twins[name].wrong.clear()
            violations += [f"seed {seed}, cut after event {number}, {name}: {one}" for one in found]
            if first and violations:
                break
    return Result(images, sum(len(twin.states) - 1 for twin in twins.values()), short, tuple(violations))


def _cuts(
    events: list[Event], twins: dict[str, tuple[str, Twin]], seed: int, folder: Path
) -> Iterator[tuple[int, str, tuple[int, int], Path]]:
    """Every moment: its number, whose store the event was for, commits acknowledged and begun, and the image."""
    disk, draw = Disk(), Random(seed)
    counts = {path: {ACKNOWLEDGED: 0, BEGUN: 0} for path in twins}
    image = folder / IMAGE
    image.mkdir()
    for number, event in enumerate(events):
        disk.play(event)
        if isinstance(event, Mark):
            counts[event.path][event.name] = event.value
        path = event.path.removesuffix("-wal").removesuffix("-journal").removesuffix(".journal").removesuffix(".slices")
        for old in image.iterdir():
            old.unlink()
        for file, content in disk.image(draw).items():
            if file.startswith(path):
                copy = image / Path(file).name
                copy.write_bytes(content)
                copy.chmod(0o600)
        yield number, twins[path][0], (counts[path][ACKNOWLEDGED], counts[path][BEGUN]), image / Path(path).name


def look(path: Path, name: str, twin: Twin, acknowledged: int, begun: int) -> tuple[list[str], bool]:
    """Open a store after a power cut as its agent would, and begin a new life on it.

    Args:
        path: of the store.
        name: of its agent.
        twin: what it should hold.
        acknowledged, begun: numbers of commits.

    Returns:
        What is wrong, and whether a commit is missing that nobody was told of.
    """
    store = store_of(path)
    try:
        snapshot = store.open()
        content = content_of(snapshot, store.list_jobs(live=None, states=(), after=0, limit=10_000), store)
        wrong = list(_compared(content, twin.states, acknowledged, begun))
        engine = Engine(card_of(name), identity_of(name).sign, Random(name).randbytes, LIMITS, Access(name, VOCABULARY))
        engine.open(snapshot)
        for row in content.rows:
            Job.from_row(row, engine.ledger.place_on)
        batch = engine.end_step(START_MS).batch
        store.apply([batch])
        store.close()
        # Opening it walks through it: what the first life on the image wrote is whole too.
        reopened = store.open().incarnations
        if reopened != batch.incarnations or reopened[:-1] != tuple(content.incarnations)[-len(reopened) + 1 :]:
            wrong.append(f"4: incarnations are {reopened} after {content.incarnations}")
    except CorruptRow as error:
        return [f"23: {error}"], False
    except MeshError as error:
        return [f"refused: {error}"], False
    except Exception as error:
        return [f"23: {error!r}"], False
    finally:
        store.close()
    return wrong, begun > acknowledged and as_kept(content, twin.states[begun]) != twin.states[begun]


def _compared(content: Content, states: list[Content], acknowledged: int, begun: int) -> Iterator[str]:
    held = [number for number, state in enumerate(states) if as_kept(content, state) == state]
    if any(acknowledged <= number <= begun for number in held):
        return
    if held:
        yield f"1: it holds {held[0]} commits, and {acknowledged} were acknowledged"
    else:
        yield f"8: it holds what it never held after any commit ({acknowledged} were acknowledged, {begun} begun)"
